"""The delivery of test_handoffs.py, killed between an admission and its receipt.

python -m tests.kafka.mortal SERVERS TOPIC RECEIPTS LETTERS FOLDER
"""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any, cast

from bide import Topic
from bide.spi.receiving import Arrival, Verdict
from bide.transports.kafka.intake import Intake
from tests.kafka.cluster import Cluster
from tests.kafka.test_handoffs import delivery


class Servers:
    """All that an app needs to know of a cluster."""

    is_real = True

    def __init__(self, servers: str) -> None:
        self.servers = servers


class DeadlyDoor:
    """A door behind which the process is killed, once something was admitted."""

    def __init__(self, door: Any) -> None:
        self._door = door

    async def take(self, arrivals: list[Arrival]) -> list[Verdict | None]:
        verdicts: list[Verdict | None] = await self._door.take(arrivals)
        if any(each is not None and each.is_admitted for each in verdicts):
            os.kill(os.getpid(), signal.SIGKILL)
        return verdicts


async def main(servers: str, topic: str, receipts: str, letters: str, folder: str) -> None:
    """Take publications in, until the first is admitted."""
    by = Topic(topic, receipts=receipts, dead_letters=letters)
    start = Intake.start

    def deadly(intake: Intake) -> None:
        intake._door = DeadlyDoor(intake._door)
        start(intake)

    Intake.start = deadly  # type: ignore[method-assign]  # where the door is known
    async with delivery(cast("Cluster", Servers(servers)), by, Path(folder)).running():
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
