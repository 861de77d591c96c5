"""What users write: pipelines, awaits and the options of steps."""
