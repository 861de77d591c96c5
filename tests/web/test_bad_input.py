"""Whatever is sent, the answer is a clear refusal: never 500, never a piece of our insides."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bide import App
from bide.runtime.service import Service
from bide.settings import Settings
from bide.web.app import create_asgi
from bide.web.routing import Served
from tests.web.expect import Connect, Park, problem
from tests.web.flows import orders

JSON = {"content-type": "application/json"}
POSTS = [
    "/pipeline/run",
    "/pipeline/run-async",
    "/pipeline/interactions/complete",
    "/api/v1/pipelines/orders/executions",
    "/api/v1/interactions/x/complete",
]
UNREADABLE = {
    "empty": b"",
    "blank": b"  \n",
    "no json": b"{not json",
    "two values": b'{"item":"x"} {}',
    "trailing comma": b'{"item":"x",}',
    "single quotes": b"{'item':'x'}",
    "not utf-8": b'{"item":"\xff\xfe"}',
    "utf-16": '{"item":"x"}'.encode("utf-16"),
    "bom": b'\xef\xbb\xbf{"item":"x"}',
    "nan": b'{"item":"x","amount":NaN}',
    "infinity": b'{"item":"x","amount":-Infinity}',
    "overflow": b'{"item":"x","amount":1e999}',
    "long number": b'{"item":"x","amount":' + b"9" * 5000 + b"}",
    "nul": b'{"item":"a\\u0000b"}',
    "raw nul": b'{"item":"a\x00b"}',
    "lone surrogate": b'{"item":"\\ud800"}',
    "lone surrogate in a key": b'{"item":"x","\\udfff":1}',
    "duplicate key": b'{"item":"x","item":"y"}',
    "deep lists": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    "just too deep": b"[" * 65 + b"]" * 65,
    "many values": b"[" + b"0," * 100_000 + b"0]",
    "long string": b'{"item":"' + b"x" * (256 * 1024 + 1) + b'"}',
}


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("name", UNREADABLE)
async def test_json_that_has_no_one_meaning_is_malformed(
    client: httpx.AsyncClient, path: str, name: str
):
    """Each kind of unreadable JSON is 400 on every route that takes a body."""
    answer = await client.post(path, content=UNREADABLE[name], headers=JSON)

    problem(answer, 400, "malformed")


@pytest.mark.parametrize(
    "body",
    [
        [], "text", 7, None, True, {},
        {"responsePayload": 1},
        {"interactionId": "", "responsePayload": 1},
        {"interactionId": "  ", "correlationId": "", "resumeToken": None, "responsePayload": 1},
        {"interactionId": 7, "responsePayload": 1},
        {"interactionId": ["x"], "responsePayload": 1},
        {"interactionId": {"x": 1}, "responsePayload": 1},
        {"interactionId": "x" * 2000, "responsePayload": 1},
        {"interactionId": "a\nb", "responsePayload": 1},
        {"interactionId": "x", "actor": 1, "responsePayload": 1},
        {"interactionId": "x", "actor": "a" * 2000, "responsePayload": 1},
        {"interactionId": "x", "idempotencyKey": False, "responsePayload": 1},
        {"interactionId": "x", "stepId": [], "responsePayload": 1},
        {"resumeToken": "t" * 1025, "responsePayload": 1},
        {"interactionId": "x"},
        {"interactionId": "x", "failure": None},
        {"interactionId": "x", "failure": "broken"},
        {"interactionId": "x", "failure": {}},
        {"interactionId": "x", "failure": {"code": ""}},
        {"interactionId": "x", "failure": {"code": 7}},
        {"interactionId": "x", "failure": {"code": "c", "message": 7}},
        {"interactionId": "x", "failure": {"code": "c", "message": "m" * 5000}},
        {"interactionId": "x", "failure": {"code": "c" * 300}},
        {"interactionId": "x", "failure": {"code": "c"}, "responsePayload": {"a": 1}},
    ],
)  # fmt: skip
async def test_completions_of_the_wrong_shape_are_malformed(client: httpx.AsyncClient, body: Any):
    """No identity, no completion, or a field of the wrong type or size is 400."""
    content = json.dumps(body)
    answer = await client.post("/pipeline/interactions/complete", content=content, headers=JSON)

    problem(answer, 400, "malformed")


async def test_the_path_and_the_body_name_the_same(client: httpx.AsyncClient, park: Park):
    """A completion of one interaction does not go to another."""
    asked = await park()
    url = f"/api/v1/interactions/{asked['interactionId']}/complete"
    other = {"interactionId": "other", "responsePayload": {"accepted": {}}}

    problem(await client.post(url, json=other), 400, "malformed")
    answer = await client.post(url, json={"responsePayload": {"accepted": {}}})
    assert answer.json()["receipt"] == "applied"


async def test_payloads_are_bounded(connect: Connect):
    """Input and answer over the bound are refused by its name, and the question stays open."""
    app = App(orders, store="memory://", settings=Settings(payload_max_bytes=500))
    long, url = "x" * 500, "/pipeline/interactions/complete"
    async with app.running():
        client = connect(app)
        refused = await client.post("/pipeline/run", json={"item": long})
        started = await client.post("/pipeline/run", json={"item": "pizza"})
        body = {"interactionId": f"{started.json()['executionId']}_1_0"}
        large = await client.post(
            url, json={**body, "responsePayload": {"declined": {"why": long}}}
        )
        small = await client.post(url, json={**body, "responsePayload": {"declined": {"why": "x"}}})

    assert "payload_max_bytes" in problem(refused, 413, "limit-exceeded")["detail"]
    answer = problem(large, 413, "too-large")
    assert "payload_max_bytes" in answer["detail"]
    assert answer["receipt"] == "rejected"
    assert small.json()["receipt"] == "applied"


@pytest.mark.parametrize("key", ["k" * 256, b"a\x7fb", b"a\x85b"])
async def test_keys_that_cannot_be_kept_are_malformed(client: httpx.AsyncClient, key: Any):
    """Oversized keys and control characters are refused before anything is stored."""
    headers = {"Idempotency-Key": key}
    answer = await client.post("/pipeline/run-async", json={"item": "x"}, headers=headers)

    problem(answer, 400, "malformed")


async def test_keys_are_text(client: httpx.AsyncClient):
    """A key in UTF-8 is that text, and the longest one is taken."""
    for key in ("ключ".encode(), b"k" * 255, "é".encode("latin-1")):
        headers = {"Idempotency-Key": key}
        answer = await client.post("/pipeline/run-async", json={"item": "x"}, headers=headers)
        assert answer.status_code == 202, key


async def test_an_app_may_insist_on_a_key(
    served: Served, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
):
    """With the setting, a submission without a key is 400."""
    settings = Settings(require_idempotency_key=True)
    monkeypatch.setattr(served.service, "settings", settings)

    problem(await client.post("/pipeline/run-async", json={"item": "x"}), 400, "malformed")
    headers = {"Idempotency-Key": "k"}
    answer = await client.post("/pipeline/run-async", json={"item": "x"}, headers=headers)
    assert answer.status_code == 202


@pytest.mark.parametrize("announced", [True, False])
async def test_large_bodies_are_refused(
    served: Served, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, announced: bool
):
    """A body over the bound is 413, whether its length was announced or not."""
    monkeypatch.setattr(served.service, "settings", Settings(http_max_body_bytes=2048))

    async def chunks():
        for _ in range(30):
            yield b" " * 100

    content = b" " * 3000 if announced else chunks()
    answer = await client.post("/pipeline/run-async", content=content, headers=JSON)

    assert "http_max_body_bytes" in problem(answer, 413, "too-large")["detail"]


async def test_an_absurd_length_is_refused(client: httpx.AsyncClient):
    """A length that no machine could send is no reason to fail."""
    headers = {**JSON, "content-length": "9" * 400}
    answer = await client.post("/pipeline/run-async", content=b"{}", headers=headers)

    problem(answer, 413, "too-large")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "not-found"),
        ("GET", "/pipeline", 404, "not-found"),
        ("GET", "/pipeline/interactions/pending/", 404, "not-found"),
        ("GET", "/docs", 404, "not-found"),
        ("GET", "/openapi.json", 404, "not-found"),
        ("GET", "/pipeline/run", 405, "method-not-allowed"),
        ("PUT", "/pipeline/interactions/complete", 405, "method-not-allowed"),
        ("DELETE", "/api/v1/executions/x", 405, "method-not-allowed"),
        ("GET", "/pipeline/interactions/complete", 405, "method-not-allowed"),
        ("POST", "/api/v1/pipelines/nope/executions", 404, "unknown-pipeline"),
    ],
)
async def test_what_is_not_there_is_a_problem_too(
    client: httpx.AsyncClient, method: str, path: str, status: int, code: str
):
    """Unknown paths and methods are answered in the same form; GET never decides."""
    body = {"json": {"item": "x"}} if method == "POST" else {}

    problem(await client.request(method, path, **body), status, code)


@pytest.mark.parametrize("query", ["status=NOPE", "cursor=x", "cursor=" + "1" * 40, "limit=-1"])
async def test_bad_filters_are_malformed(client: httpx.AsyncClient, query: str):
    """A filter that means nothing is refused rather than ignored."""
    problem(await client.get(f"/api/v1/executions?{query}"), 400, "malformed")


async def test_oversized_and_strange_filters(client: httpx.AsyncClient):
    """A filter that no row could have is refused or finds nothing."""
    for value, status in (("x" * 2000, 400), ("a\x00b", 400), ("ü" * 10, 200), ("\ufffd", 200)):
        params = {"group": value}
        answer = await client.get("/pipeline/interactions/pending", params=params)
        assert answer.status_code == status, value


async def test_an_error_that_nobody_expected_tells_nothing(
    client: httpx.AsyncClient,
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    """The catch-all says that it happened; the log says where, and neither holds the payload."""

    async def broken(*_: Any, **__: Any):
        raise RuntimeError("the secret payload")

    monkeypatch.setattr(service, "execution", broken)
    answer = await client.get("/pipeline/executions/x")

    problem(answer, 500, "internal")
    assert "secret" not in answer.text + caplog.text
    assert "RuntimeError" in caplog.text
    assert "test_bad_input.py" in caplog.text


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
near_completions = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("interactionId", "correlationId", "stepId", "resumeToken", "idempotencyKey", "actor", "responsePayload", "failure"), json_values),
)  # fmt: skip


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(body=near_completions | json_values, cut=st.integers(min_value=0, max_value=3))
async def test_no_completion_makes_an_error_of_ours(served: Served, body: Any, cut: int):
    """Random bodies, some of them cut off, are always answered with a receipt or a refusal."""
    data = json.dumps(body).encode()[: None if cut == 0 else -cut]
    transport = httpx.ASGITransport(create_asgi(served))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answer = await client.post("/pipeline/interactions/complete", content=data, headers=JSON)

    assert answer.status_code in {200, 202, 400, 404, 409, 410, 413, 422}, answer.text


async def test_a_body_that_stops_is_refused_in_time(
    served: Served, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
):
    """Whoever sends half a body and waits is told so, and the connection is not kept."""
    monkeypatch.setattr(served.service, "settings", Settings(http_receive_timeout_ms=10))
    never = asyncio.Event()

    async def half():
        yield b'{"item":'
        await never.wait()

    answer = await client.post("/pipeline/run-async", content=half(), headers=JSON)

    problem(answer, 408, "slow-body")
    assert answer.headers["connection"] == "close"


async def test_too_many_headers_are_refused(client: httpx.AsyncClient):
    """Before anything is looked at, whoever asks."""
    headers = [(f"x-{number}", "y") for number in range(101)]

    problem(await client.get("/api/v1/pipelines", headers=headers), 431, "too-many-headers")
