"""Links for people: looking changes nothing, the form decides, the token stays where it is."""

import asyncio
import logging
import re
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from html import unescape
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import uvicorn
from pydantic import SecretStr

from bide import App, Await, Inbox, InvalidInput, Pipeline
from bide.security.keyring import Keyring, new_key
from bide.security.redaction import RedactingFilter, redact
from bide.security.tokens import Purpose, claims_of, sign
from bide.settings import Settings
from bide.spi.store import PendingQuery
from bide.web import pages
from tests.attacks.forgeries import NOW
from tests.integration.test_tokens import claims_of_nothing
from tests.web.expect import Connect
from tests.web.flows import Order, decide, orders

KEYRING = Keyring.of(new_key(NOW))
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;{{7*7}}"
approve = Await("Ship it? <b>", str, bool, via=Inbox(), timeout="1d")
ships = Pipeline("ships", str).wait(approve)
SAME = {"sec-fetch-site": "same-origin", "origin": "null"}


@pytest.fixture
async def app() -> AsyncIterator[App]:
    settings = Settings(
        keyring=SecretStr(KEYRING.render().decode()), callback_base_url="http://localhost"
    )
    app = App(orders, ships, store="memory://", settings=settings)
    async with app.running():
        yield app


@pytest.fixture
def client(app: App, connect: Connect) -> httpx.AsyncClient:
    return connect(app)


async def linked(app: App, item: str = "pizza", actor: str | None = "ada") -> str:
    """A link to an open order."""
    execution = await app.submit(orders, Order(item=item))
    [question] = await execution.parked(decide, timeout="30s")
    return await app.link(question, actor=actor)


def form(tag: str = "accepted", **fields: str) -> dict[str, str]:
    number = {"accepted": "0", "declined": "1"}[tag]
    return {"form": number, **{f"answer.{name}": value for name, value in fields.items()}}


async def decided(app: App) -> list[tuple[str | None, Any]]:
    """Who answered what, by the rows."""
    rows = app._open.store.data.interactions.values()  # type: ignore[attr-defined]  # it is a MemoryStore
    return [(row.actor, row.answer) for row in rows if row.answer is not None]


async def test_looking_changes_nothing(app: App, client: httpx.AsyncClient) -> None:
    """However often a mail program follows the link, nothing is decided."""
    link = await linked(app)
    pages_ = [await client.get(link) for _ in range(3)] + [await client.head(link)]

    assert [page.status_code for page in pages_] == [200] * 4
    assert "Approve Order" in pages_[0].text
    assert "pizza" in pages_[0].text
    assert await decided(app) == []


async def test_the_form_decides_once(app: App, client: httpx.AsyncClient) -> None:
    """The person of the link is recorded; the same again stands, another is refused."""
    link = await linked(app)
    said = form(note="fine")
    answers = [
        await client.post(link, data=said, headers=SAME),
        await client.post(link, data=said, headers=SAME),
        await client.post(link, data=form("declined", why="no"), headers=SAME),
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 409]
    assert await decided(app) == [("ada", b'{"accepted":{"note":"fine"}}')]
    assert "pizza" not in (await client.get(link)).text


async def test_whoever_has_no_name_says_it(app: App, client: httpx.AsyncClient) -> None:
    """A link for nobody in particular asks for a name; one for somebody takes no other."""
    open_link, own_link = await linked(app, actor=None), await linked(app, actor="ada")
    nameless = await client.post(open_link, data=form(), headers=SAME)
    named = await client.post(open_link, data={**form(), "actor": " bob "}, headers=SAME)
    other = await client.post(own_link, data={**form(), "actor": "eve"}, headers=SAME)

    assert nameless.status_code == 422
    assert "Your name" in (await client.get(await linked(app, actor=None))).text
    assert "Your name" not in (await client.get(own_link)).text
    assert (named.status_code, other.status_code) == (200, 200)
    assert [actor for actor, _ in await decided(app)] == ["bob", "ada"]


async def test_what_does_not_fit_comes_back_filled_in(app: App, client: httpx.AsyncClient) -> None:
    """The page says what is wrong and keeps what was written; nothing is recorded."""
    link = await linked(app)
    wrong = [
        {"form": "1", "answer.why": "a\0b"},
        {"form": "1", "answer.other": "x", "answer.why": "x" * 300_000},
    ]
    for said in wrong:
        answer = await client.post(link, data=said, headers=SAME)
        assert answer.status_code == 422
        assert 'role="alert"' in answer.text
    assert await decided(app) == []


async def test_a_plain_yes_or_no(app: App, client: httpx.AsyncClient) -> None:
    """An answer that is no object has one field, filled in again where it was wrong."""
    execution = await app.submit(ships, HOSTILE)
    [question] = await execution.parked(approve, timeout="30s")
    link = await app.link(question, actor="ada")
    page = await client.get(link)
    empty = await client.post(link, data={"form": "0", "answer.value": ""}, headers=SAME)
    done = await client.post(link, data={"form": "0", "answer.value": "true"}, headers=SAME)

    assert HOSTILE in unescape(page.text)
    assert (empty.status_code, done.status_code) == (422, 200)
    assert await execution.result(timeout=30) is True


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec-fetch-site": "same-origin", "origin": "null"}, 200),
        ({"sec-fetch-site": "same-origin", "origin": "http://localhost"}, 200),
        ({"origin": "http://localhost"}, 200),
        ({}, 200),
        ({"origin": "null"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "https://evil.example", "sec-fetch-site": "same-origin"}, 403),
        ({"origin": "http://localhost", "sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "none"}, 403),
        ({"sec-fetch-site": "cross-site", "origin": "null"}, 403),
    ],
)
async def test_only_the_page_itself_decides(
    app: App, client: httpx.AsyncClient, headers: dict[str, str], status: int
) -> None:
    """A form on another site is refused, by its origin or by the browser's word."""
    answer = await client.post(await linked(app), data=form(), headers=headers)

    assert answer.status_code == status
    assert len(await decided(app)) == (status == 200)


@pytest.mark.parametrize(
    "kind", ["application/json", "text/plain", "multipart/form-data; boundary=x"]
)
async def test_only_a_form_is_taken(app: App, client: httpx.AsyncClient, kind: str) -> None:
    """Other bodies are refused before they are read."""
    headers = {**SAME, "content-type": kind}
    answer = await client.post(await linked(app), content=b"{}", headers=headers)

    assert answer.status_code == 415


@pytest.mark.parametrize(
    "body",
    [
        b"form=0&form=1",
        b"form=9",
        b"form=",
        b"form=%C3%28",
        b"\xff",
        b"a&b",
        b"&".join([b"a=1"] * 300),
    ],
)
async def test_forms_that_are_none_are_refused(
    app: App, client: httpx.AsyncClient, body: bytes
) -> None:
    """What no page of ours sends decides nothing."""
    headers = {**SAME, "content-type": "application/x-www-form-urlencoded"}
    answer = await client.post(await linked(app), content=body, headers=headers)

    assert answer.status_code == 400
    assert await decided(app) == []


async def test_a_page_loads_nothing_and_tells_nobody(app: App, client: httpx.AsyncClient) -> None:
    """No script, nothing from elsewhere, no cache, no frame, no referrer; the style is the named one."""
    page = await client.get(await linked(app))
    policy = page.headers["content-security-policy"]

    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"<script|src=|href=|url\(|http://|https://|javascript:", page.text)
    [style] = re.findall(r"<style>(.*?)</style>", page.text, re.DOTALL)
    assert style == pages._STYLE
    assert "bide1." not in page.text


async def test_nothing_of_a_stranger_is_markup(app: App, client: httpx.AsyncClient) -> None:
    """Requests, names and what was typed are shown as text, whatever they hold."""
    link = await linked(app, HOSTILE, actor=None)
    sent = {"form": "1", "answer.why": HOSTILE + "\0", "actor": HOSTILE}
    texts = [(await client.get(link)).text, (await client.post(link, data=sent, headers=SAME)).text]

    for text in texts:
        assert "<script" not in text
        assert "<img" not in text
        assert HOSTILE in unescape(text)
        tags = set(re.findall(r"</?([a-z0-9]+)", text))
        assert tags <= {
            "html",
            "head",
            "meta",
            "title",
            "style",
            "body",
            "h1",
            "p",
            "section",
            "dl",
            "dt",
            "dd",
            "form",
            "input",
            "label",
            "textarea",
            "span",
            "button",
            "select",
            "option",
        }


async def test_links_that_are_none(app: App, client: httpx.AsyncClient) -> None:
    """A cut link, a token for programs, an expired one and one of nothing: a page says so."""
    link = await linked(app)
    [asked] = await app._open.store.pending(PendingQuery("default"))
    row = asked.interaction
    program = app._open.tokens.issue(row, Purpose.RESUME)
    over = sign(claims_of(row, Purpose.DECIDE, retention_ms=-row.deadline_at), KEYRING)
    claims = claims_of(row, Purpose.DECIDE, retention_ms=0)
    gone = sign(replace(claims, interaction=row.id._replace(unit=9)), KEYRING)
    expected = {link[:-1]: 403, f"/decide/{program}": 403, f"/decide/{over}": 410,
                f"/decide/{gone}": 404, "/decide/x": 403}  # fmt: skip

    for address, status in expected.items():
        for answer in (
            await client.get(address),
            await client.post(address, data=form(), headers=SAME),
        ):
            assert answer.status_code == status, address
            assert answer.headers["content-type"].startswith("text/html")
            assert "pizza" not in answer.text
    assert await decided(app) == []


async def test_a_link_is_followed_from_a_mail(app: App, client: httpx.AsyncClient) -> None:
    """Arriving from another site is what links are for; another machine's name is not served."""
    link = await linked(app)

    assert (await client.get(link, headers={"sec-fetch-site": "cross-site"})).status_code == 200
    assert (await client.get(link, headers={"host": "evil.example"})).status_code == 403


async def test_links_take_no_login(app: App, connect: Connect) -> None:
    """With authentication, the token is the credential."""

    async def nobody(_: Any) -> None:
        return None

    client = connect(app, identify=nobody, base_url="https://api.example")
    path = urlsplit(await linked(app)).path

    assert (await client.get(path)).status_code == 200
    assert (await client.post(path, data=form(), headers=SAME)).status_code == 200
    assert [actor for actor, _ in await decided(app)] == ["ada"]


async def test_a_late_link_says_so(app: App, client: httpx.AsyncClient) -> None:
    """Of what was cancelled meanwhile the page shows nothing but that it is over."""
    execution = await app.submit(orders, Order(item="pizza"))
    [question] = await execution.parked(decide, timeout="30s")
    link = await app.link(question, actor="ada")
    await execution.cancel("sold out")

    for answer in (await client.get(link), await client.post(link, data=form(), headers=SAME)):
        assert answer.status_code == 410
        assert "pizza" not in answer.text


@pytest.mark.parametrize("actor", ["", "  ", "x" * 256, "ü" * 200, "a\0b"])
async def test_actors_that_are_none(app: App, actor: str) -> None:
    """A link is made for a name that can be recorded."""
    execution = await app.submit(orders, Order(item="pizza"))
    [question] = await execution.parked(decide, timeout="30s")

    with pytest.raises(InvalidInput):
        await app.link(question, actor=actor)


async def test_the_token_stays_out_of_access_logs(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    """A real server, with its access log on, writes neither the token nor a part of it."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        config = uvicorn.Config(app.asgi(), log_config=None, lifespan="off")
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        link = (await linked(app)).replace("http://localhost", f"http://127.0.0.1:{port}")
        # Not the client's own logger: it tells its address, which is the link.
        with caplog.at_level(logging.INFO, "uvicorn.access"):
            async with httpx.AsyncClient() as client:
                assert (await client.get(link)).status_code == 200
                assert (await client.post(link, data=form())).status_code == 200
                assert (await client.put(link)).status_code == 405
        server.should_exit = True
        await task
    said = [record.getMessage() for record in caplog.records if record.name == "uvicorn.access"]

    assert len(said) == 3
    assert all("/decide/hidden" in line for line in said)
    assert "bide1." not in "".join(said)


def test_redaction_hides_tokens_in_any_text() -> None:
    """For logs of others: what looks like a token is hidden, the rest stays."""
    text = f'GET /decide/{sign_nothing()} HTTP/1.1" 200, and /decide/bide1.cut'
    record = logging.LogRecord("a", 20, "f", 1, "%s %d %s", ("x bide1.k1.a-b_c y", 3, None), None)
    RedactingFilter().filter(record)

    assert redact(text) == 'GET /decide/bide1.(hidden) HTTP/1.1" 200, and /decide/bide1.(hidden)'
    assert redact("bide pending") == "bide pending"
    assert record.getMessage() == "x bide1.(hidden) y 3 None"


def sign_nothing() -> str:
    return sign(claims_of_nothing(), KEYRING)
