"""Bide beside its peers, measured in one run: `make bench-peers`.

Each peer has a script of its own, written as its documentation recommends and with its durable
defaults, and an environment of its own under `.cache/peers`, made from hashes. What the scripts
share is in `protocol`; it runs in those environments, where Bide is not.
"""
