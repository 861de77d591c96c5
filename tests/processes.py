"""Processes as a user starts them, for tests: on a free port, with a log, reaped whatever happens.

Readiness is asked for and not waited out: the bounds are generous, so that a slow machine makes a
test slower and never red. A failed start shows the end of the process's log.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

ROOT = Path(__file__).resolve().parent.parent
BIDE = Path(sys.executable).with_name("bide")

#: How long a process may take to start or to end, and a condition to become true.
PATIENCE_S = 120.0

#: Settings under which nobody waits long for a process that was killed.
IMPATIENT = {
    "BIDE_LEASE_MS": "600",
    "BIDE_LEASE_RENEW_MS": "150",
    "BIDE_SWEEP_INTERVAL_MS": "50",
    "BIDE_POLL_MAX_MS": "50",
    "BIDE_LEASE_TAKEOVERS_MAX": "100",
}


def free_port() -> int:
    """Find a loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Process:
    """A child at the head of its own process group; leaving the block ends it."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
    ) -> None:
        self.command = [str(word) for word in command]
        self.log = log
        self.env = {**os.environ, **(env or {})}
        self.cwd = cwd
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start it; a second start after its end is a restart."""
        assert not self.alive
        with self.log.open("ab") as output:
            self._child = subprocess.Popen(
                self.command,
                env=self.env,
                cwd=self.cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    @property
    def alive(self) -> bool:
        """True while it runs."""
        return self._child is not None and self._child.poll() is None

    @property
    def returncode(self) -> int | None:
        """How it ended: minus the signal's number when one ended it."""
        return None if self._child is None else self._child.poll()

    @property
    def pid(self) -> int:
        """The process's number."""
        assert self._child is not None
        return self._child.pid

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._child is not None and self.alive:
            os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait(PATIENCE_S)

    def stop(self) -> int:
        """Ask it to end and wait for that; gives how it ended."""
        assert self._child is not None
        self._child.terminate()
        return self._child.wait(PATIENCE_S)

    def output(self, lines: int = 30) -> str:
        """The end of what it wrote."""
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def __enter__(self) -> Self:
        return self if self.alive else self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()


class Service(Process):
    """`bide serve` on a free port, with its store and its log in `folder`."""

    def __init__(
        self,
        app: str,
        folder: Path,
        *options: str,
        env: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.store = f"sqlite:///{folder / 'bide.db'}"
        command = [str(BIDE), "serve", app, "--port", str(self.port), "--store", self.store]
        super().__init__([*command, *options], log=folder / "service.log", env=env, cwd=cwd)

    async def ready(self) -> bool:
        """Wait until it takes work; False when it ended instead."""
        deadline = time.monotonic() + PATIENCE_S
        async with httpx.AsyncClient(base_url=self.url) as client:
            while self.alive:
                try:
                    if (await client.get("/readyz")).status_code == httpx.codes.OK:
                        return True
                except httpx.HTTPError:
                    pass
                assert time.monotonic() < deadline, f"{self.command} is not ready: {self.output()}"
                await asyncio.sleep(0.02)
        return False

    async def must_be_ready(self) -> None:
        """Wait until it takes work, and fail with its last words when it ends instead."""
        assert await self.ready(), f"{self.command} ended with {self.returncode}: {self.output()}"
