"""The wording of definition errors: where, what, both types, and the line to write.

Each function returns a `DefinitionError` to be raised by whoever found the mistake. Steps are
counted from 1, as people count; the plan and the wire count from 0.
"""

from __future__ import annotations

from collections.abc import Sequence

from bide.errors import DefinitionError
from bide.planning.place import Place
from bide.planning.typeforms import type_text


def _error(sentence: str, *fixes: tuple[str, str]) -> DefinitionError:
    width = max((len(label) for label, _ in fixes), default=0)
    lines = [f"  {label.ljust(width)}   {line}" for label, line in fixes]
    return DefinitionError("\n".join([sentence, *lines]))


def does_not_take(place: Place, takes: object, change: str) -> DefinitionError:
    """The step or await takes another type than the one that comes."""
    wanted, given = type_text(takes), type_text(place.given)
    return _error(
        f"{place.what} takes {wanted},\nbut {place.gives}.",
        ("Change what it takes:", change.format(given)),
        ("or convert before it:", f".then(<function taking {given}, giving {wanted}>)"),
    )


def takes_some_variants(
    place: Place, call: str, takes: object, left: Sequence[object]
) -> DefinitionError:
    """The step takes some variants of the union that comes, and nobody takes the others."""
    others = [type_text(variant) for variant in left]
    branches = "".join(f".branch(<function taking {other}>)" for other in others)
    keeps = "".join(f".keep({other})" for other in others)
    each = "a branch" if len(others) == 1 else "branches"
    return _error(
        f"{place.what} takes {type_text(takes)},\nbut {place.gives_item}.",
        (f"Give {', '.join(others)} {each}:", f".then(branch({call}){branches})"),
        (
            "or let it pass:" if len(others) == 1 else "or let them pass:",
            f".then(branch({call}){keeps})",
        ),
    )


def takes_list_of_stream(place: Place, takes: object) -> DefinitionError:
    """The step takes a list, where a stream comes item by item."""
    item = type_text(place.given)
    return _error(
        f"{place.what} takes {type_text(takes)}, one value,\nbut {place.gives}.",
        ("Take the whole stream:", f"Iterator[{item}]"),
        ("or one item at a time:", item),
    )


def consumes_one_value(place: Place, takes: object) -> DefinitionError:
    """The step takes a stream, where one value comes."""
    item = type_text(takes)
    return _error(
        f"{place.what} takes a stream of {item},\nbut {place.gives}, one value.",
        ("Take one value:", f"def {place.name}(value: {type_text(place.given)}, ...)"),
        ("or let the step before it yield:", f"-> Iterator[{item}]"),
    )


def asks_about_stream_of_one(place: Place, item: object) -> DefinitionError:
    """The await asks about a stream, where one value comes."""
    return _error(
        f"{place.what} asks about Many[{type_text(item)}],\nbut {place.gives}, one value.",
        ("Ask about one value:", f"Await(..., {type_text(place.given)}, ...)"),
        ("or let the step before it yield:", f"-> Iterator[{type_text(item)}]"),
    )


def expands_each_item(place: Place, request: object, answer: object) -> DefinitionError:
    """The await wants a stream of answers for every item of a stream."""
    asked, answered = type_text(request), type_text(answer)
    return _error(
        f"{place.what} is answered with Many[{answered}] for each {asked},\nbut {place.gives}.",
        ("Ask once about all:", f"Await(..., Many[{asked}], Many[{answered}], ...)"),
        ("or take one list an item:", f"Await(..., {asked}, list[{answered}], ...)"),
    )


def needs_union(place: Place) -> DefinitionError:
    """Branches stand where there is nothing to divide."""
    return _error(
        f"{place.what} divides a union,\nbut {place.gives}, which has one variant.",
        ("Write the step alone:", ".then(<function>)"),
    )


def takes_no_variant(place: Place, takes: object) -> DefinitionError:
    """A branch takes none of the variants that come."""
    return _error(
        f"{place.what} is a branch for {type_text(takes)},\nbut {place.gives_item}.",
        ("Let it take one of them, or leave it out:", ".then(branch(...))"),
    )


def variant_taken_twice(place: Place, variant: object, other: str) -> DefinitionError:
    """Two branches take one variant."""
    return _error(
        f"{place.what} takes {type_text(variant)},\n"
        f"which the branch '{other}' takes already. Leave one of the two out, or narrow its type."
    )


def variants_left(place: Place, call: str, left: Sequence[object]) -> DefinitionError:
    """Some variants have no branch."""
    others = [type_text(variant) for variant in left]
    return _error(
        f"{place.what}: {', '.join(others)} has no branch,\nand {place.gives_item}.",
        ("Give it one:", f".then({call}.branch(<function taking {others[0]}>))"),
        ("or let it pass:", f".then({call}{''.join(f'.keep({other})' for other in others)})"),
    )


def no_place_for_branch(place: Place, kind: str) -> DefinitionError:
    """An await or a yielding function is a branch after a stream."""
    return _error(
        f"{place.what} is {kind}, and a branch after a stream gives one value an item;\n"
        f"here {place.gives}.",
        ("Bring the stream to one value first:", ".then(<function taking Iterator[...]>)"),
    )


def branches_disagree(
    place: Place, streams: Sequence[str], singles: Sequence[str]
) -> DefinitionError:
    """Of the branches, some give a stream and some give one value."""
    return _error(
        f"{place.what}: its branches {', '.join(map(repr, streams))} give a stream,\n"
        f"but {', '.join(map(repr, singles))} one value.",
        ("Let all of them yield, or none:", "-> Iterator[...]"),
    )


def id_taken(place: Place, id: str) -> DefinitionError:
    """Two elements of a pipeline have one id."""
    return _error(
        f"{place.what} has the id '{id}', as step {place.taken.index(id) + 1} has.",
        (
            "Give this one another:",
            'id="..." in its Await, or @step(id="...") on a second function',
        ),
    )


def runs_after_transaction(place: Place, holder: str) -> DefinitionError:
    """A function stands behind a transactional step, whose transaction its segment's end commits."""
    return _error(
        f"{place.what} runs behind '{holder}', which takes a Transaction: such a step is the last one\n"
        "before its pipeline waits or ends, since that is what commits with it.",
        ("Do its work before:", f".then({place.name}).then({holder})"),
        ("or in the same step, or behind a wait:", f".then({holder}).wait(<await>)"),
    )


def transaction_over_stream(place: Place, takes: object, *, yields: bool) -> DefinitionError:
    """A transactional step gives a stream, or stands behind one."""
    does = "gives a stream" if yields else "stands behind a stream"
    return _error(
        f"{place.what} takes a Transaction and {does}. A stream is committed page by page,\n"
        "and nothing else may commit while a transaction is open.",
        (
            "Make one value of it first:",
            f"def gather(items: Iterator[{type_text(takes)}]) -> list[...]",
        )
        if not yields
        else ("Return one value:", "-> list[...]"),
    )


def transaction_not_async(place: Place, name: str) -> DefinitionError:
    """A transactional step is a plain function, and statements are awaited."""
    return _error(
        f"{place.what} takes a Transaction, whose statements are awaited.",
        ("Make it async:", f"async def {name}(...)"),
    )
