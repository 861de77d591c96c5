"""Numbered migrations, forwards only; `PRAGMA user_version` says which have been made."""
