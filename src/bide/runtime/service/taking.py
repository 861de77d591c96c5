"""Taking what other deployments publish: each of it once, as an execution of its subscriber."""

import re
from collections.abc import Sequence

from bide.engine.moves import KeyTaken, Submit, Submitted, Unstorable
from bide.engine.publishing import conflict
from bide.errors import QuotaExceeded
from bide.model.records import Origin, TraceContext
from bide.planning import canonical
from bide.runtime.publishing import INVALID, NotTaken
from bide.runtime.service.base import Operations, submission_of
from bide.runtime.texts import check_text
from bide.runtime.views import Published, Submission

#: There is no such subscriber here: not yet, or not any more.
UNKNOWN = "unknown-publication"

_SAMPLED = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f][13579bdf]")


class Takings(Operations):
    """Taking what other deployments publish."""

    async def take(
        self, tenant: str, published: Sequence[Published]
    ) -> list[Submission | NotTaken | QuotaExceeded]:
        """Admit publications of other deployments; an answer each, in their order.

        A `Submission` is durable when this returns. `NotTaken` is final, but for the code
        `unknown-publication`. Each stands or falls alone; one that comes again is a duplicate.

        Raises:
            StoreUnavailable: of some it is not known whether they were admitted; offer all again.
        """
        answers: dict[int, Submission | NotTaken | QuotaExceeded] = {}
        moves: dict[int, Submit] = {}
        for index, each in enumerate(published):
            try:
                move = self._taken(tenant, each)
                await self._quota.take(tenant)
                moves[index] = move
            except (NotTaken, QuotaExceeded) as error:
                answers[index] = error
        indexes, size = list(moves), self.settings.batch_rows
        for start in range(0, len(indexes), size):
            part = indexes[start : start + size]
            outcomes = await self._committer.commit_many([moves[index] for index in part])
            for index, outcome in zip(part, outcomes, strict=True):
                match outcome:
                    case Submitted():
                        answers[index] = submission_of(outcome, None)
                    case KeyTaken():
                        each = published[index]
                        why = conflict(each.publication, each.key, outcome)
                        answers[index] = NotTaken(why.code, why.message)
                    case Unstorable(message):
                        answers[index] = NotTaken(INVALID, message)
                    case _:
                        raise AssertionError(f"a submission cannot end in {outcome}")
        return [answers[index] for index in range(len(published))]

    def _taken(self, tenant: str, published: Published) -> Submit:
        """The submission that a publication is for its subscriber here.

        Raises:
            NotTaken: it cannot be taken.
        """
        taker = self._plans.taker(published.publication)
        if taker is None:
            what = f"no pipeline of this app takes {published.publication!r} from elsewhere"
            raise NotTaken(UNKNOWN, what)
        for name, text in (("key", published.key), ("pipeline", published.pipeline)):
            problem = check_text(text)
            if problem is not None:
                raise NotTaken(INVALID, f"the {name} {problem}")
        origin = Origin(
            published.source, published.source, tenant, published.pipeline,
            published.publication, published.key, 0,
        )  # fmt: skip
        body = canonical.dumps(published.payload)
        return self._publisher.admission(*taker, origin, body, self._trace_of(published))

    def _trace_of(self, published: Published) -> TraceContext | None:
        """In which trace it goes on, if that is recorded; what reads otherwise is in none."""
        parent = published.trace_parent
        if not self.tracing.is_on or parent is None or not _SAMPLED.fullmatch(parent):
            return None
        return TraceContext(parent, published.trace_state)
