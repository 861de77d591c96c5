"""A scenario that nobody wrote: one input, and the same answers whenever they are asked for."""

from collections.abc import Callable, Mapping
from typing import Any

from bide.testing.exploration import Scenario
from bide.testing.simulation import Simulation

#: Makes an answer of a request: a value of the answer's type, or JSON.
Answering = Callable[[Any], object]

_PAGE = 1_000
_JSON = (dict, list, str, int, float, type(None))


def scripted(pipeline: str, value: object, answers: Mapping[str, Answering]) -> Scenario:
    """Submit `value` and answer what is asked, until the execution has ended.

    Args:
        pipeline: its name.
        value: the input as JSON.
        answers: by the id of the await. What none is given for comes to its deadline, and so does
            whatever else only time moves on.
    """

    async def submitted_and_answered(sim: Simulation) -> None:
        execution = await sim.submit(pipeline, value, idempotency_key="crashtest")
        while not (await execution.status()).status.is_terminal:
            asked = [each for each in await sim.pending(limit=_PAGE) if each.step_id in answers]
            for question in asked:
                answer = answers[question.step_id](question.request)
                if isinstance(answer, _JSON):
                    await sim.complete(question.interaction_id, answer)
                else:
                    await sim.complete(question, answer)
            if not asked and not await sim.skip():
                return  # it waits for what has no deadline, and ends so in every run

    return submitted_and_answered
