-- What executions have published, a row for each target, and which publications made an execution.
-- Those that publish nothing, and those that were submitted, have no row here.

create table bide.handoffs (
    id uuid primary key,
    execution uuid not null,
    admitted_as uuid,
    created_at bigint not null,
    updated_at bigint not null,
    due_at bigint,
    attempts integer not null,
    fence integer not null,
    status smallint not null,
    duplicate boolean not null,
    tenant text collate "C" not null,
    pipeline text collate "C" not null,
    publication text collate "C" not null,
    target text collate "C" not null,
    key text collate "C" not null,
    owner text collate "C",
    error_code text collate "C",
    error text collate "C",
    body bytea
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);

create index handoffs_of_execution on bide.handoffs (execution);

-- What has to be offered to another deployment, by who can.
create index handoffs_due on bide.handoffs (publication, due_at) where due_at is not null;

create table bide.origins (
    execution uuid not null,
    source uuid not null,
    at bigint not null,
    tenant text collate "C" not null,
    pipeline text collate "C" not null,
    publication text collate "C" not null,
    key text collate "C" not null,
    primary key (execution, source)
);

create type bide.new_handoffs as (
    id uuid, tenant text, execution uuid, pipeline text, publication text, target text, key text,
    status int2, created_at int8, updated_at int8, due_at int8, body bytea, attempts int4,
    fence int4, owner text, admitted_as uuid, duplicate bool, error_code text, error text
);

create type bide.change_handoffs as (
    id uuid, fence_then int4, status_then int2, status int2, updated_at int8, due_at int8,
    body bytea, attempts int4, fence int4, owner text, admitted_as uuid, duplicate bool,
    error_code text, error text
);

create type bide.put_origins as (
    execution uuid, source uuid, tenant text, pipeline text, publication text, key text, at int8
);
