"""Commits: the same move twice, rows that cannot be stored, callers that go, outcomes unknown."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple, get_args

import pytest

from bide.engine.moves import (
    Append,
    AskAgain,
    Assign,
    Cancel,
    CloseBehind,
    Denied,
    Expire,
    ExpireEarly,
    ExpireUnit,
    Fail,
    Failure,
    Finish,
    GiveBack,
    HandedOver,
    Handover,
    KeepLetter,
    Move,
    Moved,
    Note,
    OfferAgain,
    OpenUnit,
    Outcome,
    Park,
    Postponed,
    Received,
    Release,
    Retry,
    Sent,
    SettleDispatch,
    SettleHandoff,
    StoreRejects,
    StoreResults,
    Submitted,
    Unstorable,
)
from bide.errors import StoreUnavailable
from bide.model.records import AuditEntry, DeadLetter, replace
from bide.model.status import DeadLetterKind, ExecutionStatus
from bide.spi.store import ExecutionQuery, LeaseKey
from bide.testing.store_contract.harness import (
    DAY,
    HOUR,
    LEASE_MS,
    TENANT,
    Driver,
    Dump,
    answer,
    answer_by_key,
    asking,
    boundary,
    correlated,
    expect,
    redrive_of,
    reject_of,
    take_over,
    taking_over,
)
from bide.testing.store_contract.publishing import finishing, handed_to, offered, refused


class Pair(NamedTuple):
    """A move, and the same with a conflicting value where it has a value that can conflict."""

    move: Move
    conflicting: Move | None


async def _submit(driver: Driver) -> Pair:
    return Pair(driver.submission("order-42", b"1"), driver.submission("order-42", b"2"))


async def _submit_without_key(driver: Driver) -> Pair:
    return Pair(driver.submission(), None)


async def _park(driver: Driver) -> Pair:
    execution = (await driver.running()).execution
    move = Park(execution.id, execution.fence, boundary(), asking(0))
    return Pair(move, replace(move, interaction=asking(1)))


async def _open(driver: Driver) -> Pair:
    execution = (await driver.running()).execution
    move = OpenUnit(execution.id, execution.fence, boundary(1))
    return Pair(move, replace(move, boundary=boundary(2)))


async def _append(driver: Driver) -> Pair:
    stream = await driver.stream()
    move = stream.append(0, 3)
    return Pair(move, replace(move, items=(asking(0), asking(9), asking(2))))


async def _close(driver: Driver) -> Pair:
    stream = await driver.stream(2)
    return Pair(stream.close(2), stream.close(3))


async def _close_empty(driver: Driver) -> Pair:
    stream = await driver.stream()
    return Pair(stream.close(0), stream.close(1))


async def _admit(driver: Driver) -> Pair:
    interaction = await driver.parked()
    return Pair(answer(interaction, b"1"), answer(interaction, b"2"))


async def _admit_failure(driver: Driver) -> Pair:
    interaction = await driver.parked()
    failed = answer(interaction, b"1", failure=Failure("declined", "no"))
    return Pair(failed, answer(interaction, b"2"))


async def _park_by_key(driver: Driver) -> Pair:
    first, second = (await driver.running()).execution, (await driver.running()).execution
    park = Park(first.id, first.fence, boundary(), asking(0, correlation=correlated("k")))
    return Pair(park, replace(park, execution=second.id, fence=second.fence))


async def _admit_by_key(driver: Driver) -> Pair:
    await driver.parked(correlation=correlated("k"))
    return Pair(answer_by_key(driver, "k", b"1"), answer_by_key(driver, "k", b"2"))


async def _admit_early(driver: Driver) -> Pair:
    return Pair(answer_by_key(driver, "k", b"1"), answer_by_key(driver, "k", b"2"))


async def _expire_early(driver: Driver) -> Pair:
    early = answer_by_key(driver, "k", b"1")
    await driver.one(early)
    driver.clock.advance(2 * DAY)
    return Pair(ExpireEarly(early.key), None)


async def _expire(driver: Driver) -> Pair:
    interaction = await driver.parked()
    driver.clock.advance(2 * DAY)
    return Pair(Expire(interaction), None)


async def _expire_unit(driver: Driver) -> Pair:
    stream = await driver.parked_stream(2, at=replace(boundary(), unit_timeout_ms=HOUR))
    driver.clock.advance(2 * DAY)
    return Pair(ExpireUnit(stream.unit), None)


async def _close_behind(driver: Driver) -> Pair:
    interaction = await driver.parked()
    await driver.one(Cancel(interaction.execution, TENANT, "not wanted"))
    return Pair(CloseBehind(interaction), None)


async def _finish(driver: Driver) -> Pair:
    execution = (await driver.running()).execution
    move = Finish(execution.id, execution.fence, 2, b"1")
    return Pair(move, replace(move, result=b"2"))


async def _retry(driver: Driver) -> Pair:
    execution = (await driver.running()).execution
    move = Retry(execution.id, execution.fence, 0, 1, 10, "down")
    return Pair(move, replace(move, attempt=2, delay_ms=20))


async def _give_back(driver: Driver) -> Pair:
    execution = (await driver.running()).execution
    return Pair(GiveBack(execution.id, execution.fence), None)


async def _fail(driver: Driver) -> Pair:
    execution = (await driver.running()).execution
    move = Fail(
        execution.id, execution.fence, ExecutionStatus.FAILED, 0, "charge", 1, "boom", "it broke"
    )
    return Pair(move, replace(move, status=ExecutionStatus.DLQ, code="other"))


async def _cancel(driver: Driver) -> Pair:
    move = Cancel(await driver.submit(), TENANT, "not wanted")
    return Pair(move, replace(move, reason="another reason"))


async def _results(driver: Driver) -> Pair:
    execution = (await driver.running()).execution
    move = StoreResults(execution.id, execution.fence, 0, (b"1", b"2"))
    return Pair(move, replace(move, bodies=(b"1", b"other")))


async def _rejects(driver: Driver) -> Pair:
    execution = (await driver.running()).execution
    move = StoreRejects(execution.id, execution.fence, (reject_of(execution, 0),))
    return Pair(move, replace(move, rejects=(reject_of(execution, 0, "another reason"),)))


async def _redrive(driver: Driver) -> Pair:
    move = redrive_of(driver, await driver.failed())
    return Pair(move, replace(move, execution=driver.new_id(), digest=b"await"))


async def _take_over(driver: Driver) -> Pair:
    stream = await driver.parked_stream(3)
    await driver.one(answer(stream.item(1), failure=Failure("declined", "no")))
    claimed, old = await taking_over(driver, stream.unit)
    return Pair(await take_over(driver, claimed, old, 0, 2), None)


async def _ask_again(driver: Driver) -> Pair:
    stream = await driver.parked_stream(3, at=replace(boundary(), tolerated=1))
    await driver.one(answer(stream.item(1), failure=Failure("declined", "no")))
    return Pair(AskAgain(stream.item(1), TENANT, b'{"item":1}'), None)


async def _release(driver: Driver) -> Pair:
    move = Release(await driver.submit(), TENANT, "another")
    return Pair(move, replace(move, fingerprint="a third"))


async def _assign(driver: Driver) -> Pair:
    interaction = await driver.parked()
    move = Assign(interaction, TENANT, "ada", frozenset({None, "ada"}))
    return Pair(move, replace(move, assignee="bo", only_from=frozenset({None, "bo"})))


async def _settle_dispatch(driver: Driver) -> Pair:
    claimed = await driver.dispatching()
    move = SettleDispatch(claimed.interaction.id, claimed.dispatch.fence, Sent())
    return Pair(move, replace(move, result=Denied("http-404", "Not Found")))


async def _publish(driver: Driver) -> Pair:
    source = (await driver.running()).execution
    move = finishing(source, handed_to(driver, source))
    return Pair(move, finishing(source, handed_to(driver, source, body=b"2")))


async def _settle_handoff(driver: Driver) -> Pair:
    claimed = await offered(driver)
    there = HandedOver(driver.new_id(), duplicate=False)
    move = SettleHandoff(claimed.id, claimed.fence, there)
    return Pair(move, replace(move, result=Denied("handoff-invalid", "no such field")))


async def _offer_again(driver: Driver) -> Pair:
    return Pair(OfferAgain((await refused(driver)).id, TENANT), None)


async def _note(driver: Driver) -> Pair:
    entry = AuditEntry(driver.new_id(), TENANT, 0, "request", "not-allowed", "bob", "jwt:k1")
    return Pair(Note(entry), None)


async def _keep_letter(driver: Driver) -> Pair:
    letter = DeadLetter(
        driver.new_id(), TENANT, "orders", DeadLetterKind.ARRIVAL, None, None, "malformed", "no",
        None, 1, 0,
    )  # fmt: skip
    return Pair(KeepLetter(letter), None)


class Verb(NamedTuple):
    """A move to try twice, and what the second of two equal or conflicting ones is told."""

    prepare: Callable[[Driver], Awaitable[Pair]]
    told_if_equal: str
    told_if_conflicting: frozenset[str] = frozenset()


def _verb(prepare: Callable[[Driver], Awaitable[Pair]], equal: str, *conflicting: str) -> Verb:
    return Verb(prepare, equal, frozenset(conflicting))


VERBS: dict[str, Verb] = {
    "submit": _verb(_submit, "duplicate", "key taken"),
    "submit without a key": _verb(_submit_without_key, "duplicate"),
    "park": _verb(_park, "refused", "refused"),
    "open": _verb(_open, "refused", "refused"),
    "append": _verb(_append, "made", "mismatch"),
    # A close that comes second is refused; one with a wrong count that comes first is a mismatch.
    "close": _verb(_close, "refused", "refused", "mismatch"),
    "close empty": _verb(_close_empty, "refused", "refused", "mismatch"),
    "admit": _verb(_admit, "duplicate", "conflict"),
    "admit a failure": _verb(_admit_failure, "duplicate", "conflict"),
    # The second execution under a key is not refused: it ends, with a code of its own.
    "park by key": _verb(_park_by_key, "refused", "made"),
    "admit by key": _verb(_admit_by_key, "duplicate", "conflict"),
    "admit early": _verb(_admit_early, "duplicate", "conflict"),
    "expire early": _verb(_expire_early, "refused"),
    "expire": _verb(_expire, "refused"),
    "expire unit": _verb(_expire_unit, "refused"),
    "close behind": _verb(_close_behind, "refused"),
    "store results": _verb(_results, "made", "made"),
    "store rejects": _verb(_rejects, "made", "made"),
    "redrive": _verb(_redrive, "duplicate", "key taken"),
    "take over": _verb(_take_over, "made"),
    "ask again": _verb(_ask_again, "refused"),
    "finish": _verb(_finish, "refused", "refused"),
    "retry": _verb(_retry, "refused", "refused"),
    "give back": _verb(_give_back, "refused"),
    "fail": _verb(_fail, "refused", "refused"),
    "cancel": _verb(_cancel, "refused", "refused"),
    "release": _verb(_release, "made", "made"),
    "assign": _verb(_assign, "made", "taken"),
    "settle a dispatch": _verb(_settle_dispatch, "refused", "refused"),
    "publish": _verb(_publish, "refused", "refused"),
    "settle a handoff": _verb(_settle_handoff, "refused", "refused"),
    "offer again": _verb(_offer_again, "refused"),
    "note": _verb(_note, "made"),
    "keep a letter": _verb(_keep_letter, "made"),
}


def told(outcome: Outcome) -> str:
    """An outcome in a word."""
    if isinstance(outcome, Submitted):
        return "duplicate" if outcome.duplicate else "made"
    if isinstance(outcome, Received):
        return "made" if outcome.outcome in {"applied", "buffered"} else str(outcome.outcome)
    return {
        "Moved": "made", "Settled": "made", "Handed": "made", "AskedAgain": "made", "Assigned": "made", "Noted": "made", "TakenBy": "taken", "KeyTaken": "key taken", "Refused": "refused",
        "Mismatch": "mismatch", "Unstorable": "unstorable",
    }[type(outcome).__name__]  # fmt: skip


async def with_duplicates_forgotten(driver: Driver) -> Dump:
    """What is stored, but for the traces of a completion that changed nothing."""
    return (await driver.dump()).without_receipts()


class TestTwice:
    """The same key twice, equal and conflicting, in one batch and in two (S2, S10)."""

    async def test_every_move_is_tried(self, driver: Driver) -> None:
        """No move of the model is left out of this matrix."""
        pairs: list[Pair] = []
        for verb in VERBS.values():
            driver.clock.advance(HOUR)
            pairs.append(await verb.prepare(driver))
            await driver.claim()

        assert {type(pair.move) for pair in pairs} == set(get_args(Move))

    @pytest.mark.parametrize("name", VERBS)
    async def test_equal_in_one_batch(self, driver: Driver, name: str) -> None:
        """The second of two equal moves of a batch changes nothing and is told so."""
        pair = await VERBS[name].prepare(driver)

        outcomes = await driver.do(pair.move, pair.move)

        assert [told(one) for one in outcomes] == ["made", VERBS[name].told_if_equal]
        # A third, in a batch of its own, is told what the second was: nothing depends on batches.
        before = await with_duplicates_forgotten(driver)
        assert told(await driver.one(pair.move)) == VERBS[name].told_if_equal
        assert await with_duplicates_forgotten(driver) == before

    @pytest.mark.parametrize("name", [n for n, verb in VERBS.items() if verb.told_if_conflicting])
    async def test_conflicting_in_one_batch(self, driver: Driver, name: str) -> None:
        """Of two conflicting moves of a batch the first is made, and the second told so."""
        pair = await VERBS[name].prepare(driver)
        assert pair.conflicting is not None

        outcomes = await driver.do(pair.move, pair.conflicting)

        assert told(outcomes[0]) == "made"
        assert told(outcomes[1]) in VERBS[name].told_if_conflicting

    @pytest.mark.parametrize("name", VERBS)
    async def test_equal_in_two_batches_at_once(self, driver: Driver, name: str) -> None:
        """Of two equal moves at the same time one is made, and the other told so."""
        pair = await VERBS[name].prepare(driver)

        outcomes = await asyncio.gather(driver.one(pair.move), driver.one(pair.move))

        expected = ["made", VERBS[name].told_if_equal]
        assert sorted(told(one) for one in outcomes) == sorted(expected)

    @pytest.mark.parametrize("turned", [False, True])
    @pytest.mark.parametrize("name", VERBS)
    async def test_in_two_processes_at_once(
        self, driver: Driver, name: str, *, turned: bool
    ) -> None:
        """Of two moves from two handles at once one is made, and the other told so (S4)."""
        verb = VERBS[name]
        pair = await verb.prepare(driver)
        second = pair.conflicting or pair.move
        allowed = verb.told_if_conflicting or {verb.told_if_equal}
        async with driver.another() as other:
            calls = [driver.store.transact([pair.move]), other.transact([second])]
            if turned:
                calls.reverse()

            transacted = await asyncio.gather(*calls)

        words = sorted(told(one.outcomes[0]) for one in transacted)
        assert "made" in words
        words.remove("made")
        assert words[0] in allowed


POISONS: dict[str, Callable[[Driver], Move]] = {
    "NUL in a key": lambda driver: driver.submission("a\0b"),
    "lone surrogate in a key": lambda driver: driver.submission("a\ud800"),
    "lone surrogate in a tenant": lambda driver: driver.submission(tenant="\udfff"),
    "NUL in a pipeline": lambda driver: driver.submission(pipeline="orders\0"),
}


class TestPoison:
    """A row that cannot be stored fails alone (S6)."""

    @pytest.mark.parametrize("name", POISONS)
    async def test_among_good_ones(self, driver: Driver, name: str) -> None:
        """One bad row among 499 good ones fails alone; its neighbours are written (S6)."""
        moves: list[Move] = [driver.submission(f"key-{number}") for number in range(499)]
        moves.insert(250, POISONS[name](driver))

        outcomes = await driver.do(*moves)

        assert [n for n, one in enumerate(outcomes) if isinstance(one, Unstorable)] == [250]
        assert [told(one) for one in outcomes if not isinstance(one, Unstorable)] == ["made"] * 499
        query = ExecutionQuery(TENANT, limit=1_000)
        assert len(await driver.store.executions(query)) == 499

    @pytest.mark.parametrize(
        "positions", [[0], [499], [0, 499], [7, 8, 9], list(range(0, 500, 50))]
    )
    async def test_wherever_it_stands(self, driver: Driver, positions: list[int]) -> None:
        """Bad rows at either end, in a row or spread over the batch: they alone fail (S6)."""
        moves = [
            driver.submission(f"key-{number}\0" if number in positions else f"key-{number}")
            for number in range(500)
        ]

        outcomes = await driver.do(*moves)

        bad = [number for number, one in enumerate(outcomes) if isinstance(one, Unstorable)]
        assert bad == positions
        assert len(await driver.store.executions(ExecutionQuery(TENANT, limit=1_000))) == (
            500 - len(positions)
        )

    async def test_alone(self, driver: Driver) -> None:
        """A bad row alone leaves nothing behind, and the store goes on."""
        before = await driver.dump()

        outcome = await driver.one(driver.submission("a\0b"))

        message = expect(outcome, Unstorable).message
        assert message
        assert "a\0b" not in message
        assert await driver.dump() == before
        await driver.submit()

    async def test_of_every_layer(self, driver: Driver) -> None:
        """Bad values are found in each table that a move writes, and change nothing (S1, S6)."""
        parked = await driver.parked()
        stream = await driver.stream(1)
        id, fence = stream.id, stream.fence
        await driver.one(GiveBack(id, fence))
        [claimed] = await driver.claim()
        fence = claimed.execution.fence
        sent = await driver.dispatching()
        number = stream.unit.number
        bad_item = replace(asking(1), group="a\0b")
        endless = asking(1, timeout_ms=2**63)
        before = await driver.dump()

        outcomes = await driver.do(
            answer(parked, actor="a\ud800"),
            answer(parked, failure=Failure("a\0b", "no")),
            answer(parked, failure=Failure("declined", "n\udc00")),
            Append(id, fence, number, 1, (bad_item,)),
            Append(id, fence, number, 1, (endless,)),
            Append(id, fence, number, 1, (asking(1, key="\ud800"),)),
            StoreResults(id, fence, 2**63, (b"1",)),
            Retry(id, fence, 0, 1, 2**63, "down"),
            Retry(id, fence, 0, 1, 10, "d\0wn"),
            Fail(id, fence, ExecutionStatus.FAILED, 0, "charge\0", 1, "boom", "it broke"),
            Fail(id, fence, ExecutionStatus.DLQ, 0, "charge", 1, "boom", "\ud800"),
            Cancel(id, TENANT, "\udfff"),
            SettleDispatch(sent.interaction.id, sent.dispatch.fence, Denied("c", "n\0")),
            SettleDispatch(sent.interaction.id, sent.dispatch.fence, Postponed("d\0wn", 1, 9)),
        )

        assert [told(one) for one in outcomes] == ["unstorable"] * 14
        assert await driver.dump() == before

    async def test_keeps_the_order(self, driver: Driver) -> None:
        """Around a bad row, later moves go on seeing earlier ones (S2, S6)."""
        first, last = driver.submission("same", b"1"), driver.submission("same", b"2")

        outcomes = await driver.do(
            first, driver.submission("a\0b"), last, Cancel(first.execution, TENANT, "no")
        )

        assert [told(one) for one in outcomes] == ["made", "unstorable", "key taken", "made"]

    async def test_in_a_shared_commit(self, driver: Driver) -> None:
        """A bad row of one caller does not touch what others hand in at the same time (S6, S8)."""
        moves = [driver.submission(f"{n}\0" if n % 10 == 3 else f"{n}") for n in range(100)]

        outcomes = await asyncio.gather(*[driver.one(move) for move in moves])

        assert [told(one) == "unstorable" for one in outcomes] == [n % 10 == 3 for n in range(100)]

    async def test_takes_no_slot(self, driver: Driver) -> None:
        """A hand-over stays within its slots however a batch is taken apart."""
        moves = [driver.submission(f"{n}\0" if n in {2, 7} else f"{n}") for n in range(12)]
        offer = Handover("worker-1", LEASE_MS, 4, frozenset({moves[0].fingerprint}))

        transacted = await driver.store.transact(moves, offer)

        claimed = [claim.execution.id for claim in transacted.claims]
        assert claimed == [moves[number].execution for number in (0, 1, 3, 4)]
        assert transacted.left_ready == 6


class TestCancelledCaller:
    """A caller that goes away (S8)."""

    @pytest.mark.parametrize("yields", range(8))
    async def test_disturbs_nobody(self, driver: Driver, yields: int) -> None:
        """Whoever shares a commit with a cancelled caller is answered; no row is half there (S8)."""
        gone = [driver.submission(f"gone-{n}") for n in range(5)]
        stayed = [[driver.submission(f"stayed-{n}-{m}") for m in range(5)] for n in range(4)]
        callers = [asyncio.ensure_future(driver.do(*moves)) for moves in stayed]
        leaving = asyncio.ensure_future(driver.do(*gone))
        callers += [asyncio.ensure_future(driver.do(*moves)) for moves in stayed]
        for _ in range(yields):
            await asyncio.sleep(0)

        leaving.cancel()

        answered = await asyncio.gather(*callers)
        words = [[told(one) for one in outcomes] for outcomes in answered]
        for first, second in zip(words[:4], words[4:], strict=True):
            assert sorted([first, second]) == [["duplicate"] * 5, ["made"] * 5]
        await asyncio.wait([leaving])
        again = {told(one) for one in await driver.do(*gone)}
        assert again in ({"made"}, {"duplicate"})

    async def test_claims_are_not_lost(self, driver: Driver) -> None:
        """A claim that nobody waits for any more runs out and is taken over, no sooner (S8)."""
        await driver.do(*[driver.submission() for _ in range(10)])
        leaving = asyncio.ensure_future(driver.claim("worker-1"))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.wait([leaving])
        # A store that has begun it goes on with it; closing waits for that.
        await driver.store.close()
        await driver.store.open()

        now = await driver.claim("worker-2")
        driver.clock.advance(LEASE_MS)
        later = await driver.claim("worker-2")

        ids = {one.execution.id for one in (*now, *later)}
        assert len(ids) == 10


class TestUnknownOutcome:
    """The connection was lost while committing (S7)."""

    @pytest.mark.parametrize("after", [False, True])
    @pytest.mark.parametrize("name", VERBS)
    async def test_is_looked_up(self, driver: Driver, name: str, *, after: bool) -> None:
        """The caller is told what became of it: made once, or unavailable and not made (S7)."""
        pair = await VERBS[name].prepare(driver)
        before = await driver.dump()
        driver.faults().fail_next_commit(after=after)

        try:
            outcome = await driver.one(pair.move)
        except StoreUnavailable:
            assert await driver.dump() == before
            assert told(await driver.one(pair.move)) == "made"
        else:
            assert told(outcome) == "made"
            if not isinstance(pair.move, StoreResults):
                assert await driver.dump() != before
            assert told(await driver.one(pair.move)) == VERBS[name].told_if_equal

    @pytest.mark.parametrize("after", [False, True])
    async def test_of_many_callers(self, driver: Driver, *, after: bool) -> None:
        """Each caller of a shared commit that was lost is told of its own rows (S7, S8)."""
        await driver.submit()
        moves = [driver.submission(f"key-{n}") for n in range(40)]
        driver.faults().fail_next_commit(after=after)

        answered = await asyncio.gather(
            *[driver.one(move) for move in moves], return_exceptions=True
        )

        stored = await driver.store.executions_by_id(TENANT, [move.execution for move in moves])
        for outcome, row in zip(answered, stored, strict=True):
            if isinstance(outcome, BaseException):
                assert isinstance(outcome, StoreUnavailable)
                assert row is None
            else:
                assert told(outcome) == "made"
                assert row is not None

    @pytest.mark.parametrize("after", [False, True])
    async def test_of_a_claim(self, driver: Driver, *, after: bool) -> None:
        """A claim whose outcome was lost is answered, or was not made (S7)."""
        id = await driver.submit()
        before = await driver.dump()
        driver.faults().fail_next_commit(after=after)

        try:
            [claimed] = await driver.claim()
        except StoreUnavailable:
            assert await driver.dump() == before
            [claimed] = await driver.claim()

        assert claimed.execution == await driver.execution(id)
        assert (claimed.execution.fence, claimed.body) == (1, b"{}")

    @pytest.mark.parametrize("after", [False, True])
    async def test_of_a_renewal(self, driver: Driver, *, after: bool) -> None:
        """A renewal whose outcome was lost is answered, or was not made (S7)."""
        execution = (await driver.running()).execution
        driver.clock.advance(1)
        before = await driver.dump()
        driver.faults().fail_next_commit(after=after)

        try:
            kept = await driver.store.renew([LeaseKey(execution.id, execution.fence)], LEASE_MS)
        except StoreUnavailable:
            assert await driver.dump() == before
        else:
            assert kept == [True]
            renewed = await driver.execution(execution.id)
            assert renewed.due_at == driver.clock() + LEASE_MS

    @pytest.mark.parametrize("after", [False, True])
    async def test_of_a_retirement(self, driver: Driver, *, after: bool) -> None:
        """A retirement whose outcome was lost is answered, or was not made (S7)."""
        id = await driver.succeeded()
        before = await driver.dump()
        driver.clock.advance(HOUR)
        driver.faults().fail_next_commit(after=after)

        try:
            retired = await driver.store.retire(driver.clock(), 10)
        except StoreUnavailable:
            assert await driver.dump() == before
        else:
            assert retired == 1
            assert await driver.store.executions_by_id(None, [id]) == [None]


class TestDurability:
    """What was answered is there, also for the next process (S1, I5)."""

    async def test_after_a_restart(self, driver: Driver) -> None:
        """A store that is closed and opened again shows every row as it was (S1)."""
        await driver.succeeded()
        await driver.failed(ExecutionStatus.DLQ)
        stream = await driver.stream(3)
        await driver.one(answer(stream.item(1)))
        await driver.one(answer(stream.item(1), b"2"))
        await driver.parked()
        await driver.submit()
        before = await driver.dump()
        await driver.store.close()

        async with driver.another() as reopened:
            after = await Driver(reopened, driver.clock, driver.factory).dump()

        assert after == before
        await driver.store.open()

    async def test_seen_by_others_at_once(self, driver: Driver) -> None:
        """What one handle was told is committed, the other reads."""
        async with driver.another() as other:
            interaction = await driver.parked()
            transacted = await other.transact([answer(interaction)])
            assert told(transacted.outcomes[0]) == "made"

            [claimed] = await driver.claim()

        assert claimed.execution.id == interaction.execution

    async def test_an_empty_batch(self, driver: Driver) -> None:
        """A batch of nothing comes to nothing."""
        transacted = await driver.store.transact([])

        assert (transacted.outcomes, transacted.left_ready) == ([], 0)

    async def test_a_large_batch(self, driver: Driver) -> None:
        """A stream of 2,000 items in pages of 500, answered in batches, is counted exactly."""
        stream = await driver.stream()
        for first in range(0, 2_000, 500):
            expect(await driver.one(stream.append(first, 500)), Moved)
        await driver.one(stream.close(2_000))

        for first in range(0, 2_000, 500):
            moves = [answer(stream.item(item), b"%d" % item) for item in range(first, first + 500)]
            outcomes = await driver.do(*moves, *moves[:5])
            assert [told(one) for one in outcomes] == ["made"] * 500 + ["duplicate"] * 5

        assert (await driver.execution(stream.id)).status is ExecutionStatus.QUEUED
        page = await driver.store.answers(TENANT, stream.unit, 1_500, 500)
        assert [row.answer for row in page] == [b"%d" % item for item in range(1_500, 2_000)]


class TestTime:
    """Time is the store's (S5)."""

    async def test_never_runs_backwards(self, driver: Driver) -> None:
        """When the machine's clock jumps back, the store's stands still until it has caught up."""
        execution = (await driver.running()).execution
        now = await driver.store.now()
        driver.clock.advance(-HOUR)

        later = await driver.store.now()
        move = driver.submission()
        await driver.one(move)

        assert later >= now
        assert (await driver.execution(move.execution)).created_at >= execution.updated_at
        driver.clock.advance(HOUR + 1)
        assert await driver.store.now() == now + 1

    async def test_no_lease_is_reopened(self, driver: Driver) -> None:
        """A lease that ran out stays so when the clock jumps back."""
        await driver.running()
        driver.clock.advance(LEASE_MS)
        await driver.submit()
        driver.clock.advance(-LEASE_MS)

        claimed = await driver.claim("worker-2")

        assert len(claimed) == 2

    async def test_no_deadline_is_reopened(self, driver: Driver) -> None:
        """An answer that came too late does not come in time when the clock jumps back."""
        interaction = await driver.parked(timeout_ms=HOUR)
        driver.clock.advance(HOUR + 1)
        late = expect(await driver.one(answer(interaction)), Received)
        driver.clock.advance(-HOUR)

        again = expect(await driver.one(answer(interaction)), Received)

        assert late.outcome == again.outcome == "late"

    async def test_also_after_a_restart(self, driver: Driver) -> None:
        """A store that is opened with a slower clock goes on from the time that was committed."""
        move = driver.submission()
        await driver.one(move)
        created = (await driver.execution(move.execution)).created_at
        await driver.store.close()
        driver.clock.advance(-HOUR)

        async with driver.another() as reopened:
            now = await reopened.now()
            later = driver.submission()
            await reopened.transact([later])
            [execution] = await reopened.executions_by_id(None, [later.execution])

        assert now >= created
        assert execution is not None
        assert execution.created_at >= created
        await driver.store.open()
