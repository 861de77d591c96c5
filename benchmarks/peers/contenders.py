"""Who is measured, on which store, and how one measurement is taken."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers.install import ROOT

#: A measurement that takes longer says nothing more.
_PATIENCE_S = 600.0

#: Opens a fresh store for one measurement and gives its address.
Store = Callable[[], AbstractContextManager[str]]


class NotMeasured(Exception):
    """A workload gave no figure; the message says why."""


@dataclass(frozen=True, slots=True)
class Contender:
    """An engine on a store; `peer` is None for Bide, else the name of its script."""

    title: str
    store: str
    peer: str | None

    @property
    def name(self) -> str:
        """What `--only` takes and the JSON says."""
        return f"{self.peer or 'bide'}-{self.store}"


CONTENDERS = (
    Contender("Bide", "sqlite", None),
    Contender("Bide", "postgres", None),
    Contender("Restate", "files", "restate"),
    Contender("absurd", "postgres", "absurd"),
    Contender("DBOS", "postgres", "dbos"),
    Contender("DBOS", "sqlite", "dbos"),
    Contender("LangGraph", "postgres", "langgraph"),
    Contender("LangGraph", "sqlite", "langgraph"),
)


def measure(contender: Contender, python: Path, workload: str, n: int, store: str) -> Any:
    """Take one measurement in a process of its own; give the object that it prints.

    Raises:
        NotMeasured: it failed, took too long, or printed something else.
    """
    if contender.peer is None:
        program = [sys.executable, "-c", "from bide.cli import main; main()"]
        command = [*program, "bench", workload, "-n", str(n), "--store", store, "--json"]
    else:
        program = [str(python), "-m", f"benchmarks.peers.{contender.peer}"]
        command = [*program, "--workload", workload, "--n", str(n), "--store", store]
    said, complaint, ended = _run(command)
    lines = said.strip().splitlines()
    if ended != 0 or not lines:
        reasons = [line for line in complaint.splitlines() if line.strip()]
        raise NotMeasured(f"{workload}: {reasons[-1].strip() if reasons else f'exit {ended}'}")
    return json.loads(lines[-1])


def _run(command: list[str]) -> tuple[str, str, int]:
    """Run it in a group of its own, so that servers and workers that it started go with it."""
    running = subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        said, complaint = running.communicate(timeout=_PATIENCE_S)
    except subprocess.TimeoutExpired:
        raise NotMeasured(f"no figure within {_PATIENCE_S:.0f} s") from None
    finally:
        _end_group(running)
    return said, complaint, running.returncode


def _end_group(running: subprocess.Popen[str]) -> None:
    try:
        os.killpg(running.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    running.wait()
