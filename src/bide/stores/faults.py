"""What tests can make go wrong at a commit: a lost outcome, a kill at a chosen instant.

`BIDE_FAILPOINT=before-commit:N` or `after-commit:N` kills this process by SIGKILL right before or
after its N-th commit, counted from 1. Commits that only look (a claim that found nothing) are no
commits.
"""

import os
import signal


class CommitLost(Exception):
    """A test has lost the outcome of a commit; the store goes on as if its connection had broken."""


class Faults:
    """Hooks around each commit; all of them do nothing unless a test asks."""

    def __init__(self, failpoint: str | None = None) -> None:
        """Read the failpoint from the environment unless it is given."""
        text = os.environ.get("BIDE_FAILPOINT", "") if failpoint is None else failpoint
        self._when, _, number = text.partition(":")
        self._at = int(number) if number else 0
        self._commits = 0
        self._fail_next: bool | None = None

    def fail_next_commit(self, *, after: bool) -> None:
        """Lose the outcome of the next commit, before or `after` it became durable."""
        self._fail_next = after

    def disarm(self) -> None:
        """Let the next commit pass after all."""
        self._fail_next = None

    def before_commit(self) -> None:
        """Run by the writer with the transaction complete and not yet committed."""
        self._commits += 1
        self._kill("before-commit")
        if self._fail_next is False:
            self._fail_next = None
            raise CommitLost("its outcome was lost, made so by a test before the commit")

    def after_commit(self) -> None:
        """Run by the writer once the commit is durable and nobody has been told."""
        self._kill("after-commit")
        if self._fail_next is True:
            self._fail_next = None
            raise CommitLost("its outcome was lost, made so by a test after the commit")

    def _kill(self, when: str) -> None:
        if self._when == when and self._commits == self._at:
            os.kill(os.getpid(), signal.SIGKILL)
