-- In which trace an execution goes on. Those that nobody traces have no row here.

create table bide.traces (
    execution uuid primary key,
    tenant text collate "C" not null,
    parent text collate "C" not null,
    state text collate "C"
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
