"""Stores, brokers and dead-letter topics that fail: nothing is committed before it is durable."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bide import App, DefinitionError, Retry
from bide.spi.receiving import Arrival, Completion, Verdict
from bide.spi.transport import Delivered, Refused, Unclear
from bide.transports.kafka.transport import KafkaTransport
from tests.integration.support import eventually
from tests.kafka.cluster import Cluster, Partner, Topics, completion, lag, topics
from tests.kafka.support import Checks, all_taken_in, put, read, settings, via_of
from tests.servers.kafka_mock import (
    ILLEGAL_GENERATION,
    NOT_LEADER,
    OFFSET_COMMIT,
    PRODUCE,
    REQUEST_TIMED_OUT,
    MockCluster,
)
from tests.unit.transports.test_kafka import outgoing

ADMITTED = Verdict(is_admitted=True, code="applied", detail="")
REFUSED = Verdict(is_admitted=False, code="conflict", detail="another answer")


class ScriptedDoor:
    """A door whose store is away until it is told otherwise; keeps what it was brought."""

    def __init__(self) -> None:
        self.is_away = False
        self.refuses: set[int] = set()
        self.brought: list[list[int]] = []

    async def take(self, arrivals: Sequence[Arrival]) -> list[Verdict | None]:
        numbers = [int(each.said.payload) for each in arrivals if isinstance(each.said, Completion)]
        self.brought.append(numbers)
        if self.is_away:
            # The store took every other one, and then failed.
            return [ADMITTED if number % 2 else None for number in numbers]
        return [REFUSED if number in self.refuses else ADMITTED for number in numbers]


@asynccontextmanager
async def listening(
    cluster: Cluster, names: Topics, door: ScriptedDoor, **more: Any
) -> AsyncIterator[KafkaTransport]:
    via = via_of(names, dead_letters=names.letters)
    transport = KafkaTransport({"await 'x'": via}, settings(cluster.servers, **more))
    await transport.open()
    transport.listen(door)
    try:
        yield transport
    finally:
        await transport.close()


def answer_of(number: int) -> dict[str, Any]:
    return {"tenantId": "default", "correlationId": "c", "responsePayload": number}


async def behind(cluster: Cluster, names: Topics) -> int:
    return await asyncio.to_thread(lag, cluster.servers, f"bide.{names.responses}", names.responses)


async def test_what_the_store_did_not_take_is_brought_again(cluster: Cluster) -> None:
    """While the store is away nothing behind the first untaken record is committed; what it took is
    not brought again, and the rest in its order, until it is taken.
    """
    names, door = topics(cluster, partitions=1), ScriptedDoor()
    door.is_away = True
    async with listening(cluster, names, door):
        await put(cluster, names.responses, *map(answer_of, range(10)))
        await eventually(lambda: sum(map(len, door.brought)) > 20)
        assert await behind(cluster, names) == 10
        door.is_away = False
        await all_taken_in(cluster, names)

    repeated = [number for batch in door.brought for number in batch if number % 2]
    assert repeated == [1, 3, 5, 7, 9]
    assert door.brought[-1] == [0, 2, 4, 6, 8]


async def test_a_process_that_goes_leaves_its_records_to_the_next(cluster: Cluster) -> None:
    """Records without a verdict are not committed at a stop: whoever comes next is brought them,
    with the same ids.
    """
    names, first, second = topics(cluster, partitions=1), ScriptedDoor(), ScriptedDoor()
    first.is_away = True
    async with listening(cluster, names, first):
        await put(cluster, names.responses, *map(answer_of, [0, 1, 2]))
        await eventually(lambda: sum(map(len, first.brought)) >= 3)

    async with listening(cluster, names, second):
        await all_taken_in(cluster, names)

    assert [number for batch in second.brought for number in batch] == [0, 1, 2]


async def test_new_records_wait_while_the_store_is_away(cluster: Cluster) -> None:
    """What comes meanwhile is brought after what waits, and all of it once."""
    names, door = topics(cluster, partitions=1), ScriptedDoor()
    door.is_away = True
    async with listening(cluster, names, door):
        await put(cluster, names.responses, answer_of(0))
        await eventually(lambda: len(door.brought) >= 2)
        await put(cluster, names.responses, *map(answer_of, range(1, 50)))
        await eventually(lambda: len(door.brought) >= 5)
        before = [number for batch in door.brought for number in batch]
        door.is_away = False
        await all_taken_in(cluster, names)

    taken = [number for batch in door.brought for number in batch]
    assert set(before) == {0}
    assert taken[len(before) + 1 :] == list(range(1, 50))


async def test_a_dead_letter_topic_that_is_not_there_stops_nothing(cluster: Cluster) -> None:
    """Its records go on: the table has their letters (a mock cluster makes each topic)."""
    names, door = topics(cluster, partitions=1), ScriptedDoor()
    door.refuses = {1}
    without = names._replace(letters=f"{names.letters}-not-there")
    async with listening(cluster, without, door):
        await put(cluster, names.responses, *map(answer_of, [0, 1, 2]))
        await all_taken_in(cluster, names)

    assert [number for batch in door.brought for number in batch] == [0, 1, 2]


async def test_a_letter_is_written_again_until_it_is_there() -> None:
    """While the dead-letter topic does not answer, its record is not done with, nor asked about
    again: the verdict is durable.
    """
    with MockCluster() as cluster:
        names, door = topics(cluster, partitions=1), ScriptedDoor()
        door.refuses = {1}
        async with listening(cluster, names, door, kafka_timeout_ms=1_000):
            await put(cluster, names.responses, *map(answer_of, [0]))
            await all_taken_in(cluster, names)
            cluster.fail(PRODUCE, *[REQUEST_TIMED_OUT] * 8)
            await put(cluster, names.responses, *map(answer_of, [1, 2]))
            await eventually(lambda: [2] in door.brought or [1, 2] in door.brought)
            await all_taken_in(cluster, names)
            letters = await read(cluster, names.letters, 1)

    assert [each.json["responsePayload"] for each in letters] == [1]
    assert sorted(number for batch in door.brought for number in batch) == [0, 1, 2]


async def test_commits_that_are_refused_are_made_good() -> None:
    """A commit that the broker refuses is made again with the next one, and is no reason to read
    anything twice.
    """
    with MockCluster() as cluster:
        names, door = topics(cluster, partitions=1), ScriptedDoor()
        async with listening(cluster, names, door):
            await put(cluster, names.responses, answer_of(0))
            await all_taken_in(cluster, names)
            cluster.fail(OFFSET_COMMIT, *[NOT_LEADER] * 3)
            await put(cluster, names.responses, answer_of(1))
            await all_taken_in(cluster, names)

    assert [number for batch in door.brought for number in batch] == [0, 1]


async def test_a_member_that_was_fenced_comes_back() -> None:
    """A commit of an earlier generation of the group changes nothing; the answers are taken in by
    whoever has the partition now, this process included.
    """
    with MockCluster() as cluster:
        names, door = topics(cluster, partitions=1), ScriptedDoor()
        async with listening(cluster, names, door):
            await put(cluster, names.responses, answer_of(0))
            await all_taken_in(cluster, names)
            cluster.fail(OFFSET_COMMIT, ILLEGAL_GENERATION)
            await put(cluster, names.responses, *map(answer_of, [1, 2]))
            await all_taken_in(cluster, names)

    assert {number for batch in door.brought for number in batch} == {0, 1, 2}


# --- requests -------------------------------------------------------------------------------------


async def test_a_batch_is_answered_in_its_order(cluster: Cluster) -> None:
    """What the broker has, what it will never take, and what it may yet take, each in its place."""
    names = topics(cluster)
    there, missing = via_of(names), via_of(names._replace(requests="nobody.made.this"))
    transport = KafkaTransport({"await 'x'": there}, settings(cluster.servers))
    await transport.open()
    try:
        too_large = b'"' + b"x" * 2_000_000 + b'"'
        first, second, third = await transport.send(
            [
                outgoing(via=there),
                outgoing(via=there, request=too_large),
                outgoing(via=missing if cluster.is_real else there),
            ]
        )
    finally:
        await transport.close()

    assert first == Delivered()
    assert isinstance(second, Refused)
    assert second.code == "kafka-msg-size-too-large"
    assert isinstance(third, Unclear) if cluster.is_real else third == Delivered()


async def test_a_broker_that_is_away_leaves_a_request_unclear() -> None:
    """Within the time that was set, and without a word of what it holds."""
    with MockCluster() as cluster:
        names = topics(cluster)
        transport = KafkaTransport(
            {"await 'x'": via_of(names)}, settings(cluster.servers, kafka_timeout_ms=1_000)
        )
        await transport.open()
        try:
            cluster.set_down()
            [delivery] = await transport.send([outgoing(via=via_of(names))])
        finally:
            await transport.close()

    assert isinstance(delivery, Unclear)
    assert "planted" not in delivery.message
    assert "1299" not in delivery.message


async def test_a_send_that_is_cancelled_sends_nothing_behind_its_back() -> None:
    """What the broker had not got by then it never gets."""
    with MockCluster() as cluster:
        names = topics(cluster)
        via = via_of(names)
        transport = KafkaTransport({"await 'x'": via}, settings(cluster.servers))
        await transport.open()
        try:
            await transport.send([outgoing(via=via)])
            cluster.set_down()
            sending = asyncio.create_task(transport.send([outgoing(via=via, attempt=2)]))
            await asyncio.sleep(0)  # it hands its record over in one go, and then waits
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            cluster.set_up()
            [last] = await transport.send([outgoing(via=via, attempt=3, tenant="last")])
        finally:
            await transport.close()
        requests = await read(cluster, names.requests, 2)

    assert last == Delivered()
    assert [each.json["tenantId"] for each in requests] == ["acme", "last"]


class FallingDoor(ScriptedDoor):
    """A door behind which the broker goes away, so that no offset can be committed any more."""

    def __init__(self, cluster: MockCluster) -> None:
        super().__init__()
        self._cluster = cluster

    async def take(self, arrivals: Sequence[Arrival]) -> list[Verdict | None]:
        self._cluster.set_down()
        return await super().take(arrivals)


async def test_a_stop_while_the_broker_is_away_comes_to_its_end() -> None:
    """A process can be stopped whatever its broker does, with a commit under way as well; what the
    client still does then keeps no process from ending.
    """
    with MockCluster() as cluster:
        names, door = topics(cluster), FallingDoor(cluster)
        async with asyncio.timeout(60):
            async with listening(cluster, names, door):
                await put(cluster, names.responses, answer_of(0))
                await eventually(lambda: door.brought == [[0]])

    left = [each for each in threading.enumerate() if each.name.startswith("bide-kafka")]
    assert all(each.daemon for each in left)


# --- how it is ------------------------------------------------------------------------------------


async def test_what_readiness_says(cluster: Cluster) -> None:
    """Nothing while all is well; the topic that is not there; a group that is too far behind."""
    names = topics(cluster)
    checks = Checks(via_of(names))
    app = checks.app(cluster, "memory://", kafka_lag_max=2)

    async def said(**more: Any) -> list[str]:
        transport = KafkaTransport(
            {"await 'x'": via_of(names, **more)}, settings(cluster.servers, kafka_lag_max=2)
        )
        return [
            f"{each.subject} {each.message} {each.is_fatal}" for each in await transport.problems()
        ]

    async with app.running():
        await put(cluster, names.responses, b"", b"", b"")
        await all_taken_in(cluster, names)
        well = await eventually(lambda: nothing_wrong(app))
    await put(cluster, names.responses, b"", b"", b"")

    assert well
    [late] = await eventually(said)
    assert "3 answers wait on" in late
    assert late.endswith("False")
    if cluster.is_real:
        missing = await said(dead_letters="not.there")
        assert any("topic not.there it is not there" in each for each in missing)
    [open_one, *_] = await said(trusted_network=True)
    assert "can answer it (trusted_network)" in open_one


async def nothing_wrong(app: App) -> bool:
    checks = await app.service.checks(for_workers=True)
    return all(check.ok for check in checks if check.name == "transport")


async def test_a_cluster_that_does_not_answer_is_no_ready_process() -> None:
    """Readiness names the brokers, and `doctor` as well, which opens no transport."""
    with MockCluster() as cluster:
        names, servers = topics(cluster), cluster.servers
        cluster.set_down()
        transport = KafkaTransport({"await 'x'": via_of(names)}, settings(servers))

        async def unanswered() -> bool:
            return any(
                each.is_fatal and servers in f"{each.subject} {each.message}"
                for each in await transport.problems()
            )

        assert await eventually(unanswered)
        await transport.close()


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"kafka_servers": ()}, "set BIDE_KAFKA_SERVERS"),
        ({"kafka_config": '{"sasl.pasword": "planted"}'}, "sasl.pasword"),
        ({"kafka_config": '{"security.protocol": "planted"}'}, "security.protocol"),
    ],
)
async def test_what_cannot_work_stops_the_start(more: dict[str, Any], why: str) -> None:
    """In one line that names what is wrong and shows no value."""
    from pydantic import SecretStr

    given = {
        name: SecretStr(value) if isinstance(value, str) else value for name, value in more.items()
    }
    transport = KafkaTransport(
        {"await 'x'": via_of(Topics("a", "b", "c"))}, settings("127.0.0.1:1", **given)
    )

    with pytest.raises(DefinitionError, match=why) as raised:
        await transport.open()
    [problem, *_] = await transport.problems()

    assert "planted" not in str(raised.value)
    assert problem.message == str(raised.value)
    assert problem.is_fatal


async def test_brokers_that_are_away_for_a_while() -> None:
    """Requests and answers wait until the broker is back, and then come through, each once."""
    with MockCluster() as cluster:
        names = topics(cluster)
        often = Retry(100, first="50ms", longest="200ms")
        checks = Checks(via_of(names, retry=often))
        app = checks.app(
            cluster, "memory://", kafka_timeout_ms=1_000, dispatch_breaker_first_ms=50,
            dispatch_breaker_longest_ms=200,
        )  # fmt: skip
        with Partner(
            cluster.servers,
            names,
            lambda asked: [completion(asked, f"<{asked['requestPayload']}>")],
        ):
            async with app.running():
                cluster.set_down()
                execution = await app.submit(checks.pipeline, 20)
                await eventually(lambda: some_unclear(app))
                cluster.set_up()
                result = await execution.result(timeout=90)

    assert result == ",".join(f"<{number}>" for number in range(20))


async def some_unclear(app: App) -> bool:
    found = await app.service.pending("default")
    return any(each.dispatch is not None and each.dispatch.error for each in found)
