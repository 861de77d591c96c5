"""The plans that one process can run, and what its segments are made of."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bide.authoring.publications import Destination, Topic
from bide.errors import UnknownPipeline
from bide.model.records import StoredBoundary
from bide.planning.fitting import boundaries_of, misfit, place_of
from bide.planning.plan import Plan, PlanAwait, PlanRoute, PlanStep
from bide.planning.publications import (
    PlanSubscription,
    Points,
    points_of,
    subscriptions_of,
)
from bide.spi.telemetry import UNNAMED, AwaitNames

Element = PlanStep | PlanAwait | PlanRoute


@dataclass(frozen=True)
class Stretch:
    """What lies between a boundary and the next one."""

    plan: Plan
    elements: tuple[Element, ...]
    #: The await whose answers it starts from; None at the start of the pipeline.
    base: PlanAwait | None
    fingerprint: str
    #: Where its pipeline publishes.
    points: Points

    @cached_property
    def is_plain(self) -> bool:
        """True when one thread can run it in one go: one value all through, nothing async."""
        if self.base is None and self.plan.input.many:
            return False
        if self.base is not None and (self.base.per_item or self.base.output.many):
            return False
        return all(
            not (step.is_async or step.yields or step.consumes) for step in self._own_steps()
        )

    @cached_property
    def feeds_threads(self) -> bool:
        """True when a stream is fed to a function on a thread, which waits for it there."""
        return any(step.consumes and not step.is_async for step in self._own_steps())

    def _own_steps(self) -> Iterator[PlanStep]:
        for element in self.elements:
            if isinstance(element, PlanAwait):
                return
            for part in element.branches if isinstance(element, PlanRoute) else (element,):
                if isinstance(part, PlanStep):
                    yield part


class Plans:
    """Plans by name, and their stretches by fingerprint."""

    def __init__(self, plans: Sequence[Plan], retired: Sequence[Plan] = ()) -> None:
        self._by_name = {plan.pipeline: plan for plan in plans}
        self.submittable = tuple(self._by_name)
        for plan in retired:
            self._by_name.setdefault(plan.pipeline, plan)
        #: Every version: what is current comes first, and takes what fits several.
        self.versions = (*plans, *retired)
        self._awaits_of_step: dict[str, list[tuple[Plan, PlanAwait]]] = {}
        for plan in self.versions:
            for boundary in plan.awaits():
                self._awaits_of_step.setdefault(boundary.id, []).append((plan, boundary))
        #: Awaits whose answers may name a correlation id.
        self.correlated = tuple(
            (plan, boundary)
            for plan in self._by_name.values()
            for boundary in plan.awaits()
            if boundary.scope is not None
        )
        self._schemas: dict[str, dict[str, Any]] = {}
        self._stretches: dict[str, Stretch] = {}
        for plan in self.versions:
            for stretch in _stretches(plan):
                self._stretches.setdefault(stretch.fingerprint, stretch)
        self._subscribers: dict[str, list[tuple[Plan, PlanSubscription]]] = {}
        self._takers: dict[str, tuple[Plan, PlanSubscription]] = {}
        for plan in plans:
            for each in subscriptions_of(plan):
                if each.remote:
                    self._takers[each.publication] = plan, each
                else:
                    self._subscribers.setdefault(each.publication, []).append((plan, each))
        #: Fingerprints of other deployments that surely do not fit, and why.
        self._misfits: dict[str, str] = {}

    @property
    def fingerprints(self) -> frozenset[str]:
        """What this process can run: its own, and what it has adopted."""
        return frozenset(self._stretches)

    def of_pipelines(self, names: Sequence[str]) -> frozenset[str]:
        """What it can run of some pipelines only."""
        return frozenset(
            key for key, stretch in self._stretches.items() if stretch.plan.pipeline in names
        )

    def stretch(self, fingerprint: str) -> Stretch:
        """The stretch of a claimed execution."""
        return self._stretches[fingerprint]

    def subscribers(self, publication: str) -> Sequence[tuple[Plan, PlanSubscription]]:
        """The pipelines that make executions of what is published here."""
        return self._subscribers.get(publication, ())

    def taker(self, publication: str) -> tuple[Plan, PlanSubscription] | None:
        """The pipeline that makes executions of what another deployment publishes."""
        return self._takers.get(publication)

    def topics(self) -> dict[str, Topic]:
        """By which topic each publication of another deployment comes, where it does by one."""
        return {
            id: subscription.topic
            for id, (_, subscription) in self._takers.items()
            if subscription.topic is not None
        }

    def destinations(self, pipelines: Sequence[str] = ()) -> dict[str, Destination]:
        """To which other deployment each publication goes; of some pipelines only, if any is named.

        The current version of a pipeline says so before one that is retired.
        """
        found: dict[str, Destination] = {}
        for plan in self.versions:
            if pipelines and plan.pipeline not in pipelines:
                continue
            for publication in plan.publishes:
                if publication.to is not None:
                    found.setdefault(publication.id, publication.to)
        return found

    # --- what other deployments have stored ---------------------------------------------------

    def boundaries(self) -> list[StoredBoundary]:
        """What its own fingerprints stand for."""
        return list(self._boundaries.values())

    @cached_property
    def _boundaries(self) -> dict[str, StoredBoundary]:
        # Made once: schemas cost milliseconds, and an app may be started often.
        found: dict[str, StoredBoundary] = {}
        for plan in self.versions:
            for boundary in boundaries_of(plan):
                found.setdefault(boundary.fingerprint, boundary)
        return found

    def adopt(self, stored: Iterable[StoredBoundary]) -> None:
        """Take what other deployments have stored and this one may be able to read.

        The current version of a pipeline is asked first, then those that are retired. A fingerprint
        is looked at once: neither it nor the plans ever change.
        """
        for boundary in stored:
            fingerprint = boundary.fingerprint
            if fingerprint in self._stretches or fingerprint in self._misfits:
                continue
            reasons: list[str] = []
            for plan in self.versions:
                if plan.pipeline != boundary.pipeline:
                    continue
                reason = misfit(boundary, plan)
                if reason is None:
                    base = place_of(boundary, plan)
                    at = base.fingerprint if base else plan.fingerprint
                    own = next(one for one in _stretches(plan) if one.fingerprint == at)
                    self._stretches[fingerprint] = own
                    break
                reasons.append(reason)
            else:
                gone = f"there is no pipeline {boundary.pipeline!r} here"
                self._misfits[fingerprint] = reasons[0] if reasons else gone

    def is_known(self, fingerprint: str) -> bool:
        """Whether it has been looked at, whatever came of that."""
        return fingerprint in self._stretches or fingerprint in self._misfits

    def misfit(self, fingerprint: str) -> str | None:
        """Why what is stored under a fingerprint surely does not fit; None if it may."""
        return self._misfits.get(fingerprint)

    def boundary_of(self, pipeline: str, fingerprint: str, step_id: str) -> PlanAwait | None:
        """The await of a unit, as the version has it that reads its answer.

        By its step's id where the fingerprint is not known; None where that surely does not fit.
        """
        stretch = self._stretches.get(fingerprint)
        if stretch is not None:
            return stretch.base
        plan = None if fingerprint in self._misfits else self._by_name.get(pipeline)
        return plan.await_by_id(step_id) if plan else None

    def step_ids(self, step_id: str) -> tuple[str, ...]:
        """A step's id, and those that it had before."""
        renamed = (item for plan in self.versions for item in plan.renamed.items())
        return tuple(dict.fromkeys((step_id, *(old for old, new in renamed if new == step_id))))

    def fingerprints_of(self, plan: Plan) -> dict[str, str]:
        """The fingerprints of a plan's own boundaries by step id, "" for its input."""
        found = {"": plan.fingerprint}
        return found | {boundary.id: boundary.fingerprint for boundary in plan.awaits()}

    def version_of(self, pipeline: str, fingerprint: str) -> Plan | None:
        """The plan that goes on with an execution."""
        stretch = self._stretches.get(fingerprint)
        return stretch.plan if stretch else self._by_name.get(pipeline)

    def names_of(self, fingerprint: str) -> AwaitNames:
        """What a fingerprint stands for: an await, or a pipeline's input; empty if unknown."""
        stretch = self._stretches.get(fingerprint)
        if stretch is None:
            return UNNAMED
        base = stretch.base
        if base is None:
            return AwaitNames(stretch.plan.pipeline)
        return AwaitNames(stretch.plan.pipeline, base.id, base.transport.kind)

    def find(self, pipeline: str) -> Plan | None:
        """The plan of that name, or None."""
        return self._by_name.get(pipeline)

    def get(self, pipeline: str) -> Plan:
        """The plan of that name.

        Raises:
            UnknownPipeline: this app has none.
        """
        plan = self._by_name.get(pipeline)
        if plan is None:
            known = ", ".join(self._by_name) or "none"
            raise UnknownPipeline(f"there is no pipeline {pipeline!r}; this app has: {known}")
        return plan

    def entry(self, plan: Plan, step_id: str) -> tuple[PlanStep, str] | None:
        """A step to start at, and the fingerprint of the stretch that it stands in."""
        fingerprint = plan.fingerprint
        for part in plan.positions:
            if isinstance(part, PlanAwait):
                fingerprint = part.fingerprint
            elif part.id == step_id:
                return part, fingerprint
        return None

    def all(self) -> Sequence[Plan]:
        """Every plan."""
        return tuple(self._by_name.values())

    def schema_of(self, boundary: PlanAwait) -> dict[str, Any]:
        """JSON Schema of what a completion must hold; made once, since lists show it often."""
        schema = self._schemas.get(boundary.fingerprint)
        if schema is None:
            schema = self._schemas[boundary.fingerprint] = boundary.answer.schema()
        return schema

    def awaits_of_step(self, step_id: str) -> list[tuple[Plan, PlanAwait]]:
        """Awaits with that step id, in any pipeline."""
        return self._awaits_of_step.get(step_id, [])


def _stretches(plan: Plan) -> Iterator[Stretch]:
    points = points_of(plan)
    yield Stretch(plan, plan.elements, None, plan.fingerprint, points)
    for index, element in enumerate(plan.elements):
        rest = plan.elements[index + 1 :]
        for part in element.branches if isinstance(element, PlanRoute) else (element,):
            if isinstance(part, PlanAwait):
                yield Stretch(plan, rest, part, part.fingerprint, points)
