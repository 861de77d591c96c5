"""What the steps of a simulation took and gave, so that one that is not idempotent is found.

A step may run more than once: its worker dies after the work and before the commit. Each repeat has
the same idempotency key and, here, the same time; so from the same value it has to give the same
value. What it does to the outside beside that, no ledger sees: that is for the scenario to check.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from bide.authoring.context import Context
from bide.errors import PayloadError
from bide.model.records import StoredBoundary
from bide.planning.codec import Codec
from bide.planning.plan import PlanRoute, PlanStep
from bide.runtime.plans import Element, Plans, Stretch


@dataclass(slots=True)
class Call:
    """One run of a step: digests of what went in and of what came out, in order."""

    step: str
    key: str
    at: datetime
    took: list[bytes] = field(default_factory=list[bytes])
    gave: list[bytes] = field(default_factory=list[bytes])
    #: It came to its end; it may have raised, or its process have died in the middle.
    is_whole: bool = False

    def contradicts(self, other: "Call") -> bool:
        """True when the two took the same at the same time, and gave something else."""
        if self.at != other.at or not (self.is_whole and other.is_whole):
            return False
        return self.took == other.took and self.gave != other.gave


class Ledger:
    """The calls of one run."""

    def __init__(self) -> None:
        self._calls: dict[str, list[Call]] = {}

    def begin(self, step: PlanStep) -> Call:
        """A call that begins now, in whose context this is called."""
        context = Context.current()
        call = Call(step.id, context.idempotency_key, context.now())
        self._calls.setdefault(call.key, []).append(call)
        return call

    def times(self) -> dict[str, int]:
        """How often each step ran at most for one item of one execution, in the order of calls."""
        most: dict[str, int] = {}
        for calls in self._calls.values():
            step = calls[0].step
            most[step] = max(most.get(step, 0), len(calls))
        return most

    def unsteady(self, plain: "Ledger | None" = None) -> str | None:
        """The first step that gave two things from one, here or compared with another run."""
        for key, calls in self._calls.items():
            known = plain._calls.get(key, []) if plain else []
            for call in calls:
                if any(call.contradicts(each) for each in (*known, *calls)):
                    return call.step
        return None


class WatchedPlans(Plans):
    """Plans whose steps write down in a ledger what they take and give."""

    def __init__(self, plans: Plans, ledger: Ledger) -> None:
        current = len(plans.submittable)
        super().__init__(plans.versions[:current], plans.versions[current:])
        self._plain = plans
        self.ledger = ledger

    def boundaries(self) -> list[StoredBoundary]:
        """What the fingerprints stand for: the same, watched or not."""
        return self._plain.boundaries()

    def stretch(self, fingerprint: str) -> Stretch:
        """The stretch of a claimed execution, its steps watched."""
        found = super().stretch(fingerprint)
        return replace(found, elements=tuple(map(self._watched, found.elements)))

    def _watched(self, element: Element) -> Element:
        if isinstance(element, PlanStep):
            return self._step(element)
        if not isinstance(element, PlanRoute):
            return element
        new = {
            id(part): self._step(part) for part in element.branches if isinstance(part, PlanStep)
        }
        return replace(
            element,
            branches=tuple(new.get(id(part), part) for part in element.branches),
            by_tag={tag: new.get(id(part), part) for tag, part in element.by_tag.items()},
        )

    def _step(self, step: PlanStep) -> PlanStep:
        match step.yields, step.is_async:
            case True, True:
                function = self._yields_async(step)
            case True, False:
                function = self._yields(step)
            case False, True:
                function = self._gives_async(step)
            case _:
                function = self._gives(step)
        return replace(step, function=function)

    def _gives(self, step: PlanStep) -> Callable[..., Any]:
        def call(value: Any, **wants: Any) -> Any:
            noted = self.ledger.begin(step)
            made = step.function(_fed(step, value, noted), **wants)
            _note(noted.gave, step.output, made)
            noted.is_whole = True
            return made

        return call

    def _gives_async(self, step: PlanStep) -> Callable[..., Any]:
        async def call(value: Any, **wants: Any) -> Any:
            noted = self.ledger.begin(step)
            made = await step.function(_fed(step, value, noted), **wants)
            _note(noted.gave, step.output, made)
            noted.is_whole = True
            return made

        return call

    def _yields(self, step: PlanStep) -> Callable[..., Any]:
        def call(value: Any, **wants: Any) -> Iterator[Any]:
            noted = self.ledger.begin(step)
            for made in step.function(_fed(step, value, noted), **wants):
                _note(noted.gave, step.output, made)
                yield made
            noted.is_whole = True

        return call

    def _yields_async(self, step: PlanStep) -> Callable[..., Any]:
        async def call(value: Any, **wants: Any) -> AsyncIterator[Any]:
            noted = self.ledger.begin(step)
            async with _closing(step.function(_fed(step, value, noted), **wants)) as items:
                async for made in items:
                    _note(noted.gave, step.output, made)
                    yield made
            noted.is_whole = True

        return call


def _fed(step: PlanStep, value: Any, noted: Call) -> Any:
    """What the step takes, written down; a stream while it is being read."""
    if not step.consumes:
        _note(noted.took, step.input, value)
        return value
    return _read_async(step, value, noted) if step.is_async else _read(step, value, noted)


def _read(step: PlanStep, items: Iterator[Any], noted: Call) -> Iterator[Any]:
    for item in items:
        _note(noted.took, step.input, item)
        yield item


async def _read_async(step: PlanStep, items: AsyncIterator[Any], noted: Call) -> AsyncIterator[Any]:
    async for item in items:
        _note(noted.took, step.input, item)
        yield item


def _note(into: list[bytes], codec: Codec[Any], value: Any) -> None:
    # What does not fit its type fails the run elsewhere, with words for its author.
    with suppress(PayloadError):
        into.append(codec.digest(value, codec.encode(value)))


def _closing(items: Any) -> Any:
    """Closed at the end, if it can be: not every async iterator is a generator."""
    return aclosing(items) if hasattr(items, "aclose") else _Open(items)


class _Open:
    def __init__(self, items: AsyncIterator[Any]) -> None:
        self._items = items

    async def __aenter__(self) -> AsyncIterator[Any]:
        return self._items

    async def __aexit__(self, *error: object) -> None:
        return None
