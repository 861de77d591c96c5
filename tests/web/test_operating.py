"""Deploys and assignments over HTTP: held, release, pause, claim."""

import asyncio

import httpx
import pytest

from bide import App, Principal
from bide.settings import Settings
from bide.web.routing import Served
from tests.web.expect import Connect, Ended, Park
from tests.web.flows import orders


async def code(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    return str(answer.json()["type"]).rpartition("/")[2]


async def test_a_pipeline_is_paused_and_goes_on(client: httpx.AsyncClient, ended: Ended):
    """What is submitted meanwhile is taken in and held; then it goes on."""
    paused = await client.post("/api/v1/pipelines/echo/pause")
    assert paused.json()["paused"] is True
    listed = (await client.get("/api/v1/pipelines")).json()["items"]
    assert [each["pipeline"] for each in listed if each["paused"]] == ["echo"]

    started = await client.post("/api/v1/pipelines/echo/executions", json="hello")
    path = f"/api/v1/executions/{started.json()['executionId']}"
    assert (await client.get(path)).json()["held"] == {"reason": "pipeline 'echo' is paused"}
    held = await client.get("/api/v1/executions", params={"held": "true"})
    assert [each["executionId"] for each in held.json()["items"]] == [started.json()["executionId"]]
    compatible = f"/pipeline/executions/{started.json()['executionId']}"
    assert (await client.get(compatible)).json()["held"]["reason"]

    assert (await client.post("/api/v1/pipelines/echo/resume")).json()["paused"] is False
    assert (await ended(started.json()))["status"] == "SUCCEEDED"
    none = await client.get("/api/v1/executions", params={"held": "true"})
    assert none.json()["items"] == []


async def test_bad_requests(client: httpx.AsyncClient, park: Park):
    """Unknown pipelines, executions and interactions are named; a body has to say what is meant."""
    interaction = await park()
    of_it = f"/api/v1/interactions/{interaction['interactionId']}"
    execution = f"/api/v1/executions/{interaction['executionId']}"

    unknown = await client.post("/api/v1/pipelines/no/pause")
    assert await code(unknown, 404) == "unknown-pipeline"
    assert await code(await client.get("/api/v1/executions?held=maybe"), 400) == "malformed"
    assert await code(await client.post(f"{of_it}/claim"), 400) == "malformed"
    assert await code(await client.post(f"{of_it}/assign", json={}), 400) == "malformed"
    assert await code(await client.post(f"{execution}/release", json={}), 400) == "malformed"
    absent = "/api/v1/interactions/" + interaction["interactionId"].replace("_1_0", "_2_0")
    assert (
        await code(await client.post(f"{absent}/claim", json={"actor": "ada"}), 404) == "not-found"
    )
    refused = await client.post(f"{execution}/release", json={"fingerprint": "0000"})
    assert await code(refused, 409) == "not-releasable"


async def test_of_two_who_claim_one_has_it(client: httpx.AsyncClient, park: Park):
    """The other is told whose it is; put back, assigned and answered it goes on as ever."""
    interaction = await park()
    path = f"/api/v1/interactions/{interaction['interactionId']}"

    answers = await asyncio.gather(
        *(client.post(f"{path}/claim", json={"actor": who}) for who in ("ada", "bo"))
    )

    assert sorted(answer.status_code for answer in answers) == [200, 409]
    whose = next(answer for answer in answers if answer.status_code == 200).json()["assignee"]
    other = "bo" if whose == "ada" else "ada"
    lost = next(answer for answer in answers if answer.status_code == 409)
    assert await code(lost, 409) == "already-assigned"
    kept = await client.post(f"{path}/release", json={"actor": other})
    assert await code(kept, 409) == "already-assigned"
    listed = await client.get("/api/v1/interactions", params={"assignee": whose})
    assert [each["interactionId"] for each in listed.json()["items"]] == [
        interaction["interactionId"]
    ]
    given = await client.post(f"{path}/assign", json={"assignee": other})
    assert given.json()["assignee"] == other
    back = await client.post(f"{path}/release", json={"actor": other})
    assert back.json()["assignee"] is None
    done = await client.post(f"{path}/complete", json={"responsePayload": {"accepted": {}}})
    assert done.status_code == 200
    late = await client.post(f"{path}/assign", json={"assignee": "ada"})
    assert await code(late, 409) == "already-ended"


@pytest.fixture
def known(served: Served, connect: Connect) -> httpx.AsyncClient:
    people = {
        "cook": Principal("cook", groups=["kitchen"]),
        "waiter": Principal("waiter", groups=["floor"]),
        "chief": Principal("chief", roles=["operate"]),
    }

    async def identify(request: httpx.Request) -> Principal | None:
        return people.get(request.headers.get("authorization", ""))

    return connect(served, identify=identify)


async def test_rights(known: httpx.AsyncClient, park: Park):
    """Whoever may answer may claim, as themselves; pausing and releasing take a role of their own."""
    interaction = await park()
    path = f"/api/v1/interactions/{interaction['interactionId']}"
    cook, waiter, chief = ({"authorization": who} for who in ("cook", "waiter", "chief"))

    assert await code(await known.post(f"{path}/claim", headers=waiter), 403) == "not-allowed"
    mine = await known.post(f"{path}/claim", json={"actor": "bo"}, headers=cook)
    assert mine.json()["assignee"] == "cook"
    pause = "/api/v1/pipelines/orders/pause"
    assert await code(await known.post(pause, headers=cook), 403) == "not-allowed"
    assert (await known.post(pause, headers=chief)).status_code == 200


async def test_a_release_over_http(connect: Connect):
    """An execution goes on as the boundary that is named, which its timeline tells."""
    async with App(orders, store="memory://", settings=Settings()).running() as app:
        client = connect(app)
        started = await client.post("/pipeline/run", json={"item": "soup"})
        path = f"/api/v1/executions/{started.json()['executionId']}"
        [listed] = (await client.get("/api/v1/pipelines")).json()["items"]
        fingerprint = listed["fingerprints"]["approve-order"]

        released = await client.post(
            f"{path}/release", json={"fingerprint": fingerprint, "by": "ada"}
        )

        assert released.json()["status"] == "WAITING_EXTERNAL"
