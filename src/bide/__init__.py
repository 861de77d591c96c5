"""Bide: typed, durable pipelines that wait well.

Whatever a user needs is here; `bide.testing` holds what their tests need.
"""

from bide.authoring.answers import Answer, Answered, Collect, Interaction, Missing, Receipt
from bide.authoring.awaits import Await
from bide.authoring.branches import Branches, branch
from bide.authoring.context import Context
from bide.authoring.durations import Duration
from bide.authoring.many import Many
from bide.authoring.retry import Retry
from bide.authoring.steps import step
from bide.authoring.transports import Inbox, Kafka, Transport, Webhook
from bide.errors import (
    BideError,
    CompletionConflict,
    CompletionLate,
    CompletionRefused,
    CompletionRejected,
    DefinitionError,
    ExecutionCancelled,
    ExecutionFailed,
    InvalidInput,
    LimitExceeded,
    NonRetryable,
    NotAllowed,
    NotRunning,
    PayloadError,
    RejectItem,
    ReplayMismatch,
    StoreUnavailable,
    SubmitConflict,
    UnknownInteraction,
)
from bide.planning.pipeline import Pipeline

__all__ = [
    "Answer",
    "Answered",
    "Await",
    "BideError",
    "Branches",
    "Collect",
    "CompletionConflict",
    "CompletionLate",
    "CompletionRefused",
    "CompletionRejected",
    "Context",
    "DefinitionError",
    "Duration",
    "ExecutionCancelled",
    "ExecutionFailed",
    "Inbox",
    "Interaction",
    "InvalidInput",
    "Kafka",
    "LimitExceeded",
    "Many",
    "Missing",
    "NonRetryable",
    "NotAllowed",
    "NotRunning",
    "PayloadError",
    "Pipeline",
    "Receipt",
    "RejectItem",
    "ReplayMismatch",
    "Retry",
    "StoreUnavailable",
    "SubmitConflict",
    "Transport",
    "UnknownInteraction",
    "Webhook",
    "branch",
    "step",
]
