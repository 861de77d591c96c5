-- Interactions that have to be sent. Those of an inbox have no row here, and nothing to keep in step.

alter table bide.units add column sends boolean not null default false;

create table bide.dispatches (
    execution uuid not null,
    due_at bigint,
    dispatched_at bigint,
    unit integer not null,
    item integer not null,
    generation integer not null,
    attempts integer not null,
    fence integer not null,
    in_flight boolean not null,
    exhausted boolean not null,
    tenant text collate "C" not null,
    pipeline text collate "C" not null,
    step_id text collate "C" not null,
    route text collate "C" not null,
    owner text collate "C",
    error text collate "C",
    primary key (execution, unit, item, generation)
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);

-- What somebody has to look at, by who can send it.
create index dispatches_due on bide.dispatches (route, due_at) where due_at is not null;

-- What is out and not answered, by await.
create index dispatches_in_flight on bide.dispatches (pipeline, step_id, due_at) where in_flight;
