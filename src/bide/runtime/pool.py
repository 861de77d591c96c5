"""Threads for steps that are not async.

Jobs are a shared queue that threads draw from. One thread draws while the jobs are quick, since a
second one would only fight it for the interpreter; when jobs take long, because they sleep or wait
for a network, more threads join in, so that nobody waits behind them.

A thread cannot be stopped. A job that runs over its limit is reported to its owner and left alone:
its thread is counted as lost, and another takes its place. A thread that waits for the event loop
(`aside`) gives its place to another one as well: what it waits for may need a thread itself.
"""

import asyncio
import contextvars
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")

#: How often the queue is looked at while it is not empty.
_LOOK_S = 0.02
#: Fewer jobs than this between two looks are slow jobs: more threads help. Unless the look itself
#: comes late: then the interpreter is busy, and more threads would only make it busier.
_QUICK_JOBS = 20
_LATE_S = 0.01
#: A job that takes longer than this keeps its thread busy for a while.
_STUCK_S = 0.01
_OVERRUN_LOOK_S = 0.25
#: Segments whose functions may stand aside at the same time: each of them keeps a thread.
_FEEDERS_MAX = 64


class Job(Protocol):
    """Something to run on a thread."""

    #: When what it does now must be over (monotonic seconds), None while it may take its time.
    #: The job moves it on as it goes from one thing to the next.
    ends_at: float | None

    def run(self) -> None:
        """Do it; never raises."""
        ...

    def overrun(self) -> None:
        """Called on the event loop when `ends_at` has passed; the thread is still in it."""
        ...


class StepPool:
    """At most `threads` threads that are not lost, started when they are needed."""

    def __init__(self, threads: int) -> None:
        self._max = threads
        self._jobs: deque[Job] = deque()
        self._tickets: SimpleQueue[bool] = SimpleQueue()
        self._lock = threading.Lock()
        self._drawing = 0
        self._idle = 0
        self._done = 0
        self._done_before = 0
        self._running: dict[int, Job] = {}
        #: When each thread began the job that it is in (monotonic seconds).
        self._begun: dict[int, float] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._look: asyncio.TimerHandle | None = None
        self._look_at = 0.0
        self._overrun_look: asyncio.TimerHandle | None = None
        self._stopping = False
        #: Held by a segment that feeds a stream to a function on a thread.
        self.feeders = asyncio.Semaphore(_FEEDERS_MAX)

    def start(self) -> None:
        """Take jobs from the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._stopping = False

    def stop(self) -> None:
        """Let threads end when they are done; jobs not begun are dropped."""
        self._stopping = True
        self._jobs.clear()
        for handle in (self._look, self._overrun_look):
            if handle is not None:
                handle.cancel()
        self._look = self._overrun_look = None
        with self._lock:
            for _ in range(self._idle + self._drawing):
                self._tickets.put(False)

    def put(self, jobs: Iterable[Job]) -> None:
        """Queue jobs; on the event loop. After `stop` they are dropped."""
        if self._stopping:
            return
        self._jobs.extend(jobs)
        with self._lock:
            if self._drawing == 0 or (self._drawing < self._max and self._all_are_stuck()):
                self._wake_one()
        assert self._loop is not None
        if self._look is None:
            self._look_soon()
        if self._overrun_look is None:
            self._overrun_look = self._loop.call_later(_OVERRUN_LOOK_S, self._look_for_overruns)

    @property
    def busy(self) -> int:
        """How many threads are in a job."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """How many jobs wait for a thread."""
        return len(self._jobs)

    async def run(self, work: Callable[[], T], limit_s: float | None = None) -> T:
        """Run `work` in the caller's context.

        Raises:
            TimeoutError: it ran longer than `limit_s`; it may still be running.
        """
        job = Call(work, limit_s)
        self.put([job])
        return await job.future

    # --- for jobs, on their threads -----------------------------------------------------------

    def next_item(self) -> None:
        """Say that this thread's call goes on to its next item, which has the whole limit."""
        job = self._running.get(threading.get_ident())
        if isinstance(job, Call):
            job.begin()

    @contextmanager
    def aside(self) -> Generator[None]:
        """Let another thread work while this one waits; the wait counts against no limit."""
        with self._lock:
            job = self._running.get(threading.get_ident())
            if job is not None:
                job.ends_at = None
                self._drawing -= 1
                if self._jobs:
                    self._wake_one()
        try:
            yield
        finally:
            if job is not None:
                with self._lock:
                    self._drawing += 1
                self.next_item()

    # --- event loop side ----------------------------------------------------------------------

    def _all_are_stuck(self) -> bool:
        """True when no thread will soon be free for a new job: each is in a long one."""
        long_ago = time.monotonic() - _STUCK_S
        return all(begun < long_ago for begun in list(self._begun.values()))

    def _look_again(self) -> None:
        self._look = None
        if not self._jobs or self._loop is None:
            return
        slow = self._done - self._done_before < _QUICK_JOBS
        late = self._loop.time() > self._look_at + _LATE_S
        self._done_before = self._done
        with self._lock:
            if slow and not late and self._drawing < self._max:
                self._wake_one()
        self._look_soon()

    def _look_soon(self) -> None:
        assert self._loop is not None
        self._look_at = self._loop.time() + _LOOK_S
        self._look = self._loop.call_at(self._look_at, self._look_again)

    def _look_for_overruns(self) -> None:
        self._overrun_look = None
        if not self._running or self._loop is None:
            return
        now = time.monotonic()
        for thread, job in list(self._running.items()):
            if self._is_lost(thread, job, now):
                job.overrun()
        self._overrun_look = self._loop.call_later(_OVERRUN_LOOK_S, self._look_for_overruns)

    def _is_lost(self, thread: int, job: Job, now: float) -> bool:
        with self._lock:
            ends_at = job.ends_at
            if ends_at is None or ends_at >= now or self._running.pop(thread, None) is not job:
                return False
            self._drawing -= 1
            if self._jobs:
                self._wake_one()
            return True

    def _wake_one(self) -> None:
        self._drawing += 1
        if self._idle == 0:
            threading.Thread(target=self._work, name="bide-step", daemon=True).start()
        else:
            self._idle -= 1
            self._tickets.put(True)

    # --- threads ------------------------------------------------------------------------------

    def _work(self) -> None:
        me = threading.get_ident()
        while True:
            if not self._draw(me):
                return
            with self._lock:
                if self._jobs and not self._stopping:
                    continue
                self._drawing -= 1
                self._idle += 1
            if self._stopping or not self._tickets.get():
                return

    def _draw(self, me: int) -> bool:
        """Run jobs until there are none; False when this thread was given up as lost."""
        while not self._stopping:
            try:
                job = self._jobs.popleft()
            except IndexError:
                self._begun.pop(me, None)
                return True
            self._running[me] = job
            self._begun[me] = time.monotonic()
            job.run()
            self._done += 1
            if self._running.pop(me, None) is not job:
                self._begun.pop(me, None)
                return False
        return True


def call_on(loop: asyncio.AbstractEventLoop, work: Callable[..., object], *values: object) -> None:
    """Call `work` on the event loop, from any thread; a loop that is closed wants nothing more."""
    try:
        loop.call_soon_threadsafe(work, *values)
    except RuntimeError:
        if not loop.is_closed():
            raise


class Call(Generic[T]):
    """A function whose caller waits for it on the event loop."""

    def __init__(self, work: Callable[[], T], limit_s: float | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._work = work
        self._limit_s = limit_s
        self.future: asyncio.Future[T] = self._loop.create_future()
        self.ends_at: float | None = None

    def begin(self) -> None:
        """Begin what has the limit: the call, or one item of it."""
        if self._limit_s is not None:
            self.ends_at = time.monotonic() + self._limit_s

    def run(self) -> None:
        """Run it in its caller's context."""
        self.begin()
        try:
            result = self._context.run(self._work)
        except BaseException as error:  # noqa: BLE001 - the caller gets it, whatever it is
            call_on(self._loop, self._fail, error)
        else:
            call_on(self._loop, self._finish, result)

    def overrun(self) -> None:
        """Tell the caller that the time is up."""
        self._fail(TimeoutError(f"it ran longer than {self._limit_s} s"))

    def _finish(self, result: T) -> None:
        if not self.future.done():
            self.future.set_result(result)

    def _fail(self, error: BaseException) -> None:
        if not self.future.done():
            # StopIteration cannot be set on a future, and SystemExit would end the loop.
            if not isinstance(error, Exception) or isinstance(error, StopIteration):
                error = RuntimeError(f"the step raised {type(error).__name__}: {error}")
            self.future.set_exception(error)
