"""What workers say of themselves, what is held, and whose an interaction is."""

from bide.engine.moves import Assign, Assigned, Moved, Received, Refused, Release, TakenBy
from bide.model.ids import InteractionId
from bide.model.records import StoredBoundary, WorkerSeen, replace
from bide.model.status import ExecutionStatus, ReceiptOutcome
from bide.spi.store import ExecutionQuery, Notice, Pause, PendingQuery, SignOut, Standing
from bide.testing.store_contract.harness import (
    AFTER_AWAIT,
    DAY,
    FINGERPRINTS,
    FOREIGN,
    LEASE_MS,
    OTHER_TENANT,
    START,
    TENANT,
    Driver,
    answer,
    expect,
)


class TestDeploys:
    """Boundaries, workers and pauses, as one process says them and another reads them."""

    async def test_what_was_said_is_read(self, driver: Driver) -> None:
        """A boundary stays as it was first written; a worker is seen when it last spoke."""
        first = StoredBoundary(START, "orders", "", "ONE", "[1]")
        worker = WorkerSeen("w1", 5, 0, FINGERPRINTS)
        said: list[Notice] = [first, worker, Pause("orders", True), Pause("bills", True)]
        await driver.store.announce(said)
        driver.clock.advance(LEASE_MS)
        await driver.store.announce(
            [
                replace(first, schemas="[2]"),
                replace(worker, fingerprints=frozenset({START})),
                WorkerSeen("w2", 6, 0, frozenset()),
                Pause("orders", True),
                Pause("bills", False),
            ]
        )

        seen = await driver.store.deployed()

        now = driver.clock()
        assert seen.now == now
        assert seen.boundaries == {START: first}
        assert seen.workers == [
            WorkerSeen("w1", 5, now, frozenset({START})), WorkerSeen("w2", 6, now, frozenset())
        ]  # fmt: skip
        assert seen.paused == {"orders"}

    async def test_workers_come_and_go(self, driver: Driver) -> None:
        """One that signs out is gone at once, one that was not seen for a day is forgotten."""
        gone, lost = WorkerSeen("gone", 1, 0, FINGERPRINTS), WorkerSeen("lost", 1, 0, FINGERPRINTS)
        await driver.store.announce([gone, lost])
        await driver.store.announce([SignOut("gone"), SignOut("never was")])
        assert [each.id for each in (await driver.store.deployed()).workers] == ["lost"]
        driver.clock.advance(DAY + 1)

        await driver.store.announce([WorkerSeen("new", 1, 0, FINGERPRINTS)])

        assert [each.id for each in (await driver.store.deployed()).workers] == ["new"]

    async def test_held_is_what_is_due_and_claimed_by_nobody(self, driver: Driver) -> None:
        """Due, outside the fingerprints or of a paused pipeline; leases that last are not."""
        foreign = driver.submission(fingerprint=FOREIGN)
        paused = driver.submission(pipeline="bills")
        elsewhere = driver.submission(tenant=OTHER_TENANT, fingerprint=FOREIGN)
        running = (await driver.running()).execution.id
        await driver.parked()
        await driver.do(foreign, paused, elsewhere, driver.submission())
        query = ExecutionQuery(TENANT, due_outside=FINGERPRINTS, paused=frozenset({"bills"}))

        held = [each.id for each in await driver.store.executions(query)]

        assert held == [paused.execution, foreign.execution]
        nobody = query._replace(due_outside=frozenset(), paused=frozenset())
        assert running not in {each.id for each in await driver.store.executions(nobody)}
        driver.clock.advance(LEASE_MS + 1)
        assert running in {each.id for each in await driver.store.executions(nobody)}
        page = query._replace(limit=1, before=paused.execution, pipeline="orders")
        assert [each.id for each in await driver.store.executions(page)] == [foreign.execution]

    async def test_standing(self, driver: Driver) -> None:
        """Counts of what is due some time and of what is parked, by fingerprint, of all tenants."""
        await driver.parked()
        await driver.parked(tenant=OTHER_TENANT)
        await driver.parked_stream(3)
        await driver.succeeded()
        await driver.submit()
        await driver.running()
        await driver.do(driver.submission(fingerprint=FOREIGN, pipeline="bills"))

        standing = set(await driver.store.standing())

        assert standing == {
            Standing("orders", AFTER_AWAIT, "decide-1", 3),
            Standing("orders", START, None, 2),
            Standing("bills", FOREIGN, None, 1),
        }

    async def test_the_unit_goes_on_as_what_its_answer_was_fitted_to(self, driver: Driver) -> None:
        """An answer that another deployment fitted leads the execution to that one's boundary."""
        interaction = await driver.parked()

        outcome = await driver.one(replace(answer(interaction), fingerprint=FOREIGN))

        assert expect(outcome, Received).outcome is ReceiptOutcome.APPLIED
        row = await driver.execution(interaction.execution)
        assert (row.status, row.fingerprint) == (ExecutionStatus.QUEUED, FOREIGN)

    async def test_a_released_execution_is_claimed_by_its_new_fingerprint(
        self, driver: Driver
    ) -> None:
        """It is found by claims as the other; another tenant's is not there."""
        move = driver.submission(fingerprint=FOREIGN)
        await driver.do(move)
        assert await driver.claim() == []
        stranger = Release(move.execution, OTHER_TENANT, START)
        assert isinstance(await driver.one(stranger), Refused)

        released = await driver.one(Release(move.execution, TENANT, START))

        expect(released, Moved)
        [claimed] = await driver.claim()
        assert claimed.execution.id == move.execution


class TestAssign:
    """Whose an open interaction is."""

    async def test_only_from_those_it_may_be_taken_from(self, driver: Driver) -> None:
        """Of two who claim it the first has it, in one batch too; whoever has it may put it back."""
        interaction = await driver.parked()

        assert await driver.do(claim(interaction, "ada"), claim(interaction, "bo")) == [
            Assigned("ada"), TakenBy("ada"),
        ]  # fmt: skip
        assert await driver.one(claim(interaction, "ada")) == Assigned("ada")
        assert await driver.one(put_back(interaction, "bo")) == TakenBy("ada")
        listed = await driver.store.pending(PendingQuery(TENANT, assignee="ada"))
        assert [asked.interaction.id for asked in listed] == [interaction]

        assert await driver.one(put_back(interaction, "ada")) == Assigned(None)
        assert await driver.one(claim(interaction, "bo")) == Assigned("bo")
        assert await driver.one(Assign(interaction, TENANT, "ada")) == Assigned("ada")
        assert await driver.store.pending(PendingQuery(TENANT, assignee="bo")) == []

    async def test_the_tenant_wall(self, driver: Driver) -> None:
        """Another tenant's interaction is not there."""
        interaction = await driver.parked()

        assert isinstance(await driver.one(Assign(interaction, OTHER_TENANT, "eve")), Refused)
        assert (await driver.asked(interaction)).interaction.assignee is None

    async def test_what_it_holds_stays(self, driver: Driver) -> None:
        """Request, answer and deadline are as they were, and it can be answered afterwards."""
        interaction = await driver.parked()
        before = (await driver.asked(interaction)).interaction

        await driver.one(Assign(interaction, TENANT, "ada"))

        assert (await driver.asked(interaction)).interaction == replace(before, assignee="ada")
        applied = expect(await driver.one(answer(interaction)), Received)
        assert applied.outcome is ReceiptOutcome.APPLIED


def claim(interaction: InteractionId, who: str) -> Assign:
    """Take it if it is nobody's, or one's own."""
    return Assign(interaction, TENANT, who, frozenset({None, who}))


def put_back(interaction: InteractionId, who: str) -> Assign:
    """Put one's own back."""
    return Assign(interaction, TENANT, None, frozenset({None, who}))
