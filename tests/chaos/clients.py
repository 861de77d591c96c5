"""Clients of the shop: they submit and answer until all is acknowledged, whatever breaks meanwhile.

What was acknowledged is remembered here and nowhere else, so that it can be compared with what the
database holds in the end. A client that is refused tries again under the same key, as users do.
"""

import asyncio
from collections import Counter
from collections.abc import Coroutine, Sequence
from typing import Any

from bide import App, Interaction, StoreUnavailable
from bide.errors import RefusedReceipt
from tests.chaos.shop import Decision, Order, Question, decide, orders

_TOGETHER = 50
_AGAIN_S = 0.05


class Clients:
    """All who submit to one app, which runs no steps itself."""

    def __init__(self, app: App, *, busy_ms: int = 0) -> None:
        self._app = app
        self._busy_ms = busy_ms
        self._have_all = False
        #: Orders whose submission was acknowledged, with the execution's id.
        self.submitted: dict[int, str] = {}
        #: Orders whose completion was acknowledged, with its receipts.
        self.answered: dict[int, Counter[str]] = {}
        #: How often the store could not say.
        self.refused = 0

    async def run(
        self,
        nemesis: Coroutine[Any, Any, None],
        *,
        at_least: int,
        per_second: float,
        together: int = _TOGETHER,
    ) -> None:
        """Submit and answer until the nemesis has done its worst and there are `at_least` orders.

        Returns when the last answer was acknowledged. `together` are submitted at once.
        """
        answering = asyncio.create_task(self._answer_all())
        breaking = asyncio.create_task(nemesis)
        loop = asyncio.get_running_loop()
        began = loop.time()
        while not breaking.done() or len(self.submitted) < at_least:
            first = len(self.submitted)
            await asyncio.gather(*map(self._submit, range(first, first + together)))
            await asyncio.sleep(began + len(self.submitted) / per_second - loop.time())
        self._have_all = True
        await asyncio.gather(breaking, answering)

    async def _submit(self, number: int) -> None:
        order = Order(number=number, busy_ms=self._busy_ms)
        while number not in self.submitted:
            try:
                made = await self._app.submit(orders, order, idempotency_key=f"order-{number}")
                assert not made.duplicate  # what could not say stored nothing
                self.submitted[number] = made.execution_id
            except StoreUnavailable:
                await self._try_again()

    async def _answer_all(self) -> None:
        while not self._have_all or len(self.answered) < len(self.submitted):
            try:
                questions = await self._app.pending(decide, limit=500)
                if questions:
                    await self._answer(questions)
                else:
                    await asyncio.sleep(_AGAIN_S)
            except StoreUnavailable:
                await self._try_again()

    async def _answer(self, questions: Sequence[Interaction[Question, Decision]]) -> None:
        numbers = {each.interaction_id: each.request.number for each in questions}
        receipts: Sequence[RefusedReceipt] = ()
        try:
            answers = [(each, _decision(each.request)) for each in questions]
            receipts = await self._app.complete_many(answers)
        except StoreUnavailable as error:
            receipts = error.receipts
            raise
        finally:
            for receipt in receipts:
                number = numbers[receipt.interaction_id]
                self.answered.setdefault(number, Counter())[receipt.outcome] += 1

    async def _try_again(self) -> None:
        self.refused += 1
        await asyncio.sleep(_AGAIN_S)


def _decision(question: Question) -> Decision:
    return Decision(number=question.number, busy_ms=question.busy_ms)
