"""Pipelines declared in YAML: read within bounds, checked against a vocabulary, built as in code.

`document` reads text into values that know their lines, `vocabulary` says what may be written,
`names` resolves dotted names, `assembly` calls the builder, and `load` is the door.
"""
