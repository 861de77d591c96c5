"""A typed client of the HTTP API, for those who submit, list and complete from another process.

`flows` holds what is asked and how answers are read, as generators that do no input or output;
`Client` and `AsyncClient` only carry their requests, one blocking and one on an event loop.
"""
