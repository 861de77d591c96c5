"""Who may do what: keys, resume tokens, credentials.

Values and pure functions, but for `files`, which reads and writes key files. Nothing here knows the
store: a token or a credential is judged before anything is read for whoever brought it.
"""
