"""The wall between tenants (S9): two have the same of everything, and neither sees the other's."""

from typing import NamedTuple

from bide.engine.moves import (
    AdmitByKey,
    Audit,
    Cancel,
    ExpireEarly,
    Failure,
    Finish,
    Received,
    Settled,
    StoreRejects,
    StoreResults,
    Submitted,
)
from bide.model.ids import CorrelationKey, ExecutionId, InteractionId, RejectId, UnitId
from bide.model.records import TraceContext, replace
from bide.model.status import ReceiptOutcome
from bide.spi.store import AuditQuery, ExecutionQuery, PendingQuery, Store
from bide.testing.store_contract.harness import (
    DAY,
    LIMIT,
    OTHER_TENANT,
    TENANT,
    Driver,
    answer,
    digest_of,
    expect,
    redrive_of,
    reject_of,
)
from bide.testing.store_contract.publishing import finishing, handed_to

_SCOPE = "orders/decide-1"
_TRACE = TraceContext(f"00-{1:032x}-{1:016x}-01")
_RECEIPTS = {
    ReceiptOutcome.APPLIED: 2,
    ReceiptOutcome.DUPLICATE: 1,
    ReceiptOutcome.CONFLICT: 1,
    ReceiptOutcome.LATE: 1,
    ReceiptOutcome.BUFFERED: 2,
}


class Belongings(NamedTuple):
    """What a tenant has, by the names that its rows go by."""

    tenant: str
    #: Parked, still to be sent, and to be answered by the correlation key `asked`.
    parked: InteractionId
    #: Answered in a trace, then answered again otherwise.
    answered: InteractionId
    #: Ended with a streaming result, and with an item left out.
    succeeded: ExecutionId
    reject: RejectId
    #: Ended badly, and answered too late.
    failed: InteractionId
    #: Ended with a publication, and what that has made.
    publishing: ExecutionId
    handoff: ExecutionId
    made: ExecutionId


async def furnish(driver: Driver) -> tuple[Belongings, Belongings]:
    """Give two tenants the same of everything, under the same keys."""
    mine = await _furnish(driver, TENANT)
    theirs = await _furnish(driver, OTHER_TENANT)
    for each in (mine, theirs):  # what is queued comes last, so that no claim above takes it
        redrive = redrive_of(driver, each.failed.execution)
        submission = driver.submission("order-42", tenant=each.tenant)
        await driver.do(replace(redrive, tenant=each.tenant), submission)
    return mine, theirs


async def _furnish(driver: Driver, tenant: str) -> Belongings:
    key = CorrelationKey(tenant, "asked", _SCOPE)
    parked = await driver.parked(tenant=tenant, group="finance", correlation=key, dispatched=False)
    answered = await driver.parked(tenant=tenant)
    for body in (b"1", b"1", b"2"):
        by = Audit(driver.new_id(), "api-key:a1", "ada")
        await driver.one(replace(answer(answered, body, tenant=tenant), audit=by, trace=_TRACE))
    failed = await driver.parked(tenant=tenant)
    await driver.one(answer(failed, tenant=tenant, failure=Failure("declined", "no")))
    await driver.one(Cancel(answered.execution, tenant, "no longer wanted"))
    left = await driver.parked(tenant=tenant)
    await driver.one(Cancel(left.execution, tenant, "not wanted"))
    await driver.one(answer(left, b"3", tenant=tenant))
    execution = (await driver.running(tenant=tenant)).execution
    reject = reject_of(execution, 0)
    await driver.do(
        StoreResults(execution.id, execution.fence, 0, (b"1", b"2")),
        StoreRejects(execution.id, execution.fence, (reject,)),
        Finish(execution.id, execution.fence, 2, None, 2),
    )
    source = (await driver.running(tenant=tenant)).execution
    new = handed_to(driver, source)
    assert new.admission is not None
    await driver.one(finishing(source, new))
    early = [_early(driver, CorrelationKey(tenant, key, _SCOPE)) for key in ("kept", "given up")]
    early[1] = replace(early[1], ttl_ms=0)
    await driver.do(*early)
    driver.clock.advance(1)
    await driver.one(ExpireEarly(early[1].key))
    return Belongings(
        tenant, parked, answered, execution.id, reject.id, failed,
        source.id, new.id, new.admission.execution,
    )  # fmt: skip


def _early(driver: Driver, key: CorrelationKey) -> AdmitByKey:
    return AdmitByKey(key, "orders", "decide-1", b"1", digest_of(b"1"), driver.new_id(), DAY, "ada")


async def by_name(store: Store, tenant: str, of: Belongings) -> dict[str, object]:
    """What a tenant sees of what belongs to `of`, asking for each by its name."""
    unit = UnitId(of.answered.execution, of.answered.unit)
    id_ = of.succeeded
    named = PendingQuery(tenant, execution=of.parked.execution)
    redrives = ExecutionQuery(tenant, redriven_from=of.failed.execution)
    return {
        "input_of": await store.input_of(tenant, id_),
        "answers": await store.answers(tenant, unit, 0, LIMIT),
        "askings": await store.askings(tenant, unit, 0, LIMIT),
        "results": await store.results(tenant, id_, 0, LIMIT),
        "executions_by_id": [one for one in await store.executions_by_id(tenant, [id_]) if one],
        "redrives": await store.executions(redrives),
        "interactions_by_id": [
            one for one in await store.interactions_by_id(tenant, [of.parked]) if one
        ],
        "dispatches": [one for one in await store.dispatches(tenant, [of.parked]) if one],
        "traces": [one for one in await store.traces([(tenant, of.answered.execution)]) if one],
        "pending of": await store.pending(named),
        "units": await store.units(tenant, of.answered.execution),
        "items": await store.items(tenant, unit, None, LIMIT),
        "journal": await store.journal(tenant, id_),
        "audit of": await store.audit(AuditQuery(tenant, of.answered.execution)),
        "dead_letter": await store.dead_letter(tenant, of.failed.execution),
        "reject": await store.reject(tenant, of.reject),
        "handoffs": await store.handoffs(tenant, of.publishing),
        "handoff": await store.handoff(tenant, of.handoff),
        "origins": await store.origins(tenant, of.made),
        "refusals": await store.refusals(tenant, of.answered),
    }


async def tenants_of_lists(store: Store, tenant: str) -> dict[str, list[str]]:
    """Whose rows a tenant gets to see where it names none of them."""
    correlated = await store.correlated(tenant, ["asked", "kept"])
    known = [one for found in correlated for one in found]
    executions = await store.executions(ExecutionQuery(tenant, limit=LIMIT))
    held = await store.executions(ExecutionQuery(tenant, due_outside=frozenset()))
    pending = await store.pending(PendingQuery(tenant, limit=LIMIT))
    letters = await store.dead_letters(tenant, pipeline=None, before=None, limit=LIMIT)
    rejects = await store.rejects(tenant, pipeline=None, after=None, limit=LIMIT)
    return {
        "executions": [one.tenant for one in executions],
        "held": [one.tenant for one in held],
        "pending": [one.interaction.tenant for one in pending],
        "audit": [one.tenant for one in await store.audit(AuditQuery(tenant))],
        "dead_letters": [one.tenant for one in letters],
        "rejects": [one.tenant for one in rejects],
        "correlated": [one.row.tenant for one in known],
        "holders": [one.holder.interaction.tenant for one in known if one.holder],
    }


async def check_wall(store: Store, mine: Belongings, theirs: Belongings) -> None:
    """Both see everything of their own, and nothing of the other's."""
    for own, foreign in ((mine, theirs), (theirs, mine)):
        seen = await by_name(store, own.tenant, own)
        assert {name for name, found in seen.items() if not found} == set()
        crossing = await by_name(store, own.tenant, foreign)
        assert {name for name, found in crossing.items() if found} == set()
        listed = await tenants_of_lists(store, own.tenant)
        assert {name: set(tenants) for name, tenants in listed.items()} == {
            name: {own.tenant} for name in listed
        }
        counts = await store.count_by_status(own.tenant, None)
        assert sum(counts.values()) == len(listed["executions"])
        assert await store.count_receipts(own.tenant) == _RECEIPTS


class TestTenantWall:
    """Rows of another tenant are as good as absent (S9)."""

    async def test_of_every_read(self, driver: Driver) -> None:
        """With the same keys, counts and shapes, no read shows what is another tenant's (S9)."""
        mine, theirs = await furnish(driver)

        await check_wall(driver.store, mine, theirs)

    async def test_of_nobody(self, driver: Driver) -> None:
        """A tenant without rows sees none, whatever it is called (S9)."""
        mine, _ = await furnish(driver)

        for tenant in ("", "%", "globe_"):
            named = await by_name(driver.store, tenant, mine)
            listed = await tenants_of_lists(driver.store, tenant)
            assert not any(named.values())
            assert not any(listed.values())

    async def test_of_submit_keys(self, driver: Driver) -> None:
        """A submit key of one tenant says nothing of another's (S9)."""
        both = (TENANT, OTHER_TENANT)

        first, again = [
            await driver.do(*[driver.submission("order-42", tenant=tenant) for tenant in both])
            for _ in range(2)
        ]

        assert [expect(one, Submitted).duplicate for one in first] == [False, False]
        assert [expect(one, Submitted).duplicate for one in again] == [True, True]
        assert [expect(one, Submitted).execution for one in again] == [
            expect(one, Submitted).execution for one in first
        ]

    async def test_of_correlation_keys(self, driver: Driver) -> None:
        """What comes or goes under a key of one tenant leaves the other's row as it was (S9)."""
        mine, others = (CorrelationKey(each, "k", _SCOPE) for each in (TENANT, OTHER_TENANT))
        await driver.do(_early(driver, mine), _early(driver, others))
        [[before]] = await driver.store.correlated(OTHER_TENANT, ["k"])

        first = await driver.one(_early(driver, mine))
        [[after]] = await driver.store.correlated(OTHER_TENANT, ["k"])
        second = await driver.one(_early(driver, others))
        driver.clock.advance(2 * DAY)
        expired = await driver.one(ExpireEarly(mine))

        assert [expect(each, Received).outcome for each in (first, second)] == [
            ReceiptOutcome.DUPLICATE
        ] * 2
        assert after == before
        assert expired == Settled(mine)
        assert await driver.store.correlated(TENANT, ["k"]) == [[]]
        [[left]] = await driver.store.correlated(OTHER_TENANT, ["k"])
        assert left.row.duplicates == 1

    async def test_of_forgotten_keys(self, driver: Driver) -> None:
        """An old submit key goes, and the same key of another tenant, still young, stays (S9)."""
        for tenant in (TENANT, OTHER_TENANT):
            await driver.one(driver.submission("order-42", tenant=tenant))
            [claimed] = await driver.claim()
            await driver.one(Finish(claimed.execution.id, claimed.execution.fence, 1, b"1"))
            driver.clock.advance(DAY)
        retired = await driver.store.retire(driver.clock(), LIMIT)

        forgotten = await driver.store.forget_keys(driver.clock() - DAY, LIMIT)

        assert (retired, forgotten) == (2, 1)
        anew, again = await driver.do(
            *[driver.submission("order-42", tenant=tenant) for tenant in (TENANT, OTHER_TENANT)]
        )
        assert not expect(anew, Submitted).duplicate
        assert expect(again, Submitted).duplicate

    async def test_of_the_sweep(self, driver: Driver) -> None:
        """What is overdue is listed once, and what is due handed out once, whosever it is."""
        parked = [await driver.parked(tenant=tenant) for tenant in (TENANT, OTHER_TENANT)]
        driver.clock.advance(2 * DAY)
        queued = [await driver.submit(tenant=tenant) for tenant in (TENANT, OTHER_TENANT)]

        overdue = await driver.store.overdue(LIMIT)
        claimed = await driver.claim()

        assert sorted(overdue.expired) == sorted(parked)
        assert sorted(one.execution.id for one in claimed) == sorted(queued)

    async def test_of_cancellation(self, driver: Driver) -> None:
        """Another tenant's cancellation finds nothing and changes nothing (S9)."""
        interaction = await driver.parked()
        before = await driver.dump()

        outcomes = await driver.do(
            Cancel(interaction.execution, OTHER_TENANT, "not yours"),
            Cancel(driver.new_id(), OTHER_TENANT, "not there"),
        )

        assert outcomes[0] == outcomes[1]
        assert await driver.dump() == before
