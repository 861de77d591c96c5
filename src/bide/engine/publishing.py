"""Checkpoint handoff: what one pipeline publishes, another takes as an execution of its own.

A publication is written in the commit that ends the segment it was made in, one row for each target.
A target of the same store is submitted to in that very commit: both are there, or neither. For
another deployment the row waits, is claimed under a lease, offered, and settled only when the other
side has said that it admitted it; so it may be offered twice, and is known there by its key.

Only what the target says of this very publication is final: it is taken, or it is refused, which
writes a dead letter and touches its source no more. Everything else is tried again, without end.

What happens when it crashes here: before the source's commit, nothing was published; between claim
and settlement, it is offered again, and found to be a duplicate of itself.
"""

from typing import NamedTuple

from bide.engine.decision import Decision
from bide.engine.moves import (
    Denied,
    Failure,
    Handed,
    HandedOver,
    KeyTaken,
    Later,
    Moved,
    NewHandoff,
    OfferAgain,
    Outcome,
    Refused,
    SettleHandoff,
    Submitted,
    Unsent,
)
from bide.model.ids import format_execution
from bide.model.records import DeadLetter, Execution, Handoff, replace
from bide.model.status import DeadLetterKind, ExecutionStatus, HandoffStatus

#: The code of a publication whose key names an execution that was made of another one.
CONFLICT = "handoff-conflict"
_UNSUCCESSFUL = frozenset({ExecutionStatus.FAILED, ExecutionStatus.DLQ, ExecutionStatus.CANCELLED})
LOST = Refused("another one offers it, or it is settled")


class Outgoing(NamedTuple):
    """What is ready to be offered of one publication."""

    publication: str
    limit: int


class HandoffOffer(NamedTuple):
    """What a dispatcher is ready to offer to other deployments."""

    owner: str
    #: Longer than one try can take.
    lease_ms: int
    publications: tuple[Outgoing, ...]


def is_published(made: Outcome) -> bool:
    """Whether what a segment has published stands, by how the move came out that ends it.

    A segment that ends its execution without success has published nothing.
    """
    return isinstance(made, Moved) and made.execution.status not in _UNSUCCESSFUL


def decide_publish(new: NewHandoff, source: Execution, now: int) -> Decision:
    """Write one publication for one target."""
    handoff = Handoff(
        new.id, source.tenant, source.id, source.pipeline, new.publication, new.target, new.key,
        HandoffStatus.WAITING, now, now, now, new.body,
    )  # fmt: skip
    if new.refused is not None:
        return _refused(handoff, new.refused, now)
    return Decision(Handed(handoff), written=(handoff,))


def decide_offer_again(move: OfferAgain, handoff: Handoff | None, now: int) -> Decision:
    """Offer again what was refused."""
    if handoff is None or handoff.tenant != move.tenant:
        return Decision(Refused("no such publication"))
    if handoff.status is not HandoffStatus.REFUSED:
        return Decision(Refused("it was not refused"))
    again = replace(
        handoff, status=HandoffStatus.WAITING, due_at=now, attempts=0, updated_at=now, error=None
    )
    return Decision(Handed(again), written=(again,))


def decide_submitted(handoff: Handoff, made: Outcome, now: int) -> Decision:
    """Record what came of submitting to a target of the same store, in the same commit."""
    match made:
        case Submitted():
            return _admitted(handoff, HandedOver(made.execution, made.duplicate), now)
        case KeyTaken():
            return _refused(handoff, conflict(handoff.publication, handoff.key, made), now)
        case _:
            raise AssertionError(f"a submission cannot end in {made}")


def decide_claim_handoff(offer: HandoffOffer, handoff: Handoff, now: int) -> Decision:
    """Take what is due; whoever held it before has lost it."""
    if handoff.due_at is None or handoff.due_at > now:
        return Decision(Refused("not due"))
    claimed = replace(
        handoff,
        status=HandoffStatus.SENDING,
        due_at=now + offer.lease_ms,
        attempts=handoff.attempts + 1,
        fence=handoff.fence + 1,
        owner=offer.owner,
        updated_at=now,
    )
    return Decision(Handed(claimed), written=(claimed,))


def decide_settle_handoff(move: SettleHandoff, handoff: Handoff | None, now: int) -> Decision:
    """Record what came of a try, unless another one has it by now."""
    if handoff is None:
        return Decision(Refused("there is no such publication"))
    if handoff.status is not HandoffStatus.SENDING or handoff.fence != move.fence:
        return Decision(LOST)
    match move.result:
        case HandedOver():
            return _admitted(handoff, move.result, now)
        case Denied(code, message):
            return _refused(handoff, Failure(code, message), now)
        case Later(message, delay_ms):
            left = replace(_waiting(handoff, now), due_at=now + delay_ms, error=message)
        case _:
            assert isinstance(move.result, Unsent)
            left = replace(_waiting(handoff, now), attempts=handoff.attempts - 1)
    return Decision(Handed(left), written=(left,))


def _waiting(handoff: Handoff, now: int) -> Handoff:
    return replace(handoff, status=HandoffStatus.WAITING, due_at=now, owner=None, updated_at=now)


def conflict(publication: str, key: str, taken: KeyTaken) -> Failure:
    """Why a publication is refused whose key names an execution already."""
    made = format_execution(taken.execution)
    return Failure(
        CONFLICT,
        f"key {key!r} of publication {publication!r} names execution {made}, which was made of"
        " another payload",
    )


def _admitted(handoff: Handoff, result: HandedOver, now: int) -> Decision:
    admitted = replace(
        handoff,
        status=HandoffStatus.ADMITTED,
        due_at=None,
        owner=None,
        body=None,
        updated_at=now,
        admitted_as=result.execution,
        duplicate=result.duplicate,
        error=None,
    )
    return Decision(Handed(admitted), written=(admitted,))


def _refused(handoff: Handoff, why: Failure, now: int) -> Decision:
    """Keep it with its payload; the first refusal writes a dead letter, which stays."""
    refused = replace(
        handoff,
        status=HandoffStatus.REFUSED,
        due_at=None,
        owner=None,
        updated_at=now,
        error_code=why.code,
        error=why.message,
    )
    if handoff.error_code is not None:
        return Decision(Handed(refused), written=(refused,))
    letter = DeadLetter(
        handoff.id, handoff.tenant, handoff.pipeline, DeadLetterKind.HANDOFF, handoff.execution,
        None, why.code, why.message, None, handoff.attempts, now, handoff.key, handoff.body,
    )  # fmt: skip
    return Decision(Handed(refused), written=(refused, letter))
