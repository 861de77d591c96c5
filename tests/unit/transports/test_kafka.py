"""The Kafka adapter's decisions on plain values: envelopes, marks, channels, configuration."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from bide import DefinitionError, Kafka, Settings
from bide.model.ids import ExecutionId, InteractionId
from bide.spi.receiving import MISSING, Completion, Unreadable
from bide.spi.transport import Delivered, Outgoing, Refused, Unclear
from bide.transports.kafka.channels import Channel, Record, channels_of
from bide.transports.kafka.config import (
    consumer_config,
    is_in_clear,
    parse_properties,
    producer_config,
    read_properties,
)
from bide.transports.kafka.deliveries import delivery_of, is_hopeless
from bide.transports.kafka.envelope import headers_of, key_of, read_completion, request_of
from bide.transports.kafka.marks import Mark, Marks, Partition

EXECUTION = ExecutionId(bytes.fromhex("018f2a7e4c0070008000000000000001"))
WRITTEN = "018f2a7e-4c00-7000-8000-000000000001_2_0"
VIA = Kafka(request="orders.requests", response="orders.results", headers={"x-team": "orders"})


def outgoing(**given: Any) -> Outgoing:
    usual: dict[str, Any] = {
        "via": VIA,
        "tenant": "acme",
        "interaction": InteractionId(EXECUTION, 2),
        "item_index": None,
        "pipeline": "charges",
        "step_id": "check",
        "correlation_id": "order-42",
        "idempotency_key": "42",
        "resume_token": "bide1.planted",
        "input_type": "Charge",
        "output_type": "Verdict",
        "deadline_at": 1_795_305_600_000,
        "request": b'{"cents":1299,"rate":0.10}',
        "attempt": 1,
    }
    return Outgoing(**(usual | given))


# --- what is sent ---------------------------------------------------------------------------------


def test_a_request_keeps_the_stored_bytes() -> None:
    """The payload goes out to the digit as it is stored, and nothing of it is in a repr."""
    body = request_of(outgoing())

    assert b'"requestPayload":{"cents":1299,"rate":0.10}' in body
    assert json.loads(body)["interactionId"] == WRITTEN
    assert "planted" not in repr(outgoing())


def test_a_trusted_network_gets_no_token() -> None:
    """Then the field is null, and all others are there."""
    assert json.loads(request_of(outgoing(resume_token=None)))["resumeToken"] is None


def test_what_a_record_is_keyed_by() -> None:
    """By the correlation id unless the author wants the interaction's."""
    by_id = Kafka(request="a", response="b", key="interactionId")

    assert key_of(VIA, outgoing()) == b"order-42"
    assert key_of(by_id, outgoing()) == WRITTEN.encode()


def test_headers_carry_the_trace() -> None:
    """The author's headers come first, then the trace that the request is in, and no other one."""
    trace = {"traceparent": "00-1-2-01", "tracestate": "a=b", "baggage": "secret"}

    assert headers_of(VIA, outgoing(trace=trace)) == [
        ("x-team", b"orders"), ("traceparent", b"00-1-2-01"), ("tracestate", b"a=b"),
    ]  # fmt: skip


# --- what comes in --------------------------------------------------------------------------------

GOOD = {"tenantId": "acme", "correlationId": "c", "responsePayload": 1}


def test_all_fields_are_read() -> None:
    """Trimmed, and with the trace of the headers; unknown fields and headers count for nothing."""
    fields = {
        "tenantId": " acme ", "interactionId": " i ", "correlationId": "c\n", "resumeToken": "t ",
        "idempotencyKey": " k", "actor": " bob", "responsePayload": {"a": [" x "]}, "more": 1,
    }  # fmt: skip
    headers = [("traceparent", b"00-1"), ("tracestate", b"x" * 513), ("tenantId", b"evil")]

    claimed = read_completion(json.dumps(fields).encode(), headers)

    assert claimed.tenant == "acme"
    assert claimed.said == Completion(
        interaction_id="i", correlation_id="c", resume_token="t", idempotency_key="k", actor="bob",
        payload={"a": [" x "]}, carrier={b"traceparent": b"00-1"},
    )  # fmt: skip


@pytest.mark.parametrize("name", ["resumeToken", "idempotencyKey", "actor", "interactionId"])
@pytest.mark.parametrize("blank", [None, "", " \t\n"])
def test_a_blank_is_the_same_as_absent(name: str, blank: str | None) -> None:
    """Whatever field it stands in that may be left out."""
    assert read_completion(json.dumps(GOOD | {name: blank}).encode()) == read_completion(
        json.dumps(GOOD).encode()
    )


@pytest.mark.parametrize("payload", [None, False, 0, "", []])
def test_a_payload_may_be_anything(payload: object) -> None:
    """Also null, and what is false in Python."""
    said = read_completion(json.dumps(GOOD | {"responsePayload": payload}).encode()).said

    assert isinstance(said, Completion)
    assert said.payload == payload
    assert said.failure is None


def test_a_failure_stands_in_the_place_of_an_answer() -> None:
    """A code alone is its message as well; a null payload beside it is none."""
    given = {**GOOD, "responsePayload": None, "failure": {"code": " no-funds ", "extra": 1}}

    said = read_completion(json.dumps(given).encode()).said

    assert isinstance(said, Completion)
    assert (said.failure, said.payload) == (("no-funds", "no-funds"), MISSING)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (None, "has no value"),
        (b"", "not JSON"),
        (b"\xff", "not UTF-8"),
        (b"[]", "no JSON object"),
        (b'{"a":1,"a":2}', "stands twice"),
        ({"responsePayload": 1, "correlationId": "c"}, "there is no tenantId"),
        (GOOD | {"tenantId": "  "}, "there is no tenantId"),
        (GOOD | {"tenantId": ["acme"]}, "tenantId is no string"),
        (GOOD | {"correlationId": None}, "neither interactionId nor correlationId"),
        (GOOD | {"correlationId": "x" * 1_025}, "more than 1,024 characters"),
        (GOOD | {"actor": "a\x07b"}, "control characters"),
        ({"tenantId": "acme", "correlationId": "c"}, "neither responsePayload nor failure"),
        (GOOD | {"failure": {"code": "x"}}, "both responsePayload and failure"),
        (GOOD | {"failure": "x"}, "failure is no JSON object"),
        ({"tenantId": "a", "correlationId": "c", "failure": {"message": "m"}}, "there is no code"),
    ],
)
def test_what_is_no_completion(value: Any, why: str) -> None:
    """It is told in one line what is wrong, without what stands there."""
    body = value if isinstance(value, bytes | None) else json.dumps(value).encode()

    said = read_completion(body).said

    assert isinstance(said, Unreadable)
    assert said.code == "malformed"
    assert why in said.message


@given(st.binary(max_size=200) | st.text(max_size=50).map(str.encode))
def test_no_bytes_break_the_reading(value: bytes) -> None:
    """Whatever a record holds, it is a completion or it is not."""
    assert isinstance(read_completion(value).said, Completion | Unreadable)


# --- topics ---------------------------------------------------------------------------------------


def channel(**more: Any) -> Channel:
    via = Kafka(request="a", response="b", **more)
    return channels_of({"await 'x'": via})["b"]


def record(value: Any, **more: Any) -> Record:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    usual = {"topic": "b", "partition": 3, "offset": 7, "timestamp": 1_795_305_600_000, "key": None}
    return Record(**(usual | more), value=body)  # type: ignore[arg-type]  # keywords by name


def test_a_record_has_the_same_id_each_time() -> None:
    """Equal wherever it is read again; another one at any other place, time or group."""
    here = channel().arrival(record(GOOD))
    others = [
        channel().arrival(record(GOOD, offset=8)),
        channel().arrival(record(GOOD, partition=4)),
        channel().arrival(record(GOOD, timestamp=1_795_305_600_001)),
        channel(group="g").arrival(record(GOOD)),
    ]

    assert channel().arrival(record(b"")).id == here.id
    assert len({here.id, *(each.id for each in others)}) == 5
    assert here.place == "b/3/7"


@pytest.mark.parametrize("timestamp", [-1, 2**63])
def test_any_timestamp_makes_an_id(timestamp: int) -> None:
    """Whoever writes a record chooses its time."""
    assert len(channel().arrival(record(GOOD, timestamp=timestamp)).id) == 16


def test_who_may_answer_what() -> None:
    """A token is judged by what it says; without one only the await's own tenants count, and one
    that needs a token is found all the same, to say so.
    """
    asks = Kafka(request="a", response="b")
    trusts = Kafka(request="c", response="b", trusted_network=True, tenants=["acme"])
    shared = channels_of({"await 'asks'": asks, "await 'trusts'": trusts})["b"]

    def answers(**fields: Any) -> frozenset[Any]:
        return shared.arrival(record(GOOD | fields)).answers

    assert answers(resumeToken="t", tenantId="zeta") == {asks, trusts}
    assert answers() == {asks, trusts}
    assert answers(tenantId="zeta") == {asks}


def test_no_await_of_a_topic_is_for_that_tenant() -> None:
    """Then it is refused before anything is read, and kept for those whom the topic is bound to."""
    bound = channel(trusted_network=True, tenants=["one", "two"])

    foreign, own = (bound.arrival(record(GOOD | {"tenantId": name})) for name in ("acme", "two"))

    assert isinstance(foreign.said, Unreadable)
    assert (foreign.said.code, foreign.keeper) == ("not-allowed", "one")
    assert isinstance(own.said, Completion)
    assert own.keeper == "two"


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        ({}, {"group": "g"}, "name two for group"),
        ({}, {"dead_letters": "d"}, "name two for dead_letters"),
        ({}, {"response": "z", "request": "b"}, "takes its answers from there"),
        ({}, {"response": "b.dead-letters", "request": "y"}, "takes its answers from there"),
    ],
)
def test_awaits_that_share_a_topic_agree(
    one: dict[str, Any], other: dict[str, Any], why: str
) -> None:
    """Each answer is taken once, and nothing that is written here is read as an answer."""
    usual = {"request": "a", "response": "b"}
    awaits = {"await 'one'": Kafka(**(usual | one)), "await 'two'": Kafka(**(usual | other))}

    with pytest.raises(DefinitionError, match=why):
        channels_of(awaits)


# --- marks ----------------------------------------------------------------------------------------

P = Partition("t", 0)


def test_an_offset_waits_for_everything_before_it() -> None:
    """What is done behind an open record is committed with it, and each offset once."""
    marks = Marks()
    marks.assign([P])
    first, second, third = (marks.begin(P, offset) for offset in (5, 6, 9))
    assert first
    assert second
    assert third

    marks.finish(second)
    marks.finish(third)
    before = marks.due()
    marks.finish(first)
    after = marks.due()
    marks.committed(after)

    assert before == {P: 5}
    assert after == {P: 10}
    assert marks.due() == {}


def test_an_earlier_term_changes_nothing() -> None:
    """A record that was under way when its partition went and came back is not reported."""
    marks = Marks()
    marks.assign([P])
    old = marks.begin(P, 5)
    assert old
    marks.revoke([P])
    gone = marks.begin(P, 6)
    marks.assign([P])
    again = marks.begin(P, 5)
    assert again

    marks.finish(old)

    assert gone is None
    assert not marks.is_current(old)
    assert marks.due() == {P: 5}
    marks.finish(again)
    assert marks.due() == {P: 6}


class _Broker:
    """What the broker of a group knows: who has the partition, and what was committed."""

    def __init__(self) -> None:
        self.committed = 0
        self.done: set[int] = set()


@given(st.lists(st.integers(0, 9), max_size=120))
def test_nothing_is_committed_that_is_not_done(steps: list[int]) -> None:
    """Whatever comes in whichever order (reads, ends, commits, partitions that go and come), every
    record below the committed offset is done with, and no offset falls.
    """
    marks, broker = Marks(), _Broker()
    under_way: list[Mark] = []
    marks.assign([P])
    position = 0
    for step in steps:
        if step <= 3:  # read on
            mark = marks.begin(P, position)
            if mark is not None:
                under_way.append(mark)
                position += 1 + step % 2  # a gap, as compaction and transactions leave them
        elif step <= 6 and under_way:  # one comes to its end, the eldest or not
            mark = under_way.pop(step % len(under_way))
            broker.done.add(mark.offset)
            marks.finish(mark)
        elif step == 7:
            due = marks.due()
            if P in due:
                # Whoever gets a partition anew may commit once more where it begins.
                assert due[P] >= broker.committed
                broker.committed = due[P]
                marks.committed(due)
        elif step == 8:
            marks.revoke([P])
        elif step == 9:
            marks.assign([P])
            position = broker.committed
    read = {mark.offset for mark in under_way} | broker.done
    assert {offset for offset in read if offset < broker.committed} <= broker.done


# --- deliveries -----------------------------------------------------------------------------------


def test_what_a_brokers_answer_means() -> None:
    """What no later try could change is refused; rights and topics may still come."""
    assert delivery_of(None, "") == Delivered()
    assert delivery_of("MSG_SIZE_TOO_LARGE", "m") == Refused("kafka-msg-size-too-large", "m")
    for name in ("_MSG_TIMED_OUT", "UNKNOWN_TOPIC_OR_PART", "TOPIC_AUTHORIZATION_FAILED"):
        assert delivery_of(name, "m") == Unclear("m")
    assert is_hopeless("MSG_SIZE_TOO_LARGE", 1)
    assert [is_hopeless("UNKNOWN_TOPIC_OR_PART", tries) for tries in (1, 3, 4)] == [
        False,
        False,
        True,
    ]
    assert not is_hopeless("_MSG_TIMED_OUT", 100)
    assert not is_hopeless(None, 100)


# --- configuration --------------------------------------------------------------------------------

SECRET = "planted-password"
LINES = f"""\
# as for every client of the cluster
security.protocol = SASL_SSL
sasl.mechanism=SCRAM-SHA-512

sasl.password={SECRET}=with=signs
"""


def test_properties_are_read_from_lines_and_from_json() -> None:
    """Comments and blanks are passed over; a value may hold any sign."""
    read = parse_properties(LINES, "here")

    assert read == {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.password": f"{SECRET}=with=signs",
    }
    assert parse_properties('{"session.timeout.ms": 6000, "debug": "all", "x": true}', "here") == {
        "session.timeout.ms": "6000", "debug": "all", "x": "true",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"sasl.password {SECRET}", "line 1: write name=value"),
        (f"a=1\na={SECRET}", "line 2: a is set twice"),
        (f'{{"a": "{SECRET}"', "not JSON"),
        (f'{{"a": ["{SECRET}"]}}', "neither a text nor a number"),
        (f"enable.auto.commit={SECRET}", "only behind a durable admission"),
        (f"acks={SECRET}", "acks cannot be set"),
        (f"group.id={SECRET}", "group=..."),
        (f"bootstrap.servers={SECRET}", "BIDE_KAFKA_SERVERS"),
    ],
)
def test_what_cannot_be_set_is_named_without_its_value(text: str, why: str) -> None:
    """A complaint says where and what to do, and repeats no value: any may be a password."""
    with pytest.raises(DefinitionError) as raised:
        parse_properties(text, "here")

    assert why in str(raised.value)
    assert SECRET not in str(raised.value)


def test_each_client_gets_its_own_properties() -> None:
    """What promises rest on is set whatever is given, and neither kind gets the other's."""
    given = {"bootstrap.servers": "b:9092", "linger.ms": "5", "session.timeout.ms": "6000"}

    producer, consumer = producer_config(given, 9_000), consumer_config(given, "g")

    assert producer == {
        "bootstrap.servers": "b:9092", "linger.ms": "5", "enable.idempotence": "true",
        "acks": "all", "message.timeout.ms": "9000", "topic.metadata.propagation.max.ms": "3000",
    }  # fmt: skip
    assert consumer["session.timeout.ms"] == "6000"
    assert consumer["group.id"] == "g"
    assert consumer["enable.auto.commit"] == consumer["enable.auto.offset.store"] == "false"
    assert consumer["partition.assignment.strategy"] == "cooperative-sticky"
    assert "linger.ms" not in consumer


def test_where_properties_come_from(tmp_path: Any) -> None:
    """From the variable or from a file, never from both, and not without brokers."""
    file = tmp_path / "client.properties"
    file.write_text(LINES)
    servers = ("one:9092", "two:9092")

    read = read_properties(Settings(kafka_servers=servers, kafka_config_file=file))

    assert read["bootstrap.servers"] == "one:9092,two:9092"
    assert not is_in_clear(read)
    assert is_in_clear({"bootstrap.servers": "one:9092"})
    for bad, why in (
        (Settings(), "set BIDE_KAFKA_SERVERS"),
        (Settings(kafka_servers=servers, kafka_config_file=tmp_path / "no"), "cannot be read"),
        (
            Settings(kafka_servers=servers, kafka_config_file=file, kafka_config=SecretStr("a=b")),
            "both set",
        ),
    ):
        with pytest.raises(DefinitionError, match=why):
            read_properties(bad)


def test_settings_show_no_password() -> None:
    """Neither printed nor in an error of the settings."""
    settings = Settings(kafka_config=SecretStr(LINES))

    assert SECRET not in repr(settings)
    assert SECRET not in settings.model_dump_json()
