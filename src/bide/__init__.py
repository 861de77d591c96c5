"""Bide: typed, durable pipelines that wait well.

Whatever a user needs is here; `bide.testing` holds what their tests need.
"""

from bide.app.app import App
from bide.app.handles import Execution
from bide.authoring.answers import Answer, Answered, Collect, Interaction, Missing, Receipt
from bide.authoring.awaits import Await
from bide.authoring.branches import Branches, branch
from bide.authoring.context import Context
from bide.authoring.durations import Duration
from bide.authoring.many import Many
from bide.authoring.principal import Principal
from bide.authoring.publications import Deployment, Publication, Subscription, Topic
from bide.authoring.retry import Retry
from bide.authoring.secrets import Secret
from bide.authoring.steps import step
from bide.authoring.transaction import Transaction
from bide.authoring.transports import Inbox, Kafka, Transport, Webhook
from bide.client.asynchronous import AsyncClient
from bide.client.blocking import Client
from bide.declaring.load import load
from bide.errors import (
    AccessDenied,
    AlreadyAssigned,
    AlreadyEnded,
    BideError,
    CompletionConflict,
    CompletionLate,
    CompletionRefused,
    CompletionRejected,
    DeclarationError,
    DefinitionError,
    ExecutionCancelled,
    ExecutionFailed,
    InvalidInput,
    LimitExceeded,
    NonRetryable,
    NotAllowed,
    NotFinished,
    NotRedrivable,
    NotReleasable,
    NotRunning,
    PayloadError,
    QuotaExceeded,
    RejectItem,
    RemoteError,
    ReplayMismatch,
    ResultTooLarge,
    StoreUnavailable,
    SubmitConflict,
    TransactionFailed,
    UnknownExecution,
    UnknownInteraction,
    UnknownPipeline,
)
from bide.planning.pipeline import Pipeline
from bide.settings import Settings

__all__ = [
    "AccessDenied",
    "AlreadyAssigned",
    "AlreadyEnded",
    "Answer",
    "Answered",
    "App",
    "AsyncClient",
    "Await",
    "BideError",
    "Branches",
    "Client",
    "Collect",
    "CompletionConflict",
    "CompletionLate",
    "CompletionRefused",
    "CompletionRejected",
    "Context",
    "DeclarationError",
    "DefinitionError",
    "Deployment",
    "Duration",
    "Execution",
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
    "NotFinished",
    "NotRedrivable",
    "NotReleasable",
    "NotRunning",
    "PayloadError",
    "Pipeline",
    "Principal",
    "Publication",
    "QuotaExceeded",
    "Receipt",
    "RejectItem",
    "RemoteError",
    "ReplayMismatch",
    "ResultTooLarge",
    "Retry",
    "Secret",
    "Settings",
    "StoreUnavailable",
    "SubmitConflict",
    "Subscription",
    "Topic",
    "Transaction",
    "TransactionFailed",
    "Transport",
    "UnknownExecution",
    "UnknownInteraction",
    "UnknownPipeline",
    "Webhook",
    "branch",
    "load",
    "step",
]

# Users meet errors in tracebacks, under the name by which they import them.
for _name in __all__:
    _found = globals()[_name]
    if isinstance(_found, type) and issubclass(_found, BideError):
        _found.__module__ = __name__
