"""The loops around the pure engine: commit, run, admit, sweep, watch."""
