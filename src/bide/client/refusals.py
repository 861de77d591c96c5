"""What a server refused, as the error that `App` would have raised."""

import json
from typing import TYPE_CHECKING, Any, Final, cast

from bide.authoring.answers import Receipt
from bide.errors import (
    AccessDenied,
    AlreadyAssigned,
    AlreadyEnded,
    BideError,
    CompletionConflict,
    CompletionLate,
    CompletionRejected,
    InvalidInput,
    LimitExceeded,
    NotAllowed,
    NotFinished,
    NotRedrivable,
    NotReleasable,
    QuotaExceeded,
    RemoteError,
    ResultTooLarge,
    StoreUnavailable,
    SubmitConflict,
    UnknownExecution,
    UnknownInteraction,
    UnknownPipeline,
)

if TYPE_CHECKING:
    from bide.client.exchange import Answered

_PLAIN: Final[dict[str, type[BideError]]] = {
    "unknown-pipeline": UnknownPipeline,
    "not-found": UnknownExecution,
    "submit-conflict": SubmitConflict,
    "not-redrivable": NotRedrivable,
    "not-releasable": NotReleasable,
    "unavailable": StoreUnavailable,
}
_LIMITS: Final = {
    "limit-exceeded": LimitExceeded,
    "quota-exceeded": QuotaExceeded,
    "result-too-large": ResultTooLarge,
}
_NO_ACCESS: Final = {401, 403}

Problem = dict[str, Any]


def refusal(came: "Answered") -> BideError:
    """The error that an answer tells of."""
    return of_problem(problem_of(came), came.status)


def refused_completion(came: "Answered") -> BideError:
    """The same for a completion: with its receipt, where it got one."""
    problem = problem_of(came)
    if "receipt" not in problem:
        return refusal(came)
    return of_receipt(receipt_of(problem | {"status": problem.get("interactionStatus")}), problem)


def problem_of(came: "Answered") -> Problem:
    """The problem in an answer; an empty one where somebody else than Bide answered."""
    try:
        found = json.loads(came.body)
    except ValueError:
        return {}
    return cast("Problem", found) if isinstance(found, dict) else {}


def receipt_of(body: Problem) -> Receipt:
    """What became of a completion."""
    return Receipt(
        interaction_id=body["interactionId"],
        outcome=body["receipt"],
        execution_id=body.get("executionId"),
        step_id=body.get("stepId"),
        status=body.get("status"),
    )


def of_receipt(receipt: Receipt, problem: Problem) -> BideError:
    """The error of a completion that was not admitted."""
    message = str(problem.get("detail", receipt.outcome))
    match receipt.outcome:
        case "conflict":
            return CompletionConflict(message, receipt=receipt)
        case "late":
            return CompletionLate(message, receipt=receipt)
        case "unknown":
            return UnknownInteraction(message, receipt=receipt)
        case _ if problem.get("status") in _NO_ACCESS:
            return NotAllowed(message, receipt=receipt)
        case _:
            return CompletionRejected(message, receipt=receipt, errors=problem.get("errors", ()))


def of_problem(problem: Problem, status: int) -> BideError:
    """The error that a problem stands for."""
    code = str(problem.get("type", "")).rpartition("/")[2]
    message = str(problem.get("detail") or f"the server answered {status}")
    if code in _PLAIN:
        return _PLAIN[code](message)
    if code in _LIMITS and isinstance(problem.get("limit"), dict):
        return _LIMITS[code](**problem["limit"])
    match code:
        case "invalid-input":
            return InvalidInput(message, errors=problem.get("errors", ()))
        case "not-finished":
            return NotFinished(message, status=str(problem.get("executionStatus", "")))
        case "already-ended":
            return AlreadyEnded(message, status=str(problem.get("executionStatus", "")))
        case "already-assigned":
            return AlreadyAssigned(message, assignee=problem.get("assignee"))
        case _:
            kind = AccessDenied if status in _NO_ACCESS else RemoteError
            return kind(message, status=status, code=code)
