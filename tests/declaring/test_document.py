"""YAML text as values: scalars of YAML 1.2, places, and bounds that hold while it is read."""

import math
from typing import Any

import pytest

from bide import DeclarationError
from bide.declaring.document import CHARACTERS_MAX, DEPTH_MAX, VALUES_MAX, read


def plain(text: str) -> Any:
    return read(text, "file.yaml").plain()


def refusal(text: str) -> DeclarationError:
    with pytest.raises(DeclarationError) as caught:
        read(text, "file.yaml")
    return caught.value


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("no", "no"),
        ("off", "off"),
        ("Yes", "Yes"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("-7", -7),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("1.50", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("-.inf", -math.inf),
        ("2026-11-22", "2026-11-22"),
        ("PT30M", "PT30M"),
        ("'12'", "12"),
        ('"true"', "true"),
        ("|\n  12\n", "12\n"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(written: str, value: object) -> None:
    """A plain scalar means what the core schema of YAML 1.2 says, and one in quotes is a text."""
    found = plain(f"key: {written}")["key"]

    assert found == value
    assert type(found) is type(value)


def test_json_is_yaml() -> None:
    """JSON is read as it is."""
    assert plain('{"a":1,"b":[true,null,"\\u00e9\\/"]}') == {"a": 1, "b": [True, None, "é/"]}


def test_every_value_and_key_knows_its_place() -> None:
    """Lines and columns count from 1; a path that is not there leads to what should hold it."""
    root = read("# a remark\na:\n  - b: 1\n    c: two\n", "file.yaml")

    assert (root.mark_of(("a",)).line, root.mark_of(("a",)).column) == (2, 1)
    assert (root.mark_of(("a", 0, "c")).line, root.mark_of(("a", 0, "c")).column) == (4, 5)
    assert root.mark_of(("a", 0, "d")).line == 3
    assert root.mark_of(("a", 7)).line == 3


def test_an_alias_stands_for_its_value() -> None:
    """An alias gives what its anchor holds, a key and all below it."""
    assert plain("a: &x {k: [1]}\nb: *x") == {"a": {"k": [1]}, "b": {"k": [1]}}


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", (3, 1), "'a' stands here twice, first in line 1"),
        ("a: !!python/name:os.system x", (1, 4), "'!!python/name:os.system' has no meaning"),
        ("a: !mine x", (1, 4), "'!mine' has no meaning"),
        ("a: *x", (1, 4), "nothing before this is named '&x'"),
        ("a: &x [*x]", (1, 8), "nothing before this is named '&x'"),
        ("a: &x {k: 1}\nb: {<<: *x}", (2, 5), "'<<' is not in YAML 1.2"),
        ("1: a", (1, 1), "put '1' in quotes"),
        ("? [a]\n: b", (1, 3), "a key is a text"),
        ("a: 1\n---\nb: 2", (2, 1), "a second document"),
        ("", (1, 1), "the file is empty"),
        ("a:\tb: c", (1, 3), "a tab cannot stand here"),
        ("a: b: c", (1, 5), "a second ':'"),
        ("a: 1\n  b: 2", (2, 4), "indented otherwise"),
        ("a:\n  - b\n - c", (3, 2), "indented otherwise"),
        ('a: "b', (1, 6), "unexpected end of stream"),
        ("a: x\x07y", (1, 5), "U+0007"),
        ('a: "\\0"', (1, 4), "U+0000 cannot be stored"),
        ('a: "\\ud800"', (1, 4), "U+D800 cannot be stored"),
        (f"a: {'9' * 5_000}", (1, 4), "the number is too long"),
    ],
)
def test_what_cannot_be_meant_is_refused_where_it_stands(
    text: str, place: tuple[int, int], words: str
) -> None:
    """The message says what is wrong, and opens with file, line and column."""
    error = refusal(text)

    assert (error.line, error.column) == place
    assert str(error).startswith(f"file.yaml:{place[0]}:{place[1]}: ")
    assert words in str(error)
    assert "\n" not in str(error)


def bomb_of_aliases() -> str:
    """Six lines that would be a million values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 6)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 100_000, f"more than {DEPTH_MAX} levels"),
        ("{a: " * 50_000, f"more than {DEPTH_MAX} levels"),
        ("- " * 100_000, f"more than {DEPTH_MAX} levels"),
        (bomb_of_aliases(), f"more than {VALUES_MAX:,} values"),
        (f"[{'x,' * VALUES_MAX}x]", f"more than {VALUES_MAX:,} values"),
        ("#" * (CHARACTERS_MAX + 1), f"more than {CHARACTERS_MAX:,} characters"),
    ],
    ids=["lists", "mappings", "dashes", "aliases", "values", "characters"],
)
def test_bounds_hold_while_it_is_read(text: str, words: str) -> None:
    """What is too deep, too many or too long is refused before it is built."""
    assert words in str(refusal(text))


def test_the_bounds_themselves_are_allowed() -> None:
    """What is just as deep and as many as is allowed is read."""
    deep = "[" * (DEPTH_MAX - 1) + "x" + "]" * (DEPTH_MAX - 1)
    many = f"[{', '.join(['x'] * (VALUES_MAX - 1))}]"

    assert read(deep, "file.yaml").size == DEPTH_MAX
    assert read(many, "file.yaml").size == VALUES_MAX
