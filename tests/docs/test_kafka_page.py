"""The page on Kafka says what the code does."""

import asyncio
import json
import re
from dataclasses import fields
from typing import Any

import msgspec

from bide import Await, Kafka, Settings, Topic
from bide.runtime.clock import ExecutionIds
from bide.spi.handoff import Offer, Taken
from bide.spi.receiving import Completion, Offered
from bide.spi.transport import Refused
from bide.transports.kafka.envelope import Request, read_completion
from bide.transports.kafka.handoffs import read_publication, read_receipt
from tests.docs.test_webhooks_page import blocks
from tests.kafka.cluster import Cluster, topics
from tests.kafka.support import put, read
from tests.processes import ROOT

PAGE = ROOT / "docs" / "how-to" / "kafka.md"


def test_every_setting_that_is_named_exists() -> None:
    """The page names no setting that the code does not read."""
    named = set(re.findall(r"\bBIDE_([A-Z_]+)\b", PAGE.read_text(encoding="utf-8")))

    assert named
    assert {name.lower() for name in named} <= set(Settings.model_fields)


def test_the_request_that_is_shown_is_the_envelope() -> None:
    """The example has exactly the fields that are sent, in their order."""
    shown = json.loads(blocks(PAGE, "json")[0])

    assert list(shown) == [field.encode_name for field in msgspec.structs.fields(Request)]


def test_the_answer_that_is_shown_is_one() -> None:
    """It is read as it stands, by the correlation id and with its token."""
    claimed = read_completion(blocks(PAGE, "json")[1].encode())

    assert claimed.tenant == "default"
    assert isinstance(claimed.said, Completion)
    assert claimed.said.resume_token
    assert claimed.said.correlation_id
    assert claimed.said.payload == {"approved": {"reference": "101"}}


def test_the_await_that_is_shown_can_be_defined() -> None:
    """The first snippet is a program, given the two types that it is about; its options and their
    defaults are those of the table.
    """
    names: dict[str, Any] = {}
    types = "from typing import TypedDict\nclass PaymentRecord(TypedDict):\n"
    types += "    csv_id: str\n    recipient: str\n    amount: str\n    currency: str\n"
    exec(types + "PaymentStatus = str\n" + blocks(PAGE, "python")[0], names)

    assert isinstance(names["provider"], Await)
    table = re.findall(r"^\| (`[^|]+`) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    options = {name for row in table for name in re.findall(r"`(\w+)`", row)}
    assert {field.name for field in fields(Kafka)} <= options
    via = Kafka(request="a", response="b")
    assert (via.group_id, via.dead_letter_topic) == ("bide.b", "b.dead-letters")
    assert via.retry.attempts == 8


async def test_a_letter_is_driven_again_as_the_page_says(cluster: Cluster) -> None:
    """The snippet writes the record to the response topic, byte for byte and under its key."""
    names = topics(cluster, partitions=1)
    code = blocks(PAGE, "python")[1].replace("csv-payments.payment.results", names.responses)
    known: dict[str, Any] = {}
    exec(code, known)
    await put(cluster, names.letters, b"first", b"second")

    await asyncio.to_thread(known["drive_again"], cluster.servers, 0, 1)

    [driven] = await read(cluster, names.responses, 1)
    assert (driven.key, driven.value) == ("k", b"second")


def test_the_publication_that_is_shown_is_one() -> None:
    """It is read as it stands, and has the fields that are sent, in their order."""
    text = blocks(PAGE, "json")[2]
    tenant, said = read_publication(text.encode())

    assert tenant == "default"
    assert isinstance(said, Offered)
    assert list(json.loads(text)) == ["tenantId", *an_offer().line()]


def test_the_receipts_that_are_shown_are_two() -> None:
    """One is of an execution, one of a refusal that is final."""
    said = [read_receipt(text.encode()) for text in blocks(PAGE, "json")[3:5]]

    assert [type(each.answer) for each in said if each is not None] == [Taken, Refused]


def an_offer() -> Offer:
    id_ = ExecutionIds()()
    return Offer(
        to=Topic("t"), tenant="default", handoff=id_, publication="p", key="k", source=id_,
        pipeline="p", body=b"{}", published_at=1, attempt=1,
    )  # fmt: skip
