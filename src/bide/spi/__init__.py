"""What the runtime asks of the outside: a store, a clock. Contracts only."""
