"""Requests as signed HTTP posts: the envelope, the signature, the guard, and what answers mean."""
