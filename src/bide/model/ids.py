"""Ids are paths: (execution), (execution, unit), (execution, unit, item[, generation]).

So related rows lie side by side in every store, new ones go to the right edge of each index, and a
replay finds the rows that it wrote before. An execution's id is a UUIDv7 (RFC 9562): 48 bits of
Unix milliseconds, 12 bits that count within one millisecond, then random bits, the last twelve of
which carry a shard number (0 while there is one shard). Ids are no secrets and give no rights.

The written form of a path is ``018f...-..._2_417``; a repeat of an item adds ``_1`` and so on.
"""

import re
from typing import NamedTuple, NewType

ExecutionId = NewType("ExecutionId", bytes)

_SHARD_BITS = 12
_RANDOM_BITS = 62 - _SHARD_BITS
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
#: A path number: no sign, no leading zero, at most nine digits, so that it fits every store.
_NUMBER = "(0|[1-9][0-9]{0,8})"
#: One expression for the whole, since a batch has ten thousand of them.
_INTERACTION = re.compile(
    f"({_UUID.pattern})_{_NUMBER}_{_NUMBER}(?:_([1-9][0-9]{{0,8}}))?"  # a first asking says none
)
_REJECT = re.compile(f"({_UUID.pattern})_r{_NUMBER}_{_NUMBER}")


class UnitId(NamedTuple):
    """One await unit: the `number`-th boundary that `execution` opened, counted from 1."""

    execution: ExecutionId
    number: int


class InteractionId(NamedTuple):
    """One interaction: item `item` of a unit, asked for the (`generation` + 1)-th time."""

    execution: ExecutionId
    unit: int
    item: int = 0
    generation: int = 0


class RejectId(NamedTuple):
    """One item that a step left out: item `item` of the stream at the step in that position."""

    execution: ExecutionId
    step_index: int
    item: int


class CorrelationKey(NamedTuple):
    """What an answer may name in place of an interaction; names one open interaction at most.

    The scope stands last: who knows only the key looks it up in every scope.
    """

    tenant: str
    key: str
    scope: str


def compose_execution_id(
    unix_ms: int, sequence: int, random_bits: int, shard: int = 0
) -> ExecutionId:
    """Build a UUIDv7 from its parts; pure, so that a simulator decides every bit.

    Args:
        unix_ms: milliseconds since 1970, 48 bits.
        sequence: order within the millisecond, 12 bits.
        random_bits: at least 50 bits, further ones are ignored.
        shard: 0 to 4095.
    """
    tail = (random_bits & ((1 << _RANDOM_BITS) - 1)) << _SHARD_BITS | shard
    value = unix_ms << 80 | 0x7 << 76 | sequence << 64 | 0b10 << 62 | tail
    return ExecutionId(value.to_bytes(16, "big"))


def format_execution(execution: ExecutionId) -> str:
    """Write an execution's id as a UUID."""
    text = execution.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def format_unit(unit: UnitId) -> str:
    """Write a unit's id: ``E_2``."""
    return f"{format_execution(unit.execution)}_{unit.number}"


def format_interaction(interaction: InteractionId) -> str:
    """Write an interaction's id: ``E_2_0``, or ``E_2_0_1`` for a second asking."""
    execution, unit, item, generation = interaction
    text = f"{format_execution(execution)}_{unit}_{item}"
    return f"{text}_{generation}" if generation else text


def format_reject(reject: RejectId) -> str:
    """Write a reject's id: ``E_r3_417``, which is no interaction's."""
    return f"{format_execution(reject.execution)}_r{reject.step_index}_{reject.item}"


def parse_execution(text: str) -> ExecutionId | None:
    """Read an execution's id; None when it is none, which callers answer like an unknown one."""
    if not _UUID.fullmatch(text):
        return None
    return ExecutionId(bytes.fromhex(text.replace("-", "")))


def parse_interaction(text: str) -> InteractionId | None:
    """Read an interaction's id; None when it is none, which callers answer like an unknown one.

    Only the one written form is read, so that an interaction has exactly one name.
    """
    match = _INTERACTION.fullmatch(text)
    if match is None:
        return None
    execution, unit, item, generation = match.groups("0")
    id_ = ExecutionId(bytes.fromhex(execution.replace("-", "")))
    return InteractionId(id_, int(unit), int(item), int(generation))


def parse_reject(text: str) -> RejectId | None:
    """Read a reject's id; None when it is none, which callers answer like an unknown one."""
    match = _REJECT.fullmatch(text)
    if match is None:
        return None
    execution, step_index, item = match.groups()
    id_ = ExecutionId(bytes.fromhex(execution.replace("-", "")))
    return RejectId(id_, int(step_index), int(item))
