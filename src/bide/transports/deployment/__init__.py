"""Publications for other deployments of Bide, over HTTP."""
