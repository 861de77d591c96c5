-- Named statements that only read; see `bide.stores.postgres.statements` for their form. No
-- statement holds a policy, and each over rows of a user compares the tenant.
--
-- `lateral (... offset 0)` is looked up once for each row before it: the planner can neither
-- reorder that nor make a scan and a hash of it, whatever it believes of the sizes of tables.

-- name: input_of
select i.body from bide.inputs i
where i.execution = $2
    and exists (select from bide.executions e where e.id = $2 and e.tenant = $1)

-- name: answers_page
-- Items are numbered without gaps, so a page of them is a range: a unit of any size is read in
-- pieces, and never sorted as a whole.
select distinct on (i.item) {interactions i|request=null}
from bide.interactions i
where i.execution = $2 and i.unit = $3 and i.item >= $4 and i.item < $4::bigint + $5
    and i.tenant = $1
order by i.item, i.generation desc

-- name: askings_page
select distinct on (i.item) {interactions i}
from bide.interactions i
where i.execution = $2 and i.unit = $3 and i.item >= $4 and i.item < $4::bigint + $5
    and i.tenant = $1
order by i.item, i.generation desc

-- name: results_page
-- A repeat of the segment may have given fewer than the run before it.
select r.body from bide.results r
where r.execution = $2 and r.item >= $3 and r.item < $3::bigint + $4 and r.item < (
        select e.result_count from bide.executions e
        where e.id = $2 and e.tenant = $1 and e.status = 5
    )
order by r.item

-- name: executions_by_id
select {executions e} from unnest($2::uuid[]) wanted (id)
cross join lateral (
    select * from bide.executions
    where id = wanted.id and ($1::text is null or tenant = $1) offset 0
) e

-- name: executions_page
select {executions e} from bide.executions e
where e.tenant = $1 and e.id < coalesce($4, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
    and ($2::text is null or e.pipeline = $2) and ($3::smallint is null or e.status = $3)
order by e.id desc limit $5

-- name: redrives
select {executions e} from bide.executions e
where e.redriven_from = $6 and e.tenant = $1
    and e.id < coalesce($4, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
    and ($2::text is null or e.pipeline = $2) and ($3::smallint is null or e.status = $3)
order by e.id desc limit $5

-- name: held_page
select {executions e} from bide.executions e
where e.tenant = $1 and e.due_at <= $6
    and e.id < coalesce($4, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
    and (e.fingerprint <> all ($7::text[]) or e.pipeline = any ($8::text[]))
    and ($2::text is null or e.pipeline = $2) and ($3::smallint is null or e.status = $3)
order by e.id desc limit $5

-- name: interactions_by_id
select {interactions i}, e.pipeline, {units u}
from unnest($2::uuid[], $3::integer[], $4::integer[], $5::integer[])
    wanted (execution, unit, item, generation)
cross join lateral (
    select * from bide.interactions
    where execution = wanted.execution and unit = wanted.unit and item = wanted.item
        and generation = wanted.generation and tenant = $1
    offset 0
) i
cross join lateral (select pipeline from bide.executions where id = i.execution offset 0) e
cross join lateral (
    select * from bide.units where execution = i.execution and number = i.unit offset 0
) u

-- name: traces
select wanted.tenant, t.execution, t.parent, t.state
from unnest($1::text[], $2::uuid[]) wanted (tenant, execution)
cross join lateral (
    select * from bide.traces where execution = wanted.execution and tenant = wanted.tenant offset 0
) t

-- name: dispatches_by_id
select {dispatches d}
from unnest($2::uuid[], $3::integer[], $4::integer[], $5::integer[])
    wanted (execution, unit, item, generation)
cross join lateral (
    select * from bide.dispatches
    where execution = wanted.execution and unit = wanted.unit and item = wanted.item
        and generation = wanted.generation and tenant = $1
    offset 0
) d

-- name: correlated
select {correlations c}
from unnest($2::text[]) wanted (key)
cross join lateral (
    select * from bide.correlations where tenant = $1 and key = wanted.key offset 0
) c
order by c.key, c.scope

-- name: pending
select {interactions i}, e.pipeline, {units u}
from bide.interactions i
cross join lateral (
    select * from bide.units
    where execution = i.execution and number = i.unit and status = 1 offset 0
) u
cross join lateral (select pipeline from bide.executions where id = i.execution offset 0) e
where i.tenant = $1 and i.status < 4
    and ($2::text is null or i.group_name = $2) and ($3::text is null or i.assignee = $3)
    and ($4::text is null or i.step_id = $4)
order by i.deadline_at, i.execution, i.unit, i.item, i.generation
limit $5

-- name: pending_of_execution
-- By its path first: the planner must not walk the index of all that is open instead.
select {interactions i}, e.pipeline, {units u}
from (select * from bide.interactions where execution = $6 offset 0) i
cross join lateral (
    select * from bide.units
    where execution = i.execution and number = i.unit and status = 1 offset 0
) u
cross join lateral (select pipeline from bide.executions where id = i.execution offset 0) e
where i.tenant = $1 and i.status < 4
    and ($2::text is null or i.group_name = $2) and ($3::text is null or i.assignee = $3)
    and ($4::text is null or i.step_id = $4)
order by i.deadline_at, i.execution, i.unit, i.item, i.generation
limit $5

-- name: units_of
select {units u} from bide.units u where u.execution = $2 and u.tenant = $1 order by u.number

-- name: items_page
select {interactions i|request=null, fallback=null, answer=null, output=null}
from bide.interactions i
where i.execution = $2 and i.unit = $3 and (i.item, i.generation) > ($4, $5) and i.tenant = $1
order by i.item, i.generation limit $6

-- name: journal_of
select {journal j} from bide.journal j
where j.execution = $2 and j.version > $3
    and exists (select from bide.executions e where e.id = $2 and e.tenant = $1)
order by j.version

-- name: dead_letters_page
select {dead_letters d} from bide.dead_letters d
where d.tenant = $1 and d.id < coalesce($3, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
    and ($2::text is null or d.pipeline = $2)
order by d.id desc limit $4

-- name: dead_letter
select {dead_letters d} from bide.dead_letters d where d.id = $2 and d.tenant = $1

-- name: handoffs_of
select {handoffs h|body=null} from bide.handoffs h
where h.execution = $2 and h.tenant = $1 order by h.id

-- name: handoff_by_id
select {handoffs h} from bide.handoffs h where h.id = $2 and h.tenant = $1

-- name: origins_of
select {origins o} from bide.origins o
where o.execution = $2 and o.tenant = $1 order by o.at, o.source

-- name: audit_page
select {audit a} from bide.audit a
where a.tenant = $1 and a.id < coalesce($2, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
order by a.id desc limit $3

-- name: audit_of
select {audit a} from bide.audit a
where a.execution = $2 and a.tenant = $1
    and a.id < coalesce($3, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
order by a.id desc limit $4

-- name: rejects_page
select {rejects r|body=''::bytea} from bide.rejects r
where r.tenant = $1 and ($2::text is null or r.pipeline = $2) and (
        $3::uuid is null or r.execution < $3
        or (r.execution = $3 and (r.step_index, r.item) > ($4, $5))
    )
order by r.execution desc, r.step_index, r.item limit $6

-- name: reject_by_id
select {rejects r} from bide.rejects r
where r.execution = $2 and r.step_index = $3 and r.item = $4 and r.tenant = $1

-- name: refusals_of
select {refusals r} from bide.refusals r
where r.execution = $2 and r.unit = $3 and r.item = $4 and r.generation = $5 and r.tenant = $1
order by r.sequence

-- name: count_receipts
with answered as (
    select i.source = 4 as early, i.duplicates from bide.interactions i
    where i.tenant = $1 and i.source in (1, 2, 4)
        -- What a redrive has taken over is counted where it was answered.
        and not (
            i.unit = 1 and i.created_at = i.updated_at and exists (
                select from bide.journal j
                where j.execution = i.execution and j.version = 1 and j.unit = 1
            )
        )
), kept as (
    select c.early is not null as early, c.duplicates from bide.correlations c where c.tenant = $1
), letters as (
    select d.attempts - 1 as duplicates from bide.dead_letters d where d.tenant = $1 and d.kind = 2
)
select 'applied', count(*) from answered where not early
union all
select 'duplicate', coalesce(sum(duplicates), 0)::bigint from (
    select duplicates from answered
    union all select duplicates from kept
    union all select duplicates from letters
) repeated
union all
select 'buffered', (select count(*) from answered where early)
    + (select count(*) from kept where early) + (select count(*) from letters)
union all
select words.outcome, count(r.outcome) from (values ('conflict'), ('late')) words (outcome)
left join bide.refusals r on r.outcome = words.outcome and r.tenant = $1
group by 1

-- name: count_by_status
select e.status, count(*) from bide.executions e
where ($1::text is null or e.tenant = $1) and ($2::text is null or e.pipeline = $2)
group by 1

-- name: all_boundaries
select {boundaries b} from bide.boundaries b

-- name: all_workers
select w.id, w.started_at, w.seen_at, w.fingerprints from bide.workers w order by w.id

-- name: all_paused
select p.pipeline from bide.paused p

-- name: standing
select e.pipeline, e.fingerprint, null::text, count(*) from bide.executions e
where e.due_at is not null group by 1, 2
union all
select e.pipeline, u.fingerprint, u.step_id, count(*) from bide.units u
join bide.executions e on e.id = u.execution and e.status = 3
where u.status = 1 group by 1, 2, 3

-- name: ready_by_fingerprint
select e.fingerprint, count(*), min(e.due_at) from bide.executions e
where e.due_at <= $1 group by 1

-- name: to_send_by_route
select d.route, count(*), min(d.due_at) from bide.dispatches d
where d.due_at <= $1 group by 1

-- name: to_hand_by_publication
select h.publication, count(*), min(h.due_at) from bide.handoffs h
where h.due_at <= $1 group by 1

-- name: untaken_by_publication
select h.publication, count(*), min(h.created_at) from bide.handoffs h
where h.due_at is not null group by 1
