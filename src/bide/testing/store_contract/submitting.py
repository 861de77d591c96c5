"""Submits: once per tenant, pipeline and key."""

import asyncio

import pytest

from bide.engine.moves import Cancel, KeyTaken, Move, Refused, Submitted
from bide.model.records import replace
from bide.model.status import ExecutionStatus, JournalKind
from bide.spi.store import ExecutionQuery
from bide.testing.store_contract.harness import OTHER_TENANT, TENANT, Driver, expect


class TestSubmit:
    """Executions are created once."""

    async def test_creates(self, driver: Driver) -> None:
        """A submit stores the execution QUEUED and due now, with its input and first fact (S1)."""
        move = driver.submission("order-42", b'{"id":42}')

        outcome = expect(await driver.one(move), Submitted)

        execution = await driver.execution(move.execution)
        assert outcome == Submitted(move.execution, False, driver.clock())
        assert execution.status is ExecutionStatus.QUEUED
        assert (execution.version, execution.attempt, execution.fence) == (1, 0, 0)
        assert (execution.tenant, execution.pipeline) == (TENANT, "orders")
        assert execution.due_at == execution.created_at == driver.clock()
        assert await driver.store.input_of(TENANT, move.execution) == b'{"id":42}'
        [fact] = await driver.store.journal(TENANT, move.execution)
        assert fact.kind is JournalKind.SUBMITTED

    async def test_answers_in_order(self, driver: Driver) -> None:
        """Outcomes come in the order of the moves, whichever they are (S2)."""
        moves = [driver.submission(f"key-{number % 7}", b"1") for number in range(50)]

        outcomes = [expect(outcome, Submitted) for outcome in await driver.do(*moves)]

        firsts = {move.key: move.execution for move in reversed(moves)}
        assert [outcome.execution for outcome in outcomes] == [firsts[move.key] for move in moves]
        assert [outcome.duplicate for outcome in outcomes] == [False] * 7 + [True] * 43

    async def test_counts_what_is_left_ready(self, driver: Driver) -> None:
        """`left_ready` counts executions that are new, not submits that were offered."""
        moves = [driver.submission("same"), driver.submission("same"), driver.submission("other")]

        transacted = await driver.store.transact(moves)

        assert transacted.left_ready == 2

    async def test_tells_what_was_written(self, driver: Driver) -> None:
        """A commit gives every execution that it wrote, once, as it is now; whoever waits is told."""
        moves: list[Move] = [driver.submission("same"), driver.submission("same")]
        ended = driver.submission()
        moves += [ended, Cancel(ended.execution, TENANT, "no"), Cancel(driver.new_id(), TENANT, "")]

        transacted = await driver.store.transact(moves)

        listed = await driver.store.executions(ExecutionQuery(TENANT))
        told = sorted(transacted.executions, key=lambda execution: execution.id)
        assert told == sorted(listed, key=lambda execution: execution.id)

    async def test_same_key_same_input(self, driver: Driver) -> None:
        """The same key with the same input is the same execution, in a later batch as well."""
        first = driver.submission("order-42")
        await driver.one(first)
        driver.clock.advance(5)

        outcome = await driver.one(driver.submission("order-42"))

        assert outcome == Submitted(first.execution, True, driver.clock() - 5)
        assert len(await driver.store.executions(ExecutionQuery(TENANT))) == 1

    async def test_same_key_other_input(self, driver: Driver) -> None:
        """The same key with another input is a conflict that names the first (S10)."""
        first = driver.submission("order-42", b"1")
        await driver.one(first)
        before = await driver.dump()

        outcome = await driver.one(driver.submission("order-42", b"2"))

        assert outcome == KeyTaken(first.execution)
        assert await driver.dump() == before

    async def test_same_key_elsewhere(self, driver: Driver) -> None:
        """A key is unique per tenant and pipeline, no further (S9)."""
        moves = [
            driver.submission("k", b"1"),
            driver.submission("k", b"2", pipeline="refunds"),
            driver.submission("k", b"3", tenant=OTHER_TENANT),
        ]

        outcomes = await driver.do(*moves)

        assert [expect(outcome, Submitted).execution for outcome in outcomes] == [
            move.execution for move in moves
        ]

    async def test_keys_are_compared_exactly(self, driver: Driver) -> None:
        """Case, blanks, accents and composition tell keys apart: no store folds them."""
        keys = ["a", "A", "a ", " a", "", "\u00e9", "e\u0301", "%", "_", "'", "\U0001f37d"]

        outcomes = await driver.do(*[driver.submission(key) for key in keys])

        assert [expect(outcome, Submitted).duplicate for outcome in outcomes] == [False] * len(keys)
        again = await driver.do(*[driver.submission(key) for key in keys])
        assert [expect(outcome, Submitted).duplicate for outcome in again] == [True] * len(keys)

    async def test_without_a_key(self, driver: Driver) -> None:
        """Without a key every submit is its own execution; a repeat is known by its id."""
        move = driver.submission()

        outcomes = await driver.do(move, driver.submission(), move)

        assert [expect(outcome, Submitted).duplicate for outcome in outcomes] == [
            False,
            False,
            True,
        ]
        driver.clock.advance(5)
        again = expect(await driver.one(move), Submitted)
        assert again == Submitted(move.execution, True, driver.clock() - 5)
        assert len(await driver.store.executions(ExecutionQuery(TENANT))) == 2

    async def test_id_of_another_tenant(self, driver: Driver) -> None:
        """An id that is another tenant's changes nothing and says nothing of it (S9)."""
        first = driver.submission()
        await driver.one(first)
        before = await driver.dump()

        outcome = await driver.one(replace(first, tenant=OTHER_TENANT))

        expect(outcome, Refused)
        assert await driver.dump() == before

    async def test_later_moves_see_it(self, driver: Driver) -> None:
        """A move may concern what an earlier one of its batch has made."""
        move = driver.submission()

        await driver.do(move, Cancel(move.execution, TENANT, "changed my mind"))

        assert (await driver.execution(move.execution)).status is ExecutionStatus.CANCELLED

    @pytest.mark.parametrize("conflicting", [False, True])
    async def test_many_at_once(self, driver: Driver, *, conflicting: bool) -> None:
        """Of many callers at once with one key, one creates and all others are told (S10)."""
        bodies = [b"%d" % (number if conflicting else 0) for number in range(20)]
        moves = [driver.submission("order-42", body) for body in bodies]

        answered = await asyncio.gather(*[driver.one(move) for move in moves])

        created = [
            outcome
            for outcome in answered
            if isinstance(outcome, Submitted) and not outcome.duplicate
        ]
        assert len(created) == 1
        told = [outcome for outcome in answered if outcome != created[0]]
        assert len(told) == 19
        assert {type(outcome) for outcome in told} == {KeyTaken if conflicting else Submitted}
        [stored] = await driver.store.executions(ExecutionQuery(TENANT))
        assert stored.id == created[0].execution

    async def test_many_at_once_from_two_processes(self, driver: Driver) -> None:
        """Two handles on the same data create one execution a key between them (S4, S10)."""
        async with driver.another() as other:
            moves = [driver.submission(f"key-{number % 50}") for number in range(100)]

            ours, theirs = await asyncio.gather(
                driver.store.transact(moves), other.transact(list(reversed(moves)))
            )

            outcomes = [expect(one, Submitted) for one in [*ours.outcomes, *theirs.outcomes]]
            assert sum(not outcome.duplicate for outcome in outcomes) == 50
            assert len(await other.executions(ExecutionQuery(TENANT, limit=200))) == 50
