"""A pipeline whose questions and results say which process worked on them.

With `HANG` in its environment, naming a file, a process begins its steps, says so by making that
file, and never ends them: a worker that is killed with its hands full.
"""

import os
import time
from pathlib import Path

from pydantic import BaseModel

from bide import App, Await, Inbox, Pipeline


class Job(BaseModel):
    """What is submitted."""

    number: int


class Prepared(BaseModel):
    """What is asked about, and who prepared it."""

    number: int
    prepared_by: int


class Finished(BaseModel):
    """The result, and who finished it."""

    number: int
    finished_by: int


def prepare(job: Job) -> Prepared:
    """Work before the wait."""
    hang = os.environ.get("HANG")
    if hang is not None:
        Path(hang).touch()
        time.sleep(3600)
    return Prepared(number=job.number, prepared_by=os.getpid())


def finish(number: int) -> Finished:
    """Work after the wait."""
    return Finished(number=number, finished_by=os.getpid())


answer = Await("Answer the job", Prepared, int, via=Inbox(), timeout="1h")
jobs = Pipeline("jobs", Job).then(prepare).wait(answer).then(finish)
app = App(jobs)
