"""What readers see: pages, filters, the wall between tenants, and what upkeep finds and deletes."""

import pytest

from bide.engine.moves import (
    Cancel,
    CloseBehind,
    Expire,
    Finish,
    KeyTaken,
    Moved,
    NewInteraction,
    Park,
    Received,
    Submitted,
)
from bide.model.ids import ExecutionId, InteractionId, UnitId
from bide.model.records import replace
from bide.model.status import ExecutionStatus, InteractionStatus, ReceiptOutcome
from bide.spi.store import Asked, ExecutionQuery, ItemKey, Overdue, PendingQuery
from bide.testing.store_contract.harness import (
    DAY,
    HOUR,
    LIMIT,
    MINUTE,
    OTHER_TENANT,
    TENANT,
    Driver,
    answer,
    answers_to,
    asking,
    boundary,
    expect,
    redrive_of,
)


class TestExecutions:
    """Lists of executions."""

    async def test_newest_first_in_pages(self, driver: Driver) -> None:
        """Pages go from the newest to the oldest; the last id of one begins the next."""
        ids: list[ExecutionId] = []
        for _ in range(5):
            ids.append(await driver.submit())
            driver.clock.advance(1)
        pages: list[list[ExecutionId]] = []
        before: ExecutionId | None = None

        while page := await driver.store.executions(ExecutionQuery(TENANT, before=before, limit=2)):
            pages.append([one.id for one in page])
            before = page[-1].id

        assert pages == [[ids[4], ids[3]], [ids[2], ids[1]], [ids[0]]]

    async def test_filters(self, driver: Driver) -> None:
        """Filters by pipeline and status are joined by and."""
        ended = await driver.succeeded()
        orders = await driver.submit()
        refunds = await driver.submit(pipeline="refunds")
        queued = ExecutionStatus.QUEUED

        found = [
            [one.id for one in await driver.store.executions(query)]
            for query in (
                ExecutionQuery(TENANT),
                ExecutionQuery(TENANT, pipeline="orders"),
                ExecutionQuery(TENANT, status=queued),
                ExecutionQuery(TENANT, pipeline="orders", status=queued),
                ExecutionQuery(TENANT, pipeline="nothing"),
            )
        ]

        assert found == [[refunds, orders, ended], [orders, ended], [refunds, orders], [orders], []]

    async def test_by_id(self, driver: Driver) -> None:
        """Executions by id come in the order asked for, None for each that is absent (S2)."""
        first, second = await driver.submit(), await driver.submit()
        asked = [second, driver.new_id(), first, second]

        found = await driver.store.executions_by_id(TENANT, asked)

        assert [one.id if one else None for one in found] == [second, None, first, second]
        assert await driver.store.executions_by_id(TENANT, []) == []

    async def test_counts(self, driver: Driver) -> None:
        """Counts by status, of one tenant and pipeline or of all."""
        await driver.succeeded()
        await driver.parked()
        await driver.submit()
        await driver.submit(pipeline="refunds")
        await driver.submit(tenant=OTHER_TENANT)
        queued, waiting = ExecutionStatus.QUEUED, ExecutionStatus.WAITING_EXTERNAL
        succeeded = ExecutionStatus.SUCCEEDED

        counts = [
            {status: n for status, n in (await driver.store.count_by_status(*of)).items() if n}
            for of in ((None, None), (TENANT, None), (TENANT, "orders"), ("nobody", None))
        ]

        assert counts == [
            {succeeded: 1, waiting: 1, queued: 3},
            {succeeded: 1, waiting: 1, queued: 2},
            {succeeded: 1, waiting: 1, queued: 1},
            {},
        ]

    async def test_dead_letters(self, driver: Driver) -> None:
        """Dead letters are listed newest first, in pages, by pipeline."""
        ids = [await driver.failed(ExecutionStatus.DLQ) for _ in range(3)]
        await driver.cancelled()
        store = driver.store

        first = await store.dead_letters(TENANT, pipeline="orders", before=None, limit=2)
        rest = await store.dead_letters(TENANT, pipeline=None, before=first[-1].execution, limit=2)
        none = await store.dead_letters(TENANT, pipeline="refunds", before=None, limit=2)

        assert [one.execution for one in first] == [ids[2], ids[1]]
        assert [one.execution for one in rest] == [ids[0]]
        assert none == []
        assert await store.dead_letter(TENANT, ids[0]) == rest[0]

    async def test_redrives(self, driver: Driver) -> None:
        """Executions that were made for another one are found by it, newest first."""
        ended = await driver.failed()
        made = [redrive_of(driver, ended, name=name) for name in ("first", "second")]
        await driver.do(*made)

        found = await driver.store.executions(ExecutionQuery(TENANT, redriven_from=ended))
        foreign = await driver.store.executions(ExecutionQuery(OTHER_TENANT, redriven_from=ended))

        assert [one.id for one in found] == [made[1].execution, made[0].execution]
        assert all(one.redriven_from == ended for one in found)
        assert foreign == []


class TestHistory:
    """What a replay is made from."""

    async def test_facts_after_a_version(self, driver: Driver) -> None:
        """Facts are read from any version on, so that whoever follows reads each once."""
        interaction = await driver.parked()
        await driver.one(answer(interaction))
        facts = await driver.store.journal(TENANT, interaction.execution)

        later = await driver.store.journal(TENANT, interaction.execution, 2)
        none = await driver.store.journal(TENANT, interaction.execution, facts[-1].version)

        assert later == facts[2:]
        assert none == []

    async def test_items_in_pages(self, driver: Driver) -> None:
        """A unit's interactions are read by item, open or not, without a payload."""
        stream = await driver.parked_stream(3)
        await driver.do(*answers_to(stream, [1]))
        store = driver.store

        first = await store.items(TENANT, stream.unit, None, 2)
        rest = await store.items(TENANT, stream.unit, ItemKey(1, 0), 2)
        foreign = await store.items(OTHER_TENANT, stream.unit, None, 2)

        assert [one.item for one in first + rest] == [0, 1, 2]
        assert first[1].status is InteractionStatus.COMPLETED
        assert first[1].actor == "ada"
        assert all(one.request is None and one.answer is None for one in first + rest)
        assert foreign == []


class TestPending:
    """The list of what is asked."""

    async def test_most_urgent_first(self, driver: Driver) -> None:
        """Open interactions come by deadline, then by id, with requests, up to the limit."""
        late = await driver.parked(timeout_ms=3 * HOUR)
        stream = await driver.parked_stream(3, timeout_ms=2 * HOUR)
        soon = await driver.parked(timeout_ms=HOUR)

        listed = await driver.store.pending(PendingQuery(TENANT))
        first = await driver.store.pending(PendingQuery(TENANT, limit=2))

        assert ids_of(listed) == [soon, *[stream.item(item) for item in range(3)], late]
        assert ids_of(first) == [soon, stream.item(0)]
        assert [one.interaction.request for one in listed[1:4]] == [
            asking(item).request for item in range(3)
        ]
        assert listed == [await driver.asked(one.interaction.id) for one in listed]
        assert {one.pipeline for one in listed} == {"orders"}

    async def test_filters(self, driver: Driver) -> None:
        """Filters by group, assignee, step and execution are joined by and."""
        ids: list[InteractionId] = []
        for step, group, assignee in (
            (1, None, None), (1, "finance", None), (2, "finance", "ada"), (2, "law", "ada"),
        ):  # fmt: skip
            execution = (await driver.running()).execution
            request = NewInteraction(b"{}", None, DAY, group, assignee)
            move = Park(execution.id, execution.fence, boundary(step), request)
            expect(await driver.one(move), Moved)
            ids.append(InteractionId(execution.id, 1, 0))

        found = [
            ids_of(await driver.store.pending(query))
            for query in (
                PendingQuery(TENANT, group="finance"),
                PendingQuery(TENANT, assignee="ada"),
                PendingQuery(TENANT, group="finance", assignee="ada"),
                PendingQuery(TENANT, step_id="decide-1"),
                PendingQuery(TENANT, execution=ids[3].execution),
                PendingQuery(TENANT, execution=ids[3].execution, group="finance"),
                PendingQuery(TENANT, group="finance", step_id="decide-1", limit=5),
            )
        ]

        assert found == [
            ids[1:3], ids[2:], ids[2:3], ids[:2], ids[3:], [], ids[1:2],
        ]  # fmt: skip

    async def test_only_what_is_open(self, driver: Driver) -> None:
        """What is answered, timed out, or of a unit that has ended is not listed."""
        stream = await driver.parked_stream(3)
        await driver.do(*answers_to(stream, [1]))
        cancelled = await driver.parked()
        await driver.one(Cancel(cancelled.execution, TENANT, "not wanted"))

        listed = ids_of(await driver.store.pending(PendingQuery(TENANT)))

        assert listed == [stream.item(0), stream.item(2)]

    async def test_while_the_source_is_read(self, driver: Driver) -> None:
        """Items are listed from the commit that appends them, not from the close."""
        stream = await driver.stream(2)

        listed = await driver.store.pending(PendingQuery(TENANT, execution=stream.id))

        assert ids_of(listed) == [stream.item(0), stream.item(1)]

    async def test_by_id(self, driver: Driver) -> None:
        """Interactions by id come in the order asked for, None for each that is absent (S2)."""
        stream = await driver.parked_stream(3)
        asked = [stream.item(2), stream.item(7), stream.item(0), stream.item(2)]

        found = await driver.store.interactions_by_id(TENANT, asked)

        assert [one.interaction.id if one else None for one in found] == [
            stream.item(2), None, stream.item(0), stream.item(2),
        ]  # fmt: skip
        assert await driver.store.interactions_by_id(TENANT, []) == []


def ids_of(listed: list[Asked]) -> list[InteractionId]:
    """The ids of what was listed."""
    return [asked.interaction.id for asked in listed]


class TestUpkeep:
    """What has to be looked at, and what may go."""

    async def test_overdue(self, driver: Driver) -> None:
        """What is past its deadline is found, not before, and in bounded numbers."""
        soon = await driver.parked(timeout_ms=MINUTE)
        stream = await driver.stream(3, timeout_ms=MINUTE)
        await driver.parked(timeout_ms=HOUR)
        driver.clock.advance(MINUTE)
        at_the_deadline = await driver.store.overdue(10)
        driver.clock.advance(1)

        past_it = await driver.store.overdue(10)
        some = await driver.store.overdue(2)

        assert at_the_deadline.expired == []
        assert sorted(past_it.expired) == sorted([soon, *map(stream.item, range(3))])
        assert len(some.expired) == 2
        assert set(some.expired) <= set(past_it.expired)
        assert past_it.left_open == []

    async def test_overdue_of_ended_units(self, driver: Driver) -> None:
        """What an ended unit has left open is closed by what its time was when the unit ended."""
        stream = await driver.stream()
        asked = (asking(0, timeout_ms=MINUTE), asking(1, timeout_ms=MINUTE), asking(2))
        await driver.one(replace(stream.append(0, 3), items=asked))
        driver.clock.advance(HOUR)
        await driver.one(Expire(stream.item(0)))
        overdue = await driver.store.overdue(10)

        await driver.do(*[Expire(id) for id in overdue.expired])
        await driver.do(*[CloseBehind(id) for id in overdue.left_open])

        assert sorted(overdue.left_open) == [stream.item(1), stream.item(2)]
        assert await driver.store.overdue(10) == Overdue([], [], [], [])
        statuses = [row.status for row in (await driver.dump()).interactions.values()]
        assert statuses == [
            InteractionStatus.TIMED_OUT, InteractionStatus.TIMED_OUT, InteractionStatus.CANCELLED,
        ]  # fmt: skip

    async def test_retire(self, driver: Driver) -> None:
        """Terminal executions go with all their rows, in bounded batches; others stay."""
        parked = await driver.parked()
        ended = [
            await driver.succeeded(),
            await driver.failed(),
            await driver.failed(ExecutionStatus.DLQ),
            await driver.cancelled(),
        ]
        stream = await driver.parked_stream(3)
        await driver.do(*answers_to(stream, [0]))
        await driver.do(answer(stream.item(0), b"2"), answer(stream.item(0), b"3"))
        await driver.one(Cancel(stream.id, TENANT, "not wanted"))
        driver.clock.advance(HOUR)
        young = await driver.succeeded()

        counts = [await driver.store.retire(driver.clock() - MINUTE, 2) for _ in range(12)]

        dump = await driver.dump()
        # A batch may find fewer than there are: a store is free to look in pages.
        assert max(counts) <= 2
        assert sum(counts) == 5
        assert set(dump.executions) == {parked.execution, young}
        assert set(dump.dead_letters) == set()
        assert dump.overdue.left_open == []
        store = driver.store
        for id in (*ended, stream.id):
            assert await store.executions_by_id(None, [id]) == [None]
            assert await store.input_of(TENANT, id) is None
            assert await store.units(TENANT, id) == []
            assert await store.journal(TENANT, id) == []
            assert await store.dead_letter(TENANT, id) is None
            assert await store.answers(TENANT, UnitId(id, 1), 0, 10) == []
        assert await store.interactions_by_id(TENANT, [stream.item(0)]) == [None]
        assert await store.refusals(TENANT, stream.item(0)) == []

    async def test_retire_leaves_the_key(self, driver: Driver) -> None:
        """A late repeat of a retired submit is still recognised, and a conflict still is one."""
        move = driver.submission("order-42", b"1")
        await driver.one(move)
        [claimed] = await driver.claim()
        await driver.one(Finish(move.execution, claimed.execution.fence, 1, b"1"))
        created = driver.clock()
        driver.clock.advance(HOUR)

        retired = await driver.store.retire(driver.clock(), 10)

        assert retired == 1
        again, other = await driver.do(
            driver.submission("order-42", b"1"), driver.submission("order-42", b"2")
        )
        assert again == Submitted(move.execution, True, created)
        assert other == KeyTaken(move.execution)
        assert await driver.store.executions(ExecutionQuery(TENANT)) == []

    async def test_forget_keys(self, driver: Driver) -> None:
        """A key outlives its execution until it is old; one whose execution is there stays."""
        move, kept = driver.submission("order-42", b"1"), driver.submission("order-43", b"1")
        await driver.do(move, kept)
        for claimed in await driver.claim():
            if claimed.execution.id == move.execution:
                await driver.one(Finish(move.execution, claimed.execution.fence, 1, b"1"))
        created = driver.clock()
        driver.clock.advance(HOUR)
        await driver.store.retire(driver.clock(), 10)

        young = await driver.store.forget_keys(created, 10)
        old = await driver.store.forget_keys(created + 1, 10)

        assert (young, old) == (0, 1)
        anew, again = await driver.do(
            driver.submission("order-42", b"2"), driver.submission("order-43", b"1")
        )
        assert not expect(anew, Submitted).duplicate
        assert again == Submitted(kept.execution, True, created)

    async def test_retire_by_the_end(self, driver: Driver) -> None:
        """Age counts from the end and not from the submit; what ended just then stays."""
        await driver.submit()
        driver.clock.advance(HOUR)
        [claimed] = await driver.claim()
        await driver.one(Finish(claimed.execution.id, claimed.execution.fence, 1, b"1"))

        early = await driver.store.retire(driver.clock(), 10)
        late = await driver.store.retire(driver.clock() + 1, 10)

        assert (early, late) == (0, 1)

    async def test_completions_of_what_is_gone(self, driver: Driver) -> None:
        """A completion for a retired execution is receipted unknown and makes nothing."""
        interaction = await driver.parked()
        await driver.one(Cancel(interaction.execution, TENANT, "not wanted"))
        driver.clock.advance(HOUR)
        await driver.store.retire(driver.clock(), 10)

        outcome = await driver.one(answer(interaction))

        assert outcome == Received(ReceiptOutcome.UNKNOWN)
        assert (await driver.dump()).executions == {}


class TestHandle:
    """The store as a thing that is opened and closed."""

    async def test_info(self, driver: Driver) -> None:
        """A store says what and where it is, and gives away no secret by it."""
        info = await driver.store.info()

        assert info.kind
        assert "://" in info.url
        user_info = info.url.partition("://")[2].rpartition("@")[0]
        assert user_info.partition(":")[2] in {"", "***"}

    async def test_close_twice(self, driver: Driver) -> None:
        """Closing is safe twice, and a closed store can be opened again."""
        await driver.store.close()
        await driver.store.close()

        await driver.store.open()

        assert await driver.store.now() >= driver.clock()

    async def test_migrate(self, driver: Driver) -> None:
        """An open store has the tables it needs, and migrating again finds nothing to do."""
        there = await driver.store.schema()
        await driver.store.close()

        found = await driver.store.migrate()

        await driver.store.open()
        assert there.present == there.needed
        assert found == there == await driver.store.schema()

    async def test_examine(self, driver: Driver) -> None:
        """A new store has nothing that would keep it from working."""
        checks = await driver.store.examine()

        assert [check for check in checks if not (check.ok or check.warning)] == []

    async def test_wait_for_change(self, driver: Driver) -> None:
        """Waiting for a change that does not come ends, with False once earlier ones were seen."""
        seen = [await driver.store.wait_for_change(0.001) for _ in range(3)]

        assert seen[-1] is False

    @pytest.mark.parametrize("limit", [1, LIMIT])
    async def test_reads_of_nothing(self, driver: Driver, limit: int) -> None:
        """An empty store answers every read."""
        store, nobody = driver.store, driver.new_id()

        assert await store.claim(driver.offer(limit=limit)) == []
        assert await store.answers(TENANT, UnitId(nobody, 1), 0, limit) == []
        assert await store.results(TENANT, nobody, 0, limit) == []
        assert await store.overdue(limit) == Overdue([], [], [], [])
        assert await store.retire(driver.clock(), limit) == 0
        assert (await driver.dump()).executions == {}
