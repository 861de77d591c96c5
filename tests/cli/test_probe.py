"""`bide doctor --probe` against servers that take answers, and others that do not."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.cli.driver import Cli
from tests.transports.sending import SECRET

APP = """
from bide import App, Await, Pipeline, Webhook

ask = Await("Ask", int, str, via=Webhook("https://partner.example/x"), timeout="1d")
app = App(Pipeline("asks", int).wait(ask))
"""


@contextmanager
def answering(status: int) -> Iterator[tuple[str, list[str]]]:
    """A server that answers everything with one status; gives its address and what it was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.send_header("location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/bide", asked
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def asks(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """A folder with an app that asks by webhook, and all that it needs but its callback."""
    (folder / "asks.py").write_text(APP)
    monkeypatch.setenv("BIDE_APP", "asks:app")
    monkeypatch.setenv("BIDE_STORE", f"sqlite:///{folder}/bide.db")
    monkeypatch.setenv("BIDE_WEBHOOK_SECRETS", SECRET)
    monkeypatch.setenv("BIDE_KEYRING_FILE", str(folder / "keys.json"))
    assert cli("keys", "generate").code == 0
    return cli


@pytest.mark.parametrize(("status", "code"), [(405, 0), (401, 0), (404, 1), (302, 1), (502, 1)])
def test_the_callback_is_looked_at(
    asks: Cli, monkeypatch: pytest.MonkeyPatch, status: int, code: int
) -> None:
    """What answers there passes; a page that is not there, a redirect or a bad gateway fails."""
    with answering(status) as (address, asked):
        monkeypatch.setenv("BIDE_CALLBACK_BASE_URL", f"{address}/")
        quiet = asks("doctor", "--json")
        assert asked == []
        probed = asks("doctor", "--probe", "--json")

    assert quiet.code == 0
    assert probed.code == code
    assert asked == ["/bide/pipeline/interactions/complete"]
    [check] = [each for each in probed.json["checks"] if each["name"] == "callback"]
    assert check["ok"] is (code == 0)
    assert ("/bide/pipeline/interactions/complete" in check["message"]) is True


def test_a_callback_that_nobody_serves_fails(asks: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line names the address and what to set."""
    with answering(405) as (address, _):
        pass
    monkeypatch.setenv("BIDE_CALLBACK_BASE_URL", address)
    probed = asks("doctor", "--probe", "--json")

    assert probed.code == 1
    [check] = [each for each in probed.json["checks"] if each["name"] == "callback"]
    assert "cannot be reached from here" in check["message"]
    assert "BIDE_CALLBACK_BASE_URL" in check["hint"]
