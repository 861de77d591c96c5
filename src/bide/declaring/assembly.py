"""From words to a pipeline, by the same builder that code calls.

A flat list says a division without a word for it: after a union, a step that takes some of its
variants begins one, and those after it belong to it until every variant has a step. Each variant
goes to one step and no further, so a step that would take again what an earlier one of the same
division gives is refused: read from top to bottom it would run, and in the plan it does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from bide.authoring.awaits import Await, is_await
from bide.authoring.branches import Arm, Branches, Keep
from bide.authoring.many import Many
from bide.authoring.steps import id_of
from bide.declaring.document import Path
from bide.declaring.names import Names
from bide.declaring.parts import arm_of, check_fields, item_of, streams_of, written
from bide.declaring.source import Source
from bide.declaring.vocabulary import AwaitStep, Declaration
from bide.planning.compile import check_complete
from bide.planning.hints import return_type, signature_of
from bide.planning.pipeline import Pipeline, plan_of
from bide.planning.place import label
from bide.planning.plan import Plan
from bide.planning.shapes import AWAITS_ALLOWED, CARDINALITIES
from bide.planning.typeforms import fits, generic, type_text, variants

AnyPipeline: TypeAlias = Pipeline[Any, Any]


@dataclass(frozen=True, slots=True)
class Part:
    """A step as the builder takes it, and where it is written."""

    arm: Arm
    path: Path

    @property
    def index(self) -> int:
        """Which step it is, from 0."""
        return int(self.path[-1])

    @property
    def place(self) -> Path:
        """The word that says what it is."""
        if is_await(self.arm):
            return (*self.path, "name")
        return (*self.path, "keep" if isinstance(self.arm, Keep) else "call")


def assemble(words: Declaration, source: Source, names: Names) -> AnyPipeline:
    """Build the pipeline that a declaration says.

    Raises:
        DeclarationError: a name names nothing, or what is declared does not fit together.
    """
    with source.at(("input",)):
        input = names.type(words.input)
    with source.at(("name",)):
        pipeline: AnyPipeline = Pipeline(
            words.name,
            cast("Any", generic(Many, input) if words.many else input),
            renamed=words.renamed or {},
        )
    parts = [
        Part(arm_of(step, ("steps", index), source, names), ("steps", index))
        for index, step in enumerate(words.steps)
    ]
    _check_ids(parts, source)
    while parts:
        count = _division(plan_of(pipeline), parts, source)
        if count:
            for part in parts[:count]:
                _check_await(part, words, source)
            with source.at(parts[0].place):
                arms = tuple(part.arm for part in parts[:count])
                pipeline = pipeline.then(Branches[Any, Any](arms))
        else:
            pipeline = _extended(pipeline, parts[0], words, source)
        parts = parts[count or 1 :]
    with source.at(("renamed",)):
        check_complete(plan_of(pipeline))
    return pipeline


def _check_ids(parts: Sequence[Part], source: Source) -> None:
    first: dict[str, int] = {}
    for number, part in enumerate(parts, start=1):
        if isinstance(part.arm, Keep):
            continue
        id = part.arm.id if is_await(part.arm) else id_of(part.arm, f"step {number}")
        if first.setdefault(id, number) != number:
            raise source.error(
                part.place,
                f"step {number} has the id {id!r}, as step {first[id]} has; give one of the two"
                " another name, or an id of its own",
            )


def _extended(pipeline: AnyPipeline, part: Part, words: Declaration, source: Source) -> AnyPipeline:
    match part.arm:
        case Keep():
            raise source.error(
                part.place,
                f"keep stands among the steps that divide a union, and {_arriving(pipeline)};"
                " leave it out",
            )
        case Await():
            _check_fits(pipeline, part, words, source)
            _check_await(part, words, source)
            with source.at(part.place):
                return pipeline.wait(part.arm)
        case function:
            with source.at(part.place):
                return pipeline.then(function)


def _check_await(part: Part, words: Declaration, source: Source) -> None:
    step = words.steps[part.index]
    if isinstance(step, AwaitStep) and is_await(part.arm):
        check_fields(step, part.arm.request_type, part.path, source)


def _check_fits(pipeline: AnyPipeline, part: Part, words: Declaration, source: Source) -> None:
    """Say in the words of the file what the builder would say in the words of code."""
    step = words.steps[part.index]
    assert isinstance(step, AwaitStep), "an await comes of nothing else"
    assert is_await(part.arm), "the words of an await make nothing else"
    output = plan_of(pipeline).output
    asks, answers = streams_of(step.cardinality)
    if (output.many, CARDINALITIES[asks, answers]) not in AWAITS_ALLOWED:
        better = CARDINALITIES[output.many, answers]
        raise source.error(
            (*part.path, "cardinality"),
            f"{step.cardinality} does not fit here: {_arriving(pipeline)};"
            f" write cardinality: {better}",
        )
    wanted = item_of(part.arm.request_type)
    if not fits(output.item.form, wanted):
        raise source.error(
            (*part.path, "input"),
            f"input is {type_text(wanted)}, but {_arriving(pipeline)};"
            f" write input: {written(output.item.form)}, or put a step before it that gives"
            f" {type_text(wanted)}",
        )


# --- divisions ------------------------------------------------------------------------------------


def _division(plan: Plan, parts: Sequence[Part], source: Source) -> int:
    """Count the parts of the division that begins with the first one; 0 where none does."""
    left = [codec.form for codec in plan.output.item.variants.values()]
    first = _takes(parts[0], source)
    taken = [form for form in left if fits(form, first)]
    if len(left) < 2 or not taken or len(taken) == len(left):
        return 0
    given: list[tuple[object, Part]] = []
    for count, part in enumerate(parts):
        takes = _takes(part, source)
        again = next(((form, by) for form, by in given if fits(form, takes)), None)
        if again is not None and not isinstance(part.arm, Keep):  # what passes twice has passed
            raise _taken_again(part, *again, source)
        taken = [form for form in left if fits(form, takes)]
        if not taken:
            raise _left_over(parts[count - 1], left, source)
        left = [form for form in left if form not in taken]
        if not left:
            return count + 1
        given += [(form, part) for form in _gives(part, source)]
    raise _left_over(parts[-1], left, source)


def _taken_again(part: Part, form: object, by: Part, source: Source) -> Exception:
    return source.error(
        part.place,
        f"{label(part.arm)!r} would take again the {type_text(form)} that {label(by.arm)!r} gives,"
        " and both are steps for variants of one union, of which each value meets one; let one step"
        " do both, or let the first give another type",
    )


def _left_over(last: Part, left: Sequence[object], source: Source) -> Exception:
    one = written(left[0])
    return source.error(
        last.place,
        f"{', '.join(map(type_text, left))} has no step here; write one behind this that takes it,"
        f" or let it pass: - keep: {one}",
    )


class _Nothing:
    """A type that nothing fits: of a step that takes a whole stream, so no variant of its own."""


def _takes(part: Part, source: Source) -> object:
    """Say what a step takes of a union, one value or one item."""
    if isinstance(part.arm, Keep):
        return part.arm.type
    if is_await(part.arm):
        asked = part.arm.request_type
        return asked if item_of(asked) is asked else _Nothing
    with source.at(part.place):
        found = signature_of(part.arm, f"step {part.index + 1} '{label(part.arm)}'")
    return _Nothing if found.consumes else found.takes


def _gives(part: Part, source: Source) -> tuple[object, ...]:
    """Say what a step makes of a variant."""
    if isinstance(part.arm, Keep):
        return ()
    if is_await(part.arm):
        project = part.arm.project
        given = return_type(project, "projector") if project else part.arm.answer_type
        return variants(item_of(given))
    with source.at(part.place):
        return variants(signature_of(part.arm, label(part.arm)).gives)


def _arriving(pipeline: AnyPipeline) -> str:
    """Say what comes to whatever is added next."""
    plan = plan_of(pipeline)
    item = type_text(plan.output.item.form)
    what = f"a stream of {item}" if plan.output.many else f"one {item}"
    if not plan.positions:
        return f"the pipeline's input is {what}"
    return f"'{plan.positions[-1].id}' before it gives {what}"
