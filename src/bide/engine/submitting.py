"""Submission: an execution is created once per tenant, pipeline and submit key."""

from bide.engine.decision import Decision, fact_of
from bide.engine.moves import KeyTaken, Redrive, Refused, Submit, Submitted
from bide.engine.rows import handoff_scope
from bide.model.ids import ExecutionId
from bide.model.records import Execution, Input, Origin, SubmitKey, replace
from bide.model.status import ExecutionStatus, JournalKind


def key_scope(move: Submit) -> str:
    """Where the key of a submission is unique: in its pipeline, or in what that takes of a
    publication.
    """
    if move.origin is None:
        return move.pipeline
    return handoff_scope(move.pipeline, move.origin.publication)


def decide_submit(
    move: Submit, taken: SubmitKey | None, known: Execution | None, now: int
) -> Decision:
    """Create the execution, unless its key names one already.

    The same key with the same input is the same execution; with another input it is a conflict.
    `known` is the execution that has the move's id: without a key, a repeat is known by that.
    """
    if taken is not None:
        if taken.digest == move.digest:
            told = Submitted(taken.execution, True, taken.created_at)
            return Decision(told, written=_origin(move, taken.execution, now))
        return Decision(KeyTaken(taken.execution))
    if known is not None:
        if (known.tenant, known.pipeline) != (move.tenant, move.pipeline):
            return Decision(Refused("the id is another execution's"))
        return Decision(Submitted(known.id, True, known.created_at))
    written: tuple[Input | SubmitKey | Origin, ...] = (Input(move.execution, move.body),)
    if move.key is not None:
        scope = key_scope(move)
        key = SubmitKey(move.tenant, scope, move.key, move.execution, move.digest, now)
        written = (*written, key, *_origin(move, move.execution, now))
    execution = new_execution(move, now)
    return Decision(
        Submitted(move.execution, False, now),
        execution,
        fact_of(execution, JournalKind.SUBMITTED),
        written=written,
        ready=True,
        ready_body=move.body,
    )


def _origin(move: Submit, execution: ExecutionId, now: int) -> tuple[Origin, ...]:
    if move.origin is None:
        return ()
    return (replace(move.origin, execution=execution, at=now),)


def new_execution(move: Submit | Redrive, now: int) -> Execution:
    """An execution that is to start."""
    return Execution(
        id=move.execution,
        tenant=move.tenant,
        pipeline=move.pipeline,
        status=ExecutionStatus.QUEUED,
        version=1,
        fingerprint=move.fingerprint,
        step_index=0,
        attempt=0,
        takeovers=0,
        fence=0,
        owner=None,
        due_at=now,
        units=0,
        resumed=0,
        created_at=now,
        updated_at=now,
    )
