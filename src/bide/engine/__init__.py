"""The pure engine: what may happen (`transitions`), what is asked for (`moves`), what follows.

Nothing here reads a clock, awaits, logs or touches a store: a store reads the rows that a batch of
moves concerns, calls `fold`, and writes the rows that changed.
"""
