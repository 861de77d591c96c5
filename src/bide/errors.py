"""Every error that a user of Bide can meet, as one tree by who has to act.

    BideError
    ├── DefinitionError            the pipeline is wrong: nothing has run yet
    │   └── DeclarationError       a YAML file declares it wrongly: .file .line .column
    ├── NotRunning                 the app was not opened
    ├── InvalidInput               a submitted value does not fit the pipeline's input
    ├── SubmitConflict             the submit key is taken by another input
    ├── LimitExceeded              a guard was reached: names setting, bound and unit
    │   └── QuotaExceeded          the tenant has enough open: try again once some have ended
    ├── PayloadError               a value does not fit the type it crosses a boundary as
    ├── UnknownPipeline            the app has no pipeline of that name
    ├── UnknownExecution           there is no such execution in this tenant
    ├── NotRedrivable              it cannot be done again: the message says why
    ├── AlreadyEnded               it cannot be cancelled any more: .status
    ├── NotReleasable              it cannot go on under that fingerprint
    ├── AlreadyAssigned            the interaction is somebody else's: .assignee
    ├── NotFinished                it has no result yet, or never will: .status
    ├── ResultTooLarge             read it in pages
    ├── ExecutionFailed            the result will never come: .code .step_id .attempts
    ├── ExecutionCancelled         somebody withdrew it: .reason
    ├── CompletionRefused          an answer was not admitted: .receipt
    │   ├── CompletionConflict     another answer was admitted before
    │   ├── CompletionLate         the deadline passed, or it ended otherwise
    │   ├── CompletionRejected     the answer does not fit: .errors
    │   ├── NotAllowed             this actor may not answer this question
    │   └── UnknownInteraction     there is no such interaction
    ├── RemoteError                the server of a `Client` said what only a server can say: .status
    │   └── AccessDenied           it does not let this caller do that
    ├── StoreUnavailable           try again: what is in .receipts was committed
    ├── TransactionFailed          a step's transaction was rolled back: the step has failed
    ├── NonRetryable               raised by a step: trying again cannot help
    │   └── ReplayMismatch         a repeat of a segment gave something else than before
    └── RejectItem                 raised by a step: leave this item out and go on

`code` is stable: the wire, logs and metrics carry it, and it never changes with the wording. This
module knows nothing of the rest of the package, so that every layer may raise from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypedDict


class FieldError(TypedDict):
    """One thing that is wrong with a payload: where (a JSON pointer, "" is the whole) and what."""

    path: str
    message: str


class RefusedReceipt(Protocol):
    """What an error tells of its receipt; `bide.Receipt` is one."""

    @property
    def interaction_id(self) -> str: ...
    @property
    def execution_id(self) -> str | None: ...
    @property
    def step_id(self) -> str | None: ...
    @property
    def status(self) -> str | None: ...
    @property
    def outcome(self) -> str: ...
    @property
    def duplicate(self) -> bool: ...


class BideError(Exception):
    """The root of the tree: `except BideError` catches whatever Bide itself has to say."""

    code: str = "bide-error"


class DefinitionError(BideError):
    """A pipeline, a step or an await is declared wrongly.

    Raised where the mistake is written, before anything runs. The message names the pipeline, the
    step (counted from 1), both types where two do not meet, and the line to write instead.
    """

    code = "definition-error"


class DeclarationError(DefinitionError):
    """A YAML file declares a pipeline wrongly.

    The message opens with file, line and column, and says what to write instead. `line` and
    `column` count from 1, and are None where the file as a whole is meant.
    """

    code = "declaration-error"

    def __init__(
        self, message: str, *, file: str, line: int | None = None, column: int | None = None
    ) -> None:
        place = [file, *(str(number) for number in (line, column) if number is not None)]
        super().__init__(f"{':'.join(place)}: {message}")
        self.file = file
        self.line = line
        self.column = column


class NotRunning(BideError):
    """The app was used before it was opened, or after it was closed.

    Open it with `async with app.running():`, or with `await app.start()` in a notebook.
    """

    code = "not-running"


class _DoesNotFit(BideError):
    """Shared by the errors that list what is wrong with a payload."""

    def __init__(self, message: str, *, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(message)
        self.errors: list[FieldError] = list(errors)


class InvalidInput(_DoesNotFit):
    """A submitted value does not fit the pipeline's input type; nothing was stored.

    `errors` lists path and message of everything that is wrong. HTTP answers 422.
    """

    code = "invalid-input"


class SubmitConflict(BideError):
    """The submit key already names an execution of this pipeline that has another input.

    The same key with the same input gives the same execution. HTTP answers 409.
    """

    code = "submit-conflict"


class LimitExceeded(BideError):
    """A value went over a guard, and nothing of it was stored.

    `setting` names what to raise, `bound` its value and `unit` what is counted.
    """

    code = "limit-exceeded"

    def __init__(self, setting: str, *, bound: int, unit: str, actual: int | None = None) -> None:
        found = "" if actual is None else f", and this has {actual:,}"
        super().__init__(f"{setting} allows {bound:,} {unit}{found}")
        self.setting = setting
        self.bound = bound
        self.unit = unit
        self.actual = actual


class QuotaExceeded(LimitExceeded):
    """The tenant has as many open executions as it may; nothing was stored, and trying again once
    some have ended is safe. HTTP answers 429.
    """

    code = "quota-exceeded"


class PayloadError(_DoesNotFit):
    """A value does not fit the type that it crosses a boundary as, or has no JSON form.

    A step that gave the value will give it again, so trying again does not help. `errors` lists
    path and message of everything that is wrong; values themselves are left out of it.
    """

    code = "invalid-payload"


class UnknownPipeline(BideError):
    """The app has no pipeline of that name. HTTP answers 404."""

    code = "unknown-pipeline"


class UnknownExecution(BideError):
    """There is no such execution in this tenant. HTTP answers 404."""

    code = "not-found"


class NotRedrivable(BideError):
    """It cannot be redriven, or not from there; the message says why. HTTP answers 409."""

    code = "not-redrivable"


class AlreadyEnded(BideError):
    """The execution has ended as `status` says and cannot be cancelled. HTTP answers 409."""

    code = "already-ended"

    def __init__(self, message: str, *, status: str) -> None:
        super().__init__(message)
        self.status = status


class NotReleasable(BideError):
    """The execution cannot go on under that fingerprint; the message says why. HTTP answers 409."""

    code = "not-releasable"


class AlreadyAssigned(BideError):
    """The interaction is `assignee`'s and was not taken from them. HTTP answers 409."""

    code = "already-assigned"

    def __init__(self, message: str, *, assignee: str | None) -> None:
        super().__init__(message)
        self.assignee = assignee


class NotFinished(BideError):
    """The execution has no result: it stands where `status` says. HTTP answers 409."""

    code = "not-finished"

    def __init__(self, message: str, *, status: str) -> None:
        super().__init__(message)
        self.status = status


class ResultTooLarge(LimitExceeded):
    """The result is too large to be given in one piece: read `results()`. HTTP answers 413."""

    code = "result-too-large"


class ExecutionFailed(BideError):
    """The execution ended FAILED or in the DLQ, and its result will never come.

    `code` is the failure's own: what the author, the actor or the machine called it. `step_id` is
    where it stood, `attempts` how often that was tried, and `dead_letter_id` what to redrive.
    """

    code = "execution-failed"

    def __init__(
        self,
        message: str,
        *,
        code: str = "execution-failed",
        step_id: str | None = None,
        attempts: int = 0,
        dead_letter_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.step_id = step_id
        self.attempts = attempts
        self.dead_letter_id = dead_letter_id


class ExecutionCancelled(BideError):
    """The execution was cancelled, for the `reason` that was given with it."""

    code = "execution-cancelled"

    def __init__(self, message: str, *, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class CompletionRefused(BideError):
    """An answer was not admitted; `receipt` says what became of it.

    Of the subclasses, each is one kind of refusal. An answer that was admitted, that repeats the
    admitted one, or that is kept for an await yet to come is no refusal and raises nothing.
    """

    code = "refused"

    def __init__(self, message: str, *, receipt: RefusedReceipt) -> None:
        super().__init__(message)
        self.receipt = receipt


class CompletionConflict(CompletionRefused):
    """A different answer was admitted before; the first one stays. HTTP answers 409."""

    code = "conflict"


class CompletionLate(CompletionRefused):
    """The deadline has passed, or the interaction ended in another way. HTTP answers 410."""

    code = "late"


class CompletionRejected(CompletionRefused):
    """The answer does not fit what was asked; the interaction stays open. HTTP answers 422.

    `errors` lists path and message of everything that is wrong with it.
    """

    code = "invalid-answer"

    def __init__(
        self, message: str, *, receipt: RefusedReceipt, errors: Sequence[FieldError] = ()
    ) -> None:
        super().__init__(message, receipt=receipt)
        self.errors: list[FieldError] = list(errors)


class NotAllowed(CompletionRefused):
    """This actor may not answer this interaction, which stays open. HTTP answers 403."""

    code = "not-allowed"


class UnknownInteraction(CompletionRefused):
    """There is no such interaction in this tenant. HTTP answers 404."""

    code = "not-found"


class RemoteError(BideError):
    """A server answered a `Client` with an error of its own: `status` is the HTTP status.

    `code` is the problem's, and empty where it was not Bide that answered (a proxy, another site).
    """

    code = "remote-error"

    def __init__(self, message: str, *, status: int, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class AccessDenied(RemoteError):
    """The server does not know the `Client`'s credential, or does not let it do that."""

    code = "access-denied"


class StoreUnavailable(BideError):
    """The store did not take it; trying again is safe. HTTP answers 503.

    A `Client` raises it as well when its server could not be reached.

    Raised by `complete_many`, `receipts` holds those that were committed before, in order.
    """

    code = "unavailable"

    def __init__(self, message: str, *, receipts: Sequence[RefusedReceipt] = ()) -> None:
        super().__init__(message)
        self.receipts: list[RefusedReceipt] = list(receipts)


class TransactionFailed(BideError):
    """The transaction of a step was rolled back, and the step has failed: its retry policy follows.

    The database refused a statement (`__cause__` is its driver's error), the connection was lost, or
    the step held the transaction for longer than it may. Nothing of what it wrote is there.
    """

    code = "transaction-failed"


class NonRetryable(BideError):
    """Raised by a step to say that another attempt cannot help: the execution goes to the DLQ."""

    code = "non-retryable"


class ReplayMismatch(NonRetryable):
    """A segment that ran again did not ask for what it had asked for before.

    What is stored wins: the partner may have seen it. A source that is read again must give the
    same items in the same order, and at least as many as are stored.
    """

    code = "replay-mismatch"


class RejectItem(BideError):
    """Raised by a step to leave this item out and go on with the others.

    The item is recorded with its fingerprint and this message, and can be redriven.
    """

    code = "item-rejected"
