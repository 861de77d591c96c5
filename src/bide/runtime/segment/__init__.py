"""Running one segment: from what a claim brings to the move that ends it.

Theory of operation
-------------------
A segment is what lies between two boundaries. It runs in one worker, in memory, and ends in one
move: a park, a finish, a retry, or an end without success. After a crash it runs again from its
boundary; its steps are told so by `Context.attempt`, and get the same `idempotency_key`.

There are two ways through. A *plain* segment (one value, no async step, the common case) runs from
end to end in one go on a pool thread (`plain`). Everything else is a coroutine over
`bide.planning.flow`, which hops to a thread once a page for steps that are not async (`task`).
Both fail in the same way, through `failing.failed`.

What happens when it crashes here: the lease runs out, another worker claims the execution and runs
the segment again. Nothing that it wrote before counts twice: items of a stream are recognised,
results overwrite themselves by index, and only one end can carry the current fence.
"""
