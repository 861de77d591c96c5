"""What holds in every state that a store can be found in; checked after each test of the suite."""

from bide.engine.settling import has_too_many_missing, taken
from bide.model.ids import UnitId
from bide.model.records import Dispatch, Execution, Handoff, Interaction, Unit
from bide.model.status import (
    DeadLetterKind,
    ExecutionStatus,
    HandoffStatus,
    InteractionStatus,
    UnitStatus,
)
from bide.testing.store_contract.harness import Dump

_DUE = {ExecutionStatus.QUEUED, ExecutionStatus.RUNNING, ExecutionStatus.WAIT_RETRY}
_IN_FLIGHT = {InteractionStatus.DISPATCHING, InteractionStatus.DISPATCHED}
_MOURNED = {ExecutionStatus.FAILED, ExecutionStatus.DLQ}


def check_invariants(dump: Dump) -> None:
    """Assert them all."""
    for execution in dump.executions.values():
        _check_execution(execution, dump)
    for unit in dump.units.values():
        _check_unit(unit, dump)
    for id, interaction in dump.interactions.items():
        refused = dump.refusals.get(id, [])
        assert [refusal.sequence for refusal in refused] == list(range(1, len(refused) + 1))
        assert interaction.refusals == len(refused)
        assert interaction.answer is None or interaction.answer_digest is not None
        _check_dispatch(interaction, dump.units[UnitId(*id[:2])], dump.dispatches.get(id))
    counted = [execution.status for execution in dump.executions.values()]
    assert dump.counts == {status: counted.count(status) for status in set(counted)}
    _check_correlations(dump)
    for handoff in dump.handoffs.values():
        _check_handoff(handoff, dump)
    mourned = {id for id, one in dump.dead_letters.items() if one.kind is DeadLetterKind.EXECUTION}
    assert mourned == {
        id for id, execution in dump.executions.items() if execution.status in _MOURNED
    }


def _check_execution(execution: Execution, dump: Dump) -> None:
    status = execution.status
    facts = dump.journal[execution.id]
    # One fact a version, without gaps, in the order of time.
    assert [fact.version for fact in facts] == list(range(1, execution.version + 1))
    assert [fact.at for fact in facts] == sorted(fact.at for fact in facts)
    assert facts[-1].at == execution.updated_at
    assert dump.inputs[execution.id] is not None
    # Somebody has to look at it again, or nobody has.
    assert (execution.due_at is not None) == (status in _DUE)
    assert (execution.owner is not None) == (status is ExecutionStatus.RUNNING)
    # At most one unit is open, the last; one that waits has one, one that ended has none.
    assert execution.resumed <= execution.units <= execution.resumed + 1
    numbers = [unit.number for unit in dump.units.values() if unit.execution == execution.id]
    assert numbers == list(range(1, execution.units + 1))
    for unit in dump.units.values():
        if unit.execution == execution.id:
            fed = unit.number <= execution.resumed
            assert fed == (unit.status is UnitStatus.COMPLETED)
            if not fed:
                assert unit.status.is_terminal == status.is_terminal
    if status is ExecutionStatus.WAITING_EXTERNAL:
        assert execution.units == execution.resumed + 1
    if status is not ExecutionStatus.SUCCEEDED:
        assert execution.result is None
        assert execution.result_count is None
        assert dump.results[execution.id] == []


def _check_dispatch(interaction: Interaction, unit: Unit, dispatch: Dispatch | None) -> None:
    """The row of a dispatch follows its interaction; one that nobody sends has none."""
    status = interaction.status
    if dispatch is None:
        # Out by being stored; or it had its answer at birth, and nobody was asked.
        assert status.is_terminal or (status is InteractionStatus.DISPATCHED and not unit.sends), (
            interaction
        )
        return
    assert unit.sends
    assert (dispatch.tenant, dispatch.step_id) == (unit.tenant, unit.step_id)
    assert dispatch.in_flight == (status in _IN_FLIGHT)
    if dispatch.owner is not None:
        assert status is InteractionStatus.DISPATCHING
        assert dispatch.due_at is not None
    if dispatch.due_at is not None:
        assert status in {InteractionStatus.WAITING, InteractionStatus.DISPATCHING}
        assert not dispatch.exhausted
    if status is InteractionStatus.DISPATCHED:
        assert dispatch.dispatched_at is not None


def _check_handoff(handoff: Handoff, dump: Dump) -> None:
    """It is due while it is open, holds its payload until it is admitted, and is told of by who it
    made.
    """
    status = handoff.status
    assert (handoff.due_at is None) == status.is_terminal
    assert (handoff.owner is not None) == (status is HandoffStatus.SENDING)
    assert (handoff.body is None) == (status is HandoffStatus.ADMITTED)
    assert (handoff.admitted_as is not None) == (status is HandoffStatus.ADMITTED)
    assert handoff.fence or not handoff.attempts
    if status is HandoffStatus.REFUSED:
        assert handoff.error_code is not None
        assert dump.dead_letters[handoff.id].kind is DeadLetterKind.HANDOFF
    made = dump.executions.get(handoff.admitted_as) if handoff.admitted_as else None
    if handoff.target and made is not None:
        assert (made.tenant, made.pipeline) == (handoff.tenant, handoff.target)
        assert handoff.execution in [each.source for each in dump.origins[made.id]]


def _check_correlations(dump: Dump) -> None:
    """A key names one open interaction a scope, and an early answer is kept whole or not at all."""
    for rows in dump.correlations.values():
        for row, holder in rows:
            assert not row.is_empty
            assert holder is None or holder.interaction.id == row.holder
            assert (row.early is None) == (row.digest is None) == (row.expires_at is None)
            assert row.early is not None or (row.duplicates, row.refusals) == (0, 0)


def _check_unit(unit: Unit, dump: Dump) -> None:
    last = {row.item: row for id, row in sorted(dump.interactions.items()) if id[:2] == unit.id}
    rows = list(last.values())
    # Counts rise by rows changed, never by rows offered.
    assert unit.appended == len(rows)
    assert unit.settled == sum(row.status.is_terminal for row in rows)
    assert unit.total in {None, unit.appended}
    assert all(row.tenant == unit.tenant and row.step_id == unit.step_id for row in rows)
    # A unit that has all it waited for does not wait.
    if unit.status is UnitStatus.WAITING_EXTERNAL:
        assert not unit.is_complete
        assert unit.missing == sum(row.status.is_terminal and taken(row) is None for row in rows)
        assert not has_too_many_missing(unit)
        assert unit.collects or not unit.missing
    if unit.status is UnitStatus.COMPLETED:
        assert unit.is_complete or unit.deadline_at is not None
        assert sum(taken(row) is None for row in rows) == unit.missing
        assert not has_too_many_missing(unit)
    # No item may be answered after its unit.
    assert unit.deadline_at is None or all(row.deadline_at <= unit.deadline_at for row in rows)
    listed = {asked.interaction.id for asked in dump.pending[unit.tenant]}
    for row in rows:
        open_now = not row.status.is_terminal and not unit.status.is_terminal
        assert (row.id in listed) == open_now
