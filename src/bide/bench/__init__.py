"""`bide bench`: what this machine does, and beside it what its disk and driver allow.

Workloads are driven through the public API, as a user's own program would drive them, in one
process. Nothing is counted that was not checked: every result is compared with what it must be.
"""
