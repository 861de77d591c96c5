"""`make bench-peers`: install the peers, measure all in turn, print, write JSON and a chart."""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.peers.chart import chart
from benchmarks.peers.contenders import CONTENDERS, Contender, NotMeasured, measure
from benchmarks.peers.install import NotInstalled, install, version
from benchmarks.peers.protocol import WORKLOADS
from benchmarks.peers.report import LEGEND, Standing, merged, table
from bide.bench.environment import environment, file_system
from tests.servers.postgres import PostgresServer

_MEMORY = ("tmpfs", "ramfs")
#: Opens a fresh store of a kind for one measurement.
Fresh = Callable[[str], Any]


def main() -> int:
    """Give 1 when something that is installed gave no figure."""
    given = _arguments()
    disk = file_system(Path(tempfile.gettempdir()))
    if disk in _MEMORY:
        print(f"{tempfile.gettempdir()} is memory, which syncs for free: set TMPDIR to a disk")
        return 1
    pythons, missing = _installed([one for one in CONTENDERS if one.name in given.only])
    figures, failed = _measured(pythons, given.n, given.runs)
    standings = [
        Standing(one, _label(one), {name: merged(runs) for name, runs in taken.items()})
        for one, taken in figures.items()
    ]
    where = f"n={given.n:,}, medians of {given.runs}; {environment()}, stores on {disk}"
    _print(standings, where, missing | failed)
    _write(given.out, standings, figures, where, missing | failed)
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    names = [one.name for one in CONTENDERS]
    reader = argparse.ArgumentParser(prog="make bench-peers", description=__doc__)
    reader.add_argument("-n", type=int, default=1_000, help="executions, and items of W2")
    reader.add_argument("--runs", type=int, default=3, help="take the medians of so many")
    reader.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME")
    reader.add_argument("--out", type=Path, default=Path("out/peers"), help="where files go")
    given = reader.parse_args()
    if given.n < 1 or given.runs < 1:
        reader.error("-n and --runs are at least 1")
    return given


def _installed(wanted: Sequence[Contender]) -> tuple[dict[Contender, Path], dict[str, str]]:
    """The Python of each contender, and what cannot be had, with the reason."""
    pythons: dict[Contender, Path] = {}
    missing: dict[str, str] = {}
    for one in wanted:
        try:
            pythons[one] = install(one.peer) if one.peer else Path(sys.executable)
        except NotInstalled as error:
            missing[one.name] = f"not installed: {error}"
    return pythons, missing


def _measured(
    pythons: dict[Contender, Path], n: int, runs: int
) -> tuple[dict[Contender, dict[str, list[Any]]], dict[str, str]]:
    """Every figure of every run, and what failed; contenders take turns within a run."""
    figures: dict[Contender, dict[str, list[Any]]] = {}
    failed: dict[str, str] = {}
    with _stores(one.store for one in pythons) as fresh:
        for run in range(runs):
            for one, python in pythons.items():
                if one.name in failed:
                    continue
                _say(f"run {run + 1} of {runs}: {_label(one)}")
                try:
                    taken = {name: _once(one, python, name, n, fresh) for name in WORKLOADS}
                except NotMeasured as error:
                    failed[one.name] = str(error)
                    figures.pop(one, None)
                    continue
                for name, figure in taken.items():
                    figures.setdefault(one, {}).setdefault(name, []).append(figure)
    return figures, failed


def _once(one: Contender, python: Path, workload: str, n: int, fresh: Fresh) -> Any:
    with fresh(one.store) as store:
        return measure(one, python, workload, n, store) | {"store": one.store}


@contextmanager
def _stores(kinds: Any) -> Generator[Fresh]:
    """How to open a fresh store of each kind; a server is started once, if one is needed."""
    with ExitStack() as stack:
        wanted = set(kinds)
        server = stack.enter_context(PostgresServer(durable=True)) if "postgres" in wanted else None

        @contextmanager
        def fresh(kind: str) -> Generator[str]:
            if kind == "postgres":
                assert server is not None
                with server.database() as address:
                    yield address
                return
            folder = Path(tempfile.mkdtemp(prefix="bide-peers-"))
            try:
                yield f"sqlite:///{folder / 'store.db'}" if kind == "sqlite" else f"file://{folder}"
            finally:
                shutil.rmtree(folder, ignore_errors=True)

        yield fresh


def _label(one: Contender) -> str:
    known = f" {version(one.peer)}" if one.peer else ""
    kind = (
        "" if one.store == "files" else {"sqlite": ", SQLite", "postgres": ", Postgres"}[one.store]
    )
    return f"{one.title}{known}{kind}"


def _print(standings: Sequence[Standing], where: str, missing: dict[str, str]) -> None:
    print(table(standings))
    print(LEGEND)
    print(where)
    for name, reason in missing.items():
        print(f"{name} is not in the table: {reason}")


def _write(
    folder: Path,
    standings: Sequence[Standing],
    figures: dict[Contender, dict[str, list[Any]]],
    where: str,
    missing: dict[str, str],
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "measured": where,
        "medians": {one.contender.name: one.figures for one in standings},
        "labels": {one.contender.name: one.label for one in standings},
        "runs": {one.name: taken for one, taken in figures.items()},
        "missing": missing,
    }
    (folder / "peers.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    (folder / "peers.svg").write_text(chart(standings, where), encoding="utf-8")
    print(f"written: {folder / 'peers.json'}, {folder / 'peers.svg'}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
