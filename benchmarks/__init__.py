"""Measurements that need more than Bide itself."""
