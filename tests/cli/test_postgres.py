"""The command line on a PostgreSQL server: what it needs, what it says, and what it never shows."""

import logging
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from bide import App
from bide.settings import Settings
from tests.cli.driver import Cli, Result
from tests.cli.test_serve import started
from tests.processes import free_port
from tests.servers.postgres import PostgresServer


@pytest.fixture
def bide(cli: Cli, shop: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The command line in the shop, on an empty database."""
    monkeypatch.setenv("BIDE_STORE", postgres_url)
    return cli


@pytest.fixture
def hidden(
    postgres_server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> Iterator[list[Result]]:
    """Collect results here: none of them, and no log line, may hold the password."""
    results: list[Result] = []
    caplog.set_level(logging.DEBUG)
    yield results
    for text in (*(each.out + each.err for each in results), caplog.text):
        assert postgres_server.password not in text


def test_from_an_empty_database_to_a_result(bide: Cli, hidden: list[Result]) -> None:
    """Migrated once, it takes the same commands as a file does."""
    hidden.append(bide("migrate"))
    assert "brought from schema 0" in hidden[-1].out
    hidden.append(bide("migrate"))
    assert "up to date" in hidden[-1].out

    asked = bide.parked()
    hidden.append(bide("complete", asked, "--payload", "-", stdin='{"accepted": true}'))
    assert "applied" in hidden[-1].out
    bide.work(asked.partition("_")[0])
    hidden.append(bide("show", asked.partition("_")[0]))
    assert "SUCCEEDED" in hidden[-1].out


def test_nothing_works_before_it_is_migrated(bide: Cli, hidden: list[Result]) -> None:
    """Every command names the one that makes the tables, and none makes them in passing."""
    free = str(free_port())
    for words in (
        ["executions"],
        ["submit", "orders", "--input", "-"],
        ["serve", "--port", free],
        ["worker"],
        ["migrate", "--check"],
    ):
        hidden.append(bide(*words, stdin='{"id": 1}'))
        assert hidden[-1].code == 1, words
        assert "bide migrate" in hidden[-1].err.splitlines()[-1], words
    hidden.append(bide("doctor"))
    assert hidden[-1].code == 1
    assert "bide migrate" in hidden[-1].out

    assert bide("migrate", "--check", "--json").json["schema"] == 0


def test_tables_of_a_newer_release_are_left_alone(bide: Cli, postgres_url: str) -> None:
    """Neither work nor migrating goes on over tables that this release does not know."""
    bide("migrate")
    with psycopg.connect(postgres_url) as db:
        db.execute("insert into bide.migrations (number) values (9999)")

    for words in (["executions"], ["migrate"], ["migrate", "--check"]):
        assert "upgrade bide" in bide(*words).complaint()


def test_doctor_looks_at_the_server(bide: Cli, hidden: list[Result]) -> None:
    """A sound server passes; what is planted is a failure that says how to mend it."""
    bide("migrate")
    hidden.append(bide("doctor"))
    sound = hidden[-1]
    with psycopg.connect(str(bide_store())) as db:
        db.execute("drop index bide.interactions_open")
    hidden.append(bide("doctor", "--json"))
    broken = hidden[-1]

    assert sound.code == 0, sound.out
    for name in ("server", "durability", "connections", "rights", "indexes", "vacuum", "snapshots"):
        assert f"{name}: " in sound.out
    assert broken.code == 1
    [check] = [one for one in broken.json["checks"] if one["name"] == "indexes"]
    assert "interactions_open" in check["message"]
    assert "create index interactions_open" in check["hint"]


def bide_store() -> str:
    return Settings().store


def test_each_way_not_to_get_in_has_its_line(
    bide: Cli, postgres_server: PostgresServer, hidden: list[Result]
) -> None:
    """Unreachable, refused, absent and without rights: one line each, with what to do."""
    url, server = bide_store(), postgres_server
    base, _, name = url.rpartition("/")
    server.execute(f"create role guest_{name} login password '{server.password}'")
    bide("migrate")
    for address, words in {
        url.replace(f":{server.port}/", f":{free_port()}/"): "does the server run there",
        url.replace("127.0.0.1", "nowhere.invalid"): "host",
        url.replace("bide:", "nobody:"): "PGPASSWORD",
        f"{base}/absent": "createdb",
        url.replace("bide:", f"guest_{name}:"): "permission denied",
        f"{base}/": "there is no store for",
    }.items():
        hidden.append(bide("executions", "--store", address))
        assert words in hidden[-1].complaint(), address
        assert name in hidden[-1].err or "absent" in hidden[-1].err or words.startswith("there is")


def test_an_app_shows_no_password(bide: Cli, postgres_server: PostgresServer) -> None:
    """Neither an app nor its settings, shown in a debugger or a log, tell it."""
    settings = Settings()
    app = App(store=settings.store, settings=settings)

    assert postgres_server.password in settings.store
    for text in (repr(app), str(app), repr(settings), str(settings)):
        assert postgres_server.password not in text


@pytest.mark.process
@pytest.mark.parametrize("command", ["serve", "worker"])
def test_a_process_can_migrate_first(
    bide: Cli, command: str, postgres_server: PostgresServer
) -> None:
    """With `--migrate` it starts on an empty database, and its log tells no password."""
    port = ["--port", "0"] if command == "serve" else []
    with started(command, "--migrate", "--json", *port) as running:
        line = running.until("serving" if command == "serve" else "working")
        assert running.stop(signal.SIGTERM) == 0

    assert "://" in line["store"]
    assert postgres_server.password not in str(running.events)
    assert bide("migrate", "--check").code == 0
