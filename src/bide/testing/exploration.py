"""A scenario, played again with a mishap at every commit and answers that come as answers do.

Theory of operation
-------------------
The scenario is played once as it is; that says how it ends and what it commits. Then once for every
way in which answers may come (`Delivery`), and in each of these once more for every commit and every
mishap that makes a difference there. Each run has to come to the same end as the plain one: the same
outcome of the scenario's own checks, the same executions with the same results. Steps that ran again
in it have to have given what they gave before (`Ledger`), and a process that had lost its lease must
not have written anything.

A run is a function of its variation: what differs from one variation to another is the mishap and
nothing else, so that naming the variation is enough to play it again.
"""

import asyncio
import re
import threading
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextvars import copy_context
from typing import Final, NamedTuple

from bide.app.app import App
from bide.testing.carrier import Partner, Taker, admits_all, takes_all
from bide.testing.fate import Commit, Mishap, When
from bide.testing.ledger import Ledger
from bide.testing.simulation import Conditions, Delivery, End, Simulation, simulate

Scenario = Callable[[Simulation], Awaitable[object]]

_WHENS: Final[Mapping[str, When]] = {"": "after", "b": "before", "l": "late"}
_DELIVERIES: Final[Mapping[str, Delivery]] = {"d1": "once", "d2": "twice", "r": "reordered"}
_WRITTEN: Final = re.compile(r"(?P<seed>\d+):(?P<when>[bl]?)(?P<commit>\d+):(?P<delivery>d1|d2|r)")
_TOLD: Final[Mapping[When, str]] = {
    "after": "crash after commit",
    "before": "crash before commit",
    "late": "lease lost before commit",
}
#: How deliveries are told; answers that come once are not worth a word.
_CAME: Final[Mapping[Delivery, str]] = {
    "once": "",
    "twice": ", answer delivered twice",
    "reordered": ", answers reordered and delivered again",
}
#: What ends the whole exploration, whichever run it is raised in.
_NOT_OURS = (KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError)


class Variation(NamedTuple):
    """One way to play a scenario; written `7:4:d2`, which `explore(only=...)` reads.

    Before the commit's number stands `b` for a crash before it and `l` for one that comes late; 0
    stands for no mishap. `d1`, `d2` and `r` are answers once, twice and reordered.
    """

    seed: int
    mishap: Mishap | None = None
    delivery: Delivery = "once"

    def __str__(self) -> str:
        when = {value: key for key, value in _WHENS.items()}
        delivery = {value: key for key, value in _DELIVERIES.items()}[self.delivery]
        at = f"{when[self.mishap.when]}{self.mishap.commit}" if self.mishap else "0"
        return f"{self.seed}:{at}:{delivery}"

    @classmethod
    def read(cls, text: str) -> "Variation":
        """Read what is written.

        Raises:
            ValueError: it is none.
        """
        match = _WRITTEN.fullmatch(text)
        if match is None:
            raise ValueError(f'only={text!r} is no variation; copy one from a failure: "7:4:d2"')
        number = int(match["commit"])
        mishap = Mishap(number, _WHENS[match["when"]]) if number else None
        return cls(int(match["seed"]), mishap, _DELIVERIES[match["delivery"]])


class Run(NamedTuple):
    """What one playing came to."""

    variation: Variation
    commits: Sequence[Commit]
    #: Whether the mishap came about; True where none was planned.
    was_disturbed: bool
    ledger: Ledger
    ends: Sequence[End]
    returned: object
    error: BaseException | None
    #: What no process may do, and one did.
    wrong: str | None

    def told(self) -> str:
        """Under which conditions, in words."""
        seed, mishap, delivery = self.variation
        at = ""
        if mishap is not None:
            name = self.commits[mishap.commit - 1].name
            at = f", {_TOLD[mishap.when]} {mishap.commit} ({name})"
        return f"seed {seed}{at}{_CAME[delivery]}"


class Finding(NamedTuple):
    """What is wrong in a run."""

    run: Run
    #: Why the scenario failed, where that is known in a word.
    why: str = ""
    #: The step that is not idempotent, where that is what was found.
    step: str | None = None

    def __str__(self) -> str:
        """It in one line."""
        what = f"step {self.step!r} is not idempotent, found" if self.step else "scenario failed"
        return f"{what} with {self.run.told()}{f': {self.why}' if self.why else ''}"


class Explored(NamedTuple):
    """What was tried."""

    runs: int
    #: Commits of the plain run.
    commits: int
    #: How often each step ran at most for one item of one execution.
    steps: Mapping[str, int]
    #: Where the executions of the plain run stood in the end.
    ends: Sequence[End]

    @property
    def repeated(self) -> Mapping[str, int]:
        """Those of the steps that ran more than once."""
        return {step: times for step, times in self.steps.items() if times > 1}


def explore(
    app: App,
    scenario: Scenario,
    *,
    seeds: Iterable[int] = range(2),
    only: str | None = None,
    points: int = 40,
    partner: Partner = takes_all,
    taker: Taker = admits_all,
    resources: Mapping[type, object] | None = None,
) -> Explored:
    """Play a scenario with a crash at every commit, and compare it with one without.

    Once as it is; then with answers that come once, twice, and reordered and again later; and in each
    of these with a crash before and after every commit, and with a process that loses its lease
    before one and tries to write it nevertheless. A scenario is played many times, so what it changes
    outside the simulation it has to put right itself.

    Args:
        app: taken as `simulate` takes it.
        scenario: plays the app's users, and asserts what has to be so whatever happens.
        seeds: each plays all of it again; it decides the order of what has none, and an odd one lets
            every segment be claimed where an even one lets commits hand it over.
        only: one variation, as a failure names it.
        points: commits of one run at which mishaps are tried; of more, so many are taken evenly.
        partner: as for `simulate`.
        taker: as for `simulate`.
        resources: as for `simulate`.

    Returns:
        What was tried.

    Raises:
        AssertionError: one line that names what failed, and how to repeat it. What the scenario itself
            raised is its cause.
        Exception: whatever the scenario raises when nothing befalls it.
    """
    explorer = Explorer(
        app, scenario, points=points, partner=partner, taker=taker, resources=resources
    )
    name = getattr(scenario, "__name__", "scenario")

    async def work() -> Explored:
        async for finding in explorer.findings(seeds, only):
            repeat = f'explore(app, {name}, only="{finding.run.variation}")'
            raise AssertionError(f"{finding}; repeat: {repeat}") from finding.run.error
        return explorer.explored

    return _run(work)


class Explorer:
    """Plays a scenario in all its variations."""

    def __init__(
        self,
        app: App,
        scenario: Scenario,
        *,
        points: int,
        partner: Partner = takes_all,
        taker: Taker = admits_all,
        resources: Mapping[type, object] | None = None,
    ) -> None:
        self._app = app
        self._scenario = scenario
        self._points = points
        self._partner = partner
        self._taker = taker
        self._resources = resources
        self._runs = 0
        self._plain: Run | None = None
        self._steps: dict[str, int] = {}

    @property
    def explored(self) -> Explored:
        """What was tried so far."""
        plain = self._plain
        commits, ends = (len(plain.commits), plain.ends) if plain else (0, ())
        return Explored(self._runs, commits, dict(self._steps), ends)

    async def findings(self, seeds: Iterable[int], only: str | None) -> AsyncIterator[Finding]:
        """What is wrong, as it is found.

        Raises:
            Exception: whatever the scenario raises when nothing befalls it.
            ValueError: `only` is no variation of it.
        """
        one = Variation.read(only) if only is not None else None
        for seed in [one.seed] if one else seeds:
            plain = await self._play(Variation(seed))
            if plain.error is not None:
                raise plain.error
            self._plain = self._plain or plain
            variations = _given(one) if one else self._variations(plain)
            async for variation in variations:
                run = await self._play(variation)
                if one is not None and not run.was_disturbed:
                    raise ValueError(f'only="{one}": that run has {len(run.commits)} commits')
                if run.was_disturbed:
                    for finding in compared(run, plain):
                        yield finding

    async def _variations(self, plain: Run) -> AsyncIterator[Variation]:
        """All of a seed, but for the plain one."""
        seed = plain.variation.seed
        for delivery in _DELIVERIES.values():
            base = plain
            if delivery != "once":
                yield Variation(seed, None, delivery)
                base = await self._play(Variation(seed, None, delivery))
            for commit in _thinned(base.commits, self._points, seed):
                for when in _whens(commit):
                    yield Variation(seed, Mishap(commit.number, when), delivery)

    async def _play(self, variation: Variation) -> Run:
        conditions = Conditions(*variation)
        self._runs += 1
        async with simulate(
            self._app,
            partner=self._partner,
            taker=self._taker,
            resources=self._resources,
            conditions=conditions,
        ) as sim:
            returned, error, ends = None, None, list[End]()
            try:
                returned = await self._scenario(sim)
                ends = await sim.wind_up()
            except _NOT_OURS:
                raise
            except BaseException as raised:  # noqa: BLE001 - failures of test runners are no Exceptions
                error = raised
            for step, times in sim.ledger.times().items():
                self._steps[step] = max(self._steps.get(step, 0), times)
            fate = sim.fate
            return Run(
                variation, fate.commits, not fate.is_pending, sim.ledger, ends, returned, error,
                fate.wrong,
            )  # fmt: skip


def compared(run: Run, plain: Run) -> Iterator[Finding]:
    """What is wrong with a run, beside the plain one; what may be the cause comes first."""
    if run.wrong is not None:
        yield Finding(run, run.wrong)
    step = run.ledger.unsteady(plain.ledger)
    if step is not None:
        yield Finding(run, step=step)
    if run.error is not None:
        again = [repr(step) for step, times in run.ledger.times().items() if times > 1]
        yield Finding(run, f"{' and '.join(again)} ran more than once" if again else "")
    elif run.returned != plain.returned:
        yield Finding(run, "it returned something else than without")
    elif run.ends != plain.ends:
        yield Finding(run, _difference(run.ends, plain.ends))


def _difference(ends: Sequence[End], plain: Sequence[End]) -> str:
    if len(ends) != len(plain):
        return f"there are {len(ends)} executions and not {len(plain)}"
    for end, expected in zip(ends, plain, strict=True):
        if end.status != expected.status:
            return f"an execution of {end.pipeline} is {end.status} and not {expected.status}"
        if end != expected:
            return f"an execution of {end.pipeline} came to another result"
    return ""


def _whens(commit: Commit) -> list[When]:
    """The mishaps that make a difference at a commit."""
    before: list[When] = ["before"] if commit.is_decided else []
    late: list[When] = ["late"] if commit.is_fenced else []
    return [*before, "after", *late]


def _thinned(commits: Sequence[Commit], most: int, seed: int) -> Sequence[Commit]:
    """At most so many of them, evenly; another seed takes others."""
    if len(commits) <= most:
        return commits
    share = len(commits) / most
    offset = (seed * 0.618) % 1
    return [commits[int((place + offset) * share)] for place in range(most)]


async def _given(one: Variation) -> AsyncIterator[Variation]:
    yield one


def _run(work: Callable[[], Awaitable[Explored]]) -> Explored:
    """Run it to its end, on an event loop of its own; on a thread where one is running here."""

    async def main() -> Explored:
        return await work()

    if not _has_loop():
        return asyncio.run(main())
    outcome: list[Explored | BaseException] = []

    def there() -> None:
        try:
            outcome.append(asyncio.run(main()))
        except BaseException as error:  # noqa: BLE001 - raised again by who waits for it
            outcome.append(error)

    thread = threading.Thread(target=copy_context().run, args=(there,), name="bide-explore")
    thread.start()
    thread.join()
    [result] = outcome
    if isinstance(result, BaseException):
        raise result
    return result


def _has_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
