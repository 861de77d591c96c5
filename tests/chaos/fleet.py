"""Worker processes on one database, and what happened to each of them."""

import asyncio
import re
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.processes import BIDE, PATIENCE_S, Process

APP = "tests.chaos.shop:app"


class Fleet:
    """Some `bide worker`; one that is killed is started again under a new name."""

    def __init__(
        self, url: str, folder: Path, *, size: int, env: Mapping[str, str], app: str = APP
    ) -> None:
        """Put `size` workers together; `folder` is for their logs, `env` has their settings."""
        folder.mkdir(exist_ok=True)
        command = [str(BIDE), "worker", app, "--store", url]
        self.workers = [
            Process(command, log=folder / f"worker-{number}.log", env=env) for number in range(size)
        ]
        #: The name under which each worker that is there claims.
        self.names: dict[Process, str] = {}

    async def __aenter__(self) -> Self:
        for worker in self.workers:
            await self.start(worker)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for worker in self.workers:
            worker.kill()

    async def start(self, worker: Process) -> None:
        """Start a worker, and wait until it has said under which name it claims."""
        said = len(_names_in(worker))
        worker.start()
        deadline = time.monotonic() + PATIENCE_S
        while len(_names_in(worker)) == said:
            assert worker.alive, worker.output()
            assert time.monotonic() < deadline, worker.output()
            await asyncio.sleep(0.02)
        self.names[worker] = _names_in(worker)[-1]


def _names_in(worker: Process) -> list[str]:
    """The names that it has had, by its log."""
    return re.findall(r"worker (\w+) claims", worker.output(1_000_000))
