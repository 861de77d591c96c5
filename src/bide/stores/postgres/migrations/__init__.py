"""Numbered changes of the tables; they go forwards only."""
