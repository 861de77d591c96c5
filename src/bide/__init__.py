"""Bide: typed, durable pipelines that wait well."""
