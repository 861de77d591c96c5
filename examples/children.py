"""The processes of a demo: started with a log each, and none of them outlives it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

import httpx

ROOT = Path(__file__).resolve().parents[1]
BIDE = Path(sys.executable).with_name("bide")


class DemoFailed(Exception):
    """The demo cannot go on; the message is for people and names the log to read."""


class Child:
    """One process, at the head of a group of its own, so that a kill leaves nothing behind."""

    def __init__(
        self, name: str, command: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def check(self) -> None:
        """Complain when the process has ended by itself."""
        code = self._process.poll()
        if code is not None:
            raise DemoFailed(f"the {self.name} ended with exit code {code}{self._last_words()}")

    def kill(self) -> None:
        """End it at once, as a power cut would; the process has no say in it."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def stop(self, *, within_s: float = 10) -> None:
        """Ask it to end, and end it when it does not."""
        if self._process.poll() is None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(within_s)
        self.kill()

    def _last_words(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        tail = "".join(f"\n    {line}" for line in lines[-5:])
        return f"; the end of {self.log}:{tail}" if tail else f"; its log {self.log} is empty"


class Service:
    """`bide serve` on one port and one store, which can be killed and started again.

    The store is a file in `folder` unless `store` names another one.
    """

    def __init__(
        self,
        app: str,
        *,
        folder: Path,
        children: ExitStack,
        store: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "service.log"
        store = store or f"sqlite:///{folder.resolve() / 'bide.db'}"
        where = ["--store", store, "--migrate", "--port", str(self.port)]
        self._command = [str(BIDE), "serve", app, *where]
        self._children = children
        self._env = env
        self._child: Child | None = None

    def start(self, *, within_s: float = 30) -> None:
        """Start it, and wait until it takes work."""
        child = self._child = Child("service", self._command, log=self.log, env=self._env)
        self._children.callback(child.stop)
        deadline = time.monotonic() + within_s
        while not self._is_ready():
            child.check()
            if time.monotonic() > deadline:
                raise DemoFailed(f"the service is not ready after {within_s:g} s; see {self.log}")
            time.sleep(0.05)

    def check(self) -> None:
        """Complain when it has ended by itself."""
        if self._child is not None:
            self._child.check()

    def kill(self) -> None:
        """End it at once."""
        if self._child is not None:
            self._child.kill()

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False


def free_port() -> int:
    """Find a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def leave_on_signals() -> None:
    """Turn the signals that would end the demo at once into an ordinary way out."""

    def leave(number: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, leave)
