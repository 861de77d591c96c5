"""What the database holds in the end, read by SQL of the tests' own and not by Bide."""

import asyncio
import json
from collections import Counter
from typing import NamedTuple

import psycopg

from bide.model.status import ExecutionStatus, InteractionStatus, JournalKind
from tests.chaos.clients import Clients
from tests.processes import PATIENCE_S

_ONCE = (JournalKind.SUBMITTED, JournalKind.PARKED, JournalKind.RESUMED, JournalKind.SUCCEEDED)


class Facts(NamedTuple):
    """How much of it there was."""

    executions: int
    #: Claims of an execution whose worker had lost its lease.
    takeovers: int
    #: Workers that finished at least one.
    finishers: int


async def until_all_succeeded(url: str, count: int) -> None:
    """Wait until so many have succeeded."""
    done = "select count(*) from bide.executions where status = %s"
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with psycopg.connect(url) as db:
                if db.execute(done, (int(ExecutionStatus.SUCCEEDED),)).fetchone() == (count,):
                    return
            await asyncio.sleep(0.1)


def prove(url: str, clients: Clients) -> Facts:
    """Check that each order finished once and no acknowledged completion was lost.

    Every order that was acknowledged is there under the id that was told, has parked, resumed and
    succeeded once by its journal, whose versions have no gap, with the answer that was given to it.
    That answer has one receipt: whenever the store could not say, it had stored nothing. Nothing is
    left over: no due row, no open question, no execution that nobody submitted.
    """
    with psycopg.connect(url) as db:
        rows = db.execute(
            "select id, status, version, result, fence from bide.executions"
        ).fetchall()
        journal: dict[str, list[tuple[int, int]]] = {}
        for id_, version, kind in db.execute(
            "select execution, version, kind from bide.journal order by execution, version"
        ):
            journal.setdefault(str(id_), []).append((version, kind))
        answers = {
            str(row[0]): (row[1], row[2], row[3])
            for row in db.execute(
                "select execution, status, answer, duplicates from bide.interactions"
            )
        }
        [left] = db.execute(
            "select count(*) from bide.executions where due_at is not null"
        ).fetchone() or [None]

    assert len(clients.submitted) == len(clients.answered) == len(rows)
    assert set(clients.submitted.values()) == {str(row[0]) for row in rows}
    assert left == 0
    number_of = {id_: number for number, id_ in clients.submitted.items()}
    kinds: Counter[int] = Counter()
    finishers = set()
    for id_, status, version, result, _ in ((str(row[0]), *row[1:]) for row in rows):
        assert status == ExecutionStatus.SUCCEEDED, id_
        done = json.loads(result)
        assert done["number"] == number_of[id_]
        finishers.add(done["finished_by"])
        facts = journal[id_]
        assert [fact[0] for fact in facts] == list(range(1, version + 1)), id_
        of_it = Counter(kind for _, kind in facts)
        assert [of_it[kind] for kind in _ONCE] == [1] * len(_ONCE), (id_, of_it)
        kinds += of_it
        answered, answer, duplicates = answers[id_]
        assert answered == InteractionStatus.COMPLETED
        assert json.loads(answer)["number"] == number_of[id_]
        assert clients.answered[number_of[id_]] == {"applied": 1}
        assert duplicates == 0
    return Facts(len(rows), kinds[JournalKind.TAKEN_OVER], len(finishers))
