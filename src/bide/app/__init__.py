"""What users hold while their pipelines run: the app, its executions, and their blocking twins."""
