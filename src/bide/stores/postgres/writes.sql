-- What commits write. Every statement is over rows and returns one for each that it wrote, so that a
-- commit can tell that something changed under its hands. A change repeats what was read (`then`),
-- and holds no policy.
--
-- `= any (array[...])` is a plain comparison that no merge join can be made of. With `=` the planner
-- goes through the whole index of a table while that is small, and a plan is kept as the table grows.

-- name: new_correlations
-- rows: tenant text, key text, scope text, version int4, execution uuid, unit int4, item int4,
--   generation int4, early uuid, pipeline text, step_id text, answer bytea, digest bytea, actor text,
--   error_code text, error_message text, expires_at int8, duplicates int4, refusals int4,
--   fingerprint text
insert into bide.correlations (:columns) select * from :rows on conflict do nothing returning 1

-- name: new_keys
-- rows: tenant text, pipeline text, key text, execution uuid, digest bytea, created_at int8
insert into bide.submit_keys (:columns) select * from :rows on conflict do nothing returning 1

-- name: new_units
-- rows: execution uuid, number int4, tenant text, step_id text, step_index int4, status int2,
--   per_item bool, appended int4, total int4, settled int4, created_at int8, updated_at int8,
--   fingerprint text, deadline_at int8, tolerated int4, tolerated_ppm int4, has_fallback bool,
--   missing int4, sends bool
insert into bide.units (:columns) select * from :rows returning 1

-- name: new_interactions
-- rows: execution uuid, unit int4, item int4, generation int4, tenant text, step_id text,
--   status int2, group_name text, assignee text, deadline_at int8, created_at int8,
--   updated_at int8, key text, request bytea, fallback bytea, answer bytea, output bytea,
--   answer_digest bytea, actor text, source int2, duplicates int4, refusals int4, error_code text,
--   error_message text, correlation text
insert into bide.interactions (:columns) select * from :rows returning 1

-- name: new_dispatches
-- rows: execution uuid, unit int4, item int4, generation int4, tenant text, pipeline text,
--   step_id text, route text, due_at int8, in_flight bool, attempts int4, fence int4, owner text,
--   dispatched_at int8, exhausted bool, error text
insert into bide.dispatches (:columns) select * from :rows returning 1

-- name: new_executions
-- rows: id uuid, tenant text, pipeline text, status int2, version int4, fingerprint text,
--   step_index int4, attempt int4, takeovers int4, fence int4, owner text, due_at int8, units int4,
--   resumed int4, created_at int8, updated_at int8, error_code text, error_message text,
--   result bytea, result_count int4, redriven_from uuid, entry text
insert into bide.executions (:columns) select * from :rows returning 1

-- name: new_inputs
-- rows: execution uuid, body bytea
insert into bide.inputs (:columns) select * from :rows returning 1

-- name: new_facts
-- rows: execution uuid, version int4, kind int2, at int8, unit int4, detail text
insert into bide.journal (:columns) select * from :rows returning 1

-- name: put_results
-- rows: execution uuid, item int4, body bytea
insert into bide.results (:columns) select * from :rows
on conflict (execution, item) do update set body = excluded.body
returning 1

-- name: put_traces
-- rows: execution uuid, tenant text, parent text, state text
insert into bide.traces (:columns) select * from :rows
on conflict (execution) do update set parent = excluded.parent, state = excluded.state
returning 1

-- name: put_rejects
-- rows: execution uuid, step_index int4, item int4, tenant text, pipeline text, step_id text,
--   fingerprint bytea, reason text, body bytea, created_at int8
insert into bide.rejects (:columns) select * from :rows
on conflict (execution, step_index, item) do update set
    fingerprint = excluded.fingerprint, reason = excluded.reason, body = excluded.body,
    created_at = excluded.created_at
returning 1

-- name: put_audit
-- rows: id uuid, tenant text, at int8, deed text, outcome text, actor text, credential text,
--   execution uuid, unit int4, item int4, generation int4, shown bytea, detail text
insert into bide.audit (:columns) select * from :rows
on conflict (id) do update set at = excluded.at
returning 1

-- name: new_dead_letters
-- rows: id uuid, tenant text, pipeline text, kind int2, execution uuid, status int2, code text,
--   message text, step_id text, attempts int4, created_at int8, correlation text, payload bytea,
--   actor text
insert into bide.dead_letters (:columns) select * from :rows returning 1

-- name: new_refusals
-- rows: execution uuid, unit int4, item int4, generation int4, sequence int4, tenant text,
--   outcome text, digest bytea, payload bytea, actor text, created_at int8
insert into bide.refusals (:columns) select * from :rows returning 1

-- name: change_correlations
-- rows: tenant text, key text, scope text, version_then int4, version int4, execution uuid,
--   unit int4, item int4, generation int4, early uuid, pipeline text, step_id text, answer bytea,
--   digest bytea, actor text, error_code text, error_message text, expires_at int8,
--   duplicates int4, refusals int4, fingerprint text
update bide.correlations c set
    version = n.version, execution = n.execution, unit = n.unit, item = n.item,
    generation = n.generation, early = n.early, pipeline = n.pipeline, step_id = n.step_id,
    answer = n.answer, digest = n.digest, actor = n.actor, error_code = n.error_code,
    error_message = n.error_message, expires_at = n.expires_at, duplicates = n.duplicates,
    refusals = n.refusals, fingerprint = n.fingerprint
from :rows
where c.tenant = any (array[n.tenant]) and c.key = n.key and c.scope = n.scope
    and c.version = n.version_then
returning 1

-- name: drop_correlations
-- rows: tenant text, key text, scope text, version_then int4
delete from bide.correlations c using :rows
where c.tenant = any (array[n.tenant]) and c.key = n.key and c.scope = n.scope
    and c.version = n.version_then
returning 1

-- name: change_units
-- rows: execution uuid, number int4, settled_then int4, status int2, appended int4, total int4,
--   settled int4, updated_at int8, missing int4, fingerprint text
update bide.units u set
    status = n.status, appended = n.appended, total = n.total, settled = n.settled,
    updated_at = n.updated_at, missing = n.missing, fingerprint = n.fingerprint
from :rows
where u.execution = any (array[n.execution]) and u.number = n.number and u.settled = n.settled_then
returning 1

-- name: change_interactions
-- rows: execution uuid, unit int4, item int4, generation int4, status_then int2, status int2,
--   assignee text, updated_at int8, answer bytea, output bytea, answer_digest bytea, actor text,
--   source int2, duplicates int4, refusals int4, error_code text, error_message text
update bide.interactions i set
    status = n.status, assignee = n.assignee, updated_at = n.updated_at,
    answer = coalesce(n.answer, i.answer), output = coalesce(n.output, i.output),
    answer_digest = n.answer_digest, actor = n.actor, source = n.source,
    duplicates = n.duplicates, refusals = n.refusals, error_code = n.error_code,
    error_message = n.error_message
from :rows
where i.execution = any (array[n.execution]) and i.unit = n.unit and i.item = n.item
    and i.generation = n.generation and i.status = n.status_then
returning 1

-- name: change_dispatches
-- rows: execution uuid, unit int4, item int4, generation int4, fence_then int4, due_at int8,
--   in_flight bool, attempts int4, fence int4, owner text, dispatched_at int8, exhausted bool,
--   error text
update bide.dispatches d set
    due_at = n.due_at, in_flight = n.in_flight, attempts = n.attempts, fence = n.fence,
    owner = n.owner, dispatched_at = n.dispatched_at, exhausted = n.exhausted, error = n.error
from :rows
where d.execution = n.execution and d.unit = n.unit and d.item = n.item
    and d.generation = n.generation and d.fence = n.fence_then
returning 1

-- name: change_executions
-- rows: id uuid, version_then int4, status int2, version int4, fingerprint text, step_index int4,
--   attempt int4, takeovers int4, fence int4, owner text, due_at int8, units int4, resumed int4,
--   updated_at int8, error_code text, error_message text, result bytea, result_count int4
update bide.executions e set
    status = n.status, version = n.version, fingerprint = n.fingerprint,
    step_index = n.step_index, attempt = n.attempt, takeovers = n.takeovers, fence = n.fence,
    owner = n.owner, due_at = n.due_at, units = n.units, resumed = n.resumed,
    updated_at = n.updated_at, error_code = n.error_code, error_message = n.error_message,
    result = n.result, result_count = n.result_count
from :rows
where e.id = any (array[n.id]) and e.version = n.version_then
returning 1

-- name: new_deadlines
-- rows: deadline_at int8, execution uuid, number int4
insert into bide.units_with_deadline (:columns) select * from :rows returning 1

-- name: drop_deadlines
-- rows: deadline_at int8, execution uuid, number int4
delete from bide.units_with_deadline d using :rows
where d.deadline_at = any (array[n.deadline_at]) and d.execution = n.execution and d.number = n.number
returning 1

-- name: new_left_open
-- rows: execution uuid, number int4
insert into bide.units_left_open (:columns) select * from :rows returning 1

-- name: drop_left_open
-- rows: execution uuid, number int4
delete from bide.units_left_open l using :rows
where l.execution = any (array[n.execution]) and l.number = n.number
returning 1

-- name: mark
-- Sets the clock on as well: in the statement that writes, so that no commit comes without it.
-- rows: name text, last_commit int8, at int8
insert into bide.writers (:columns)
select n.name, n.last_commit, setval('bide.clock', greatest(n.at, c.last_value))
from :rows, bide.clock c
on conflict (name) do update set last_commit = excluded.last_commit, at = excluded.at
returning 1
