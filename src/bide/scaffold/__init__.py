"""New projects: what `bide new` writes.

`choices` says what can be chosen and what each choice brings, `project` puts the files together. The
files themselves lie in `templates`, in the form in which they are written but for the `@{names}`.
"""
