-- What commits write. Every statement takes rows of any number as its one parameter and returns one for
-- each that it wrote, so that a commit can tell that something changed under its hands. A change
-- repeats what was read (`then`), and holds no policy.
--
-- `= any (array[...])` is a plain comparison that no merge join can be made of. With `=` the planner
-- goes through the whole index of a table while that is small, and a plan is kept as the table grows.

-- name: new_correlations
insert into bide.correlations ({correlations})
select n.* from unnest($1::bide.new_correlations[]) n
on conflict do nothing returning 1

-- name: new_keys
insert into bide.submit_keys ({submit_keys})
select n.* from unnest($1::bide.new_keys[]) n
on conflict do nothing returning 1

-- name: new_units
insert into bide.units ({units})
select n.* from unnest($1::bide.new_units[]) n returning 1

-- name: new_interactions
insert into bide.interactions ({interactions})
select n.* from unnest($1::bide.new_interactions[]) n returning 1

-- name: new_dispatches
insert into bide.dispatches ({dispatches})
select n.* from unnest($1::bide.new_dispatches[]) n returning 1

-- name: new_executions
insert into bide.executions ({executions})
select n.* from unnest($1::bide.new_executions[]) n returning 1

-- name: new_inputs
insert into bide.inputs ({inputs})
select n.* from unnest($1::bide.new_inputs[]) n returning 1

-- name: new_facts
insert into bide.journal ({journal})
select n.* from unnest($1::bide.new_facts[]) n returning 1

-- name: put_results
insert into bide.results ({results})
select n.* from unnest($1::bide.put_results[]) n
on conflict (execution, item) do update set body = excluded.body
returning 1

-- name: put_traces
insert into bide.traces ({traces})
select n.* from unnest($1::bide.put_traces[]) n
on conflict (execution) do update set parent = excluded.parent, state = excluded.state
returning 1

-- name: put_rejects
insert into bide.rejects ({rejects})
select n.* from unnest($1::bide.put_rejects[]) n
on conflict (execution, step_index, item) do update set
    fingerprint = excluded.fingerprint, reason = excluded.reason, body = excluded.body,
    created_at = excluded.created_at
returning 1

-- name: put_audit
insert into bide.audit ({audit})
select n.* from unnest($1::bide.put_audit[]) n
on conflict (id) do update set at = excluded.at
returning 1

-- name: new_handoffs
insert into bide.handoffs ({handoffs})
select n.* from unnest($1::bide.new_handoffs[]) n returning 1

-- name: put_origins
-- The first stays; whoever repeats it is told that it is there.
insert into bide.origins ({origins})
select n.* from unnest($1::bide.put_origins[]) n
on conflict (execution, source) do update set at = origins.at
returning 1

-- name: new_dead_letters
-- A refused completion that its broker brings again has its letter already, which stays.
insert into bide.dead_letters as d ({dead_letters})
select n.* from unnest($1::bide.new_dead_letters[]) n
on conflict (id) do update set created_at = d.created_at
returning 1

-- name: new_refusals
insert into bide.refusals ({refusals})
select n.* from unnest($1::bide.new_refusals[]) n returning 1

-- name: change_correlations
update bide.correlations c set
    version = n.version, execution = n.execution, unit = n.unit, item = n.item,
    generation = n.generation, early = n.early, pipeline = n.pipeline, step_id = n.step_id,
    answer = n.answer, digest = n.digest, actor = n.actor, error_code = n.error_code,
    error_message = n.error_message, expires_at = n.expires_at, duplicates = n.duplicates,
    refusals = n.refusals, fingerprint = n.fingerprint
from unnest($1::bide.change_correlations[]) n
where c.tenant = any (array[n.tenant]) and c.key = n.key and c.scope = n.scope
    and c.version = n.version_then
returning 1

-- name: drop_correlations
delete from bide.correlations c using unnest($1::bide.correlation_then[]) n
where c.tenant = any (array[n.tenant]) and c.key = n.key and c.scope = n.scope
    and c.version = n.version_then
returning 1

-- name: change_units
update bide.units u set
    status = n.status, appended = n.appended, total = n.total, settled = n.settled,
    updated_at = n.updated_at, missing = n.missing, fingerprint = n.fingerprint
from unnest($1::bide.change_units[]) n
where u.execution = any (array[n.execution]) and u.number = n.number and u.settled = n.settled_then
returning 1

-- name: change_interactions
update bide.interactions i set
    status = n.status, assignee = n.assignee, updated_at = n.updated_at,
    answer = coalesce(n.answer, i.answer), output = coalesce(n.output, i.output),
    answer_digest = n.answer_digest, actor = n.actor, source = n.source,
    duplicates = n.duplicates, refusals = n.refusals, error_code = n.error_code,
    error_message = n.error_message
from unnest($1::bide.change_interactions[]) n
where i.execution = any (array[n.execution]) and i.unit = n.unit and i.item = n.item
    and i.generation = n.generation and i.status = n.status_then
returning 1

-- name: change_dispatches
update bide.dispatches d set
    due_at = n.due_at, in_flight = n.in_flight, attempts = n.attempts, fence = n.fence,
    owner = n.owner, dispatched_at = n.dispatched_at, exhausted = n.exhausted, error = n.error
from unnest($1::bide.change_dispatches[]) n
where d.execution = n.execution and d.unit = n.unit and d.item = n.item
    and d.generation = n.generation and d.fence = n.fence_then
returning 1

-- name: change_handoffs
update bide.handoffs h set
    status = n.status, updated_at = n.updated_at, due_at = n.due_at, body = n.body,
    attempts = n.attempts, fence = n.fence, owner = n.owner, admitted_as = n.admitted_as,
    duplicate = n.duplicate, error_code = n.error_code, error = n.error
from unnest($1::bide.change_handoffs[]) n
where h.id = any (array[n.id]) and h.fence = n.fence_then and h.status = n.status_then
returning 1

-- name: change_executions
update bide.executions e set
    status = n.status, version = n.version, fingerprint = n.fingerprint,
    step_index = n.step_index, attempt = n.attempt, takeovers = n.takeovers, fence = n.fence,
    owner = n.owner, due_at = n.due_at, units = n.units, resumed = n.resumed,
    updated_at = n.updated_at, error_code = n.error_code, error_message = n.error_message,
    result = n.result, result_count = n.result_count
from unnest($1::bide.change_executions[]) n
where e.id = any (array[n.id]) and e.version = n.version_then
returning 1

-- name: new_deadlines
insert into bide.units_with_deadline select * from unnest($1::bide.deadline[]) n returning 1

-- name: drop_deadlines
delete from bide.units_with_deadline d using unnest($1::bide.deadline[]) n
where d.deadline_at = any (array[n.deadline_at]) and d.execution = n.execution and d.number = n.number
returning 1

-- name: new_left_open
insert into bide.units_left_open select * from unnest($1::bide.unit_key[]) n returning 1

-- name: drop_left_open
delete from bide.units_left_open l using unnest($1::bide.unit_key[]) n
where l.execution = any (array[n.execution]) and l.number = n.number
returning 1

-- name: mark
-- Sets the clock on as well: in the statement that writes, so that no commit comes without it.
insert into bide.writers
select n.name, n.last_commit, setval('bide.clock', greatest(n.at, c.last_value))
from unnest($1::bide.mark[]) n, bide.clock c
on conflict (name) do update set last_commit = excluded.last_commit, at = excluded.at
returning 1
