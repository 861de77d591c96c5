"""The store contract: what every store does, in numbered duties that the contract suite cites.

Duties of every verb
--------------------
S1  One call is one transaction: all of it is durable when the call returns, or none of it is.
S2  Methods take and return batches, and answer in the order of what they were given.
S3  A store holds no policy. `transact` and the claims read the rows concerned under lock, let
    `bide.engine` decide, and write what came out, guarded by what was read.
S4  Rows are locked in one order: correlation keys, submit keys, units, interactions with their
    dispatches, executions, each ascending.
S5  Time is the store's: one reading per commit, never earlier than any reading that was committed
    before, whatever the machine's clock does.
S6  A row that the database refuses fails alone (`Unstorable`); its neighbours are written.
S7  An outcome that is not known (the connection was lost while committing) is looked up before it
    is answered: the caller gets the outcomes, or `StoreUnavailable` and nothing was written.
S8  A cancelled caller disturbs nobody: the commit that it shares goes on.
S9  Every read of a user's rows compares the tenant; rows of another tenant are as good as absent.
S10 Losing a race is an outcome, never an exception.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from bide.engine.dispatching import DispatchOffer
from bide.engine.fold import Transacted
from bide.engine.moves import Claimed, Handover, Move, ToSend
from bide.engine.publishing import HandoffOffer
from bide.engine.running import ClaimOffer
from bide.model.ids import CorrelationKey, ExecutionId, InteractionId, RejectId, UnitId
from bide.model.records import (
    AuditEntry,
    Correlation,
    DeadLetter,
    Dispatch,
    Execution,
    Handoff,
    Interaction,
    JournalFact,
    Origin,
    Record,
    Refusal,
    Reject,
    StoredBoundary,
    TraceContext,
    Unit,
    WorkerSeen,
)
from bide.model.status import ExecutionStatus, ReceiptOutcome


class LeaseKey(NamedTuple):
    """A claim that its worker wants to keep."""

    execution: ExecutionId
    fence: int


class Asked(NamedTuple):
    """An interaction with what a reader wants to know beside it."""

    interaction: Interaction
    pipeline: str
    unit: Unit


class Correlated(NamedTuple):
    """A correlation row, with the interaction that asked last under its key."""

    row: Correlation
    holder: Asked | None


class PendingQuery(NamedTuple):
    """Which open interactions to list."""

    tenant: str
    group: str | None = None
    assignee: str | None = None
    step_id: str | None = None
    execution: ExecutionId | None = None
    limit: int = 100


class AuditQuery(NamedTuple):
    """Which entries of the audit to list, newest first."""

    tenant: str
    execution: ExecutionId | None = None
    #: Only those with a lower id: the last of the page before.
    before: ExecutionId | None = None
    limit: int = 100


class ExecutionQuery(NamedTuple):
    """Which executions to list, newest first."""

    tenant: str
    pipeline: str | None = None
    status: ExecutionStatus | None = None
    #: Only those older than this one: the last of the page before.
    before: ExecutionId | None = None
    limit: int = 100
    #: Only those that were made for this one, which had not succeeded.
    redriven_from: ExecutionId | None = None
    #: Only those that are due and that nobody who claims by these fingerprints could take, or that
    #: are of one of the `paused` pipelines.
    due_outside: frozenset[str] | None = None
    paused: frozenset[str] = frozenset()


class SignOut(NamedTuple):
    """A worker that claims no more."""

    worker: str


class Pause(NamedTuple):
    """Stop the claims and hand-overs of a pipeline, or let them go on."""

    pipeline: str
    paused: bool


Notice = StoredBoundary | WorkerSeen | SignOut | Pause


class Deployed(NamedTuple):
    """What workers there are and what they could take."""

    #: The store's time.
    now: int
    boundaries: dict[str, StoredBoundary]
    workers: list[WorkerSeen]
    paused: frozenset[str]


class Standing(Record, frozen=True):
    """How many executions stand under one fingerprint."""

    pipeline: str
    fingerprint: str
    #: The await at which they are parked; None for those that are queued or run.
    step_id: str | None
    count: int


class Queue(NamedTuple):
    """What of one fingerprint is due now."""

    fingerprint: str
    length: int
    #: Since when the oldest is due; Unix milliseconds.
    oldest_due_at: int


class Backlog(NamedTuple):
    """What is due now, of all tenants, whoever could do it."""

    #: The store's time.
    now: int
    #: Executions that a worker could claim, those whose lease ran out included.
    ready: list[Queue]
    #: Interactions that a dispatcher could send, by the fingerprint of their boundary.
    to_send: list[Queue]
    #: Publications that a dispatcher could offer to other deployments, by publication.
    to_hand: list[Queue]
    #: Those that their targets have neither taken nor refused yet, offered just now or not, and since
    #: when the oldest is published.
    untaken: list[Queue]


class ItemKey(NamedTuple):
    """An interaction within its unit; where a page of them goes on."""

    item: int
    generation: int


class Overdue(NamedTuple):
    """What a sweep has to look at."""

    #: Interactions of open units.
    expired: list[InteractionId]
    #: Interactions that the end of their unit has left open.
    left_open: list[InteractionId]
    #: Open units.
    units: list[UnitId]
    #: Keys whose early answers nobody asked for in time.
    early: list[CorrelationKey]


class StoreInfo(NamedTuple):
    """What a store says about itself, for people."""

    #: Its address, without a password.
    url: str
    kind: str
    version: str
    schema_version: int


class Check(NamedTuple):
    """One line of `doctor` or of readiness."""

    name: str
    ok: bool
    message: str
    #: What to do about it; None when nothing has to be done.
    hint: str | None = None
    #: A failed check that does not keep work from being accepted.
    warning: bool = False


class Schema(NamedTuple):
    """Which tables there are; migrations are numbered from 1, and 0 stands for no table."""

    #: The last migration that the store has seen.
    present: int
    #: The last one of this release.
    needed: int


class Store(Protocol):
    """Durable rows behind the model."""

    async def open(self) -> None:
        """Connect, migrate if the store is embedded, and check that nothing would lose data.

        A store that several machines share is not migrated in passing: its tables are refused when
        they are behind, with the command that brings them up to date, and when they are newer.

        Raises:
            StoreUnavailable: it cannot be opened; the message says why and what to do.
        """
        ...

    async def schema(self) -> Schema:
        """Look which tables there are, without making any; it does not take `open`.

        Raises:
            StoreUnavailable: nobody can look.
        """
        ...

    async def migrate(self) -> Schema:
        """Bring the tables up to date, forwards only, and give what was there before.

        It comes before `open`. Two at once take turns, and the second finds nothing to do; one that
        dies half way leaves whole migrations behind, and the next goes on from there.

        Raises:
            StoreUnavailable: it cannot be done, or the tables are of a newer release.
        """
        ...

    async def close(self) -> None:
        """Finish what was handed in, then disconnect; safe to call twice and before `open`."""
        ...

    async def info(self) -> StoreInfo:
        """Say what and where it is."""
        ...

    async def now(self) -> int:
        """The store's time, Unix milliseconds (S5)."""
        ...

    async def examine(self) -> list[Check]:
        """Look for whatever keeps the database behind from serving well, for `bide doctor`.

        May cost more than a probe may; nothing is changed. An embedded store has nothing to add.
        """
        ...

    # --- the deciding verbs ---------------------------------------------------------------

    async def transact(self, moves: Sequence[Move], handover: Handover | None = None) -> Transacted:
        """Make every move of the batch, in its order, in one commit.

        Later moves of the batch see the earlier ones. `handover` lets a worker go straight on with
        what the batch makes ready.
        """
        ...

    async def claim(self, offer: ClaimOffer) -> list[Claimed]:
        """Claim what is due, oldest first, at most `offer.limit`, only what the offer can run.

        Two claims at the same time never get the same execution. An execution whose lease ran out
        once too often is dead-lettered here and not returned.
        """
        ...

    async def claim_dispatches(self, offer: DispatchOffer) -> list[ToSend]:
        """Claim interactions that are due to be sent, the longest due first, of each route at most
        as many as it has room for beside those of its await that are in flight and not lost.

        Two claims at the same time never get the same interaction. What has ended, is late or was
        lost too often is put aside here and not returned.
        """
        ...

    async def claim_handoffs(self, offer: HandoffOffer) -> list[Handoff]:
        """Claim publications that are due to be offered to another deployment, the longest due
        first, of each publication at most as many as it has room for; with what is published.

        Two claims at the same time never get the same one.
        """
        ...

    async def renew(self, leases: Sequence[LeaseKey], lease_ms: int) -> list[bool]:
        """Prolong leases; False for each that was lost. Never waits behind `transact`'s batches
        for longer than one of them.
        """
        ...

    # --- what a running segment reads ---------------------------------------------------------

    async def input_of(self, tenant: str, execution: ExecutionId) -> bytes | None:
        """What an execution was submitted with."""
        ...

    async def answers(
        self, tenant: str, unit: UnitId, first_item: int, limit: int
    ) -> list[Interaction]:
        """The items of a unit from `first_item` on, in order, answered or not: the last generation
        of each, with its answer, without its request.
        """
        ...

    async def askings(
        self, tenant: str, unit: UnitId, first_item: int, limit: int
    ) -> list[Interaction]:
        """The last asking for each item of a unit from `first_item` on, by item, whole."""
        ...

    async def results(
        self, tenant: str, execution: ExecutionId, first_item: int, limit: int
    ) -> list[bytes]:
        """A page of a streaming result; empty unless the execution has succeeded."""
        ...

    # --- what people and edges read -----------------------------------------------------------

    async def executions_by_id(
        self, tenant: str | None, ids: Sequence[ExecutionId]
    ) -> list[Execution | None]:
        """Executions by id; None for each that is absent or another tenant's (any, for None)."""
        ...

    async def executions(self, query: ExecutionQuery) -> list[Execution]:
        """A page of executions, newest first."""
        ...

    async def interactions_by_id(
        self, tenant: str, ids: Sequence[InteractionId]
    ) -> list[Asked | None]:
        """Interactions by id, with requests; None for each absent or another tenant's."""
        ...

    async def dispatches(self, tenant: str, ids: Sequence[InteractionId]) -> list[Dispatch | None]:
        """How the sending of interactions stands; None for each that is not sent, absent or
        another tenant's.
        """
        ...

    async def traces(self, wanted: Sequence[tuple[str, ExecutionId]]) -> list[TraceContext | None]:
        """In which trace each execution goes on, by tenant and id; None where it is not traced."""
        ...

    async def correlated(self, tenant: str, keys: Sequence[str]) -> list[list[Correlated]]:
        """What is known under each key: a row for each scope in which it is."""
        ...

    async def pending(self, query: PendingQuery) -> list[Asked]:
        """Open interactions of open units, oldest deadline first, then by id; with requests."""
        ...

    async def units(self, tenant: str, execution: ExecutionId) -> list[Unit]:
        """The units of an execution, in the order of their opening."""
        ...

    async def items(
        self, tenant: str, unit: UnitId, after: ItemKey | None, limit: int
    ) -> list[Interaction]:
        """A page of a unit's interactions, of every generation and status, by item and generation;
        without payloads.
        """
        ...

    async def journal(
        self, tenant: str, execution: ExecutionId, after: int = 0
    ) -> list[JournalFact]:
        """An execution's facts with a higher version than `after`, in their order."""
        ...

    async def audit(self, query: AuditQuery) -> list[AuditEntry]:
        """A page of the audit, newest first."""
        ...

    async def handoffs(self, tenant: str, execution: ExecutionId) -> list[Handoff]:
        """What an execution has published, in order of id, without what was published."""
        ...

    async def handoff(self, tenant: str, id: ExecutionId) -> Handoff | None:
        """One publication, with what was published unless it is admitted."""
        ...

    async def origins(self, tenant: str, execution: ExecutionId) -> list[Origin]:
        """The publications that an execution was made of, the first one first; none for one that
        was submitted.
        """
        ...

    async def dead_letters(
        self, tenant: str, *, pipeline: str | None, before: ExecutionId | None, limit: int
    ) -> list[DeadLetter]:
        """A page of dead letters, newest first."""
        ...

    async def dead_letter(self, tenant: str, id: ExecutionId) -> DeadLetter | None:
        """Why an execution did not succeed, or what became of an early answer."""
        ...

    async def rejects(
        self, tenant: str, *, pipeline: str | None, after: RejectId | None, limit: int
    ) -> list[Reject]:
        """A page of items that steps left out, without their bodies: the newest execution first,
        then by step and item; those behind `after`, the last of the page before.
        """
        ...

    async def reject(self, tenant: str, id: RejectId) -> Reject | None:
        """One item that a step left out, with its body."""
        ...

    async def refusals(self, tenant: str, interaction: InteractionId) -> list[Refusal]:
        """Conflicting and late completions of an interaction, in order of arrival."""
        ...

    async def count_receipts(self, tenant: str) -> dict[ReceiptOutcome, int]:
        """How many completions of each kind that leaves something in rows are there: applied,
        duplicate, conflict, late and buffered.
        """
        ...

    async def count_by_status(
        self, tenant: str | None, pipeline: str | None
    ) -> dict[ExecutionStatus, int]:
        """How many executions stand where."""
        ...

    # --- deploys ------------------------------------------------------------------------------

    async def announce(self, notices: Sequence[Notice]) -> None:
        """Write what workers say of themselves, and which pipelines are paused.

        A boundary is written once per fingerprint; a worker's row is replaced, with the store's
        time as `seen_at`, and rows of workers that were not seen for a day are removed.
        """
        ...

    async def deployed(self) -> Deployed:
        """All that was announced."""
        ...

    async def standing(self) -> list[Standing]:
        """How many executions of all tenants are due some time, or parked, by fingerprint."""
        ...

    async def backlog(self) -> Backlog:
        """What is due now; looks at whatever is due and at nothing else."""
        ...

    # --- upkeep -------------------------------------------------------------------------------

    async def overdue(self, limit: int) -> Overdue:
        """Interactions and units past their deadline, and what ended units have left open; at most
        `limit` of each.
        """
        ...

    async def retire(self, older_than: int, limit: int) -> int:
        """Delete terminal executions that ended before `older_than`, with all their rows but the
        submit key; dead letters and refusals that never had one as well. Gives how many executions.

        One that has published what is not settled yet stays until it is.
        """
        ...

    async def forget_keys(self, older_than: int, limit: int) -> int:
        """Delete submit keys made before `older_than` whose executions were retired; gives how many.

        Until then a late repeat of such a submit is still recognised. Looks at `limit` keys a call,
        so it may find none while there are more.
        """
        ...

    async def forget_audit(self, before: ExecutionId, limit: int) -> int:
        """Delete entries of the audit with a lower id than `before`, the lowest first, at most
        `limit`; gives how many. An id begins with its time.
        """
        ...

    async def wait_for_change(self, timeout_s: float) -> bool:
        """Return True soon after another process committed, False after `timeout_s`.

        A hint and never a promise: callers poll as well.
        """
        ...
