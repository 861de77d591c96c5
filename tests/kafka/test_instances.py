"""Several processes' worth of consumers on one response topic, coming and going while answers flow."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bide.model.status import ReceiptOutcome
from tests.integration.support import eventually
from tests.kafka.cluster import Cluster, Partner, completion, topics
from tests.kafka.support import Checks, all_taken_in, via_of

ROWS = 600


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_two_instances_rebalance_while_answers_flow(
    cluster: Cluster, kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """One is joined by a second, which goes on when the first has left: every answer counts once,
    none is refused, and none is left uncommitted.
    """
    names = topics(cluster, partitions=6)
    store = (
        f"sqlite:///{tmp_path}/bide.db"
        if kind == "sqlite"
        else str(request.getfixturevalue("postgres_tables"))
    )
    checks = Checks(via_of(names))
    first, second = (checks.app(cluster, store, batch_rows=16) for _ in range(2))
    sent: Counter[int] = Counter()

    def answering(asked: Any) -> list[Any]:
        number = asked["requestPayload"]
        sent[number] += 1
        return [completion(asked, f"<{number}>")]

    async def answered() -> int:
        units = await second.service.units("default", execution.execution_id)
        return sum(unit.settled for unit in units)

    with Partner(cluster.servers, names, answering):
        await first.start()
        execution = await first.submit(checks.pipeline, ROWS)
        async with second.running():
            on_second = second.execution(checks.pipeline, execution.execution_id)
            await eventually(lambda: more_than(answered, ROWS // 4))
            await first.stop()
            result = await on_second.result(timeout=90)
            await all_taken_in(cluster, names)
            counts = (await second.receipts()).stored
            letters = await second.service.dead_letters("default")

    assert result == ",".join(f"<{number}>" for number in range(ROWS))
    assert set(sent) == set(range(ROWS))
    assert counts[ReceiptOutcome.APPLIED.value] == ROWS
    assert letters == []


async def more_than(count: Any, least: int) -> bool:
    return await count() >= least


async def test_each_answer_is_brought_to_one_of_them(cluster: Cluster, tmp_path: Path) -> None:
    """With both there from the start the answers are shared out, and no one sees another's."""
    names = topics(cluster, partitions=6)
    store = f"sqlite:///{tmp_path}/bide.db"
    checks = Checks(via_of(names))
    one, other = (checks.app(cluster, store) for _ in range(2))

    with Partner(
        cluster.servers, names, lambda asked: [completion(asked, f"<{asked['requestPayload']}>")]
    ):
        async with one.running(), other.running():
            for _ in range(20):
                execution = await one.submit(checks.pipeline, 30)
                await execution.result(timeout=60)
            await all_taken_in(cluster, names)
            given = [(await app.receipts()).process for app in (one, other)]

    assert sum(each["applied"] + each["duplicate"] for each in given) == 600
    assert all(each["applied"] for each in given), given
