"""What `bide bench` measures is what it says."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import apsw
import pytest

from bide.bench import limit_postgres
from bide.bench.databases import old_snapshot
from bide.bench.environment import environment, file_system
from bide.bench.figures import Latency, WrongResult, latency, rate
from bide.bench.limit import limit_items, limit_park_resume, limit_submit, shuffled
from bide.bench.measure import Job, drive, measure_parked
from bide.bench.workloads import Load
from bide.cli.root import run as bide
from bide.stores.postgres.connection import connect
from bide.stores.rows import COLUMNS
from bide.stores.sqlite.connection import open_writer
from tests.servers.postgres import PostgresServer

KEYS = [
    "workload", "store", "n", "per_second", "limit_per_second", "cpu_us", "latency_ms", "rss_mib",
    "bytes_per_parked",
]  # fmt: skip
TABLES = ("executions", "inputs", "units", "interactions", "journal", "results")


#: What differs from run to run, or says which of the two has written it.
VOLATILE = {
    "id", "execution", "due_at", "created_at", "updated_at", "deadline_at", "at", "detail",
    "fingerprint", "answer_digest", "owner", "step_id", "fence", "answer", "request", "body",
    "result", "attempt",
}  # fmt: skip
Found = dict[str, list[tuple[object, ...]]]


def selected(table: str, columns: Iterable[str]) -> str:
    """The rows of a table that belong to executions of a pipeline, without what is volatile."""
    listed = ", ".join(name for name in columns if name not in VOLATILE) or "1"
    key = "id" if table == "executions" else "execution"
    where = f"{key} in (select id from executions where pipeline = $1)"
    return f"select {listed} from {table} where {where}"


def rows(path: Path, pipeline: str) -> Found:
    """What stands in the tables of an SQLite file for executions of a pipeline."""
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    found: Found = {}
    for table in TABLES:
        columns = [str(row[1]) for row in db.execute(f"pragma table_info({table})")]
        found[table] = sorted(db.execute(selected(table, columns), (pipeline,)), key=repr)
    db.close()
    return found


async def postgres_rows(store: str, pipeline: str) -> Found:
    """The same of a PostgreSQL database."""
    db = await connect(store)
    await db.execute("set search_path = bide")
    found: Found = {}
    for table in TABLES:
        text = selected(table, COLUMNS[table])
        found[table] = sorted(map(tuple, await db.fetch(text, pipeline)), key=repr)
    await db.close()
    return found


def check_fair(limit: Found, ours: Found) -> None:
    """Table by table, the limit has left what the workload left."""
    assert {table for table, found in limit.items() if found} == {
        table for table, found in ours.items() if found
    }
    for table, found in limit.items():
        assert set(found) <= set(ours[table]), table


@pytest.mark.slow
@pytest.mark.parametrize(
    ("workload", "write"),
    [("park-resume", limit_park_resume), ("items", limit_items), ("submit", limit_submit)],
)
def test_the_limit_writes_the_rows_that_bide_writes(
    tmp_path: Path, workload: str, write: Callable[[Path, int, bytes], float]
) -> None:
    """Table by table the limit leaves what the workload leaves, so that it is a fair limit."""
    n = 600 if workload == "items" else 20
    drive(f"sqlite:///{tmp_path / 'bide.db'}", Job(workload, Load(n, lanes=1)))
    write(tmp_path / "limit.db", n, b"{}")

    ours = rows(tmp_path / "bide.db", f"bench-{workload}")
    limit = rows(tmp_path / "limit.db", f"bench-{workload}")

    check_fair(limit, ours)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("workload", "write"),
    [
        ("park-resume", limit_postgres.limit_park_resume),
        ("items", limit_postgres.limit_items),
        ("submit", limit_postgres.limit_submit),
    ],
)
def test_the_limit_of_postgres_writes_the_same_rows(
    postgres_server: PostgresServer,
    postgres_template: str,
    workload: str,
    write: Callable[[str, int, bytes], Awaitable[float]],
) -> None:
    """The same on PostgreSQL, whose limit is written by other statements."""
    n = 600 if workload == "items" else 20
    pipeline = f"bench-{workload}"
    with (
        postgres_server.database(template=postgres_template) as bide,
        postgres_server.database(template=postgres_template) as limit,
    ):
        drive(bide, Job(workload, Load(n, lanes=1)))
        rate = asyncio.run(write(limit, n, b"{}"))

        check_fair(
            asyncio.run(postgres_rows(limit, pipeline)), asyncio.run(postgres_rows(bide, pipeline))
        )
    assert rate > 0


@pytest.mark.slow
@pytest.mark.parametrize("workload", ["park-resume", "items", "hot-unit", "submit"])
def test_json_has_the_agreed_keys(
    workload: str, tmp_path: Path, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """One object with exactly the keys that others read, and nothing left behind."""
    monkeypatch.chdir(tmp_path)

    assert bide(["bench", workload, "-n", "40", "--json"]) == 0

    figure = json.loads(capfd.readouterr().out)
    assert list(figure) == KEYS
    assert (figure["workload"], figure["n"]) == (workload, 40)
    assert figure["per_second"] > 0
    assert figure["limit_per_second"] > 0
    assert figure["cpu_us"] > 0
    assert set(figure["latency_ms"]) == {"p50", "p99"}
    assert figure["rss_mib"] > 10
    assert (figure["bytes_per_parked"] is not None) == (workload == "park-resume")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_store_of_ones_own_is_measured_and_kept(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """--store is where the rows go; without a file there is no limit and no size."""
    monkeypatch.chdir(tmp_path)

    assert bide(["bench", "submit", "-n", "10", "--store", "memory://", "--json"]) == 0
    memory = json.loads(capfd.readouterr().out)
    url = "sqlite:///mine.db"
    assert (
        bide(["bench", "park-resume", "-n", "10", "--parked", "7", "--store", url, "--json"]) == 0
    )
    file = json.loads(capfd.readouterr().out)

    assert (memory["store"], memory["limit_per_second"]) == ("memory://", None)
    assert file["store"] == url
    assert (tmp_path / "mine.db").exists()


def test_memory_has_no_hot_unit(capfd: pytest.CaptureFixture[str]) -> None:
    """What other processes cannot reach cannot be answered by several: one line says so."""
    assert bide(["bench", "hot-unit", "-n", "10", "--store", "memory://"]) == 1

    assert "several processes" in capfd.readouterr().err


@pytest.mark.slow
def test_sleepers_do_not_count_in_the_latency(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a share of sleepers the latency is that of the executions that do not sleep."""
    monkeypatch.chdir(tmp_path)

    code = bide(["bench", "park-resume", "-n", "20", "--sleepers", "10%", "--lanes", "4", "--json"])

    assert code == 0
    assert json.loads(capfd.readouterr().out)["latency_ms"] is not None


@pytest.mark.slow
def test_what_is_parked_has_a_size(tmp_path: Path) -> None:
    """Bytes of the file for each execution that waits: more than its payload, and bounded."""
    size = measure_parked(f"sqlite:///{tmp_path / 'parked.db'}", Load(500))

    assert 300 < size < 3_000


@pytest.mark.slow
def test_postgres_is_measured_with_a_snapshot_held(
    postgres_store: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a server what is parked has a size as well, and an old snapshot keeps nothing from it."""
    monkeypatch.chdir(tmp_path)
    words = ["bench", "park-resume", "-n", "20", "--parked", "300", "--old-snapshot", "--json"]

    code = bide([*words, "--store", postgres_store])

    figure = json.loads(capfd.readouterr().out)
    assert code == 0
    assert figure["per_second"] > 0
    assert figure["limit_per_second"] > 0
    assert 300 < figure["bytes_per_parked"] < 3_000
    assert ":***@" in figure["store"]


async def test_a_snapshot_of_sqlite_is_held(tmp_path: Path) -> None:
    """While it is held the log cannot be cut; afterwards it can."""
    path = str(tmp_path / "bide.db")
    writer = open_writer(path)
    truncate = "pragma wal_checkpoint(truncate)"
    write = "insert into paused values (?, 0)"
    writer.execute("pragma busy_timeout = 0")

    async with old_snapshot(f"sqlite:///{path}"):
        writer.execute(write, ("first",))
        [[held, *_]] = writer.execute(truncate).fetchall()
    writer.execute(write, ("second",))
    [[free, *_]] = writer.execute(truncate).fetchall()
    writer.close()

    assert (held, free) == (1, 0)


async def test_a_snapshot_of_postgres_is_held(postgres_store: str) -> None:
    """While it is held the server keeps what it could see; afterwards it need not."""
    holders = (
        "select count(*) from pg_stat_activity"
        " where datname = current_database() and backend_xmin is not null"
        " and pid <> pg_backend_pid()"
    )
    db = await connect(postgres_store)

    async with old_snapshot(postgres_store):
        held = await db.fetchval(holders)
    while free := await db.fetchval(holders):  # the server ends a session after its client
        await asyncio.sleep(0.01)
    await db.close()

    assert (held, free) == (1, 0)


async def test_memory_has_no_snapshot() -> None:
    """What has no snapshots says so, in place of a figure that would mean nothing."""
    with pytest.raises(WrongResult, match="no snapshots"):
        async with old_snapshot("memory://"):
            pass


def test_a_payload_has_the_size_that_was_asked_for() -> None:
    """`--payload` is the size of the JSON, to a few bytes."""
    for size in (100, 4_096):
        assert abs(len(Load(1, payload=size).parcel(12_345).model_dump_json()) - size) <= 8


def test_latency_is_by_nearest_rank() -> None:
    """Of a hundred durations the fiftieth and the ninety-ninth are told, in milliseconds."""
    assert latency([n / 1_000 for n in range(100, 0, -1)]) == Latency(p50=50.0, p99=99.0)
    assert latency([0.002]) == Latency(p50=2.0, p99=2.0)
    assert latency([]) is None


def test_a_mixed_order_is_the_same_in_every_run() -> None:
    """Answers go out in an order that is not the items', and is repeated by the next run."""
    assert shuffled(100) == shuffled(100)
    assert shuffled(100) != list(range(100))
    assert sorted(shuffled(100)) == list(range(100))


def test_the_environment_is_one_line(tmp_path: Path) -> None:
    """Cores, Python, SQLite and the file system, without which a figure says nothing."""
    assert "Python" in environment()
    assert len(environment().splitlines()) == 1
    assert file_system(tmp_path)
    assert rate(10, 2.0) == 5.0


@pytest.mark.parametrize("share", ["x", "-1%", "101%", "2"])
def test_a_share_that_is_none_is_refused(share: str, capfd: pytest.CaptureFixture[str]) -> None:
    """`--sleepers` takes a share and nothing else."""
    assert bide(["bench", "park-resume", "--sleepers", share]) == 2
    assert "--sleepers" in capfd.readouterr().err


@pytest.mark.parametrize("url", ["oracle://x", "sqlite:////proc/bench.db"])
def test_a_store_that_does_not_open_is_one_line(
    url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What goes wrong in the process that measures is told by the command, in one line."""
    monkeypatch.chdir(tmp_path)

    assert bide(["bench", "submit", "-n", "1", "--store", url]) == 1

    assert len(capfd.readouterr().err.splitlines()) == 1
