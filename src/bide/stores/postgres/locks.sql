-- What a commit reads before it decides: rows under lock, by their full keys, in the order in which
-- the keys come. `offset 0` keeps the planner from taking the join apart, so that each key is one
-- look into an index.

-- name: now
select greatest(
    coalesce($1::int8, (extract(epoch from clock_timestamp()) * 1000)::int8), c.last_value
) from bide.clock c

-- name: lock_correlations
select {correlations l} from unnest($1::bide.correlation_key[]) n
cross join lateral (
    select * from bide.correlations c
    where c.tenant = n.tenant and c.key = n.key and c.scope = n.scope
    offset 0 for update
) l

-- name: read_keys
-- Such a row is made once and never changed; who makes it at the same time is told by the insert.
select {submit_keys l} from unnest($1::bide.submit_key[]) n
cross join lateral (
    select * from bide.submit_keys k
    where k.tenant = n.tenant and k.pipeline = n.pipeline and k.key = n.key
    offset 0
) l

-- name: current_units
select e.id, e.units from unnest($1::uuid[]) n (id)
cross join lateral (
    select id, units, resumed from bide.executions e where e.id = n.id offset 0
) e
where e.units > e.resumed

-- name: lock_units
select {units l} from unnest($1::bide.unit_key[]) n
cross join lateral (
    select * from bide.units u where u.execution = n.execution and u.number = n.number
    offset 0 for update
) l

-- name: read_units
select {units l} from unnest($1::bide.unit_key[]) n
cross join lateral (
    select * from bide.units u where u.execution = n.execution and u.number = n.number offset 0
) l

-- name: read_interactions
-- Without a lock of their own: whoever changes an interaction holds its unit.
select {interactions l|request=null,answer=null,output=null} from unnest($1::bide.interaction_key[]) n
cross join lateral (
    select * from bide.interactions i
    where i.execution = n.execution and i.unit = n.unit and i.item = n.item
        and i.generation = n.generation
    offset 0
) l

-- name: read_dispatches
-- Without a lock of their own, like their interactions.
select {dispatches l} from unnest($1::bide.interaction_key[]) n
cross join lateral (
    select * from bide.dispatches d
    where d.execution = n.execution and d.unit = n.unit and d.item = n.item
        and d.generation = n.generation
    offset 0
) l

-- name: read_requests
select {interactions l} from unnest($1::bide.interaction_key[]) n
cross join lateral (
    select * from bide.interactions i
    where i.execution = n.execution and i.unit = n.unit and i.item = n.item
        and i.generation = n.generation
    offset 0
) l

-- name: due_dispatches
-- Looked up before their units are locked, since units come first.
select l.execution, l.unit, l.item, l.generation
from unnest($1::text[], $2::int4[]) n (route, most)
cross join lateral (
    select * from bide.dispatches d
    where d.route = n.route and d.due_at <= $3
    order by d.due_at, d.execution, d.unit, d.item, d.generation limit n.most
) l

-- name: count_in_flight
-- Those whose lease ran out are due themselves.
select c.count from unnest($1::text[], $2::text[], $3::int4[])
    with ordinality n (pipeline, step_id, most, place)
cross join lateral (
    select count(*)::int4 from (
        select from bide.dispatches d
        where d.pipeline = n.pipeline and d.step_id = n.step_id and d.in_flight
            and (d.due_at is null or d.due_at > $4)
        limit n.most
    ) f
) c
order by n.place

-- name: read_items
select {interactions l} from unnest($1::bide.item_range[]) n
cross join lateral (
    select * from bide.interactions i
    where i.execution = n.execution and i.unit = n.unit and i.item >= n.first and i.item < n.stop
        and i.generation = 0
    offset 0
) l

-- name: lock_handoffs
select {handoffs l} from unnest($1::uuid[]) n (id)
cross join lateral (
    select * from bide.handoffs h where h.id = n.id offset 0 for update
) l

-- name: due_handoffs
select {handoffs l} from unnest($1::text[], $2::int4[]) n (publication, most)
cross join lateral (
    select * from bide.handoffs h
    where h.publication = n.publication and h.due_at <= $3
    order by h.due_at, h.id limit n.most
    for update skip locked
) l

-- name: lock_executions
-- They come last, so the time is read here: in a row behind theirs, when all of them are locked.
select {executions l} from unnest($1::uuid[]) n (id)
cross join lateral (
    select * from bide.executions e where e.id = n.id offset 0 for update
) l
union all
select {executions t|*=null,due_at=t.now} from (
    select greatest(
        coalesce($2::int8, (extract(epoch from clock_timestamp()) * 1000)::int8), c.last_value
    ) as now
    from bide.clock c
) t

-- name: read_inputs
select l.execution, l.body from unnest($1::uuid[]) n (execution)
cross join lateral (
    select * from bide.inputs i where i.execution = n.execution offset 0
) l

-- name: read_answers
-- Of units with one interaction; a second asking of it counts where the first gave nothing.
select l.execution, l.body from unnest($1::bide.unit_key[]) n
cross join lateral (
    select i.execution, coalesce(i.output, i.answer) as body from bide.interactions i
    where i.execution = n.execution and i.unit = n.number and i.item = 0
        and coalesce(i.output, i.answer) is not null
    offset 0
) l

-- name: claim_due
-- What is due by what the worker can run, in turn from each tenant, the oldest first. The recursion
-- hops from one (fingerprint, tenant) to the next, one look into the index each, so that it costs as
-- many looks as there are tenants with something to do, however much each of them has.
with recursive groups as (
    select g.* from unnest($1::text[]) w (fingerprint)
    cross join lateral (
        select e.fingerprint, e.tenant, e.due_at from bide.executions e
        where e.fingerprint = w.fingerprint and e.due_at is not null
        order by e.tenant, e.due_at limit 1
    ) g
    union all
    select h.* from groups g
    cross join lateral (
        select e.fingerprint, e.tenant, e.due_at from bide.executions e
        where e.fingerprint = g.fingerprint and e.tenant > g.tenant and e.due_at is not null
        order by e.tenant, e.due_at limit 1
    ) h
), waiting as materialized (
    select g.fingerprint, g.tenant from groups g where g.due_at <= $2 order by g.due_at limit $3
), share as materialized (
    select ($3 + count(*) - 1) / greatest(count(*), 1) as most from waiting
)
select {executions l} from waiting w
cross join lateral (
    select * from bide.executions e
    where e.fingerprint = w.fingerprint and e.tenant = w.tenant and e.due_at <= $2
    order by e.due_at limit (select most from share)
    for update skip locked
) l
limit $3

-- name: reroute
update bide.dispatches d set route = $3
where d.execution = $1 and d.unit = $2 and d.due_at is not null

-- name: renew
with held as (
    select l.id, l.fence from unnest($1::bide.lease[]) n
    cross join lateral (
        select e.id, e.fence from bide.executions e
        where e.id = n.id and e.fence = n.fence and e.status = 2
        offset 0 for update
    ) l
)
-- As in writes.sql, no merge join can be made of this comparison.
update bide.executions e set due_at = $2 from held h where e.id = any (array[h.id])
returning e.id, e.fence
