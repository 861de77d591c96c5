"""Each move: which rows it concerns, and how it is decided over them.

The two stand side by side, since they say one thing: a decision looks at the rows that its move has
named and at no others. A store reads what `needs_of` gives, and `bide.engine.fold` asks the rules
one move after another. The decisions themselves know nothing of `Needs` and `Rows`.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from bide.engine.admission import (
    decide_admit,
    decide_expire,
    decide_expire_unit,
    decide_keep_letter,
)
from bide.engine.auditing import Signed, audited, decide_note
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
from bide.engine.dispatching import decide_settle_dispatch
from bide.engine.ending import decide_cancel, decide_close_behind, decide_fail
from bide.engine.moves import (
    Admit,
    AdmitByKey,
    Append,
    AskAgain,
    Assign,
    Cancel,
    CloseBehind,
    CloseUnit,
    Expire,
    ExpireEarly,
    ExpireUnit,
    Fail,
    Finish,
    GiveBack,
    KeepLetter,
    Move,
    Note,
    OfferAgain,
    OpenUnit,
    Park,
    Publishing,
    Redrive,
    Release,
    Retry,
    SettleDispatch,
    SettleHandoff,
    StoreRejects,
    StoreResults,
    Submit,
    TakeOver,
)
from bide.engine.operating import decide_assign, decide_release
from bide.engine.publishing import decide_offer_again, decide_settle_handoff
from bide.engine.redriving import decide_ask_again, decide_redrive, decide_take_over
from bide.engine.rows import ItemRange, Needs, Rows, next_generation, redrive_scope
from bide.engine.running import (
    decide_finish,
    decide_give_back,
    decide_rejects,
    decide_results,
    decide_retry,
)
from bide.engine.settling import decide_close
from bide.engine.submitting import decide_submit, key_scope
from bide.engine.waiting import decide_append, decide_open, decide_park
from bide.model.ids import CorrelationKey, InteractionId, UnitId
from bide.model.records import Execution, Interaction, Unit


class Rule(NamedTuple):
    """What is known of one kind of move."""

    #: Names the rows that a move concerns.
    name: Callable[[Any, Needs], None]
    #: Finds them again, and decides.
    decide: Callable[[Any, Rows, int], Decision]


def needs_of(moves: Iterable[Move]) -> Needs:
    """Which rows a batch of moves concerns."""
    needs = Needs()
    for move in moves:
        RULES[type(move)].name(move, needs)
    return needs


def decide(move: Move, rows: Rows, now: int) -> Decision:
    """Decide one move over the rows that it has named."""
    return RULES[type(move)].decide(move, rows, now)


def open_unit(rows: Rows, execution: Execution | None) -> Unit | None:
    """The unit that `execution` has open, if it has."""
    if execution is None or execution.units == execution.resumed:
        return None
    return rows.units.get(UnitId(execution.id, execution.units))


def _signed(rule: Rule) -> Rule:
    """Of a move that may be signed: its decision writes the audit's entry as well."""

    def decide(move: Signed, rows: Rows, now: int) -> Decision:
        decision = rule.decide(move, rows, now)
        return decision if move.audit is None else audited(move, move.audit, decision, now)

    return Rule(rule.name, decide)


# --- moves of the same kind ---------------------------------------------------------------------


def _of_execution(over: Callable[[Any, Execution | None, int], Decision]) -> Rule:
    """Concerns an execution alone."""

    def name(move: Any, needs: Needs) -> None:
        needs.executions.add(move.execution)

    def decide(move: Any, rows: Rows, now: int) -> Decision:
        return over(move, rows.executions.get(move.execution), now)

    return Rule(name, decide)


def _of_execution_and_unit(
    over: Callable[[Any, Execution | None, Unit | None, int], Decision],
) -> Rule:
    """Concerns an execution, and the unit that it has open."""

    def name(move: Any, needs: Needs) -> None:
        needs.executions.add(move.execution)
        needs.current_unit_of.add(move.execution)

    def decide(move: Any, rows: Rows, now: int) -> Decision:
        execution = rows.executions.get(move.execution)
        return over(move, execution, open_unit(rows, execution), now)

    return Rule(name, decide)


def _of_interaction(
    over: Callable[[Any, Interaction | None, Unit | None, Execution | None, int], Decision],
) -> Rule:
    """Concerns an interaction, its unit and its execution."""

    def decide(move: Any, rows: Rows, now: int) -> Decision:
        execution, unit, *_ = move.interaction
        return over(
            move,
            rows.interactions.get(move.interaction),
            rows.units.get(UnitId(execution, unit)),
            rows.executions.get(execution),
            now,
        )

    return Rule(_name_interaction, decide)


def _name_interaction(move: Any, needs: Needs) -> None:
    needs.add_interaction(move.interaction)


def _of_item(
    over: Callable[[Any, Interaction | None, Unit | None, int], Decision],
) -> Rule:
    """Concerns an interaction and its unit."""

    def decide(move: Any, rows: Rows, now: int) -> Decision:
        execution, unit, *_ = move.interaction
        return over(
            move,
            rows.interactions.get(move.interaction),
            rows.units.get(UnitId(execution, unit)),
            now,
        )

    return Rule(_name_interaction, decide)


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


# --- moves with needs of their own --------------------------------------------------------------


def _name_submit(move: Submit, needs: Needs) -> None:
    # Its own id too: a submit that is repeated after an unknown outcome is known by it.
    needs.executions.add(move.execution)
    if move.key is not None:
        needs.keys.add((move.tenant, key_scope(move), move.key))


def _submit(move: Submit, rows: Rows, now: int) -> Decision:
    taken = None
    if move.key is not None:
        taken = rows.keys.get((move.tenant, key_scope(move), move.key))
    return decide_submit(move, taken, rows.executions.get(move.execution), now)


def _name_redrive(move: Redrive, needs: Needs) -> None:
    needs.executions.add(move.execution)
    if move.name is not None:
        needs.keys.add((move.tenant, redrive_scope(move.pipeline), move.name))


def _redrive(move: Redrive, rows: Rows, now: int) -> Decision:
    scope = redrive_scope(move.pipeline)
    taken = rows.keys.get((move.tenant, scope, move.name)) if move.name is not None else None
    return decide_redrive(move, taken, rows.executions.get(move.execution), now)


def _name_handoffs(move: Publishing, needs: Needs) -> None:
    """What is admitted in the same commit is submitted like anything else (`bide.engine.fold`)."""
    for each in move.handoffs:
        if each.admission is not None:
            _name_submit(each.admission, needs)


def _name_finish(move: Finish, needs: Needs) -> None:
    needs.executions.add(move.execution)
    if move.handoffs:
        _name_handoffs(move, needs)


def _finish(move: Finish, rows: Rows, now: int) -> Decision:
    return decide_finish(move, rows.executions.get(move.execution), now)


def _name_settle_handoff(move: SettleHandoff, needs: Needs) -> None:
    needs.handoffs.add(move.handoff)


def _settle_handoff(move: SettleHandoff, rows: Rows, now: int) -> Decision:
    return decide_settle_handoff(move, rows.handoffs.get(move.handoff), now)


def _offer_again(move: OfferAgain, rows: Rows, now: int) -> Decision:
    return decide_offer_again(move, rows.handoffs.get(move.handoff), now)


def _name_offer_again(move: OfferAgain, needs: Needs) -> None:
    needs.handoffs.add(move.handoff)
    if move.admission is not None:
        _name_submit(move.admission, needs)


def _name_park(move: Park, needs: Needs) -> None:
    needs.executions.add(move.execution)
    if move.handoffs:
        _name_handoffs(move, needs)
    if move.interaction.correlation is not None:
        needs.correlations.add(move.interaction.correlation)


def _park(move: Park, rows: Rows, now: int) -> Decision:
    execution, key = rows.executions.get(move.execution), move.interaction.correlation
    if key is None:
        return decide_park(move, execution, now)
    return decide_park_by_key(move, execution, _standing(rows, key), now)


def _name_unit(move: Append | CloseUnit | TakeOver, needs: Needs) -> UnitId:
    unit = UnitId(move.execution, move.unit)
    needs.executions.add(move.execution)
    needs.units.add(unit)
    return unit


def _name_append(move: Append, needs: Needs) -> None:
    unit, stop = _name_unit(move, needs), move.first_item + len(move.items)
    needs.ranges.append(ItemRange(unit, move.first_item, stop))
    needs.correlations.update(_keys_of(move))


def _append(move: Append, rows: Rows, now: int) -> Decision:
    unit = rows.units.get(UnitId(move.execution, move.unit))
    stored: dict[int, Interaction] = {}
    if unit is not None:
        for item in range(move.first_item, min(move.first_item + len(move.items), unit.appended)):
            known = rows.interactions.get(InteractionId(move.execution, move.unit, item))
            if known is not None:
                stored[item] = known
    execution, keys = rows.executions.get(move.execution), _keys_of(move)
    if not keys:
        return decide_append(move, execution, unit, stored, now)
    standings = {key: _standing(rows, key) for key in keys}
    return decide_append_by_key(move, execution, unit, stored, standings, now)


def _keys_of(move: Append) -> list[CorrelationKey]:
    return [item.correlation for item in move.items if item.correlation is not None]


def _name_close(move: CloseUnit, needs: Needs) -> None:
    _name_unit(move, needs)
    if move.handoffs:
        _name_handoffs(move, needs)


def _close(move: CloseUnit, rows: Rows, now: int) -> Decision:
    unit = rows.units.get(UnitId(move.execution, move.unit))
    return decide_close(move, rows.executions.get(move.execution), unit, now)


def _name_take_over(move: TakeOver, needs: Needs) -> None:
    _name_unit(move, needs)
    needs.correlations.update(move.keys())


def _take_over(move: TakeOver, rows: Rows, now: int) -> Decision:
    unit = rows.units.get(UnitId(move.execution, move.unit))
    execution, keys = rows.executions.get(move.execution), move.keys()
    if not keys:
        return decide_take_over(move, execution, unit, now)
    standings = {key: _standing(rows, key) for key in keys}
    return decide_take_over_by_key(move, execution, unit, standings, now)


def _name_ask_again(move: AskAgain, needs: Needs) -> None:
    needs.add_interaction(move.interaction)
    needs.interactions.add(next_generation(move.interaction))
    if move.correlation is not None:
        needs.correlations.add(move.correlation)


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


def _name_key(move: AdmitByKey | ExpireEarly, needs: Needs) -> None:
    needs.correlations.add(move.key)


def _admit_by_key(move: AdmitByKey, rows: Rows, now: int) -> Decision:
    return decide_admit_by_key(move, _standing(rows, move.key), now)


def _expire_early(move: ExpireEarly, rows: Rows, now: int) -> Decision:
    return decide_expire_early(move, rows.correlations.get(move.key), now)


def _name_expire_unit(move: ExpireUnit, needs: Needs) -> None:
    needs.units.add(move.unit)
    needs.executions.add(move.unit.execution)


def _expire_unit(move: ExpireUnit, rows: Rows, now: int) -> Decision:
    return decide_expire_unit(
        rows.units.get(move.unit), rows.executions.get(move.unit.execution), now
    )


def _name_nothing(_: Note | KeepLetter, __: Needs) -> None:
    pass


def _note(move: Note, _: Rows, now: int) -> Decision:
    return decide_note(move, now)


def _keep_letter(move: KeepLetter, rows: Rows, now: int) -> Decision:
    return decide_keep_letter(move, rows.dead_letters, now)


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


# A table and not a chain of ifs: this is asked twice for each move, ten thousand times a second.
RULES: Mapping[type, Rule] = {
    Submit: Rule(_name_submit, _submit),
    Redrive: _signed(Rule(_name_redrive, _redrive)),
    TakeOver: Rule(_name_take_over, _take_over),
    AskAgain: _signed(Rule(_name_ask_again, _ask_again)),
    Park: Rule(_name_park, _park),
    OpenUnit: _of_execution(decide_open),
    Append: Rule(_name_append, _append),
    CloseUnit: Rule(_name_close, _close),
    Admit: _signed(_of_interaction(decide_admit)),
    AdmitByKey: _signed(Rule(_name_key, _admit_by_key)),
    ExpireEarly: Rule(_name_key, _expire_early),
    Expire: _of_interaction(decide_expire),
    ExpireUnit: Rule(_name_expire_unit, _expire_unit),
    CloseBehind: _of_item(decide_close_behind),
    StoreResults: _of_execution(decide_results),
    StoreRejects: _of_execution(decide_rejects),
    Finish: Rule(_name_finish, _finish),
    Retry: _of_execution(decide_retry),
    GiveBack: _of_execution(decide_give_back),
    Fail: _of_execution_and_unit(decide_fail),
    Cancel: _signed(_of_execution_and_unit(decide_cancel)),
    Release: _signed(_of_execution_and_unit(decide_release)),
    Assign: _signed(_of_item(decide_assign)),
    Note: Rule(_name_nothing, _note),
    KeepLetter: Rule(_name_nothing, _keep_letter),
    SettleDispatch: Rule(_name_interaction, _settle_dispatch),
    SettleHandoff: Rule(_name_settle_handoff, _settle_handoff),
    OfferAgain: _signed(Rule(_name_offer_again, _offer_again)),
}
