"""What `make bench-peers` measures is what it says, and what it cannot measure it names."""

import dataclasses
import json
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from benchmarks.peers import install as installing
from benchmarks.peers.chart import chart
from benchmarks.peers.contenders import CONTENDERS, Contender, NotMeasured, measure
from benchmarks.peers.install import LOCKS, NotInstalled, install, version
from benchmarks.peers.protocol import (
    WORKLOADS,
    Job,
    WrongResult,
    ask,
    calls,
    counted,
    expect,
    main,
    parcel,
)
from benchmarks.peers.report import Standing, idle_ratio, merged, ratio, table
from bide.bench.figures import Figure

ROOT = Path(__file__).parents[2]
BIDE_SQLITE, BIDE_POSTGRES = CONTENDERS[:2]
RESTATE = Contender("Restate", "files", "restate")
ABSURD = Contender("absurd", "postgres", "absurd")


class Instant:
    """A peer that asks, takes the answer and is done, all in memory; it keeps what it was given."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.ran: list[int] = []
        self.orders: list[list[int]] = []
        self.together = self.most = 0

    async def park_resume(self, number: int) -> float:
        self.together += 1
        self.most = max(self.most, self.together)
        ask(self.job.questions.asker, number, f"ref-{number}")
        assert await self.job.questions.of(number) == f"ref-{number}"
        self.ran.append(number)
        self.together -= 1
        return 0.002

    async def items(self, order: Sequence[int]) -> None:
        self.orders.append(list(order))

    async def submit(self, number: int) -> None:
        self.ran.append(number)


def measured(
    workload: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[dict[str, Any], Instant]:
    """The object that a script of this peer prints, and the peer."""
    peers: list[Instant] = []

    @asynccontextmanager
    async def opened(job: Job) -> AsyncIterator[Instant]:
        peers.append(Instant(job))
        yield peers[0]

    address = "postgresql://me:secret@127.0.0.1/x"
    arguments = ["--workload", workload, "--n", "7", "--store", address]
    monkeypatch.setattr(sys, "argv", ["peer", *arguments])
    main(opened, lanes=3)
    return json.loads(capsys.readouterr().out), peers[0]


@pytest.mark.parametrize("workload", WORKLOADS)
def test_a_script_prints_the_fields_of_bides_own_figure(
    workload: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every peer prints one object with the fields of `bide bench --json`, and no password."""
    figure, _ = measured(workload, monkeypatch, capsys)

    assert list(figure) == [field.name for field in dataclasses.fields(Figure)]
    assert figure["workload"] == workload
    assert figure["n"] == 7
    assert figure["per_second"] > 0
    assert figure["store"] == "postgresql"


def test_the_clock_covers_each_execution_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """W1 runs n executions after its warm-up, never more at a time than there are lanes."""
    figure, peer = measured("park-resume", monkeypatch, capsys)

    assert sorted(number for number in peer.ran if number < 7) == list(range(-7, 7))
    assert peer.most == 3
    assert figure["latency_ms"] == {"p50": 2.0, "p99": 2.0}


def test_items_are_answered_out_of_order(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """W2 names every item once, and not in the order in which they are asked."""
    _, peer = measured("items", monkeypatch, capsys)

    assert sorted(peer.orders[-1]) == list(range(7))
    assert peer.orders[-1] != list(range(7))


def test_what_is_wrong_is_no_figure() -> None:
    """A result of another execution, or items out of their order, make a measurement void."""
    in_order = [parcel(number) for number in range(5)]
    mixed = random.Random(1).sample(in_order, 5)

    assert counted(in_order) == {"number": 5}
    with pytest.raises(WrongResult, match="where 0 belongs"):
        counted(mixed)
    with pytest.raises(WrongResult, match="execution 3 gave"):
        expect({"number": 4}, 3)


def test_payloads_have_the_size_that_is_named() -> None:
    """A parcel is about a hundred bytes of JSON."""
    assert 80 <= len(json.dumps(parcel(999))) <= 110


def test_calls_hold_every_answer_once() -> None:
    """Answers that go out in calls are those of the order, none twice."""
    assert [list(call) for call in calls([3, 1, 2, 0, 4], 2)] == [[3, 1], [2, 0], [4]]


def figure(per_second: float, p50: float = 1.0) -> dict[str, Any]:
    latency = {"p50": p50, "p99": p50 * 2}
    return {"workload": "w", "per_second": per_second, "latency_ms": latency, "rss_mib": None}


def standing(contender: Contender, per_second: float, p50: float = 1.0) -> Standing:
    return Standing(
        contender, contender.name, {name: figure(per_second, p50) for name in WORKLOADS}
    )


def test_a_median_is_of_each_number() -> None:
    """Of three runs each number is the middle one of its own, at any depth."""
    runs = [figure(10, 5.0), figure(30, 1.0), figure(20, 9.0)]

    assert merged(runs) == {
        "workload": "w",
        "per_second": 20,
        "latency_ms": {"p50": 5.0, "p99": 10.0},
        "rss_mib": None,
    }


def test_a_ratio_stands_on_the_same_kind_of_store() -> None:
    """A peer on Postgres is compared with Bide on Postgres, one with files with Bide on SQLite."""
    all_of_them = [
        standing(BIDE_SQLITE, 5_000, 0.5),
        standing(BIDE_POSTGRES, 3_000, 1.0),
        standing(RESTATE, 500, 8.0),
        standing(ABSURD, 200, 150.0),
    ]
    _, _, restate, absurd = all_of_them

    assert ratio(all_of_them, restate, "items") == 10
    assert ratio(all_of_them, absurd, "items") == 15
    assert idle_ratio(all_of_them, restate) == 16
    assert idle_ratio(all_of_them, absurd) == 150
    assert ratio(all_of_them, all_of_them[0], "items") is None


def test_without_bide_beside_it_a_peer_has_no_ratio() -> None:
    """A ratio to a store that was not measured is left out, and the rate is still there."""
    alone = [standing(BIDE_SQLITE, 5_000), standing(ABSURD, 200)]

    assert ratio(alone, alone[1], "items") is None
    assert table(alone).splitlines()[-1].split("|")[2:4] == ["         200 ", "     "]


def test_the_table_has_one_row_each_and_aligned_columns() -> None:
    """Every line of the table has the same cells and the same width."""
    lines = table([standing(BIDE_SQLITE, 5_000), standing(RESTATE, 12.5)]).splitlines()

    assert len(lines) == 4
    assert {line.count("|") for line in lines} == {11}
    assert len({len(line) for line in lines}) == 1
    assert "x400" in lines[-1]


def test_bars_are_drawn_to_scale() -> None:
    """In each panel a bar is as long as its value, and Bide's have a colour of their own."""
    drawn = chart([standing(BIDE_SQLITE, 5_000), standing(RESTATE, 1_250)], "n < 10 & more")
    root = ET.fromstring(drawn)  # raises when a caption is not escaped
    bars = list(root.iter("{http://www.w3.org/2000/svg}rect"))[1:]
    first, second = bars[:2]

    assert len(bars) == 2 * 4
    assert float(first.attrib["width"]) == pytest.approx(
        4 * float(second.attrib["width"]), rel=0.01
    )
    assert first.attrib["fill"] != second.attrib["fill"]


@pytest.mark.parametrize("peer", sorted({one.peer for one in CONTENDERS if one.peer}))
def test_every_peer_is_locked(peer: str) -> None:
    """Each peer has a script, a lock of its own, and a version to print."""
    assert (ROOT / "benchmarks" / "peers" / f"{peer}.py").exists()
    assert (LOCKS / f"{peer}.txt").exists()
    assert version(peer)[0].isdigit()


def test_what_comes_from_npm_is_hashed_and_names_no_address() -> None:
    """Each npm package of a server is pinned by its hash; where it comes from is not said."""
    found = sorted(LOCKS.glob("*/package-lock.json"))
    assert found
    for path in found:
        packages = json.loads(path.read_text())["packages"]
        pinned = {name: package for name, package in packages.items() if name}

        assert [name for name, one in pinned.items() if "integrity" not in one] == []
        assert "://" not in path.read_text()


@pytest.mark.slow
def test_a_peer_that_cannot_be_had_is_named_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An install that fails says why, and leaves nothing that would be taken for installed."""
    monkeypatch.setattr(installing, "LOCKS", tmp_path)
    monkeypatch.setattr(installing, "CACHE", tmp_path / "made")
    (tmp_path / "nowhere.txt").write_text("this is no requirement\n")

    with pytest.raises(NotInstalled, match=r"(?i)error: invalid requirement"):
        install("nowhere")
    with pytest.raises(NotInstalled, match=r"(?i)error: invalid requirement"):
        install("nowhere")


@pytest.mark.slow
def test_an_environment_is_made_once_for_each_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was installed from a lock is used again, and made anew when the lock changes."""
    monkeypatch.setattr(installing, "LOCKS", tmp_path)
    monkeypatch.setattr(installing, "CACHE", tmp_path / "made")
    (tmp_path / "empty.txt").write_text("# nothing\n")

    python = install("empty")
    mark = python.parent / "mark"
    mark.touch()
    assert install("empty") == python
    assert mark.exists()

    (tmp_path / "empty.txt").write_text("# nothing else\n")
    install("empty")
    assert not mark.exists()


@pytest.mark.process
def test_a_measurement_that_fails_says_why() -> None:
    """A script that ends without a figure is reported by the last line that it wrote."""
    broken = Contender("Broken", "files", "no_such_script")

    with pytest.raises(NotMeasured, match=r"items: .*no_such_script"):
        measure(broken, Path(sys.executable), "items", 1, "file:///nowhere")


@pytest.mark.process
def test_a_run_prints_and_writes(tmp_path: Path) -> None:
    """The command measures Bide itself, prints the table, and writes its JSON and its chart."""
    command = [sys.executable, "-m", "benchmarks.peers", "-n", "3", "--runs", "1"]
    done = subprocess.run(
        [*command, "--only", "bide-sqlite", "--out", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "Bide, SQLite" in done.stdout
    document = json.loads((tmp_path / "peers.json").read_text())
    medians = document["medians"]["bide-sqlite"]
    assert set(medians) == set(WORKLOADS)
    assert all(medians[name]["per_second"] > 0 for name in WORKLOADS)
    assert document["missing"] == {}
    ET.parse(tmp_path / "peers.svg")
