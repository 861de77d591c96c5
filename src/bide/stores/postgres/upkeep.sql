-- What workers say of themselves, what a sweep looks at, and what retention removes.

-- name: new_boundary
insert into bide.boundaries values ($1, $2, $3, $4, $5) on conflict (fingerprint) do nothing

-- name: put_worker
insert into bide.workers values ($1, $2, $3, $4)
on conflict (id) do update set
    started_at = excluded.started_at, seen_at = excluded.seen_at,
    fingerprints = excluded.fingerprints

-- name: forget_worker
delete from bide.workers where id = $1

-- name: forget_lost_workers
delete from bide.workers where seen_at < $1

-- name: pause
insert into bide.paused values ($1, $2) on conflict (pipeline) do nothing

-- name: resume
delete from bide.paused where pipeline = $1

-- name: expired
-- Tenant by tenant, which the index gives one after another, the longest overdue first in each.
with recursive tenants as (
    (select i.tenant from bide.interactions i where i.status < 4
        order by i.tenant, i.deadline_at limit 1)
    union all
    select following.tenant from tenants t
    cross join lateral (
        select i.tenant from bide.interactions i where i.status < 4 and i.tenant > t.tenant
        order by i.tenant, i.deadline_at limit 1
    ) following
)
select l.execution, l.unit, l.item, l.generation from tenants t
cross join lateral (
    select i.execution, i.unit, i.item, i.generation from bide.interactions i
    where i.tenant = t.tenant and i.status < 4 and i.deadline_at < $1
    order by i.deadline_at limit $2
) l
limit $2

-- name: units_left_open
select l.execution, l.number from bide.units_left_open l order by l.execution, l.number limit $1

-- name: open_items
select i.execution, i.unit, i.item, i.generation from bide.interactions i
where i.execution = $1 and i.unit = $2 and i.item >= $3 and i.status < 4
order by i.item, i.generation limit $4

-- name: units_expired
select d.execution, d.number from bide.units_with_deadline d
where d.deadline_at < $1 order by d.deadline_at limit $2

-- name: expired_early
select c.tenant, c.key, c.scope from bide.correlations c
where c.expires_at < $1 order by c.expires_at limit $2

-- name: retirable
select e.id, e.status, e.updated_at,
    exists (select from bide.handoffs h where h.execution = e.id and h.due_at is not null)
from bide.executions e where e.id > $1 order by e.id limit $2

-- name: retire
-- Everything of these executions but their submit keys. Their units are locked first, as whoever
-- completes an interaction locks them: that one finds all of its rows or none.
with held as materialized (
    select u.execution, u.number from bide.units u where u.execution = any ($1::uuid[])
    order by u.execution, u.number for update
), units as (
    delete from bide.units t using held h
    where t.execution = any (array[h.execution]) and t.number = h.number
),
left_open as (delete from bide.units_left_open t where t.execution = any ($1)),
interactions as (delete from bide.interactions t where t.execution = any ($1)),
traces as (delete from bide.traces t where t.execution = any ($1)),
dispatches as (delete from bide.dispatches t where t.execution = any ($1)),
results as (delete from bide.results t where t.execution = any ($1)),
rejects as (delete from bide.rejects t where t.execution = any ($1)),
refusals as (delete from bide.refusals t where t.execution = any ($1)),
journal as (delete from bide.journal t where t.execution = any ($1)),
inputs as (delete from bide.inputs t where t.execution = any ($1)),
letters as (
    delete from bide.dead_letters t where t.id = any ($1) or t.id in (
        select h.id from bide.handoffs h where h.execution = any ($1)
    )
),
handoffs as (
    -- One that is offered again since stays, and goes its way.
    delete from bide.handoffs t where t.execution = any ($1) and t.due_at is null
),
origins as (delete from bide.origins t where t.execution = any ($1)),
keys as (delete from bide.correlations t where t.execution = any ($1) and t.early is null),
unheld as (
    update bide.correlations t set
        version = version + 1, execution = null, unit = null, item = null, generation = null
    where t.execution = any ($1) and t.early is not null
)
delete from bide.executions t where t.id = any ($1)

-- name: forget_audit
delete from bide.audit where id in (
    select a.id from bide.audit a where a.id < $1 order by a.id limit $2
)
returning 1

-- name: retire_unowned_letters
delete from bide.dead_letters where execution is null and created_at < $1 returning 1

-- name: retire_unowned_refusals
delete from bide.refusals where unit = 0 and created_at < $1 returning 1

-- name: keys_page
select k.tenant, k.pipeline, k.key, k.created_at from bide.submit_keys k
where (k.tenant, k.pipeline, k.key) > ($1, $2, $3)
order by k.tenant, k.pipeline, k.key limit $4

-- name: forget_keys
with gone as (
    delete from bide.submit_keys k using unnest($1::bide.submit_key[]) n
    where k.tenant = any (array[n.tenant]) and k.pipeline = n.pipeline and k.key = n.key
        and not exists (select from bide.executions e where e.id = any (array[k.execution]))
    returning k.execution
), origins as (
    -- Of repeats that came when the execution had been retired.
    delete from bide.origins o using gone g where o.execution = any (array[g.execution])
)
select 1 from gone
