"""What is refused over Kafka: each with its cause in both places, and nothing held up by it."""

import json
from typing import Any

from bide import App, Await, Pipeline
from bide.planning import canonical
from tests.integration.support import eventually
from tests.kafka.cluster import Cluster, Seen, completion, topics
from tests.kafka.support import Checks, all_taken_in, put, read, settings, via_of


def causes(letters: list[Seen]) -> list[str]:
    return [each.headers["bide-cause"] for each in letters]


async def test_poison_is_put_aside_and_stops_nothing(cluster: Cluster) -> None:
    """What cannot be read, or has no right, lies in the dead-letter topic byte for byte and in the
    table with its cause; the good answers among it, in the same partition, are admitted.
    """
    names = topics(cluster)
    checks = Checks(via_of(names))
    app = checks.app(cluster, "memory://")
    async with app.running():
        execution = await app.submit(checks.pipeline, 2)
        first, second = sorted(
            (each.json for each in await read(cluster, names.requests, 2)),
            key=lambda request: request["requestPayload"],
        )
        good = [completion(first, "a"), completion(second, "b")]
        forged = first["resumeToken"][:-4] + "AAAA"
        poison: list[tuple[Any, str]] = [
            (b"\xff\xfe\x00", "malformed"),
            (b"", "malformed"),
            (None, "malformed"),
            (b"[1]", "malformed"),
            (b'{"tenantId":"default","tenantId":"default"}', "malformed"),
            ({"correlationId": first["correlationId"], "responsePayload": "x"}, "malformed"),
            ({"tenantId": "default", "responsePayload": "x"}, "malformed"),
            (completion(first, "x", tenantId=7), "malformed"),
            (completion(first, "x", failure={"code": "both"}), "malformed"),
            (completion(first, "x", resumeToken=forged), "invalid-token"),
            (completion(first, "x", resumeToken=second["resumeToken"]), "wrong-token"),
            (completion(first, "x", tenantId="acme"), "wrong-token"),
            (completion(first, "x", resumeToken=" "), "token-required"),
            (completion(first, 7), "invalid-answer"),
        ]
        bodies = [each for each, _ in poison]

        await put(cluster, names.responses, *bodies[:7], good[0], *bodies[7:], good[1])

        result = await execution.result(timeout=60)
        await all_taken_in(cluster, names)
        letters = await read(cluster, names.letters, len(poison))
        table = await app.service.dead_letters("default")

    assert result == "a,b"
    assert causes(letters) == [cause for _, cause in poison]
    written = [each if each is None else as_bytes(each) for each in bodies]
    assert [each.value for each in letters] == written
    assert {each.headers["bide-group"] for each in letters} == {f"bide.{names.responses}"}
    assert len({each.headers["bide-source"] for each in letters}) == len(poison)
    assert sorted(each.code for each in table) == sorted(cause for _, cause in poison)
    assert {(each.kind, each.pipeline, each.step_id) for each in table} == {
        ("completion", "checks", "check")
    }


async def test_no_letter_of_the_table_holds_a_token(cluster: Cluster) -> None:
    """A token is a credential: the table keeps the envelope without it, also when it is no JSON."""
    names = topics(cluster)
    checks = Checks(via_of(names))
    app = checks.app(cluster, "memory://")
    async with app.running():
        await app.submit(checks.pipeline, 1)
        [sent] = await read(cluster, names.requests, 1)
        unfit = completion(sent.json, 7, actor="bob")
        await put(cluster, names.responses, unfit, as_bytes(unfit)[:-1])
        await eventually(lambda: len_of(app, 2))
        table = await app.service.dead_letters("default")

    token = sent.json["resumeToken"]
    assert token not in canonical.dumps([each.payload for each in table]).decode()
    del unfit["resumeToken"]
    assert {each.code: each.payload for each in table}["invalid-answer"] == unfit
    assert {each.actor for each in table} == {"bob", None}


async def len_of(app: App, count: int) -> bool:
    return len(await app.service.dead_letters("default")) == count


async def test_conflicts_and_late_answers_are_put_aside(cluster: Cluster) -> None:
    """A second, different answer and one after the deadline change nothing, and are not lost."""
    names, late_names = topics(cluster), topics(cluster)
    ask = Await("Check", int, str, via=via_of(names), timeout="5m")
    hurried = Await(
        "Hurry", int, str, via=via_of(late_names), timeout="50ms", on_timeout=lambda n: "late"
    )
    checks, hurry = Pipeline("checks", int).wait(ask), Pipeline("hurry", int).wait(hurried)
    app = App(checks, hurry, store="memory://", settings=settings(cluster.servers))
    async with app.running():
        answered = await app.submit(checks, 1)
        [sent] = await read(cluster, names.requests, 1)
        await put(cluster, names.responses, completion(sent.json, "a"), completion(sent.json, "b"))
        assert await answered.result(timeout=60) == "a"
        [late] = await read(cluster, late_names.requests, 1) if await parked(app, hurry) else [sent]
        await put(cluster, late_names.responses, completion(late.json, "c"))
        await all_taken_in(cluster, names)
        await all_taken_in(cluster, late_names)
        table = await app.service.dead_letters("default")

    assert sorted(each.code for each in table) == ["conflict", "late"]
    assert {each.code: each.step_id for each in table} == {"conflict": "check", "late": "hurry"}


async def parked(app: App, pipeline: Any) -> bool:
    """Ask, and let the time pass."""
    execution = await app.submit(pipeline, 1)
    return bool(await execution.result(timeout=60) == "late")


async def test_a_trusted_topic_is_bound_to_its_tenants(cluster: Cluster) -> None:
    """Without a token an answer counts only for the tenants that the await names, and only for an
    await of that topic; what claims another tenant is kept for those who own the topic.
    """
    names, other_names = topics(cluster), topics(cluster)
    trusted = via_of(names, trusted_network=True, tenants=["acme", "zeta"])
    ask = Await("Check", int, str, via=trusted, timeout="5m")
    elsewhere = Await(
        "Elsewhere", int, str, timeout="5m",
        via=via_of(other_names, trusted_network=True, tenants=["acme"]),
    )  # fmt: skip
    checks, others = Pipeline("checks", int).wait(ask), Pipeline("others", int).wait(elsewhere)
    app = App(checks, others, store="memory://", settings=settings(cluster.servers))
    async with app.running():
        mine = await app.submit(checks, 1, tenant="acme")
        foreign = await app.submit(checks, 2, tenant="evil")
        other = await app.submit(others, 3, tenant="acme")
        [request] = await mine.parked(ask, timeout="30s")
        [theirs] = await foreign.parked(ask, timeout="30s")
        [of_other] = await other.parked(elsewhere, timeout="30s")

        def said(tenant: str, id: str, payload: Any = "yes") -> dict[str, Any]:
            return {"tenantId": tenant, "interactionId": id, "responsePayload": payload}

        await put(
            cluster, names.responses,
            said("evil", theirs.interaction_id),
            said("acme", theirs.interaction_id),
            said("acme", of_other.interaction_id),
            said("acme", "no-id"),
            said("zeta", request.interaction_id),
            said("acme", request.interaction_id),
        )  # fmt: skip
        assert await mine.result(timeout=60) == "yes"
        await all_taken_in(cluster, names)
        letters = await read(cluster, names.letters, 5)
        kept = {
            tenant: await app.service.dead_letters(tenant) for tenant in ("acme", "zeta", "evil")
        }

    assert causes(letters) == [
        "not-allowed", "not-found", "wrong-topic", "not-found", "not-found",
    ]  # fmt: skip
    assert {tenant: len(found) for tenant, found in kept.items()} == {
        "acme": 4,
        "zeta": 1,
        "evil": 0,
    }


async def test_a_letter_can_be_driven_again(cluster: Cluster) -> None:
    """A refused record, written to the response topic as it lies in the dead-letter topic, is
    admitted once what it was refused for is mended.
    """
    names = topics(cluster)
    checks = Checks(via_of(names))
    app = checks.app(cluster, "memory://")
    async with app.running():
        execution = await app.submit(checks.pipeline, 1)
        [sent] = await read(cluster, names.requests, 1)
        await put(cluster, names.responses, completion(sent.json, 7))
        [letter] = await read(cluster, names.letters, 1)
        assert letter.value is not None
        mended = {**json.loads(letter.value), "responsePayload": "7"}
        await put(cluster, names.responses, as_bytes(mended))
        result = await execution.result(timeout=60)

    assert result == "7"


def as_bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()
