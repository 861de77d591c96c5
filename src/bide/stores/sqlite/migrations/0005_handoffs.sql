-- What executions have published, a row for each target, and which publications made an execution.
-- Those that publish nothing, and those that were submitted, have no row here.

create table handoffs (
    id blob primary key,
    tenant text not null,
    execution blob not null,
    pipeline text not null,
    publication text not null,
    target text not null,
    key text not null check (not instr(key, char(0))),
    status integer not null,
    created_at integer not null,
    updated_at integer not null,
    due_at integer,
    body blob,
    attempts integer not null,
    fence integer not null,
    owner text,
    admitted_as blob,
    duplicate integer not null,
    error_code text check (not instr(error_code, char(0))),
    error text check (not instr(error, char(0)))
) without rowid;

create index handoffs_of_execution on handoffs (execution);

-- What has to be offered to another deployment, by who can.
create index handoffs_due on handoffs (publication, due_at) where due_at is not null;

create table origins (
    execution blob not null,
    source blob not null,
    tenant text not null check (not instr(tenant, char(0))),
    pipeline text not null check (not instr(pipeline, char(0))),
    publication text not null,
    key text not null check (not instr(key, char(0))),
    at integer not null,
    primary key (execution, source)
) without rowid;
