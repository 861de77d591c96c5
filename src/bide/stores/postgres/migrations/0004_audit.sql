-- Who decided what, by which credential, on what they were shown; kept longer than what it is about.
create table bide.audit (
    id uuid not null,
    execution uuid,
    at bigint not null,
    unit integer,
    item integer,
    generation integer,
    tenant text collate "C" not null,
    deed text collate "C" not null,
    outcome text collate "C" not null,
    actor text collate "C",
    credential text collate "C" not null,
    shown bytea,
    detail text collate "C",
    primary key (id)
);

create index audit_of_tenant on bide.audit (tenant, id);
create index audit_of_execution on bide.audit (execution, id) where execution is not null;
