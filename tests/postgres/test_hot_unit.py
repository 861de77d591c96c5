"""One unit with thousands of items, answered by four processes at once."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest

from bide import App
from bide.bench.children import in_child, run
from bide.bench.limit import shuffled
from bide.bench.pipelines import Batch, Parcel, item_answer, items
from bide.bench.workloads import Question
from bide.model.ids import parse_execution
from bide.model.status import InteractionStatus, JournalKind

_ITEMS = 4_000
_PROCESSES = 4
#: Each process answers its own quarter, and half of the next one's.
_SHARE = _ITEMS * 3 // (2 * _PROCESSES)
_CALL = 250
_PATIENCE_S = 100


def answer(store: str, first: Question, numbers: Sequence[int]) -> Counter[str]:
    """Answer those items, in a process of its own, a few calls at a time; gives the receipts."""

    async def main() -> Counter[str]:
        unit = first.interaction_id.rpartition("_")[0]

        def completion(number: int) -> tuple[Question, Parcel]:
            question = replace(first, interaction_id=f"{unit}_{number}", item_index=number)
            return question, Parcel(number=number, note="")

        async with App(items, store=store).running(workers=False) as app:
            calls = [
                app.complete_many([completion(number) for number in numbers[at : at + _CALL]])
                for at in range(0, len(numbers), _CALL)
            ]
            receipts = await asyncio.gather(*calls)
        return Counter(receipt.outcome for each in receipts for receipt in each)

    return run(main())


@pytest.mark.slow
@pytest.mark.process
async def test_four_processes_answer_one_unit(postgres_store: str) -> None:
    """Every item is applied once, whoever is first, and the execution goes on once, with all of
    them, without anybody looking for it.
    """
    order = shuffled(_ITEMS) * 2
    starts = range(0, _ITEMS, _ITEMS // _PROCESSES)
    async with App(items, store=postgres_store).running() as app:
        execution = await app.submit(items, Batch(count=_ITEMS, note=""))
        first, *_ = await execution.parked(item_answer, timeout=_PATIENCE_S)

        receipts = await asyncio.gather(
            *(
                asyncio.to_thread(in_child, answer, postgres_store, first, order[at : at + _SHARE])
                for at in starts
            )
        )
        result = await execution.result(timeout=_PATIENCE_S)

        id_ = parse_execution(execution.execution_id)
        assert id_ is not None
        store = app._open.store
        facts = await store.journal("default", id_)
        [unit] = await store.units("default", id_)
        rows = await store.items("default", unit.id, None, _ITEMS + 1)
    assert result.number == _ITEMS
    assert sum(receipts, Counter()) == {"applied": _ITEMS, "duplicate": _ITEMS // 2}
    assert [fact.kind for fact in facts].count(JournalKind.RESUMED) == 1
    assert (unit.settled, unit.missing) == (_ITEMS, 0)
    assert [row.item for row in rows] == list(range(_ITEMS))
    assert {row.status for row in rows} == {InteractionStatus.COMPLETED}
    assert sum(row.duplicates for row in rows) == _ITEMS // 2
