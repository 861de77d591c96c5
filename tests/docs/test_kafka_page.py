"""The page on Kafka says what the code does."""

import asyncio
import json
import re
from dataclasses import fields
from typing import Any

import msgspec

from bide import Await, Kafka, Settings
from bide.spi.receiving import Completion
from bide.transports.kafka.envelope import Request, read_completion
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
