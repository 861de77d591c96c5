-- Interactions that have to be sent. Those of an inbox have no row here, and nothing to keep in step.

alter table units add column sends integer not null default 0;

create table dispatches (
    execution blob not null,
    unit integer not null,
    item integer not null,
    generation integer not null,
    tenant text not null,
    pipeline text not null,
    step_id text not null,
    route text not null,
    due_at integer,
    in_flight integer not null,
    attempts integer not null,
    fence integer not null,
    owner text,
    dispatched_at integer,
    exhausted integer not null,
    error text check (not instr(error, char(0))),
    primary key (execution, unit, item, generation)
) without rowid;

-- What somebody has to look at, by who can send it.
create index dispatches_due on dispatches (route, due_at) where due_at is not null;

-- What is out and not answered, by await.
create index dispatches_in_flight on dispatches (pipeline, step_id, due_at) where in_flight = 1;
