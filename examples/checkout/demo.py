"""`make demo-checkout`: orders through three processes that are killed all the while, and the proof.

Two workers of the shop share one database, the delivery has another. Now and then one of the three is
killed as a power cut would kill it, and started again; the delivery also stays away for a while. In
the end each order was delivered once, each publication was admitted once, and the lineage of every
delivery leads back to its order.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import httpx

from bide import App, Execution
from bide.model.status import ExecutionStatus
from bide.runtime.service import Service as Operations
from bide.settings import Settings
from examples.checkout.messages import OrderPaid
from examples.checkout.shop import Order, checkout
from examples.checkout.shop import app as shop
from examples.children import BIDE, Child, DemoFailed, free_port, leave_on_signals

#: How long nothing may move before the demo gives up.
PATIENCE_S = 120.0
#: On average.
_BETWEEN_KILLS_S = 0.8
#: So that nobody waits long for a process that was killed.
HASTY = {
    "BIDE_LEASE_MS": "1000",
    "BIDE_LEASE_RENEW_MS": "250",
    "BIDE_LEASE_TAKEOVERS_MAX": "1000",
    "BIDE_POLL_MAX_MS": "100",
    "BIDE_DISPATCH_BREAKER_FIRST_MS": "100",
    "BIDE_DISPATCH_BREAKER_LONGEST_MS": "1000",
}


class Fleet:
    """The three processes; one that is killed is started again."""

    def __init__(self, folder: Path, store: str, children: ExitStack) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._children = children
        env = {**HASTY, "DELIVERY_URL": self.url}
        worker = [str(BIDE), "worker", "examples.checkout.shop:app", "--store", store]
        serve = [str(BIDE), "serve", "examples.checkout.delivery:app", "--port", str(self.port)]
        where = ["--store", f"sqlite:///{folder.resolve() / 'delivery.db'}"]
        self._commands: Mapping[str, Sequence[str]] = {
            "checkout": [*worker, "--pipeline", "checkout"],
            "dispatch": [*worker, "--pipeline", "dispatch"],
            "delivery": [*serve, *where],
        }
        self._env = env
        self._running: dict[str, Child] = {}

    def start(self, name: str) -> None:
        """Start one."""
        log = self._folder / f"{name}.log"
        child = Child(name, self._commands[name], log=log, env=self._env)
        self._running[name] = child
        self._children.callback(child.kill)

    def kill(self, name: str) -> None:
        """End one as a power cut would."""
        self._running[name].kill()

    @property
    def names(self) -> list[str]:
        """What they are called."""
        return list(self._commands)


async def run(orders: int, kills: int, away_s: float, folder: Path, *, store: str) -> list[str]:
    """Take the orders through the kills; gives what was found to be so, a line each.

    Raises:
        DemoFailed: it is not so.
    """
    settings = Settings(poll_max_ms=100)
    app = shop.using(store=store, settings=settings)
    await app.migrate()
    with ExitStack() as children:
        fleet = Fleet(folder, store, children)
        async with app.running(workers=False):
            for name in fleet.names:
                fleet.start(name)
            killing = asyncio.create_task(_kill(fleet, kills, away_s))
            placed: list[Execution[OrderPaid]] = []
            for number in range(orders):
                placed.append(await _place(app, number))
                # So that orders come for as long as processes are killed.
                await asyncio.sleep((kills * _BETWEEN_KILLS_S + away_s) / orders)
            await killing
            await _until_all_ended(app, orders, "checkout")
            await _until_all_ended(app, orders, "dispatch")
            handed = await _until_handed(app, placed)
            await _until_delivered(fleet.url, orders)
            return await _prove(app, fleet.url, placed, handed)


async def _place(app: App, number: int) -> Execution[OrderPaid]:
    order = Order(order_id=f"order-{number}", address=f"{number} Main St", cents=100 + number)
    return await app.submit(checkout, order, idempotency_key=order.order_id)


async def _kill(fleet: Fleet, kills: int, away_s: float) -> None:
    dice = random.Random(kills)
    for number in range(kills):
        await asyncio.sleep(dice.uniform(0.5, 1.5) * _BETWEEN_KILLS_S)
        victim = dice.choice(fleet.names) if number else "delivery"
        fleet.kill(victim)
        if number == 0:
            await asyncio.sleep(away_s)
        fleet.start(victim)


async def _until_all_ended(app: App, orders: int, pipeline: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        counts = await app.service.counts("default", pipeline)
        if counts.get(ExecutionStatus.SUCCEEDED) == orders:
            return
        if time.monotonic() > deadline:
            raise DemoFailed(f"{pipeline}: {counts} after {PATIENCE_S:g} s")
        await asyncio.sleep(0.1)


async def _until_handed(app: App, placed: Sequence[Execution[OrderPaid]]) -> dict[str, str]:
    """The delivery's execution for each order, by the order's execution."""
    deadline = time.monotonic() + PATIENCE_S
    found: dict[str, str] = {}
    for order in placed:
        while order.execution_id not in found:
            parcel = await _only_target(app.service, order.execution_id)
            delivery = await _only_target(app.service, parcel) if parcel else None
            if delivery is not None:
                found[order.execution_id] = delivery
                break
            if time.monotonic() > deadline:
                raise DemoFailed(f"{order.execution_id} was not handed over in {PATIENCE_S:g} s")
            await asyncio.sleep(0.1)
    return found


async def _only_target(service: Operations, execution_id: str) -> str | None:
    published = (await service.lineage("default", execution_id)).published
    if len(published) != 1:
        raise DemoFailed(f"{execution_id} has published {len(published)} times, and not once")
    return published[0].execution_id


async def _until_delivered(url: str, orders: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while len(await _deliveries(url)) < orders:
        if time.monotonic() > deadline:
            raise DemoFailed(f"not all was delivered in {PATIENCE_S:g} s")
        await asyncio.sleep(0.1)


async def _deliveries(url: str) -> list[str]:
    """Ids of what was delivered, by asking the delivery itself."""
    found: list[str] = []
    cursor: str | None = None
    try:
        async with httpx.AsyncClient(base_url=url, timeout=10) as client:
            while True:
                query = {"status": "SUCCEEDED", "limit": "1000"} | (
                    {"cursor": cursor} if cursor else {}
                )
                page = (await client.get("/api/v1/executions", params=query)).json()
                found += [each["executionId"] for each in page["items"]]
                cursor = page["nextCursor"]
                if cursor is None:
                    return found
    except httpx.HTTPError:
        return []


async def _prove(
    app: App, url: str, placed: Sequence[Execution[OrderPaid]], handed: Mapping[str, str]
) -> list[str]:
    """Compare both sides: what the shop says was handed over with what the delivery has."""
    delivered = await _deliveries(url)
    if sorted(delivered) != sorted(handed.values()):
        raise DemoFailed(
            f"{len(handed)} handed over, {len(delivered)} delivered, not the same ones"
        )
    origins: dict[str, str] = {}
    async with httpx.AsyncClient(base_url=url, timeout=10) as client:
        for id_ in delivered:
            answer = (await client.get(f"/api/v1/executions/{id_}/lineage")).json()
            [origin] = answer["madeOf"]
            origins[id_] = origin["executionId"]
    for order in placed:
        parcel = await _only_target(app.service, order.execution_id)
        back = (await app.service.lineage("default", parcel or "")).made_of
        if [each.execution_id for each in back] != [order.execution_id]:
            raise DemoFailed(f"the parcel of {order.execution_id} does not lead back to it")
        if origins[handed[order.execution_id]] != parcel:
            raise DemoFailed(f"the delivery of {order.execution_id} does not lead back to it")
    letters = await app.service.dead_letters("default")
    if letters:
        raise DemoFailed(f"{len(letters)} dead letters: {letters[0].message}")
    return [
        f"{len(placed)} orders, each delivered once",
        f"{2 * len(placed)} publications, each admitted once",
        f"the lineage of all {len(delivered)} deliveries leads back to their orders",
    ]


def main() -> int:
    """Run the demo; 0 only if everything holds."""
    options = _options()
    leave_on_signals()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bide-checkout-") as temporary:
        folder = Path(options.folder or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        store = options.store or f"sqlite:///{folder.resolve() / 'shop.db'}"
        try:
            found = asyncio.run(
                run(options.orders, options.kills, options.away, folder, store=store)
            )
        except DemoFailed as error:
            print(f"The demo failed: {error}", file=sys.stderr)
            return 1
    for line in found:
        print(line)
    print(f"{options.kills} kills, {time.monotonic() - began:.1f} s")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make demo-checkout", description=__doc__)
    parser.add_argument("--orders", type=int, default=1_000, help="how many are placed")
    parser.add_argument("--kills", type=int, default=20, help="how often a process is killed")
    parser.add_argument(
        "--away", type=float, default=5.0, help="seconds that the delivery is away at first"
    )
    parser.add_argument("--folder", help="where databases and logs are kept; else nowhere")
    parser.add_argument("--store", help="the shop's store, by its URL; else a file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
