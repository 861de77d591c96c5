"""Checkpoint handoff over Kafka: two apps with a store each, and nothing between them but topics."""

import asyncio
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bide import App, DefinitionError, Pipeline, Publication, Subscription, Topic
from bide.model.ids import format_execution
from bide.model.status import ExecutionStatus
from bide.runtime.clock import ExecutionIds
from bide.spi.handoff import Taken
from bide.spi.receiving import Arrival, Verdict
from bide.spi.transport import Refused, Unclear
from bide.transports.kafka.carrier import KafkaCarrier
from bide.transports.kafka.handoffs import read_receipt
from tests.integration.support import eventually
from tests.integration.test_handoffs_elsewhere import (
    HASTY,
    Parcel,
    Van,
    drive,
    handed,
    pack,
    published,
    tried,
    van_of,
)
from tests.kafka.cluster import Cluster, lag, topics
from tests.kafka.support import put, read, settings


def topic_of(cluster: Cluster, **more: Any) -> Topic:
    """A topic with its receipts and dead letters, that no other test has."""
    made = topics(cluster)
    return Topic(made.requests, receipts=made.responses, dead_letters=made.letters, **more)


def shop(cluster: Cluster, to: Topic, store: Path, **more: Any) -> App:
    packed = Publication("packed", idempotent_on="ref", to=to)
    packing = Pipeline("packing", Parcel, publishes=packed).then(pack)
    changes = HASTY | {"kafka_timeout_ms": 5_000} | more
    return App(
        packing, store=f"sqlite:///{store}/shop.db", settings=settings(cluster.servers, **changes)
    )


def delivery(cluster: Cluster, by: Topic, store: Path, **more: Any) -> App:
    taking = Pipeline(
        "delivery", Van, subscribes=Subscription("packed", mapper=van_of, remote=by)
    ).then(drive)
    return App(
        taking, store=f"sqlite:///{store}/delivery.db", settings=settings(cluster.servers, **more)
    )


def record(key: str = "p-1", **changes: Any) -> dict[str, Any]:
    """The documented record, as another program may write it."""
    ids = ExecutionIds()
    return {
        "tenantId": "default",
        "handoffId": format_execution(ids()),
        "publication": "packed",
        "handoffKey": key,
        "sourceExecutionId": format_execution(ids()),
        "sourcePipeline": "packing",
        "publishedAtEpochMs": 1,
        "payload": {"ref": key, "grams": 1},
        **changes,
    }


async def taken_in(cluster: Cluster, by: Topic) -> None:
    """Wait until the target's group has committed everything that is on the topic."""

    async def none_left() -> bool:
        return await asyncio.to_thread(lag, cluster.servers, by.group_id, by.topic) == 0

    await eventually(none_left)


async def receipts(cluster: Cluster, by: Topic, count: int) -> list[Any]:
    return [each.json for each in await read(cluster, by.receipt_topic, count)]


async def made(app: App) -> int:
    """How many executions the target owns."""
    return sum((await app.service.counts("default")).values())


async def test_it_is_offered_and_taken(cluster: Cluster, tmp_path: Path) -> None:
    """The target owns an execution of its own, each side names the other's, and the record is the
    documented one, under the handoff key.
    """
    by = topic_of(cluster)
    async with (
        delivery(cluster, by, tmp_path).running() as target,
        shop(cluster, by, tmp_path).running() as source,
    ):
        parcel = await source.submit("packing", {"ref": "p-1"})
        out = await handed(source, parcel)
        execution = target.execution("delivery", str(out.execution_id))

        assert await execution.result(timeout=30) == "delivered p-1 (1 g)"
        [origin] = (await target.service.lineage("default", execution.execution_id)).made_of
        assert (origin.execution_id, origin.pipeline, origin.key) == (
            parcel.execution_id, "packing", "p-1",
        )  # fmt: skip
        [sent] = await read(cluster, by.topic, 1)
        assert sent.key == "p-1"
        assert sent.json.keys() == record().keys()
        assert sent.json["handoffId"] == out.handoff_id
        assert await receipts(cluster, by, 1) == [
            {"handoffId": out.handoff_id, "executionId": out.execution_id, "duplicate": False}
        ]


async def test_two_hundred_are_each_one_execution(cluster: Cluster, tmp_path: Path) -> None:
    """All are settled at the source, each as another execution of the target."""
    by = topic_of(cluster)
    async with (
        delivery(cluster, by, tmp_path).running() as target,
        shop(cluster, by, tmp_path).running() as source,
    ):
        parcels = [await source.submit("packing", {"ref": f"p-{n}"}) for n in range(200)]
        out = [await handed(source, parcel) for parcel in parcels]

        assert len({each.execution_id for each in out}) == 200
        assert await made(target) == 200


async def test_what_comes_again_is_a_duplicate(cluster: Cluster, tmp_path: Path) -> None:
    """Equal records are one execution, and every one of them has its receipt."""
    by, one = topic_of(cluster), record()
    async with delivery(cluster, by, tmp_path).running() as target:
        await put(cluster, by.topic, one, one)
        await put(cluster, by.topic, one)
        await taken_in(cluster, by)
        said = await receipts(cluster, by, 3)

        assert [each["duplicate"] for each in said] == [False, True, True]
        assert len({each["executionId"] for each in said}) == 1
        assert await made(target) == 1


async def test_a_target_that_is_away_and_back(cluster: Cluster, tmp_path: Path) -> None:
    """While nobody takes it, it waits and says for what; then it is one execution, however often it
    was written meanwhile, and every record is taken in.
    """
    by = topic_of(cluster)
    async with shop(cluster, by, tmp_path, kafka_timeout_ms=1_000).running() as source:
        parcel = await source.submit("packing", {"ref": "p-1"})
        waiting = await tried(source, parcel, "no receipt came")
        assert waiting.status == "waiting"

        async with delivery(cluster, by, tmp_path).running() as target:
            await handed(source, parcel)
            await taken_in(cluster, by)

            assert await made(target) == 1


async def test_a_target_that_is_killed_before_the_receipt(cluster: Cluster, tmp_path: Path) -> None:
    """What it had admitted is told of by the next process, as a duplicate of itself."""
    by = topic_of(cluster)
    command = [
        sys.executable,
        "-m",
        "tests.kafka.mortal",
        cluster.servers,
        by.topic,
        by.receipt_topic,
        by.dead_letter_topic,
        str(tmp_path),
    ]
    async with shop(cluster, by, tmp_path, kafka_timeout_ms=1_000).running() as source:
        parcel = await source.submit("packing", {"ref": "p-1"})
        killed = await asyncio.create_subprocess_exec(*command)
        assert await killed.wait() == -signal.SIGKILL
        assert (await published(source, parcel)).execution_id is None

        async with delivery(cluster, by, tmp_path).running() as target:
            out = await handed(source, parcel)

            assert out.duplicate
            assert await made(target) == 1


async def test_a_refusal_is_a_dead_letter_of_the_source(cluster: Cluster, tmp_path: Path) -> None:
    """What the target says of the publication itself is final, and kept where it was published."""
    by = topic_of(cluster)
    async with (
        delivery(cluster, by, tmp_path).running() as target,
        shop(cluster, by, tmp_path).running() as source,
    ):
        parcel = await source.submit("packing", {"ref": "p-1", "grams": 2_000})
        await handed(source, parcel, "refused")

        [letter] = await source.service.dead_letters("default")
        assert (letter.kind, letter.code) == ("handoff", "mapper-failed")
        assert (await parcel.status()).status is ExecutionStatus.SUCCEEDED
        assert await made(target) == 0
        assert await target.service.dead_letters("default") == []


async def test_what_cannot_be_read_is_a_dead_letter(cluster: Cluster, tmp_path: Path) -> None:
    """It goes to the table and the topic as it came, and those around it are taken."""
    by = topic_of(cluster)
    bad = [b"{", record(handoffId="no id"), {**record(), "handoffKey": " "}]
    without = {name: each for name, each in record().items() if name != "payload"}
    async with delivery(cluster, by, tmp_path).running() as target:
        await put(cluster, by.topic, record("a"), *bad, without, record("b"))
        await taken_in(cluster, by)
        letters = await read(cluster, by.dead_letter_topic, 4)

        assert [each.headers["bide-cause"] for each in letters] == ["malformed"] * 4
        assert letters[0].value == b"{"
        kept = await target.service.dead_letters("default")
        assert [each.code for each in kept] == ["malformed"] * 4
        assert await made(target) == 2
        assert len(await receipts(cluster, by, 2)) == 2


async def test_a_topic_brings_only_what_it_was_named_for(cluster: Cluster, tmp_path: Path) -> None:
    """Another tenant's publication and one of another name are told so, are not taken, and leave no
    letter: whoever offers them keeps them.
    """
    by = topic_of(cluster)
    async with delivery(cluster, by, tmp_path).running() as target:
        await put(cluster, by.topic, record(tenantId="acme"), record(publication="unheard-of"))
        await taken_in(cluster, by)
        said = await receipts(cluster, by, 2)

        assert [each["code"] for each in said] == ["not-allowed", "unknown-publication"]
        assert sum((await target.service.counts("acme")).values()) + await made(target) == 0
        assert await target.service.dead_letters("default") == []


async def test_tenants_are_named(cluster: Cluster, tmp_path: Path) -> None:
    """A topic for a tenant carries its publications, to executions of that tenant."""
    by = topic_of(cluster, tenants=["acme"])
    async with delivery(cluster, by, tmp_path).running() as target:
        await put(cluster, by.topic, record(tenantId="acme"))
        await taken_in(cluster, by)

        assert sum((await target.service.counts("acme")).values()) == 1


class AwayDoor:
    """A door whose store is away until it is told otherwise."""

    def __init__(self) -> None:
        self.is_away = True
        self.brought: list[int] = []

    async def take(self, arrivals: Sequence[Arrival]) -> list[Verdict | None]:
        self.brought.append(len(arrivals))
        if self.is_away:
            return [None] * len(arrivals)
        taken = Taken(ExecutionIds()(), duplicate=False)
        return [Verdict(is_admitted=True, code="applied", detail="", taken=taken)] * len(arrivals)


async def test_nothing_is_told_or_committed_while_the_store_is_away(cluster: Cluster) -> None:
    """Offsets and receipts wait for durable admission, and come once the store is back."""
    by, door = topic_of(cluster), AwayDoor()
    carrier = KafkaCarrier({}, {"packed": by}, settings(cluster.servers))
    await carrier.open()
    carrier.listen(door)
    try:
        await put(cluster, by.topic, record("a"), record("b"))
        await eventually(lambda: len(door.brought) > 2)
        assert await asyncio.to_thread(lag, cluster.servers, by.group_id, by.topic) == 2
        door.is_away = False
        await taken_in(cluster, by)
    finally:
        await carrier.close()

    assert len(await receipts(cluster, by, 2)) == 2


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Topic("a b"), "Topic: topic is 'a b', which is no topic name"),
        (lambda: Topic("a", receipts="a"), "are three topics"),
        (lambda: Topic("a", receipts="b", dead_letters="b"), "are three topics"),
        (lambda: Topic("a", tenants="acme"), r"write tenants=\['acme'\]"),
        (lambda: Subscription("a", remote="topic"), "write True or Topic"),  # type: ignore[arg-type]  # what is refused
    ],
)
def test_mistakes_in_a_topic(make: Any, says: str) -> None:
    """What could never work is refused where it is written."""
    with pytest.raises(DefinitionError, match=says):
        make()


def test_topics_of_one_app_agree() -> None:
    """Subscriptions that share a topic describe it alike, and none is to what the app itself writes."""
    one = Pipeline("one", Parcel, subscribes=Subscription("a", remote=Topic("t"))).then(pack)
    other = Pipeline(
        "other", Parcel, subscribes=Subscription("b", remote=Topic("t", group="g"))
    ).then(pack)
    back = Publication("c", idempotent_on="ref", to=Topic("t"))
    again = Pipeline("again", Parcel, publishes=back).then(pack)

    with pytest.raises(DefinitionError, match="share the topic 't'"):
        App(one, other)
    with pytest.raises(DefinitionError, match="this very app takes from"):
        App(one, again)


@pytest.mark.parametrize(
    "value",
    [None, b"", b"[]", b"{}", b'{"handoffId": "x"}', b'{"handoffId": 1, "executionId": null}'],
)
def test_a_receipt_that_cannot_be_read_says_nothing(value: bytes | None) -> None:
    """Whatever else is written to the receipts settles no publication."""
    assert read_receipt(value) is None


def test_only_what_is_said_of_the_publication_is_a_refusal() -> None:
    """A code of the publication's own is final; any other is a reason to offer again."""
    id_ = format_execution(ExecutionIds()())
    said = [
        read_receipt(json.dumps({"handoffId": id_, "code": code, "message": "m"}).encode())
        for code in ("handoff-conflict", "unknown-publication", "defect")
    ]

    answers = [type(each.answer) for each in said if each is not None]
    assert answers == [Refused, Unclear, Unclear]
