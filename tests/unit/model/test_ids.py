"""Ids as paths, and their one written form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bide.model.ids import (
    ExecutionId,
    InteractionId,
    RejectId,
    UnitId,
    compose_execution_id,
    format_execution,
    format_interaction,
    format_reject,
    format_unit,
    parse_execution,
    parse_interaction,
    parse_reject,
)

executions = st.binary(min_size=16, max_size=16).map(ExecutionId)
numbers = st.integers(min_value=0, max_value=999_999_999)
interactions = st.builds(InteractionId, executions, numbers, numbers, numbers)
E = "018f3c2e-0000-7000-8000-000000000000"


class TestCompose:
    @given(
        st.integers(0, 2**48 - 1),
        st.integers(0, 2**12 - 1),
        st.integers(0, 2**80),
        st.integers(0, 4095),
    )
    def test_is_a_uuid_of_version_7(self, ms: int, sequence: int, bits: int, shard: int) -> None:
        """Every part stands where RFC 9562 has it, and the shard in the last twelve bits."""
        value = int.from_bytes(compose_execution_id(ms, sequence, bits, shard), "big")

        assert value >> 80 == ms
        assert value >> 76 & 0xF == 7
        assert value >> 64 & 0xFFF == sequence
        assert value >> 62 & 0b11 == 0b10
        assert value >> 12 & (1 << 50) - 1 == bits & (1 << 50) - 1
        assert value & 0xFFF == shard

    @given(st.lists(st.tuples(st.integers(0, 2**48 - 1), st.integers(0, 4095)), min_size=2))
    def test_order_of_time(self, moments: list[tuple[int, int]]) -> None:
        """Ids sort by their millisecond, and within it by their sequence."""
        ids = [compose_execution_id(ms, sequence, 0) for ms, sequence in sorted(set(moments))]

        assert ids == sorted(ids)


class TestWrittenForm:
    @given(executions)
    def test_execution_round_trip(self, execution: ExecutionId) -> None:
        """An execution's written id reads as itself."""
        assert parse_execution(format_execution(execution)) == execution

    @given(interactions)
    def test_interaction_round_trip(self, interaction: InteractionId) -> None:
        """An interaction's written id reads as itself, with or without a generation."""
        assert parse_interaction(format_interaction(interaction)) == interaction

    @given(st.text(max_size=60) | st.from_regex(r"[0-9a-f-]{36}(_[0-9]{1,10}){1,4}"))
    def test_one_name_each(self, text: str) -> None:
        """Whatever parses is the very form that is written: an interaction has one name."""
        parsed = parse_interaction(text)

        assert parsed is None or format_interaction(parsed) == text

    def test_examples(self) -> None:
        """The forms that the documentation shows."""
        execution = parse_execution(E)
        assert execution is not None

        assert format_unit(UnitId(execution, 2)) == f"{E}_2"
        assert format_interaction(InteractionId(execution, 2, 417)) == f"{E}_2_417"
        assert format_interaction(InteractionId(execution, 2, 0, 1)) == f"{E}_2_0_1"

    @pytest.mark.parametrize(
        "text",
        [
            "", "x", E, f"{E}_1", f"{E}_1_2_3_4", f"{E}_1_", f"{E}__1", f"_{E}_1_0", f"{E}_01_0",
            f"{E}_1_00", f"{E}_1_0_0", f"{E}_1_-1", f"{E}_1_+1", f"{E}_1_0 ", f" {E}_1_0",
            f"{E}_1_0\n", f"{E.upper()}_1_0", f"{E.replace('-', '')}_1_0", f"{E}_1_1000000000",
            f"{E}_1_\u0661", f"{E}_1_1e3", f"{E}_1_0\0", f"{{{E}}}_1_0", f"{E[:-1]}_1_0",
            f"{E}_1_\ud800",
        ],
    )  # fmt: skip
    def test_unknown(self, text: str) -> None:
        """What is not exactly the written form is no id."""
        assert parse_interaction(text) is None

    def test_pages_lie_together(self) -> None:
        """Paths sort as trees: an execution's units, a unit's items, an item's generations."""
        first, second = ExecutionId(bytes(16)), ExecutionId(bytes(15) + b"\1")
        paths = [
            InteractionId(first, 1, 2), InteractionId(first, 1, 10), InteractionId(first, 1, 10, 1),
            InteractionId(first, 2, 0), InteractionId(second, 1, 0),
        ]  # fmt: skip

        assert sorted(set(paths)) == paths


class TestRejects:
    @given(st.builds(RejectId, executions, numbers, numbers))
    def test_round_trip(self, reject: RejectId) -> None:
        """What is written is read back, and is the id of nothing else."""
        text = format_reject(reject)

        assert parse_reject(text) == reject
        assert parse_interaction(text) is None
        assert parse_execution(text) is None

    @pytest.mark.parametrize(
        "text",
        ["", E, f"{E}_1_2", f"{E}_r1", f"{E}_r1_2_3", f"{E}_r01_2", f"{E}_r1_02", f"{E}_R1_2"],
    )
    def test_no_other_form_is_read(self, text: str) -> None:
        """A reject has exactly one name."""
        assert parse_reject(text) is None
