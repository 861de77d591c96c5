-- In which trace an execution goes on. Those that nobody traces have no row here, and no column that
-- would take a byte of theirs.

create table traces (
    execution blob primary key,
    tenant text not null,
    parent text not null check (not instr(parent, char(0))),
    state text check (not instr(state, char(0)))
) without rowid;
