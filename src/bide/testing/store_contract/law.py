"""Every status and every move, compared with the transition tables (S3).

Executions are driven into each status by legal moves; then each move is tried. Where the table
holds the event, the status after it has to be the table's; where it does not, the move is refused
and a full dump of the store is as it was before, journal and versions included.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

import pytest

from bide.engine.moves import (
    Assign,
    Assigned,
    Cancel,
    Claimed,
    CloseBehind,
    Expire,
    ExpireUnit,
    Fail,
    Failure,
    Finish,
    GiveBack,
    Mismatch,
    Move,
    Moved,
    OpenUnit,
    Park,
    Received,
    Refused,
    Release,
    Retry,
    Settled,
    StoreRejects,
    StoreResults,
)
from bide.engine.transitions import (
    EXECUTION,
    INTERACTION,
    UNIT,
    ExecutionEvent,
    InteractionEvent,
    UnitEvent,
    after,
)
from bide.model.ids import ExecutionId, InteractionId, UnitId
from bide.model.records import Execution, replace
from bide.model.status import (
    ExecutionStatus,
    InteractionStatus,
    JournalKind,
    ReceiptOutcome,
    UnitStatus,
)
from bide.testing.store_contract.harness import (
    DAY,
    HOUR,
    TENANT,
    Driver,
    Stream,
    answer,
    answers_to,
    asking,
    boundary,
    reject_of,
)


class Scene(NamedTuple):
    """An execution in some status, with the stream that it came from, if from one."""

    id: ExecutionId
    stream: Stream | None = None
    #: The interaction that moves of this layer are tried on.
    interaction: InteractionId | None = None


Stage = Callable[[Driver], Awaitable[Scene]]


# --- executions -------------------------------------------------------------------------------


async def _queued(driver: Driver) -> Scene:
    return Scene(await driver.submit())


async def _queued_while_open(driver: Driver) -> Scene:
    stream = await driver.stream(2)
    await driver.one(GiveBack(stream.id, stream.fence))
    return Scene(stream.id, stream, stream.item(0))


async def _running(driver: Driver) -> Scene:
    return Scene((await driver.running()).execution.id)


async def _running_while_open(driver: Driver) -> Scene:
    stream = await driver.stream(2)
    return Scene(stream.id, stream, stream.item(0))


async def _running_after_an_answer(driver: Driver) -> Scene:
    interaction = await driver.parked()
    await driver.one(answer(interaction))
    await driver.claim()
    return Scene(interaction.execution)


async def _parked(driver: Driver) -> Scene:
    interaction = await driver.parked()
    return Scene(interaction.execution, None, interaction)


async def _parked_stream(driver: Driver) -> Scene:
    stream = await driver.parked_stream(2)
    return Scene(stream.id, stream, stream.item(0))


async def _waiting_to_retry(driver: Driver) -> Scene:
    execution = (await driver.running()).execution
    await driver.one(Retry(execution.id, execution.fence, 0, 1, 10, "down"))
    return Scene(execution.id)


async def _waiting_to_retry_while_open(driver: Driver) -> Scene:
    stream = await driver.stream(2)
    await driver.one(Retry(stream.id, stream.fence, 1, 1, 10, "down"))
    return Scene(stream.id, stream, stream.item(0))


async def _succeeded(driver: Driver) -> Scene:
    return Scene(await driver.succeeded())


async def _failed(driver: Driver) -> Scene:
    return Scene(await driver.failed())


async def _failed_by_an_item(driver: Driver) -> Scene:
    stream = await driver.parked_stream(2)
    await driver.one(answer(stream.item(1), failure=Failure("declined", "no")))
    return Scene(stream.id, stream, stream.item(0))


async def _given_up(driver: Driver) -> Scene:
    return Scene(await driver.failed(ExecutionStatus.DLQ))


async def _cancelled(driver: Driver) -> Scene:
    return Scene(await driver.cancelled())


STAGES: dict[str, tuple[ExecutionStatus, bool, Stage]] = {
    # name: status, whether a unit is open, how to get there
    "queued": (ExecutionStatus.QUEUED, False, _queued),
    "queued, unit open": (ExecutionStatus.QUEUED, True, _queued_while_open),
    "running": (ExecutionStatus.RUNNING, False, _running),
    "running, unit open": (ExecutionStatus.RUNNING, True, _running_while_open),
    "running, resumed": (ExecutionStatus.RUNNING, False, _running_after_an_answer),
    "parked": (ExecutionStatus.WAITING_EXTERNAL, True, _parked),
    "parked on a stream": (ExecutionStatus.WAITING_EXTERNAL, True, _parked_stream),
    "to be retried": (ExecutionStatus.WAIT_RETRY, False, _waiting_to_retry),
    "to be retried, unit open": (ExecutionStatus.WAIT_RETRY, True, _waiting_to_retry_while_open),
    "succeeded": (ExecutionStatus.SUCCEEDED, False, _succeeded),
    "failed": (ExecutionStatus.FAILED, False, _failed),
    "failed by an item": (ExecutionStatus.FAILED, False, _failed_by_an_item),
    "dead-lettered": (ExecutionStatus.DLQ, False, _given_up),
    "cancelled": (ExecutionStatus.CANCELLED, False, _cancelled),
}


def _stream_of(execution: Execution) -> Stream:
    """A stream's moves with the current fence, also where there never was a unit."""
    return Stream(Claimed(execution, None, None, None), UnitId(execution.id, execution.units or 1))


class Try(NamedTuple):
    """A move of a worker on its execution."""

    #: What happens by it, by the table; None where the execution's row does not change.
    event: ExecutionEvent | None
    #: Whether a unit has to be open; None where it makes no difference.
    unit_open: bool | None


TRIES: dict[str, Try] = {
    "park": Try(ExecutionEvent.PARKED, unit_open=False),
    "open": Try(ExecutionEvent.UNIT_OPENED, unit_open=False),
    "append": Try(None, unit_open=True),
    "close": Try(ExecutionEvent.PARKED, unit_open=True),
    "store results": Try(None, unit_open=None),
    "store rejects": Try(None, unit_open=None),
    "finish": Try(ExecutionEvent.SUCCEEDED, unit_open=False),
    "retry": Try(ExecutionEvent.RETRY_SCHEDULED, unit_open=None),
    "give back": Try(ExecutionEvent.GIVEN_BACK, unit_open=None),
    "fail": Try(ExecutionEvent.FAILED, unit_open=None),
    "give up": Try(ExecutionEvent.DEAD_LETTERED, unit_open=None),
}


def _move(name: str, execution: Execution) -> Move:
    """The move of that name, with the fence of the row."""
    id, fence = execution.id, execution.fence
    stream = _stream_of(execution)
    moves: dict[str, Move] = {
        "park": Park(id, fence, boundary(), asking()),
        "open": OpenUnit(id, fence, boundary()),
        "append": stream.append(2, 2),
        "close": stream.close(2),
        "store results": StoreResults(id, fence, 0, (b"1",)),
        "store rejects": StoreRejects(id, fence, (reject_of(execution, 0),)),
        "finish": Finish(id, fence, 2, b"1"),
        "retry": Retry(id, fence, 0, 1, 10, "down"),
        "give back": GiveBack(id, fence),
        "fail": Fail(id, fence, ExecutionStatus.FAILED, 0, "charge", 1, "boom", "it broke"),
        "give up": Fail(id, fence, ExecutionStatus.DLQ, 0, "charge", 9, "boom", "it broke"),
    }
    return moves[name]


class TestExecutionTable:
    """Executions: every status times every move."""

    async def test_every_status_has_a_stage(self) -> None:
        """No status of an execution is left out of the matrix."""
        assert {status for status, _, _ in STAGES.values()} == set(ExecutionStatus)

    async def test_every_event_is_tried(self) -> None:
        """No event of the table is left out of the matrix."""
        by_workers = {one.event for one in TRIES.values()}
        by_others = {
            ExecutionEvent.CLAIMED, ExecutionEvent.CANCELLED, ExecutionEvent.RESUMED,
            ExecutionEvent.RELEASED,
        }  # fmt: skip

        assert {*by_workers, *by_others} - {None} == set(ExecutionEvent)

    @pytest.mark.parametrize("name", TRIES)
    @pytest.mark.parametrize("stage", STAGES)
    async def test_moves_of_a_worker(self, driver: Driver, stage: str, name: str) -> None:
        """A worker's move is made where its execution runs and the table holds it, else refused."""
        status, unit_open, build = STAGES[stage]
        attempted = TRIES[name]
        scene = await build(driver)
        execution = await driver.execution(scene.id)
        assert execution.status is status
        before = await driver.dump()

        outcome = await driver.one(_move(name, execution))

        legal = status is ExecutionStatus.RUNNING and attempted.unit_open in {None, unit_open}
        if not legal:
            assert isinstance(outcome, Refused), outcome
            assert await driver.dump() == before
            return
        assert isinstance(outcome, Moved), outcome
        changed = await driver.execution(scene.id)
        assert outcome.execution == changed
        if attempted.event is None:
            assert changed == execution
        else:
            assert changed.status is after(EXECUTION, status, attempted.event)
            assert changed.version == execution.version + 1

    @pytest.mark.parametrize("name", TRIES)
    @pytest.mark.parametrize("stage", ["running", "running, unit open"])
    async def test_stale_fences(self, driver: Driver, stage: str, name: str) -> None:
        """A worker whose lease was taken over changes nothing, whatever it tries (I7)."""
        _, _, build = STAGES[stage]
        scene = await build(driver)
        execution = await driver.execution(scene.id)
        driver.clock.advance(HOUR)
        [taken] = await driver.claim("worker-2")
        assert taken.execution.id == scene.id
        before = await driver.dump()

        for fence in (execution.fence, execution.fence - 1, taken.execution.fence + 1):
            stale = replace(execution, fence=fence)
            outcome = await driver.one(_move(name, stale))
            assert isinstance(outcome, Refused), outcome

        assert await driver.dump() == before

    @pytest.mark.parametrize("stage", STAGES)
    async def test_claims(self, driver: Driver, stage: str) -> None:
        """What the table lets be claimed is claimed when it is due, and nothing else is."""
        status, _, build = STAGES[stage]
        scene = await build(driver)
        execution = await driver.execution(scene.id)
        driver.clock.advance(HOUR)
        before = await driver.dump()

        claimed = [one.execution for one in await driver.claim("worker-2")]

        follows = after(EXECUTION, status, ExecutionEvent.CLAIMED)
        if follows is None:
            assert claimed == []
            assert await driver.dump() == before
            return
        assert claimed == [await driver.execution(scene.id)]
        assert claimed[0].status is follows
        assert claimed[0].fence == execution.fence + 1
        assert claimed[0].version == execution.version + 1

    @pytest.mark.parametrize("stage", STAGES)
    async def test_cancellations(self, driver: Driver, stage: str) -> None:
        """What the table lets be cancelled is cancelled with its unit, and nothing else is."""
        status, unit_open, build = STAGES[stage]
        scene = await build(driver)
        execution = await driver.execution(scene.id)
        before = await driver.dump()

        outcome = await driver.one(Cancel(scene.id, TENANT, "not wanted"))

        follows = after(EXECUTION, status, ExecutionEvent.CANCELLED)
        if follows is None:
            assert isinstance(outcome, Refused)
            assert await driver.dump() == before
            return
        changed = await driver.execution(scene.id)
        assert outcome == Moved(changed)
        assert changed.status is follows
        assert changed.fence == execution.fence + 1
        assert await driver.store.dead_letter(TENANT, scene.id) is None
        if unit_open:
            unit = (await driver.store.units(TENANT, scene.id))[-1]
            assert unit.status is UnitStatus.CANCELLED

    @pytest.mark.parametrize("stage", [name for name, stage in STAGES.items() if stage[1]])
    async def test_failing_items(self, driver: Driver, stage: str) -> None:
        """An item that fails ends unit and execution, whether or not a worker runs it (I5)."""
        status, _, build = STAGES[stage]
        scene = await build(driver)
        assert scene.interaction is not None
        execution = await driver.execution(scene.id)

        outcome = await driver.one(answer(scene.interaction, failure=Failure("declined", "no")))

        assert isinstance(outcome, Received)
        assert outcome.outcome is ReceiptOutcome.APPLIED
        changed = await driver.execution(scene.id)
        asked = await driver.asked(scene.interaction)
        assert changed.status is after(EXECUTION, status, ExecutionEvent.FAILED)
        assert changed.fence == execution.fence + 1
        assert asked.unit.status is after(UNIT, UnitStatus.WAITING_EXTERNAL, UnitEvent.FAILED)
        assert asked.interaction.status is InteractionStatus.FAILED

    @pytest.mark.parametrize("stage", STAGES)
    async def test_releases(self, driver: Driver, stage: str) -> None:
        """A release changes the fingerprint where the table holds it; a live lease is in its way."""
        status, unit_open, build = STAGES[stage]
        scene = await build(driver)
        before = await driver.dump()

        outcome = await driver.one(Release(scene.id, TENANT, "another", "ada"))

        follows = after(EXECUTION, status, ExecutionEvent.RELEASED)
        if follows is None or status is ExecutionStatus.RUNNING:
            assert isinstance(outcome, Refused)
            assert await driver.dump() == before
            driver.clock.advance(DAY)
            outcome = await driver.one(Release(scene.id, TENANT, "another", "ada"))
        if follows is None:
            assert isinstance(outcome, Refused)
            return
        assert isinstance(outcome, Moved)
        row = await driver.execution(scene.id)
        assert row.status is follows
        facts = await driver.store.journal(TENANT, scene.id)
        assert (facts[-1].kind, facts[-1].detail) == (JournalKind.RELEASED, "as another by ada")
        if status is ExecutionStatus.WAITING_EXTERNAL:
            assert unit_open
            *_, unit = await driver.store.units(TENANT, scene.id)
            assert unit.fingerprint == "another"
            assert row.fingerprint == before.executions[scene.id].fingerprint
        else:
            assert row.fingerprint == "another"
            assert row.fence == before.executions[scene.id].fence + (
                status is ExecutionStatus.RUNNING
            )


# --- units and interactions -------------------------------------------------------------------


async def _to_be_sent(driver: Driver) -> Scene:
    interaction = await driver.parked(dispatched=False)
    return Scene(interaction.execution, None, interaction)


async def _being_sent(driver: Driver) -> Scene:
    interaction = (await driver.dispatching()).interaction.id
    return Scene(interaction.execution, None, interaction)


async def _sent(driver: Driver) -> Scene:
    interaction = await driver.sent()
    return Scene(interaction.execution, None, interaction)


async def _answered(driver: Driver) -> Scene:
    interaction = await driver.parked()
    await driver.one(answer(interaction))
    return Scene(interaction.execution, None, interaction)


async def _item_answered(driver: Driver) -> Scene:
    stream = await driver.parked_stream(2)
    await driver.do(*answers_to(stream, [0]))
    return Scene(stream.id, stream, stream.item(0))


async def _item_failed(driver: Driver) -> Scene:
    stream = await driver.parked_stream(2)
    await driver.one(answer(stream.item(0), failure=Failure("declined", "no")))
    return Scene(stream.id, stream, stream.item(0))


async def _timed_out(driver: Driver) -> Scene:
    stream = await driver.parked_stream(2)
    driver.clock.advance(DAY + 1)
    await driver.one(Expire(stream.item(0)))
    return Scene(stream.id, stream, stream.item(0))


async def _beside_a_timed_out(driver: Driver) -> Scene:
    scene = await _timed_out(driver)
    assert scene.stream is not None
    return scene._replace(interaction=scene.stream.item(1))


async def _left_open(driver: Driver) -> Scene:
    scene = await _parked(driver)
    await driver.one(Cancel(scene.id, TENANT, "not wanted"))
    return scene


async def _left_open_to_be_sent(driver: Driver) -> Scene:
    scene = await _to_be_sent(driver)
    await driver.one(Cancel(scene.id, TENANT, "not wanted"))
    return scene


async def _left_open_being_sent(driver: Driver) -> Scene:
    scene = await _being_sent(driver)
    await driver.one(Cancel(scene.id, TENANT, "not wanted"))
    return scene


async def _closed_behind(driver: Driver) -> Scene:
    scene = await _left_open(driver)
    assert scene.interaction is not None
    await driver.one(CloseBehind(scene.interaction))
    return scene


INTERACTION_STAGES: dict[str, tuple[UnitStatus, InteractionStatus, Stage]] = {
    "to be sent": (UnitStatus.WAITING_EXTERNAL, InteractionStatus.WAITING, _to_be_sent),
    "being sent": (UnitStatus.WAITING_EXTERNAL, InteractionStatus.DISPATCHING, _being_sent),
    "sent": (UnitStatus.WAITING_EXTERNAL, InteractionStatus.DISPATCHED, _sent),
    "asked": (UnitStatus.WAITING_EXTERNAL, InteractionStatus.DISPATCHED, _parked),
    "asked, source running": (
        UnitStatus.WAITING_EXTERNAL, InteractionStatus.DISPATCHED, _running_while_open,
    ),
    "asked, source to be retried": (
        UnitStatus.WAITING_EXTERNAL, InteractionStatus.DISPATCHED, _waiting_to_retry_while_open,
    ),
    "asked, source queued": (
        UnitStatus.WAITING_EXTERNAL, InteractionStatus.DISPATCHED, _queued_while_open,
    ),
    "item answered": (UnitStatus.WAITING_EXTERNAL, InteractionStatus.COMPLETED, _item_answered),
    "answered": (UnitStatus.COMPLETED, InteractionStatus.COMPLETED, _answered),
    "failed": (UnitStatus.FAILED, InteractionStatus.FAILED, _item_failed),
    "beside a failed one": (UnitStatus.FAILED, InteractionStatus.DISPATCHED, _failed_by_an_item),
    "timed out": (UnitStatus.TIMED_OUT, InteractionStatus.TIMED_OUT, _timed_out),
    "beside a timed out one": (
        UnitStatus.TIMED_OUT, InteractionStatus.DISPATCHED, _beside_a_timed_out,
    ),
    "left open": (UnitStatus.CANCELLED, InteractionStatus.DISPATCHED, _left_open),
    "left open, to be sent": (
        UnitStatus.CANCELLED, InteractionStatus.WAITING, _left_open_to_be_sent,
    ),
    "left open, being sent": (
        UnitStatus.CANCELLED, InteractionStatus.DISPATCHING, _left_open_being_sent,
    ),
    "closed behind": (UnitStatus.CANCELLED, InteractionStatus.CANCELLED, _closed_behind),
}  # fmt: skip

#: Known on the wire and never written.
UNREACHED_INTERACTIONS = {InteractionStatus.EXPIRED}
UNREACHED_UNITS = {UnitStatus.EXPIRED}

OTHER = b'"something else"'


class TestInteractionTable:
    """Units and interactions: every status times every move."""

    async def test_every_status_has_a_stage(self) -> None:
        """No status of a unit or an interaction is left out of the matrix, but those named."""
        units = {unit for unit, _, _ in INTERACTION_STAGES.values()}
        interactions = {one for _, one, _ in INTERACTION_STAGES.values()}

        assert interactions | UNREACHED_INTERACTIONS == set(InteractionStatus)
        assert interactions & UNREACHED_INTERACTIONS == set()
        assert units | UNREACHED_UNITS == set(UnitStatus)

    @pytest.mark.parametrize("failure", [None, Failure("declined", "no")])
    @pytest.mark.parametrize("stage", INTERACTION_STAGES)
    async def test_completions(self, driver: Driver, stage: str, failure: Failure | None) -> None:
        """A completion is applied where the tables hold it; else it leaves its receipt alone."""
        unit_status, status, build = INTERACTION_STAGES[stage]
        scene = await build(driver)
        assert scene.interaction is not None
        asked = await driver.asked(scene.interaction)
        assert (asked.unit.status, asked.interaction.status) == (unit_status, status)
        before = await driver.dump()

        outcome = await driver.one(answer(scene.interaction, OTHER, failure=failure))

        event = InteractionEvent.FAILED if failure else InteractionEvent.ANSWERED
        follows = after(INTERACTION, status, event)
        assert isinstance(outcome, Received)
        if follows is None or unit_status.is_terminal:
            answered = asked.interaction.answer_digest is not None
            expected = ReceiptOutcome.CONFLICT if answered else ReceiptOutcome.LATE
            assert outcome.outcome is expected
            after_it = await driver.dump()
            assert after_it.without_receipts() == before.without_receipts()
            assert len(after_it.refusals[scene.interaction]) == 1
            return
        assert outcome.outcome is ReceiptOutcome.APPLIED
        assert (await driver.asked(scene.interaction)).interaction.status is follows

    @pytest.mark.parametrize("stage", INTERACTION_STAGES)
    async def test_deadlines(self, driver: Driver, stage: str) -> None:
        """A passed deadline ends an open interaction of an open unit, and nothing else."""
        unit_status, status, build = INTERACTION_STAGES[stage]
        scene = await build(driver)
        assert scene.interaction is not None
        driver.clock.advance(2 * DAY)
        before = await driver.dump()

        outcome = await driver.one(Expire(scene.interaction))

        follows = after(INTERACTION, status, InteractionEvent.TIMED_OUT)
        if follows is None or unit_status.is_terminal:
            assert isinstance(outcome, Refused)
            assert await driver.dump() == before
            return
        assert outcome == Settled(scene.interaction)
        asked = await driver.asked(scene.interaction)
        assert (await driver.execution(scene.id)).status is ExecutionStatus.FAILED
        assert asked.interaction.status is follows
        assert asked.unit.status is after(UNIT, unit_status, UnitEvent.TIMED_OUT)

    @pytest.mark.parametrize("stage", INTERACTION_STAGES)
    async def test_unit_deadlines(self, driver: Driver, stage: str) -> None:
        """A unit without a deadline of its own is not ended by time, whatever its status."""
        _, _, build = INTERACTION_STAGES[stage]
        scene = await build(driver)
        assert scene.interaction is not None
        driver.clock.advance(2 * DAY)
        before = await driver.dump()

        outcome = await driver.one(ExpireUnit(UnitId(*scene.interaction[:2])))

        assert isinstance(outcome, Refused)
        assert await driver.dump() == before

    @pytest.mark.parametrize("stage", INTERACTION_STAGES)
    async def test_assignments(self, driver: Driver, stage: str) -> None:
        """What may still be answered may be given to somebody, and nothing else may."""
        unit_status, status, build = INTERACTION_STAGES[stage]
        scene = await build(driver)
        assert scene.interaction is not None
        before = await driver.dump()

        outcome = await driver.one(Assign(scene.interaction, TENANT, "ada"))

        if status.is_terminal or unit_status.is_terminal:
            assert isinstance(outcome, Refused)
            assert await driver.dump() == before
            return
        assert outcome == Assigned("ada")
        asked = await driver.asked(scene.interaction)
        assert (asked.interaction.assignee, asked.interaction.status) == ("ada", status)
        assert (await driver.dump()).executions == before.executions

    @pytest.mark.parametrize("stage", INTERACTION_STAGES)
    async def test_closing_behind(self, driver: Driver, stage: str) -> None:
        """What an ended unit has left open is closed behind it, and nothing else is."""
        unit_status, status, build = INTERACTION_STAGES[stage]
        scene = await build(driver)
        assert scene.interaction is not None
        asked = await driver.asked(scene.interaction)
        before = await driver.dump()

        outcome = await driver.one(CloseBehind(scene.interaction))

        late = asked.interaction.deadline_at < asked.unit.updated_at
        event = InteractionEvent.TIMED_OUT if late else InteractionEvent.CANCELLED
        follows = after(INTERACTION, status, event)
        if follows is None or not unit_status.is_terminal:
            assert isinstance(outcome, Refused)
            assert await driver.dump() == before
            return
        assert outcome == Settled(scene.interaction)
        asked = await driver.asked(scene.interaction)
        assert asked.interaction.status is follows
        assert asked.unit.status is unit_status
        assert (await driver.dump()).executions == before.executions


class TestAbsentRows:
    """Moves on what does not exist."""

    @pytest.mark.parametrize("name", TRIES)
    async def test_unknown_executions(self, driver: Driver, name: str) -> None:
        """A move on an execution that does not exist is refused and makes nothing."""
        known = await driver.execution(await driver.submit())
        absent = replace(known, id=driver.new_id(), fence=0)
        before = await driver.dump()

        outcome = await driver.one(_move(name, absent))

        assert isinstance(outcome, Refused | Mismatch), outcome
        assert await driver.dump() == before

    async def test_unknown_interactions(self, driver: Driver) -> None:
        """A completion for an interaction that does not exist is receipted unknown, with no row."""
        known = await driver.parked()
        before = await driver.dump()

        outcomes = await driver.do(
            answer(known._replace(item=1)),
            answer(known._replace(unit=2)),
            answer(known._replace(generation=1)),
            answer(known._replace(execution=driver.new_id())),
            Expire(known._replace(item=1)),
            CloseBehind(known._replace(item=1)),
            ExpireUnit(UnitId(known.execution, 2)),
            Cancel(driver.new_id(), TENANT, "not wanted"),
            Release(driver.new_id(), TENANT, "another"),
            Assign(known._replace(item=1), TENANT, "ada"),
        )

        assert outcomes[:4] == [Received(ReceiptOutcome.UNKNOWN)] * 4
        assert [type(outcome) for outcome in outcomes[4:]] == [Refused] * 6
        assert await driver.dump() == before
