"""Deadlines: who waits too long is told so, in order, by one timer however many wait."""

import asyncio
from typing import Any

import pytest

from bide.runtime import deadlines
from bide.runtime.deadlines import Deadlines


class Timer:
    """What a loop gives for a call at a time."""

    def __init__(self, at: float) -> None:
        self.at = at
        self.cancelled = False

    def when(self) -> float:
        return self.at

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """An event loop whose time is turned by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[Timer, Any]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, at: float, call: Any) -> Timer:
        timer = Timer(at)
        self.timers.append((timer, call))
        return timer

    def waiting(self) -> list[float]:
        """When the timers are due that were neither cancelled nor have gone off."""
        return sorted(timer.at for timer, _ in self.timers if not timer.cancelled)

    def turn(self, to: float) -> None:
        """Let time pass, and every timer go off that is due by then."""
        self.now = to
        while due := [each for each in self.timers if each[0].at <= to and not each[0].cancelled]:
            due[0][0].cancelled = True
            due[0][1]()


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    made = Loop()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: made)
    return made


class Wait(asyncio.Future[None]):
    """A future that belongs to no running loop."""

    def __init__(self) -> None:
        super().__init__(loop=_NO_LOOP)

    @property
    def is_late(self) -> bool:
        return self.done() and not self.cancelled() and isinstance(self.exception(), TimeoutError)


_NO_LOOP = asyncio.new_event_loop()
_NO_LOOP.close()


def test_each_is_late_in_its_own_time(loop: Loop) -> None:
    """No wait ends before its deadline, and none is forgotten behind another's."""
    late, waits = Deadlines(), {at: Wait() for at in (5.0, 1.0, 3.0)}
    for at, wait in waits.items():
        late.add(wait, at)

    seen = []
    for now in (0.5, 1.0, 2.9, 4.0, 5.0):
        loop.turn(now)
        seen.append(sorted(at for at, wait in waits.items() if wait.is_late))

    assert seen == [[], [1.0], [1.0], [1.0, 3.0], [1.0, 3.0, 5.0]]
    assert loop.waiting() == []


def test_one_timer_for_all(loop: Loop) -> None:
    """However many wait, one timer runs: that of the first deadline."""
    late, waits = Deadlines(), [Wait() for _ in range(100)]

    for number, wait in enumerate(waits):
        late.add(wait, 100.0 - number)

    assert loop.waiting() == [1.0]


def test_what_has_ended_is_left_alone(loop: Loop) -> None:
    """A wait that came to its end, or was given up, hears nothing more, and no timer stays for it."""
    late, told, gone = Deadlines(), Wait(), Wait()
    for wait in (told, gone):
        late.add(wait, 1.0)
    told.set_result(None)
    gone.cancel()

    loop.turn(1.0)

    assert (told.result(), gone.cancelled()) == (None, True)
    assert loop.waiting() == []


def test_keeps_no_more_than_wait(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits that end long before their deadlines take no room until then."""
    del loop
    monkeypatch.setattr(deadlines, "_FEW", 10)
    late, pending = Deadlines(), Wait()
    late.add(pending, 600.0)

    for _ in range(2_000):
        wait = Wait()
        late.add(wait, 600.0)
        wait.set_result(None)

    assert len(late._heap) <= 20
    assert pending in {future for _, _, future in late._heap}


def test_stopped_it_ends_nothing(loop: Loop) -> None:
    """After a stop no timer is left, and nobody is told anything by it."""
    late, wait = Deadlines(), Wait()
    late.add(wait, 1.0)

    late.stop()
    loop.turn(2.0)

    assert not wait.done()
    assert loop.waiting() == []
