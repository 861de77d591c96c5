-- Tables of the PostgreSQL store, in a schema of their own, since users keep theirs beside them.
--
-- Path keys that sort by time: related rows lie together and new ones go to the right edge of every
-- index. Texts that are compared are in the order of their code points, whatever the database's
-- locale is. Numbers stand before texts, which saves the padding; statements name their columns.
--
-- What somebody has to look at is found by a partial index over the rows themselves. A narrow table
-- of what is due, which would let updates touch no index, was measured beside it and costs more in
-- every respect (docs/decisions/0005-postgresql.md). Where hardly any row qualifies, though, an index
-- would cost each update for nothing: `units_with_deadline` and `units_left_open` are tables that the
-- store writes beside their rows, in the same commit.
--
-- No foreign keys: hot tables would lock each other's rows, and a commit writes them together.

create table bide.executions (
    id uuid not null,
    created_at bigint not null,
    updated_at bigint not null,
    due_at bigint,
    version integer not null,
    step_index integer not null,
    attempt integer not null,
    takeovers integer not null,
    fence integer not null,
    units integer not null,
    resumed integer not null,
    status smallint not null,
    tenant text collate "C" not null,
    pipeline text collate "C" not null,
    fingerprint text collate "C" not null,
    owner text collate "C",
    error_code text collate "C",
    error_message text collate "C",
    result bytea,
    result_count integer,
    redriven_from uuid,
    entry text collate "C",
    primary key (id)
) with (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.05);

-- What somebody has to look at, by what a worker can run, and within that by tenant, so that a claim
-- can take from each in turn. Parked and ended executions are not in it.
create index executions_due on bide.executions (fingerprint, tenant, due_at)
    where due_at is not null;

-- What was made for executions that had not succeeded; most have none, and cost nothing here.
create index executions_redriven on bide.executions (redriven_from, id)
    where redriven_from is not null;

create table bide.inputs (
    execution uuid not null,
    body bytea not null,
    primary key (execution)
);

create table bide.submit_keys (
    execution uuid not null,
    created_at bigint not null,
    tenant text collate "C" not null,
    pipeline text collate "C" not null,
    key text collate "C" not null,
    digest bytea not null,
    primary key (tenant, pipeline, key)
);

create table bide.units (
    execution uuid not null,
    created_at bigint not null,
    updated_at bigint not null,
    deadline_at bigint,
    number integer not null,
    step_index integer not null,
    appended integer not null,
    total integer,
    settled integer not null,
    missing integer not null,
    tolerated integer,
    tolerated_ppm integer,
    status smallint not null,
    per_item boolean not null,
    has_fallback boolean not null,
    tenant text collate "C" not null,
    step_id text collate "C" not null,
    fingerprint text collate "C" not null,
    primary key (execution, number)
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);

-- A row for each open unit that has a deadline of its own, which few have.
create table bide.units_with_deadline (
    deadline_at bigint not null,
    execution uuid not null,
    number integer not null,
    primary key (deadline_at, execution, number)
);

-- A row for each unit that has ended and left interactions open behind it.
create table bide.units_left_open (
    execution uuid not null,
    number integer not null,
    primary key (execution, number)
);

create table bide.interactions (
    execution uuid not null,
    deadline_at bigint not null,
    created_at bigint not null,
    updated_at bigint not null,
    unit integer not null,
    item integer not null,
    generation integer not null,
    duplicates integer not null,
    refusals integer not null,
    status smallint not null,
    source smallint,
    tenant text collate "C" not null,
    step_id text collate "C" not null,
    group_name text collate "C",
    assignee text collate "C",
    key text collate "C",
    correlation text collate "C",
    request bytea not null,
    fallback bytea,
    answer bytea,
    output bytea,
    answer_digest bytea,
    actor text collate "C",
    error_code text collate "C",
    error_message text collate "C",
    primary key (execution, unit, item, generation)
) with (autovacuum_vacuum_scale_factor = 0.05);

-- The inbox, oldest deadline first; the sweeper reads it too.
create index interactions_open on bide.interactions (tenant, deadline_at) where status < 4;

create table bide.results (
    execution uuid not null,
    item integer not null,
    body bytea not null,
    primary key (execution, item)
);

create table bide.journal (
    execution uuid not null,
    at bigint not null,
    version integer not null,
    unit integer,
    kind smallint not null,
    detail text collate "C",
    primary key (execution, version)
);

create table bide.dead_letters (
    id uuid not null,
    created_at bigint not null,
    attempts integer not null,
    kind smallint not null,
    status smallint,
    execution uuid,
    tenant text collate "C" not null,
    pipeline text collate "C" not null,
    code text collate "C" not null,
    message text collate "C" not null,
    step_id text collate "C",
    correlation text collate "C",
    payload bytea,
    actor text collate "C",
    primary key (id)
);

create index dead_letters_unowned on bide.dead_letters (created_at) where execution is null;

create table bide.rejects (
    execution uuid not null,
    created_at bigint not null,
    step_index integer not null,
    item integer not null,
    tenant text collate "C" not null,
    pipeline text collate "C" not null,
    step_id text collate "C" not null,
    fingerprint bytea not null,
    reason text collate "C" not null,
    body bytea not null,
    primary key (execution, step_index, item)
);

-- Who asked last under a correlation key, and an answer that came before its question. The scope
-- stands last in the path: a key alone is looked up in all scopes.
create table bide.correlations (
    expires_at bigint,
    version integer not null,
    unit integer,
    item integer,
    generation integer,
    duplicates integer not null,
    refusals integer not null,
    tenant text collate "C" not null,
    key text collate "C" not null,
    scope text collate "C" not null,
    execution uuid,
    early uuid,
    pipeline text collate "C",
    step_id text collate "C",
    answer bytea,
    digest bytea,
    actor text collate "C",
    error_code text collate "C",
    error_message text collate "C",
    fingerprint text collate "C",
    primary key (tenant, key, scope)
);

create index correlations_held on bide.correlations (execution) where execution is not null;
create index correlations_early on bide.correlations (expires_at) where expires_at is not null;

create table bide.refusals (
    execution uuid not null,
    created_at bigint not null,
    unit integer not null,
    item integer not null,
    generation integer not null,
    sequence integer not null,
    tenant text collate "C" not null,
    outcome text collate "C" not null,
    digest bytea not null,
    payload bytea,
    actor text collate "C",
    primary key (execution, unit, item, generation, sequence)
);

-- Those that met an early answer and no interaction.
create index refusals_unowned on bide.refusals (created_at) where unit = 0;

-- What a fingerprint stands for, written once.
create table bide.boundaries (
    fingerprint text collate "C" primary key,
    pipeline text collate "C" not null,
    step_id text collate "C" not null,
    shape text collate "C" not null,
    schemas text collate "C" not null
);

-- Who claims what.
create table bide.workers (
    id text collate "C" primary key,
    started_at bigint not null,
    seen_at bigint not null,
    fingerprints text[] not null
) with (fillfactor = 50);

-- Pipelines of which nothing is claimed.
create table bide.paused (
    pipeline text collate "C" primary key,
    since bigint not null
);

-- One row for each connection that writes: the number of its last commit, by which a commit of
-- unknown outcome is looked up, and when that was.
create table bide.writers (
    name text collate "C" primary key,
    last_commit bigint not null,
    at bigint not null
) with (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- The highest time that a commit has read. A sequence, because it is written by every commit: it
-- has one version, so nothing of it is ever dead, and no transaction waits for another to end.
create sequence bide.clock minvalue 0 start 0;
