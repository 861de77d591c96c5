"""One batch of moves, decided in order of arrival over the rows that its commit has read.

Moves that concern the same rows see each other's work, so equal keys of one batch are answered as
duplicate or conflict of the first, and a unit that receives five hundred answers is written once.

A worker may come with a `Handover`: then what becomes ready in the batch is claimed for it at once,
as long as it has room and can run it, and the outcome carries the claim.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from bide.engine.admission import decide_admit, decide_expire, decide_expire_unit
from bide.engine.correlating import (
    Standing,
    ask_again_by_key,
    decide_admit_by_key,
    decide_append_by_key,
    decide_expire_early,
    decide_park_by_key,
    decide_take_over_by_key,
)
from bide.engine.decision import Decision
from bide.engine.dispatching import (
    DispatchOffer,
    decide_claim_dispatch,
    decide_settle_dispatch,
    followed,
)
from bide.engine.ending import decide_cancel, decide_close_behind, decide_fail
from bide.engine.moves import (
    Admit,
    AdmitByKey,
    Append,
    AskAgain,
    Assign,
    Cancel,
    Claimed,
    CloseBehind,
    CloseUnit,
    Expire,
    ExpireEarly,
    ExpireUnit,
    Fail,
    Finish,
    GiveBack,
    Handover,
    Move,
    Moved,
    OpenUnit,
    Outcome,
    Park,
    Redrive,
    Release,
    Retry,
    Settled,
    SettleDispatch,
    StoreRejects,
    StoreResults,
    Submit,
    TakeOver,
    ToSend,
)
from bide.engine.operating import decide_assign, decide_release
from bide.engine.redriving import decide_ask_again, decide_redrive, decide_take_over
from bide.engine.rows import Rows, next_generation, redrive_scope
from bide.engine.running import (
    ClaimOffer,
    decide_claim,
    decide_finish,
    decide_give_back,
    decide_rejects,
    decide_results,
    decide_retry,
    hand_over,
)
from bide.engine.settling import decide_close
from bide.engine.submitting import decide_submit
from bide.engine.waiting import decide_append, decide_open, decide_park
from bide.model.ids import CorrelationKey, ExecutionId, InteractionId, UnitId
from bide.model.records import Dispatch, Execution, Interaction, Unit, replace
from bide.model.status import ExecutionStatus


class Transacted(NamedTuple):
    """What a commit came to, for each that goes on with it."""

    #: For whoever asked: one for each move, in the order of the moves.
    outcomes: list[Outcome]
    #: For the worker that offered to take over: what is its own now.
    claims: list[Claimed]
    #: For the other workers: how many executions became ready and were handed to nobody.
    left_ready: int
    #: For whoever waits: every execution that the commit wrote, as it is now.
    executions: list[Execution]
    #: For dispatchers: how many interactions are to be sent since.
    to_send: int = 0

    def then(self, other: "Transacted") -> "Transacted":
        """What both parts of a commit came to."""
        return Transacted(
            [*self.outcomes, *other.outcomes],
            [*self.claims, *other.claims],
            self.left_ready + other.left_ready,
            [*self.executions, *other.executions],
            self.to_send + other.to_send,
        )


def fold(moves: Sequence[Move], rows: Rows, now: int, handover: Handover | None) -> Transacted:
    """Decide every move; `rows` holds afterwards what has to be written."""
    outcomes: list[Outcome] = []
    claims: list[Claimed] = []
    left_ready = to_send = 0
    for move in moves:
        decision = _DECIDE[type(move)](move, rows, now)
        if decision.ready and decision.execution is not None:
            if handover is not None and _takes(handover, move, decision.execution, len(claims)):
                decision = _handed_over(decision, decision.execution, handover, claims)
            else:
                left_ready += 1
        if decision.interactions:
            to_send += _keep_dispatches(decision, rows)
        rows.apply(decision)
        outcomes.append(decision.outcome)
    return Transacted(outcomes, claims, left_ready, rows.executions.written(), to_send)


def _takes(handover: Handover, move: Move, execution: Execution, taken: int) -> bool:
    """Whether the worker that offers to can take what a move has made ready.

    Not what it has just given back: it wants to be rid of it. And what was released comes without
    what its segment starts from.
    """
    return (
        taken < handover.slots
        and execution.fingerprint in handover.fingerprints
        and not isinstance(move, GiveBack | Release)
    )


def _handed_over(
    decision: Decision, ready: Execution, handover: Handover, claims: list[Claimed]
) -> Decision:
    """The decision with its execution claimed, in the same version and fact."""
    assert decision.fact is not None
    execution, fact = hand_over(ready, decision.fact, handover.owner, handover.lease_ms)
    base, reopened = decision.unit, None
    if base is not None and base.number > execution.resumed:
        base, reopened = None, base
    claims.append(Claimed(execution, decision.ready_body, base, reopened))
    outcome = Moved(execution) if isinstance(decision.outcome, Moved) else decision.outcome
    return replace(decision, execution=execution, fact=fact, outcome=outcome)


def _keep_dispatches(decision: Decision, rows: Rows) -> int:
    """Let the dispatches follow the interactions that a decision writes; gives how many are new."""
    execution, number, *_ = decision.interactions[0].id
    unit = decision.unit or rows.units.get(UnitId(execution, number))
    if unit is None or not unit.sends:
        return 0
    of = decision.execution or rows.executions.get(execution)
    new = 0
    for interaction in decision.interactions:
        known = rows.dispatches.get(interaction.id)
        changed = followed(interaction, known, unit, of.pipeline if of else None)
        if changed is not None:
            rows.dispatches.put(changed.id, changed)
            new += known is None
    return new


def fold_claims(
    offer: ClaimOffer, due: Sequence[Execution], rows: Rows, now: int
) -> list[Execution]:
    """Claim every execution of `due`; gives those that are the worker's now."""
    claimed: list[Execution] = []
    for execution in due:
        decision = decide_claim(offer, execution, open_unit(rows, execution), now)
        rows.apply(decision)
        if decision.execution and decision.execution.status is ExecutionStatus.RUNNING:
            claimed.append(decision.execution)
    return claimed


def fold_dispatches(
    offer: DispatchOffer, due: Sequence[Dispatch], rows: Rows, now: int
) -> list[ToSend]:
    """Claim what of `due` is still to be sent; `rows` holds its units and interactions, whole."""
    routes = {each.route: each for each in offer.routes}
    claimed: list[ToSend] = []
    for dispatch in due:
        interaction = rows.interactions.get(dispatch.id)
        unit = rows.units.get(UnitId(dispatch.execution, dispatch.unit))
        if interaction is None or unit is None:
            continue
        route = routes[dispatch.route]
        decision = decide_claim_dispatch(offer.owner, route, dispatch, interaction, unit, now)
        rows.apply(decision)
        if isinstance(decision.outcome, Settled):
            taken = rows.dispatches.get(dispatch.id)
            assert taken is not None
            claimed.append(ToSend(decision.interactions[0], unit, taken))
    return claimed


def open_unit(rows: Rows, execution: Execution | None) -> Unit | None:
    """The unit that `execution` has open, if it has."""
    if execution is None or execution.units == execution.resumed:
        return None
    return rows.units.get(UnitId(execution.id, execution.units))


def _submit(move: Submit, rows: Rows, now: int) -> Decision:
    taken = rows.keys.get((move.tenant, move.pipeline, move.key)) if move.key is not None else None
    return decide_submit(move, taken, rows.executions.get(move.execution), now)


def _redrive(move: Redrive, rows: Rows, now: int) -> Decision:
    scope = redrive_scope(move.pipeline)
    taken = rows.keys.get((move.tenant, scope, move.name)) if move.name is not None else None
    return decide_redrive(move, taken, rows.executions.get(move.execution), now)


def _take_over(move: TakeOver, rows: Rows, now: int) -> Decision:
    unit = rows.units.get(UnitId(move.execution, move.unit))
    execution = rows.executions.get(move.execution)
    keys = move.keys()
    if not keys:
        return decide_take_over(move, execution, unit, now)
    standings = {key: _standing(rows, key) for key in keys}
    return decide_take_over_by_key(move, execution, unit, standings, now)


def _ask_again(move: AskAgain, rows: Rows, now: int) -> Decision:
    execution, unit, *_ = move.interaction
    decision = decide_ask_again(
        move,
        rows.interactions.get(move.interaction),
        rows.interactions.get(next_generation(move.interaction)),
        rows.units.get(UnitId(execution, unit)),
        now,
    )
    if move.correlation is None:
        return decision
    return ask_again_by_key(decision, move.correlation, _standing(rows, move.correlation), now)


def _park(move: Park, rows: Rows, now: int) -> Decision:
    execution, key = rows.executions.get(move.execution), move.interaction.correlation
    if key is None:
        return decide_park(move, execution, now)
    return decide_park_by_key(move, execution, _standing(rows, key), now)


def _standing(rows: Rows, key: CorrelationKey) -> Standing:
    row = rows.correlations.get(key)
    if row is None or row.holder is None:
        return Standing(row)
    execution, unit, *_ = holder = row.holder
    return Standing(
        row,
        rows.interactions.get(holder),
        rows.units.get(UnitId(execution, unit)),
        rows.executions.get(execution),
    )


def _open(move: OpenUnit, rows: Rows, now: int) -> Decision:
    return decide_open(move, rows.executions.get(move.execution), now)


def _append(move: Append, rows: Rows, now: int) -> Decision:
    unit = rows.units.get(UnitId(move.execution, move.unit))
    stored: dict[int, Interaction] = {}
    if unit is not None:
        for item in range(move.first_item, min(move.first_item + len(move.items), unit.appended)):
            known = rows.interactions.get(InteractionId(move.execution, move.unit, item))
            if known is not None:
                stored[item] = known
    execution = rows.executions.get(move.execution)
    keys = [item.correlation for item in move.items if item.correlation is not None]
    if not keys:
        return decide_append(move, execution, unit, stored, now)
    standings = {key: _standing(rows, key) for key in keys}
    return decide_append_by_key(move, execution, unit, stored, standings, now)


def _close(move: CloseUnit, rows: Rows, now: int) -> Decision:
    unit = rows.units.get(UnitId(move.execution, move.unit))
    return decide_close(move, rows.executions.get(move.execution), unit, now)


def _admit(move: Admit, rows: Rows, now: int) -> Decision:
    execution, unit, *_ = move.interaction
    return decide_admit(
        move,
        rows.interactions.get(move.interaction),
        rows.units.get(UnitId(execution, unit)),
        rows.executions.get(execution),
        now,
    )


def _admit_by_key(move: AdmitByKey, rows: Rows, now: int) -> Decision:
    return decide_admit_by_key(move, _standing(rows, move.key), now)


def _expire_early(move: ExpireEarly, rows: Rows, now: int) -> Decision:
    return decide_expire_early(move, rows.correlations.get(move.key), now)


def _expire(move: Expire, rows: Rows, now: int) -> Decision:
    execution, unit, *_ = move.interaction
    return decide_expire(
        move,
        rows.interactions.get(move.interaction),
        rows.units.get(UnitId(execution, unit)),
        rows.executions.get(execution),
        now,
    )


def _expire_unit(move: ExpireUnit, rows: Rows, now: int) -> Decision:
    return decide_expire_unit(
        rows.units.get(move.unit), rows.executions.get(move.unit.execution), now
    )


def _close_behind(move: CloseBehind, rows: Rows, now: int) -> Decision:
    execution, unit, *_ = move.interaction
    return decide_close_behind(
        move, rows.interactions.get(move.interaction), rows.units.get(UnitId(execution, unit)), now
    )


def _results(move: StoreResults, rows: Rows, now: int) -> Decision:
    return decide_results(move, rows.executions.get(move.execution), now)


def _rejects(move: StoreRejects, rows: Rows, now: int) -> Decision:
    return decide_rejects(move, rows.executions.get(move.execution), now)


def _finish(move: Finish, rows: Rows, now: int) -> Decision:
    return decide_finish(move, rows.executions.get(move.execution), now)


def _retry(move: Retry, rows: Rows, now: int) -> Decision:
    return decide_retry(move, rows.executions.get(move.execution), now)


def _give_back(move: GiveBack, rows: Rows, now: int) -> Decision:
    return decide_give_back(move, rows.executions.get(move.execution), now)


def _fail(move: Fail, rows: Rows, now: int) -> Decision:
    execution = rows.executions.get(move.execution)
    return decide_fail(move, execution, open_unit(rows, execution), now)


def _cancel(move: Cancel, rows: Rows, now: int) -> Decision:
    execution = rows.executions.get(move.execution)
    return decide_cancel(move, execution, open_unit(rows, execution), now)


def _release(move: Release, rows: Rows, now: int) -> Decision:
    execution = rows.executions.get(move.execution)
    return decide_release(move, execution, open_unit(rows, execution), now)


def _assign(move: Assign, rows: Rows, now: int) -> Decision:
    execution, unit, *_ = move.interaction
    return decide_assign(
        move, rows.interactions.get(move.interaction), rows.units.get(UnitId(execution, unit)), now
    )


def _settle_dispatch(move: SettleDispatch, rows: Rows, now: int) -> Decision:
    execution, unit, *_ = move.interaction
    return decide_settle_dispatch(
        move,
        rows.dispatches.get(move.interaction),
        rows.interactions.get(move.interaction),
        rows.units.get(UnitId(execution, unit)),
        rows.executions.get(execution),
        now,
    )


# A table and not a chain of ifs: this runs once per move, ten thousand times a second.
_DECIDE: Mapping[type, Callable[[Any, Rows, int], Decision]] = {
    Submit: _submit,
    Redrive: _redrive,
    TakeOver: _take_over,
    AskAgain: _ask_again,
    Park: _park,
    OpenUnit: _open,
    Append: _append,
    CloseUnit: _close,
    Admit: _admit,
    AdmitByKey: _admit_by_key,
    ExpireEarly: _expire_early,
    Expire: _expire,
    ExpireUnit: _expire_unit,
    CloseBehind: _close_behind,
    StoreResults: _results,
    StoreRejects: _rejects,
    Finish: _finish,
    Retry: _retry,
    GiveBack: _give_back,
    Fail: _fail,
    Cancel: _cancel,
    Release: _release,
    Assign: _assign,
    SettleDispatch: _settle_dispatch,
}
"""How each move finds its rows; the decisions themselves know nothing of `Rows`."""


def claims_of(
    rows: Rows, executions: Sequence[Execution], bodies: Mapping[ExecutionId, bytes]
) -> list[Claimed]:
    """Join claimed executions with what their segments start from.

    `bodies` holds the input of those at their start, and the answer of those that resume from a
    unit of one interaction.
    """
    claimed: list[Claimed] = []
    for execution in executions:
        base = rows.units.get(UnitId(execution.id, execution.resumed))
        claimed.append(
            Claimed(execution, bodies.get(execution.id), base, open_unit(rows, execution))
        )
    return claimed
