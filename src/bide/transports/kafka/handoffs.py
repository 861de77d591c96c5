"""Publications over topics: which topics an app takes from, and the two envelopes; pure.

A publication is the line that goes over HTTP with a tenant beside it, and its receipt is what HTTP
would answer to that line, with the publication's id beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from bide.authoring.publications import Topic
from bide.errors import DefinitionError
from bide.model.ids import ExecutionId, format_execution, parse_execution
from bide.planning.json_limits import MalformedJson
from bide.spi.handoff import Answer, Offer, Taken, turned_away
from bide.spi.receiving import Arrival, Offered, Published, Unreadable, Verdict
from bide.transports.kafka.channels import DEFAULT_TENANT, Record, arrival_id
from bide.transports.kafka.envelope import Unfit, json_object, json_of


class Receipt(NamedTuple):
    """What the taking side says of one publication."""

    handoff: ExecutionId
    answer: Answer


@dataclass(frozen=True, slots=True)
class Landing:
    """One topic that an app takes publications from."""

    topic: str
    group: str
    dead_letters: str
    receipts: str
    #: Those whose publications it carries.
    tenants: tuple[str, ...]
    #: Those that pipelines of this app take from it.
    publications: frozenset[str]

    def arrival(self, record: Record) -> Arrival:
        """What a record says, and whether its topic may bring that."""
        tenant, said = read_publication(record.value)
        if isinstance(said, Offered):
            said = Offered(said.handoff, said.published, self._barred(tenant, said))
        return Arrival(
            id=arrival_id(self.group, record),
            place=record.place,
            tenant=tenant,
            keeper=tenant if tenant in self.tenants else self.tenants[0],
            answers=frozenset(),
            said=said,
            body=record.value or b"",
        )

    def _barred(self, tenant: str | None, said: Offered) -> Unreadable | None:
        if tenant not in self.tenants:
            return Unreadable("not-allowed", "the topic carries no publications of that tenant")
        if said.published.publication not in self.publications:
            return Unreadable("unknown-publication", "no pipeline of this app takes it from there")
        return None


def taken_from(subscribed: Mapping[str, Topic]) -> dict[str, Landing]:
    """The topics of an app's subscriptions, by name; `subscribed` is by the publication's id.

    Raises:
        DefinitionError: subscriptions that share a topic disagree about it.
    """
    sharing: dict[str, dict[str, Topic]] = {}
    for publication, topic in subscribed.items():
        sharing.setdefault(topic.topic, {})[publication] = topic
    for name, topics in sharing.items():
        (first, one), *others = topics.items()
        for publication, other in others:
            if other != one:
                raise DefinitionError(
                    f"subscriptions to {first!r} and {publication!r} share the topic {name!r} and"
                    " describe it differently; write the same Topic(...) for both"
                )
    return {name: _landing(topics) for name, topics in sharing.items()}


def _landing(topics: Mapping[str, Topic]) -> Landing:
    topic = next(iter(topics.values()))
    return Landing(
        topic.topic,
        topic.group_id,
        topic.dead_letter_topic,
        topic.receipt_topic,
        tuple(topic.tenants) or (DEFAULT_TENANT,),
        frozenset(topics),
    )


# --- the publication ------------------------------------------------------------------------------


def publication_of(offer: Offer) -> bytes:
    """What is written; equal on every try."""
    return orjson.dumps({"tenantId": offer.tenant, **offer.line()})


def read_publication(value: bytes | None) -> tuple[str | None, Offered | Unreadable]:
    """Whose a record is, None where that cannot be read, and what it offers; more fields ignored."""
    tenant: str | None = None
    try:
        fields = json_object("it", json_of(value))
        tenant = _text(fields, "tenantId")
        return tenant, Offered(_id(fields, "handoffId"), _published(fields))
    except (MalformedJson, Unfit) as error:
        return tenant, Unreadable("malformed", str(error))


def _published(fields: Mapping[str, object]) -> Published:
    if "payload" not in fields:
        raise Unfit("there is no payload")
    return Published(
        publication=_text(fields, "publication"),
        key=_text(fields, "handoffKey"),
        payload=fields["payload"],
        source=_id(fields, "sourceExecutionId"),
        pipeline=_text(fields, "sourcePipeline"),
        trace_parent=_optional(fields, "traceparent"),
        trace_state=_optional(fields, "tracestate"),
    )


def _text(fields: Mapping[str, object], name: str) -> str:
    """A text as it stands: a key with a space at its end is another key."""
    value = fields.get(name)
    if not isinstance(value, str) or not value.strip():
        raise Unfit(f"{name} is no text, or blank")
    return value


def _optional(fields: Mapping[str, object], name: str) -> str | None:
    value = fields.get(name)
    return value if isinstance(value, str) else None


def _id(fields: Mapping[str, object], name: str) -> ExecutionId:
    found = parse_execution(_text(fields, name))
    if found is None:
        raise Unfit(f"{name} is no id")
    return found


# --- its receipt ----------------------------------------------------------------------------------


def receipt_of(offered: Offered, verdict: Verdict) -> bytes:
    """What the publishing side is told of a verdict."""
    said: dict[str, Any] = {"handoffId": format_execution(offered.handoff)}
    if verdict.taken is not None:
        said["executionId"] = format_execution(verdict.taken.execution)
        said["duplicate"] = verdict.taken.duplicate
    else:
        said |= {"code": verdict.code, "message": verdict.detail}
    return orjson.dumps(said)


def read_receipt(value: bytes | None) -> Receipt | None:
    """What a record of the receipts says; None where that cannot be read, which then says nothing."""
    try:
        fields = json_object("it", json_of(value))
        handoff = _id(fields, "handoffId")
        if "executionId" not in fields:
            return Receipt(handoff, turned_away(_text(fields, "code"), _text(fields, "message")))
        duplicate = fields.get("duplicate")
        if not isinstance(duplicate, bool):
            return None
        return Receipt(handoff, Taken(_id(fields, "executionId"), duplicate))
    except (MalformedJson, Unfit):
        return None
