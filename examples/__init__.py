"""Programs that a reader can run: each is served as `bide serve examples.NAME:app`."""
