"""A segment of one value and no async step: one go on one thread."""

import time
from collections.abc import (
    Callable,
)
from typing import Any

from bide.authoring.context import entered
from bide.engine.moves import (
    Claimed,
    Move,
    NewHandoff,
)
from bide.planning.plan import PlanAwait, PlanRoute, PlanStep
from bide.runtime.plans import Stretch
from bide.runtime.segment.ends import finish_of, park_of, publishing, start_value
from bide.runtime.segment.failing import Abandoned, Again, StepFailed, failed
from bide.runtime.segment.tools import Tools, attempt_of, limit_of, prepared


class PlainSegment:
    """A segment of one value and no async step, as a job of the pool."""

    def __init__(
        self,
        claimed: Claimed,
        stretch: Stretch,
        tools: Tools,
        done: Callable[["PlainSegment", Move | Again], None],
    ) -> None:
        self.execution = claimed.execution
        self.trace = tools.trace
        self._body = claimed.body
        self._stretch = stretch
        self._tools = tools
        self._done = done
        self._index = -1
        self._value: Any = None
        self._attempt: int | None = None
        self._step: PlanStep | None = None
        self._published: list[NewHandoff] = []
        self._is_over = False
        self.ends_at: float | None = None

    def run(self) -> None:
        """Run it to its end, or to the step that fails; then hand in what follows."""
        try:
            move: Move | Again = self._run()
        except Abandoned:
            return
        except Exception as error:  # noqa: BLE001 - whatever a step raises has its consequence
            move = failed(self.execution, error, self._tools.settings, in_place=True)
            if isinstance(move, Again) and isinstance(error, StepFailed):
                self._attempt = error.attempt + 1
        self._done(self, move)

    def overrun(self) -> None:
        """The step hangs: the execution moves on without it, and it begins no other one."""
        self._is_over = True
        step = self._step
        assert step is not None
        attempt = self._attempt or attempt_of(self.execution, step)
        error = StepFailed(
            step, attempt, TimeoutError(f"it ran longer than {limit_of(step, self._tools)} s")
        )
        move = failed(self.execution, error, self._tools.settings, in_place=False)
        self._done(self, move)

    def _run(self) -> Move:
        elements = self._stretch.elements
        if self._index < 0:
            assert self._body is not None
            self._value = start_value(self._stretch, self._body)
            self._index = 0
            if self._stretch.points and self._stretch.base is not None:
                self._publish(self._stretch.base.position)
        while self._index < len(elements):
            element = elements[self._index]
            part = element.select(self._value) if isinstance(element, PlanRoute) else element
            if isinstance(part, PlanAwait):
                parked = park_of(self.execution, part, self._value, self._tools.settings)
                return publishing(parked, self._published)
            if isinstance(part, PlanStep):
                self._value = self._call(part)
                self._attempt = None
                if self._stretch.points:
                    self._publish(part.position)
            self._index += 1
        if self._stretch.points:
            self._publish(None)
        finished = finish_of(self.execution, self._stretch, self._value, self._tools.settings)
        return publishing(finished, self._published)

    def _publish(self, position: int | None) -> None:
        """Take down what is published behind a position; it goes out with the segment's end."""
        publications = self._stretch.points.get(position)
        if publications is not None:
            publisher = self._tools.publisher
            self._published += publisher.handoffs(self.execution, publications, self._value)

    def _call(self, step: PlanStep) -> Any:
        attempt = self._attempt or attempt_of(self.execution, step)
        self._step = step
        self.ends_at = time.monotonic() + limit_of(step, self._tools)
        context, arguments = prepared(self.execution, step, attempt, None, self._tools)
        try:
            with self.trace.step(step.id, attempt), entered(context):
                return step.function(self._value, **arguments)
        except BaseException as error:  # whatever it is, it must not end the thread
            raise StepFailed(step, attempt, error) from error
        finally:
            self.ends_at = None
            if self._is_over:
                raise Abandoned("the step came back after its time")
