-- Path keys: related rows lie together and new ones go to the right edge of every table, which is
-- worth a factor of thirteen here. So the tables have no rowid of their own.
--
-- Texts that users choose may hold no NUL: PostgreSQL cannot keep it, and what one store admits
-- every store must. The checks on them say so; they cost nothing beside the write itself.

create table executions (
    id blob primary key,
    tenant text not null check (not instr(tenant, char(0))),
    pipeline text not null check (not instr(pipeline, char(0))),
    status integer not null,
    version integer not null,
    fingerprint text not null,
    step_index integer not null,
    attempt integer not null,
    takeovers integer not null,
    fence integer not null,
    owner text,
    due_at integer,
    units integer not null,
    resumed integer not null,
    created_at integer not null,
    updated_at integer not null,
    error_code text check (not instr(error_code, char(0))),
    error_message text check (not instr(error_message, char(0))),
    result blob,
    result_count integer,
    redriven_from blob,
    entry text
) without rowid;

-- What somebody has to look at, by what a worker can run. Parked and ended executions are not in it.
create index executions_due on executions (fingerprint, due_at) where due_at is not null;

-- What was made for executions that had not succeeded; most have none, and cost nothing here.
create index executions_redriven on executions (redriven_from, id) where redriven_from is not null;

create table inputs (
    execution blob primary key,
    body blob not null
) without rowid;

create table submit_keys (
    tenant text not null,
    pipeline text not null,
    key text not null check (not instr(key, char(0))),
    execution blob not null,
    digest blob not null,
    created_at integer not null,
    primary key (tenant, pipeline, key)
) without rowid;

create table units (
    execution blob not null,
    number integer not null,
    tenant text not null,
    step_id text not null,
    step_index integer not null,
    status integer not null,
    per_item integer not null,
    appended integer not null,
    total integer,
    settled integer not null,
    created_at integer not null,
    updated_at integer not null,
    fingerprint text not null,
    deadline_at integer,
    tolerated integer,
    tolerated_ppm integer,
    has_fallback integer not null default 0,
    missing integer not null default 0,
    primary key (execution, number)
) without rowid;

-- Open units with a deadline of their own, which few have.
create index units_with_deadline on units (deadline_at)
    where status = 1 and deadline_at is not null;

-- Units that have ended and left interactions open behind them.
create index units_left_open on units (execution, number)
    where status > 1 and settled < appended;

create table interactions (
    execution blob not null,
    unit integer not null,
    item integer not null,
    generation integer not null,
    tenant text not null,
    step_id text not null,
    status integer not null,
    group_name text check (not instr(group_name, char(0))),
    assignee text check (not instr(assignee, char(0))),
    deadline_at integer not null,
    created_at integer not null,
    updated_at integer not null,
    key text check (not instr(key, char(0))),
    request blob not null,
    fallback blob,
    answer blob,
    output blob,
    answer_digest blob,
    actor text check (not instr(actor, char(0))),
    source integer,
    duplicates integer not null,
    refusals integer not null,
    error_code text check (not instr(error_code, char(0))),
    error_message text check (not instr(error_message, char(0))),
    correlation text check (not instr(correlation, char(0))),
    primary key (execution, unit, item, generation)
) without rowid;

-- The inbox, oldest deadline first; the sweeper reads it too.
create index interactions_open on interactions (tenant, deadline_at) where status < 4;

create table results (
    execution blob not null,
    item integer not null,
    body blob not null,
    primary key (execution, item)
) without rowid;

create table journal (
    execution blob not null,
    version integer not null,
    kind integer not null,
    at integer not null,
    unit integer,
    detail text check (not instr(detail, char(0))),
    primary key (execution, version)
) without rowid;

create table dead_letters (
    id blob primary key,
    tenant text not null,
    pipeline text not null,
    kind integer not null,
    execution blob,
    status integer,
    code text not null,
    message text not null,
    step_id text check (not instr(step_id, char(0))),
    attempts integer not null,
    created_at integer not null,
    correlation text check (not instr(correlation, char(0))),
    payload blob,
    actor text check (not instr(actor, char(0)))
) without rowid;

create table rejects (
    execution blob not null,
    step_index integer not null,
    item integer not null,
    tenant text not null,
    pipeline text not null,
    step_id text not null,
    fingerprint blob not null,
    reason text not null check (not instr(reason, char(0))),
    body blob not null,
    created_at integer not null,
    primary key (execution, step_index, item)
) without rowid;

create index dead_letters_unowned on dead_letters (created_at) where execution is null;

-- Who asked last under a correlation key, and an answer that came before its question. The scope
-- stands last in the path: a key alone is looked up in all scopes.
create table correlations (
    tenant text not null,
    key text not null check (not instr(key, char(0))),
    scope text not null,
    version integer not null,
    execution blob,
    unit integer,
    item integer,
    generation integer,
    early blob,
    pipeline text,
    step_id text,
    answer blob,
    digest blob,
    actor text check (not instr(actor, char(0))),
    error_code text check (not instr(error_code, char(0))),
    error_message text check (not instr(error_message, char(0))),
    expires_at integer,
    duplicates integer not null,
    refusals integer not null,
    fingerprint text,
    primary key (tenant, key, scope)
) without rowid;

create index correlations_held on correlations (execution) where execution is not null;
create index correlations_early on correlations (expires_at) where expires_at is not null;

create table refusals (
    execution blob not null,
    unit integer not null,
    item integer not null,
    generation integer not null,
    sequence integer not null,
    tenant text not null,
    outcome text not null,
    digest blob not null,
    payload blob,
    actor text check (not instr(actor, char(0))),
    created_at integer not null,
    primary key (execution, unit, item, generation, sequence)
) without rowid;

-- Those that met an early answer and no interaction.
create index refusals_unowned on refusals (created_at) where unit = 0;

-- What a fingerprint stands for, written once.
create table boundaries (
    fingerprint text primary key,
    pipeline text not null,
    step_id text not null,
    shape text not null,
    schemas text not null
) without rowid;

-- Who claims what; the fingerprints as a JSON list.
create table workers (
    id text primary key,
    started_at integer not null,
    seen_at integer not null,
    fingerprints text not null
) without rowid;

-- Pipelines of which nothing is claimed.
create table paused (
    pipeline text primary key,
    since integer not null
) without rowid;

-- One row for each writing process: the number of its last commit, by which a commit of unknown
-- outcome is looked up, and the highest time that it has seen.
create table writers (
    name text primary key,
    last_commit integer not null,
    clock integer not null
) without rowid;
