"""What a process tells of its work, in the forms that operators' tools read.

`metrics` is a `Meter` for Prometheus, `catalogue` says which metrics there are. Nothing of this is
imported unless a setting asks for it, and everything works without `pip install "bide[telemetry]"`.
"""
