"""The embedded default: one SQLite file, any number of processes."""
