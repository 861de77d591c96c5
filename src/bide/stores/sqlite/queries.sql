-- Named statements. A line `-- name: words` opens one, `-- name: words (3)` one over rows of three
-- columns, which stand where it says `:rows`. No statement holds a policy.

-- name: high_water
select max(clock) from writers

-- name: mark_commit
insert into writers values (?, ?, ?)
on conflict (name) do update set last_commit = excluded.last_commit, clock = excluded.clock

-- name: last_commit
select last_commit from writers where name = ?

-- name: forget_writers
delete from writers where clock < ? and name <> ?

-- name: read_correlations (3)
select c.* from (values :rows) wanted
cross join correlations c
    on c.tenant = wanted.column1 and c.key = wanted.column2 and c.scope = wanted.column3

-- name: read_keys (3)
select k.* from (values :rows) wanted
cross join submit_keys k
    on k.tenant = wanted.column1 and k.pipeline = wanted.column2 and k.key = wanted.column3

-- name: read_units (2)
select u.* from (values :rows) wanted
cross join units u on u.execution = wanted.column1 and u.number = wanted.column2

-- name: read_interactions (4)
select i.execution, i.unit, i.item, i.generation, i.tenant, i.step_id, i.status, i.group_name,
    i.assignee, i.deadline_at, i.created_at, i.updated_at, i.key, null, i.fallback, null, null, i.answer_digest,
    i.actor, i.source, i.duplicates, i.refusals, i.error_code, i.error_message, i.correlation
from (values :rows) wanted
cross join interactions i
    on i.execution = wanted.column1 and i.unit = wanted.column2
    and i.item = wanted.column3 and i.generation = wanted.column4

-- name: read_items
select * from interactions
where execution = ? and unit = ? and item >= ? and item < ? and generation = 0

-- name: read_executions (1)
select e.* from (values :rows) wanted
cross join executions e on e.id = wanted.column1

-- name: new_keys (6)
insert into submit_keys values :rows

-- name: new_inputs (2)
insert into inputs values :rows

-- name: new_executions (22)
insert into executions values :rows

-- name: new_units (19)
insert into units values :rows

-- name: new_interactions (25)
insert into interactions values :rows

-- name: new_dispatches (16)
insert into dispatches values :rows

-- name: new_facts (6)
insert into journal values :rows

-- name: new_correlations (20)
insert into correlations values :rows

-- name: new_dead_letters (14)
-- A refused completion that its broker brings again has its letter already, which stays.
insert into dead_letters values :rows on conflict (id) do update set created_at = created_at

-- name: new_refusals (11)
insert into refusals values :rows

-- name: put_audit (13)
insert or replace into audit values :rows

-- name: new_handoffs (19)
insert into handoffs values :rows

-- name: put_origins (7)
insert or ignore into origins values :rows

-- name: put_rejects (10)
insert or replace into rejects values :rows

-- name: put_results (3)
insert or replace into results values :rows

-- name: put_traces (4)
insert or replace into traces values :rows

-- name: change_executions
update executions set
    status = ?3, version = ?4, fingerprint = ?5, step_index = ?6, attempt = ?7, takeovers = ?8,
    fence = ?9, owner = ?10, due_at = ?11, units = ?12, resumed = ?13, updated_at = ?14,
    error_code = ?15, error_message = ?16, result = ?17, result_count = ?18
where id = ?1 and version = ?2

-- name: change_correlations
update correlations set
    version = ?5, execution = ?6, unit = ?7, item = ?8, generation = ?9, early = ?10,
    pipeline = ?11, step_id = ?12, answer = ?13, digest = ?14, actor = ?15, error_code = ?16,
    error_message = ?17, expires_at = ?18, duplicates = ?19, refusals = ?20,
    fingerprint = ?21
where tenant = ?1 and key = ?2 and scope = ?3 and version = ?4

-- name: drop_correlations
delete from correlations where tenant = ?1 and key = ?2 and scope = ?3 and version = ?4

-- name: change_units
update units set
    status = ?4, appended = ?5, total = ?6, settled = ?7, updated_at = ?8, missing = ?9,
    fingerprint = ?10
where execution = ?1 and number = ?2 and settled = ?3

-- name: change_interactions
update interactions set
    status = ?6, assignee = ?7, updated_at = ?8, answer = coalesce(?9, answer),
    output = coalesce(?10, output), answer_digest = ?11, actor = ?12, source = ?13,
    duplicates = ?14, refusals = ?15, error_code = ?16, error_message = ?17
where execution = ?1 and unit = ?2 and item = ?3 and generation = ?4 and status = ?5

-- name: change_dispatches
update dispatches set
    due_at = ?6, in_flight = ?7, attempts = ?8, fence = ?9, owner = ?10, dispatched_at = ?11,
    exhausted = ?12, error = ?13
where execution = ?1 and unit = ?2 and item = ?3 and generation = ?4 and fence = ?5

-- name: change_handoffs
update handoffs set
    status = ?4, updated_at = ?5, due_at = ?6, body = ?7, attempts = ?8, fence = ?9, owner = ?10,
    admitted_as = ?11, duplicate = ?12, error_code = ?13, error = ?14
where id = ?1 and fence = ?2 and status = ?3

-- name: read_handoffs (1)
select h.* from (values :rows) wanted
cross join handoffs h on h.id = wanted.column1

-- name: due_handoffs
select * from handoffs indexed by handoffs_due
where publication = ? and due_at <= ?
order by due_at, id limit ?

-- name: handoffs_of
select id, tenant, execution, pipeline, publication, target, key, status, created_at, updated_at,
    due_at, null, attempts, fence, owner, admitted_as, duplicate, error_code, error
from handoffs where execution = ? and tenant = ? order by id

-- name: handoff_by_id
select * from handoffs where id = ? and tenant = ?

-- name: origins_of
select * from origins where execution = ? and tenant = ? order by at, source

-- name: reroute
update dispatches set route = ?3 where execution = ?1 and unit = ?2 and due_at is not null

-- name: read_dispatches (4)
select d.* from (values :rows) wanted
cross join dispatches d
    on d.execution = wanted.column1 and d.unit = wanted.column2
    and d.item = wanted.column3 and d.generation = wanted.column4

-- name: due_dispatches
select * from dispatches indexed by dispatches_due
where route = ? and due_at <= ?
order by due_at, execution, unit, item, generation limit ?

-- name: count_in_flight
-- Those whose lease ran out are due themselves.
select count(*) from (
    select 1 from dispatches indexed by dispatches_in_flight
    where pipeline = ? and step_id = ? and in_flight = 1 and (due_at is null or due_at > ?)
    limit ?
)

-- name: read_requests (4)
select i.* from (values :rows) wanted
cross join interactions i
    on i.execution = wanted.column1 and i.unit = wanted.column2
    and i.item = wanted.column3 and i.generation = wanted.column4

-- name: due_executions
select * from executions indexed by executions_due
where fingerprint = ? and due_at <= ?
order by due_at limit ?

-- name: read_inputs (1)
select i.execution, i.body from (values :rows) wanted
cross join inputs i on i.execution = wanted.column1

-- name: read_answers (2)
select i.execution, coalesce(i.output, i.answer) from (values :rows) wanted
cross join interactions i
    on i.execution = wanted.column1 and i.unit = wanted.column2 and i.item = 0
    and coalesce(i.output, i.answer) is not null

-- name: renew
update executions set due_at = ?
where id = ? and fence = ? and status = 2
returning 1

-- name: input_of
select i.body from inputs i join executions e on e.id = i.execution
where i.execution = ? and e.tenant = ?

-- name: answers_page
-- Beside `max`, the other columns are those of the row that has it.
select execution, unit, item, max(generation), tenant, step_id, status, group_name, assignee,
    deadline_at, created_at, updated_at, key, null, fallback, answer, output, answer_digest, actor,
    source, duplicates, refusals, error_code, error_message, correlation
from interactions
where execution = ? and unit = ? and item >= ? and tenant = ?
group by item order by item limit ?

-- name: askings_page
select execution, unit, item, max(generation), tenant, step_id, status, group_name, assignee,
    deadline_at, created_at, updated_at, key, request, fallback, answer, output, answer_digest,
    actor, source, duplicates, refusals, error_code, error_message, correlation
from interactions
where execution = ? and unit = ? and item >= ? and tenant = ?
group by item order by item limit ?

-- name: results_page
select r.body from executions e cross join results r on r.execution = e.id
-- A repeat of the segment may have given fewer than the run before it.
where e.id = ? and e.tenant = ? and e.status = 5 and r.item >= ? and r.item < e.result_count
order by r.item limit ?

-- name: executions_by_id (2)
select e.* from (values :rows) wanted
cross join executions e
    on e.id = wanted.column2 and (wanted.column1 is null or e.tenant = wanted.column1)

-- name: executions_page
select * from executions
where tenant = ?1 and (?2 is null or pipeline = ?2) and (?3 is null or status = ?3)
    and (?4 is null or id < ?4)
order by id desc limit ?5

-- name: redrives
select * from executions indexed by executions_redriven
where redriven_from = ?5 and tenant = ?1 and (?2 is null or pipeline = ?2)
    and (?3 is null or status = ?3) and (?4 is null or id < ?4)
order by id desc limit ?6

-- name: held_page
select * from executions
where tenant = ?1 and (?2 is null or pipeline = ?2) and (?3 is null or status = ?3)
    and (?4 is null or id < ?4) and due_at <= ?6
    and (fingerprint not in (select value from json_each(?7))
        or pipeline in (select value from json_each(?8)))
order by id desc limit ?5

-- name: interactions_by_id (5)
select i.*, e.pipeline, u.*
from (values :rows) wanted
cross join interactions i
    on i.execution = wanted.column2 and i.unit = wanted.column3
    and i.item = wanted.column4 and i.generation = wanted.column5
    and i.tenant = wanted.column1
cross join executions e on e.id = i.execution
cross join units u on u.execution = i.execution and u.number = i.unit

-- name: dispatches_by_id (5)
select d.* from (values :rows) wanted
cross join dispatches d
    on d.execution = wanted.column2 and d.unit = wanted.column3
    and d.item = wanted.column4 and d.generation = wanted.column5
    and d.tenant = wanted.column1

-- name: traces (2)
select wanted.column1, t.execution, t.parent, t.state from (values :rows) wanted
cross join traces t on t.execution = wanted.column2 and t.tenant = wanted.column1

-- name: correlated (2)
select c.* from (values :rows) wanted
cross join correlations c on c.tenant = wanted.column1 and c.key = wanted.column2
order by c.key, c.scope

-- name: pending
select i.*, e.pipeline, u.*
from interactions i indexed by interactions_open
cross join units u on u.execution = i.execution and u.number = i.unit
cross join executions e on e.id = i.execution
where i.tenant = ?1 and i.status < 4 and u.status = 1
    and (?2 is null or i.group_name = ?2) and (?3 is null or i.assignee = ?3)
    and (?4 is null or i.step_id = ?4)
order by i.deadline_at, i.execution, i.unit, i.item, i.generation
limit ?5

-- name: pending_of_execution
select i.*, e.pipeline, u.*
from interactions i
cross join units u on u.execution = i.execution and u.number = i.unit
cross join executions e on e.id = i.execution
-- The plus keeps the planner from walking the index of all that is open.
where i.execution = ?6 and +i.tenant = ?1 and i.status < 4 and u.status = 1
    and (?2 is null or i.group_name = ?2) and (?3 is null or i.assignee = ?3)
    and (?4 is null or i.step_id = ?4)
order by i.deadline_at, i.execution, i.unit, i.item, i.generation
limit ?5

-- name: units_of
select * from units where execution = ? and tenant = ? order by number

-- name: items_page
select execution, unit, item, generation, tenant, step_id, status, group_name, assignee,
    deadline_at, created_at, updated_at, key, null, null, null, null, answer_digest, actor, source,
    duplicates, refusals, error_code, error_message, correlation
from interactions
where execution = ?1 and unit = ?2 and (item, generation) > (?3, ?4) and +tenant = ?5
order by item, generation limit ?6

-- name: journal_of
select j.* from journal j join executions e on e.id = j.execution
where j.execution = ? and e.tenant = ? and j.version > ? order by j.version

-- name: dead_letters_page
select * from dead_letters
where tenant = ?1 and (?2 is null or pipeline = ?2) and (?3 is null or id < ?3)
order by id desc limit ?4

-- name: dead_letter
select * from dead_letters where id = ? and tenant = ?

-- name: rejects_page
select execution, step_index, item, tenant, pipeline, step_id, fingerprint, reason, x'', created_at
from rejects
where tenant = ?1 and (?2 is null or pipeline = ?2)
    and (?3 is null or execution < ?3 or (execution = ?3 and (step_index, item) > (?4, ?5)))
order by execution desc, step_index, item limit ?6

-- name: reject_by_id
select * from rejects where execution = ? and step_index = ? and item = ? and tenant = ?

-- name: refusals_of
select * from refusals
where execution = ? and unit = ? and item = ? and generation = ? and tenant = ?
order by sequence

-- name: count_receipts
with answered as (
    select i.source = 4 as early, i.duplicates from interactions i
    where i.tenant = ?1 and i.source in (1, 2, 4)
        -- What a redrive has taken over is counted where it was answered.
        and not (
            i.unit = 1 and i.created_at = i.updated_at and exists (
                select 1 from journal j
                where j.execution = i.execution and j.version = 1 and j.unit = 1
            )
        )
), kept as (
    select early is not null as early, duplicates from correlations where tenant = ?1
), letters as (
    select attempts - 1 as duplicates from dead_letters where tenant = ?1 and kind = 2
)
select 'applied', count(*) from answered where not early
union all
select 'duplicate', (select total(duplicates) from answered)
    + (select total(duplicates) from kept) + (select total(duplicates) from letters)
union all
select 'buffered', (select count(*) from answered where early)
    + (select count(*) from kept where early) + (select count(*) from letters)
union all
select 'conflict', count(*) from refusals where tenant = ?1 and outcome = 'conflict'
union all
select 'late', count(*) from refusals where tenant = ?1 and outcome = 'late'

-- name: expired_early
select tenant, key, scope from correlations indexed by correlations_early
where expires_at < ? order by expires_at limit ?

-- name: count_by_status
select status, count(*) from executions
where (?1 is null or tenant = ?1) and (?2 is null or pipeline = ?2)
group by status

-- name: new_boundary
insert into boundaries values (?, ?, ?, ?, ?) on conflict (fingerprint) do nothing

-- name: put_worker
insert or replace into workers values (?, ?, ?, ?)

-- name: forget_worker
delete from workers where id = ?

-- name: forget_lost_workers
delete from workers where seen_at < ?

-- name: pause
insert into paused values (?, ?) on conflict (pipeline) do nothing

-- name: resume
delete from paused where pipeline = ?

-- name: all_boundaries
select * from boundaries

-- name: all_workers
select * from workers order by id

-- name: all_paused
select pipeline from paused

-- name: standing_due
select pipeline, fingerprint, null, count(*) from executions
where due_at is not null group by 1, 2

-- name: standing_parked
select e.pipeline, u.fingerprint, u.step_id, count(*)
from units u cross join executions e on e.id = u.execution
where u.status = 1 and e.status = 3 group by 1, 2, 3

-- name: ready_by_fingerprint
select fingerprint, count(*), min(due_at) from executions indexed by executions_due
where due_at <= ? group by fingerprint

-- name: to_send_by_route
select route, count(*), min(due_at) from dispatches indexed by dispatches_due
where due_at <= ? group by route

-- name: to_hand_by_publication
select publication, count(*), min(due_at) from handoffs indexed by handoffs_due
where due_at <= ? group by publication

-- name: untaken_by_publication
select publication, count(*), min(created_at) from handoffs indexed by handoffs_due
where due_at is not null group by publication

-- name: first_tenant
select min(tenant) from interactions indexed by interactions_open where status < 4

-- name: next_tenant
select min(tenant) from interactions indexed by interactions_open
where status < 4 and tenant > ?

-- name: expired
select execution, unit, item, generation from interactions indexed by interactions_open
where tenant = ? and deadline_at < ? and status < 4
order by deadline_at limit ?

-- name: units_left_open
select execution, number from units indexed by units_left_open
where status > 1 and settled < appended limit ?

-- name: open_items
select execution, unit, item, generation from interactions
where execution = ? and unit = ? and item >= ? and status < 4
order by item, generation limit ?

-- name: units_expired
select execution, number from units indexed by units_with_deadline
where status = 1 and deadline_at < ?
order by deadline_at limit ?

-- name: retirable
select e.id, e.status, e.updated_at,
    exists (select 1 from handoffs h where h.execution = e.id and h.due_at is not null)
from executions e where e.id > ? order by e.id limit ?

-- name: keys_page
select tenant, pipeline, key, execution, created_at from submit_keys
where (tenant, pipeline, key) > (?, ?, ?)
order by tenant, pipeline, key limit ?

-- name: forget_key
delete from submit_keys
where tenant = ? and pipeline = ? and key = ?
    and not exists (select 1 from executions e where e.id = submit_keys.execution)

-- name: forget_origins
delete from origins
where execution = ?1 and not exists (select 1 from executions e where e.id = ?1)

-- name: audit_page
select * from audit
where tenant = ?1 and id < coalesce(?2, x'ffffffffffffffffffffffffffffffff')
order by id desc limit ?3

-- name: audit_of
select * from audit
where execution = ?2 and tenant = ?1 and id < coalesce(?3, x'ffffffffffffffffffffffffffffffff')
order by id desc limit ?4

-- name: forget_audit
delete from audit where id in (select a.id from audit a where a.id < ? order by a.id limit ?)
returning 1

-- name: retire_unowned_letters
delete from dead_letters where execution is null and created_at < ?

-- name: retire_unowned_refusals
delete from refusals where unit = 0 and created_at < ?

-- name: retire_correlations
delete from correlations where execution = ? and early is null

-- name: unhold_correlations
update correlations set
    version = version + 1, execution = null, unit = null, item = null, generation = null
where execution = ?

-- name: retire_results
delete from results where execution = ?

-- name: retire_rejects
delete from rejects where execution = ?

-- name: retire_refusals
delete from refusals where execution = ?

-- name: retire_dispatches
delete from dispatches where execution = ?

-- name: retire_letters_of_handoffs
delete from dead_letters where id in (select h.id from handoffs h where h.execution = ?)

-- name: retire_handoffs
delete from handoffs where execution = ?

-- name: retire_origins
delete from origins where execution = ?

-- name: retire_traces
delete from traces where execution = ?

-- name: retire_interactions
delete from interactions where execution = ?

-- name: retire_units
delete from units where execution = ?

-- name: retire_journal
delete from journal where execution = ?

-- name: retire_dead_letters
delete from dead_letters where id = ?

-- name: retire_inputs
delete from inputs where execution = ?

-- name: retire_executions
delete from executions where id = ?
