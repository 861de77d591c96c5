-- What `bide doctor` asks the server. Nothing here locks a table or takes a superuser; sessions of
-- other users show their ages to members of pg_monitor alone.

-- name: server
select
    current_setting('server_version_num')::integer,
    current_setting('server_version'),
    pg_is_in_recovery() or current_setting('default_transaction_read_only') = 'on',
    current_setting('fsync') = 'on' and current_setting('full_page_writes') = 'on',
    current_setting('synchronous_commit') <> 'off',
    current_setting('autovacuum') = 'on' and current_setting('track_counts') = 'on',
    current_setting('max_connections')::integer
        - current_setting('superuser_reserved_connections')::integer
        - coalesce(current_setting('reserved_connections', true)::integer, 0),
    (select sum(numbackends) from pg_stat_database)::integer

-- name: lacking_rights
select l.name || ': ' || string_agg(lower(l.needed), ', ' order by l.needed)
from (
    select c.relname as name, p.needed
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    cross join unnest(array['SELECT', 'INSERT', 'UPDATE', 'DELETE']) as p (needed)
    where n.nspname = 'bide' and c.relkind in ('r', 'p')
        and (c.relname <> 'migrations' or p.needed = 'SELECT')
        and not has_table_privilege(c.oid, p.needed)
    union all
    select c.relname, p.needed
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    cross join unnest(array['SELECT', 'UPDATE']) as p (needed)
    where n.nspname = 'bide' and c.relkind = 'S' and not has_sequence_privilege(c.oid, p.needed)
) l
group by l.name
order by l.name

-- name: valid_indexes
select c.relname
from pg_index i
join pg_class c on c.oid = i.indexrelid
join pg_namespace n on n.oid = c.relnamespace
where n.nspname = 'bide' and i.indisvalid

-- name: tables
select s.relname, s.n_live_tup, s.n_dead_tup,
    coalesce('autovacuum_enabled=false' = any (c.reloptions), false)
from pg_stat_all_tables s
join pg_class c on c.oid = s.relid
where s.schemaname = 'bide'
order by s.relname

-- name: old_transactions
select 'session ' || pid || ' of ' || coalesce(usename, '?')
    || coalesce(' (' || nullif(application_name, '') || ')', ''),
    extract(epoch from clock_timestamp() - xact_start)::integer
from pg_stat_activity
where pid <> pg_backend_pid() and backend_type = 'client backend' and xact_start is not null
union all
select 'prepared transaction ' || gid, extract(epoch from clock_timestamp() - prepared)::integer
from pg_prepared_xacts
where database = current_database()
order by 2 desc
limit 100

-- name: hidden_sessions
select count(*)
from pg_stat_activity
where backend_type is null and datid is not null

-- name: idle_slots
select slot_name
from pg_replication_slots
where not active and (xmin is not null or catalog_xmin is not null)
