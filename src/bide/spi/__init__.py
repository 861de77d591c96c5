"""What a store, a transport and a clock must do."""
