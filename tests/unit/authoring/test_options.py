"""Retry, transports, collecting and receipts as plain checked values."""

from collections.abc import Callable

import pytest

from bide import Collect, DefinitionError, Inbox, Kafka, Many, Receipt, Retry, Webhook


def test_retry_keeps_milliseconds() -> None:
    """Durations are read once, where they are written."""
    retry = Retry(attempts=8, first="1s", longest="PT2M")

    assert (retry.attempts, retry.first_ms, retry.longest_ms) == (8, 1_000, 120_000)
    assert Retry() == Retry(5, first="200ms", longest="1m")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Retry(0), "write 1 to 1000"),
        (lambda: Retry(attempts=1_001), "write 1 to 1000"),
        (lambda: Retry(attempts=True), "write a whole number"),
        (lambda: Retry(first="1m", longest="1s"), "is shorter than first"),
        (lambda: Inbox(group=" "), "Inbox: group: the name is blank"),
        (lambda: Inbox(assignee="a\0"), r"Inbox: assignee: .* U\+0000"),
        (lambda: Webhook("partner.example"), "write an absolute http"),
        (lambda: Webhook("https://user:secret@partner.example/"), "without credentials"),
        (lambda: Webhook("ftp://partner.example"), "write an absolute http"),
        (lambda: Webhook("https://partner.example", max_in_flight=0), "write 1 or more"),
        (lambda: Webhook("https://partner.example", callback="/x"), "Webhook: callback is"),
        (lambda: Kafka(request="a b", response="c"), "which is no topic name"),
        (lambda: Kafka(request="a", response=".."), "which is no topic name"),
        (lambda: Kafka(request="a", response="a"), "Name two topics"),
        (lambda: Kafka(request="a", response="b", tenants="acme"), r"write tenants=\['acme'\]"),
        (lambda: Kafka(request="a", response="b", key="id"), "write 'correlationId'"),
        (lambda: Kafka(request="a", response="b", dead_letters="b"), "Name a third one"),
        (lambda: Kafka(request="a", response="x" * 240), "dead_letters is"),
        (lambda: Kafka(request="a", response="b", max_in_flight=0), "write 1 or more"),
        (lambda: Kafka(request="a", response="b", headers={"a b": "c"}), "no name of a header"),
        (lambda: Kafka(request="a", response="b", headers={"TraceParent": "c"}), "Bide's own"),
        (lambda: Kafka(request="a", response="b", headers={"a": "\n"}), "visible ASCII"),
        (lambda: Collect(tolerate=-1), "write a count"),
        (lambda: Collect(tolerate="101%"), "write a count"),
        (lambda: Collect(tolerate="many"), "write a count"),
    ],
)
def test_what_could_never_work_is_refused_at_once(make: Callable[[], object], message: str) -> None:
    """A constructor says what to write instead."""
    with pytest.raises(DefinitionError, match=message):
        make()


def test_transports_say_what_they_are_on_the_wire() -> None:
    """The class may be renamed, the wire's word not."""
    kinds = [Inbox().kind, Webhook("https://partner.example/x?y=1").kind]

    assert kinds == ["interaction-api", "webhook"]
    assert Kafka(request="a", response="b", tenants=["acme"]).tenants == ("acme",)


@pytest.mark.parametrize(
    ("collect", "missing", "of", "expected"),
    [
        (Collect(), 0, 10, True),
        (Collect(), 1, 10, False),
        (Collect(tolerate=3), 3, 3, True),
        (Collect(tolerate=3), 4, 1_000, False),
        (Collect(tolerate="5%"), 5, 100, True),
        (Collect(tolerate="5%"), 6, 100, False),
        (Collect(tolerate="5%"), 1, 19, False),
        (Collect(tolerate="100%"), 7, 7, True),
        (Collect(tolerate="50%"), 0, 0, True),
    ],
)
def test_tolerance(collect: Collect, missing: int, of: int, *, expected: bool) -> None:
    """A count is absolute, a share is of all items, and neither is rounded up."""
    assert expected == collect.allows(missing, of=of)


def test_a_receipt_tells_a_repeat() -> None:
    """`duplicate` says the same as the outcome."""
    receipt = Receipt(interaction_id="e_1_0", outcome="duplicate")

    assert receipt.duplicate
    assert not Receipt(interaction_id="e_1_0", outcome="applied").duplicate


def test_many_is_a_sequence() -> None:
    """Callables of an await index it, slice it and compare it."""
    many = Many(number for number in range(3))

    assert list(many) == [0, 1, 2]
    assert (many[-1], list(many[1:]), len(many), 1 in many) == (2, [1, 2], 3, True)
    assert many == Many([0, 1, 2])
    assert many != [0, 1, 2]
    assert repr(many) == "Many([0, 1, 2])"
    assert hash(many) == hash(Many([0, 1, 2]))
