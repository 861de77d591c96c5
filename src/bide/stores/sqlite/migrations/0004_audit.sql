-- Who decided what, by which credential, on what they were shown; kept longer than what it is about.
create table audit (
    id blob primary key,
    tenant text not null check (not instr(tenant, char(0))),
    at integer not null,
    deed text not null,
    outcome text not null,
    actor text check (not instr(actor, char(0))),
    credential text not null check (not instr(credential, char(0))),
    execution blob,
    unit integer,
    item integer,
    generation integer,
    shown blob,
    detail text check (not instr(detail, char(0)))
) without rowid;

create index audit_of_tenant on audit (tenant, id);
create index audit_of_execution on audit (execution, id) where execution is not null;
