"""Many workers, many machines: one PostgreSQL database."""
