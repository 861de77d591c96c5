"""A pipeline compiled: what runs after what, with every type turned into a codec.

A plan is a frozen value. It grows with the builder, an element at a time, and each plan on the way
is whole: it knows what it takes, what it gives and what is in between. Positions count steps and
awaits from 0, each branch has one of its own, and a variant that is kept has none, for nothing runs
there.

Codecs of steps are those of one item. Codecs of awaits and of the plan itself are those of the
whole payload: of `Many` where a stream crosses in one piece, and then `codec.item` is one item's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

from bide.authoring.answers import Collect
from bide.authoring.awaits import Await
from bide.authoring.publications import Publication, Subscription
from bide.authoring.retry import Retry
from bide.authoring.transports import Transport
from bide.errors import PayloadError
from bide.planning.codec import Codec
from bide.planning.hints import ResourceKey
from bide.planning.keys import KeyFunction
from bide.planning.shapes import Cardinality


def shape_of(cardinality: Cardinality, *, per_item: bool, collected: bool) -> str:
    """How a boundary asks, as fingerprints and stores have it."""
    shape = f"{cardinality} per item" if per_item else cardinality.value
    return f"{shape} collected" if collected else shape


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlanStep:
    """A function and how it is called."""

    position: int
    id: str
    #: The function's name.
    name: str
    function: Callable[..., Any]
    retry: Retry
    #: The bound of one try, of a function that yields of one item; None: as the settings say.
    timeout_ms: int | None
    #: It takes the whole stream, as an iterator.
    consumes: bool
    #: It gives a stream: its caller iterates over what it returns.
    yields: bool
    #: It is awaited, or iterated over with `async for`.
    is_async: bool
    #: It is called once an item of a stream.
    per_item: bool
    #: What arrives: the type that comes from before, which may be narrower than the parameter's.
    input: Codec[Any]
    output: Codec[Any]
    #: Parameters filled by type, `Context` among them: their names, and what they ask for.
    wants: tuple[tuple[str, ResourceKey], ...]
    #: The parameter that takes the transaction of the segment's end; None for any other step.
    transaction: str | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlanAwait:
    """A boundary and what crosses it."""

    position: int
    id: str
    #: As the author wrote it.
    name: str
    boundary: Await[Any, Any, Any]
    cardinality: Cardinality
    #: It asks once an item of a stream: one unit, one interaction an item.
    per_item: bool
    request: Codec[Any]
    #: What an actor submits.
    answer: Codec[Any]
    #: What is stored once admitted: the answer, projected where there is a `project`.
    output: Codec[Any]
    #: What the next step takes, of a stream one item: `output`, or `Answered | Missing` of it.
    gives: Codec[Any]
    #: Whether a stream goes on after it.
    yields: bool
    timeout_ms: int
    #: The bound of a whole stream of interactions.
    unit_timeout_ms: int | None
    transport: Transport
    #: The business key of a request, for partners and for comparing a replay; None without one.
    key_of: KeyFunction
    #: What an answer may name the interaction by; None without one: the interaction's id.
    correlation_of: KeyFunction
    #: In which a correlation id names one open interaction at most; None without `correlate_on`.
    scope: str | None
    collect: Collect | None
    fingerprint: str

    @property
    def shape(self) -> str:
        """Its cardinality, and whether it asks once an item and goes on with gaps."""
        return shape_of(
            self.cardinality, per_item=self.per_item, collected=self.collect is not None
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlanKeep:
    """Variants that pass as they are."""

    input: Codec[Any]
    output: Codec[Any]


PlanBranch: TypeAlias = PlanStep | PlanAwait | PlanKeep


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlanRoute:
    """A union divided: each variant goes to exactly one branch."""

    #: Of its first branch that has one; the others follow.
    position: int
    given: Codec[Any]
    branches: tuple[PlanBranch, ...]
    #: Which branch a variant goes to, by its declared name.
    by_tag: Mapping[str, PlanBranch]
    #: It divides the items of a stream.
    per_item: bool
    #: Its branches give streams: all of them or none.
    yields: bool
    #: What the next element takes: the union of what the branches give, of a stream one item.
    output: Codec[Any]

    def select(self, value: object) -> PlanBranch:
        """Give the branch for a value."""
        tag = self.given.tag_of(value)
        if tag is None:
            raise PayloadError(f"a {type(value).__name__} is none of {self.given.name}")
        return self.by_tag[tag]


PlanElement: TypeAlias = PlanStep | PlanAwait | PlanRoute


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """What a pipeline does, in order."""

    #: The pipeline's id, which stores, URLs and fingerprints carry.
    pipeline: str
    #: Its name as the author wrote it.
    title: str
    input: Codec[Any]
    output: Codec[Any]
    #: Of the input: what a worker must agree on before the first boundary.
    fingerprint: str
    elements: tuple[PlanElement, ...] = ()
    #: Old ids of boundaries, and the ids that they have now.
    renamed: Mapping[str, str]
    #: As the author wrote them; `bide.planning.publications` says what they come to.
    publishes: tuple[Publication, ...] = ()
    subscribes: tuple[Subscription[Any], ...] = ()

    @cached_property
    def positions(self) -> tuple[PlanStep | PlanAwait, ...]:
        """Everything that runs or waits, by its position."""
        return tuple(
            part
            for element in self.elements
            for part in (element.branches if isinstance(element, PlanRoute) else (element,))
            if not isinstance(part, PlanKeep)
        )

    @cached_property
    def element_index(self) -> tuple[int, ...]:
        """For each position, the index of the element that it belongs to."""
        return tuple(
            index
            for index, element in enumerate(self.elements)
            for part in (element.branches if isinstance(element, PlanRoute) else (element,))
            if not isinstance(part, PlanKeep)
        )

    @cached_property
    def step_names(self) -> tuple[str, ...]:
        """The names of steps and awaits, by position."""
        return tuple(part.name for part in self.positions)

    @cached_property
    def resources(self) -> frozenset[ResourceKey]:
        """What the steps ask for, `Context` left in: the app decides what it fills itself."""
        return frozenset(key for step in self.steps() for _, key in step.wants)

    @cached_property
    def _awaits_by_object(self) -> Mapping[int, PlanAwait]:
        return {id(found.boundary): found for found in self.awaits()}

    @cached_property
    def _awaits_by_id(self) -> Mapping[str, PlanAwait]:
        return {boundary.id: boundary for boundary in self.awaits()}

    def steps(self) -> Iterator[PlanStep]:
        """Give the functions, in order."""
        return (part for part in self.positions if isinstance(part, PlanStep))

    def awaits(self) -> Iterator[PlanAwait]:
        """Give the boundaries, in order."""
        return (part for part in self.positions if isinstance(part, PlanAwait))

    def await_by_id(self, id: str) -> PlanAwait | None:
        """Find a boundary by its id, or by one that it had before (`renamed`)."""
        return self._awaits_by_id.get(id) or self._awaits_by_id.get(self.renamed.get(id, id))

    def await_of(self, boundary: Await[Any, Any, Any]) -> PlanAwait | None:
        """Find an authored await: this very object, not one that is equal."""
        return self._awaits_by_object.get(id(boundary))

    def by_name(self, name_or_id: str) -> PlanStep | PlanAwait | None:
        """Find a step or an await by id, by an id that it had before, or by name."""
        current = self.renamed.get(name_or_id, name_or_id)
        for wanted in (name_or_id, current):
            for part in self.positions:
                if part.id == wanted:
                    return part
        return next((part for part in self.positions if part.name == name_or_id), None)
