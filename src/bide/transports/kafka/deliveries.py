"""What a broker's answer to a record means; pure.

librdkafka tries again by itself whatever can be tried again without writing twice, until its time
is up. What is left is told apart here: what no later try could change, and all the rest.
"""

from __future__ import annotations

from typing import Final

from bide.spi.transport import Delivered, Delivery, Refused, Unclear

#: The record itself is at fault, by librdkafka's names.
_NEVER: Final = frozenset(
    {"INVALID_MSG", "INVALID_MSG_SIZE", "INVALID_RECORD", "MSG_SIZE_TOO_LARGE", "POLICY_VIOLATION",
     "RECORD_LIST_TOO_LARGE", "TOPIC_EXCEPTION"}
)  # fmt: skip
#: The topic is, for everybody who writes to it.
_BARRED: Final = frozenset(
    {"TOPIC_AUTHORIZATION_FAILED", "UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_PARTITION", "_UNKNOWN_TOPIC"}
)
#: Each takes some seconds: a producer looks for a missing topic for a while.
_BARRED_TRIES: Final = 4


def delivery_of(error: str | None, detail: str) -> Delivery:
    """What became of a request; `error` is the name of librdkafka's error, None if the broker has it.

    What a topic is at fault for is tried again: topics and rights are made while others wait.
    """
    if error is None:
        return Delivered()
    if error in _NEVER:
        return Refused(f"kafka-{error.lower().replace('_', '-')}", detail)
    return Unclear(detail)


def is_hopeless(error: str | None, tries: int) -> bool:
    """Whether another try to write a dead letter would come to nothing as well.

    A broker that has just started may not know its own topics yet, so a topic that is not there, or
    is not open to us, is believed only after so many tries.
    """
    return error in _NEVER or (error in _BARRED and tries >= _BARRED_TRIES)
