"""The audit: one entry in the commit of each decision that somebody signed."""

from bide.engine.moves import (
    Admit,
    Assign,
    Audit,
    Cancel,
    Move,
    Note,
    Noted,
    Received,
    Release,
    Submitted,
)
from bide.model.ids import ExecutionId, compose_execution_id
from bide.model.records import AuditEntry, replace
from bide.model.status import ReceiptOutcome
from bide.spi.store import AuditQuery
from bide.testing.store_contract.harness import (
    AFTER_AWAIT,
    LIMIT,
    OTHER_TENANT,
    TENANT,
    Driver,
    answer,
    answer_by_key,
    correlated,
    expect,
    redrive_of,
)


def signed(driver: Driver, actor: str | None = "ada") -> Audit:
    """Somebody's signature, with an id of its own."""
    return Audit(driver.new_id(), "api-key:a1", actor, b"shown".ljust(32))


def noted(driver: Driver, *, tenant: str = TENANT, execution: ExecutionId | None = None) -> Note:
    """A refusal at the door."""
    entry = AuditEntry(
        driver.new_id(), tenant, 0, "complete", "not-allowed", "bob", "jwt:k1", execution
    )
    return Note(entry)


async def audit_of(driver: Driver, tenant: str = TENANT) -> list[AuditEntry]:
    """The whole audit of a tenant, newest first."""
    return await driver.store.audit(AuditQuery(tenant, limit=LIMIT))


class TestAudit:
    """Who decided what is written with the decision."""

    async def test_an_admission_is_audited(self, driver: Driver) -> None:
        """Its entry says who, when, by what, on what, and how it ended (S1)."""
        place = await driver.parked()
        driver.clock.advance(5)
        by = signed(driver)

        await driver.one(replace(answer(place), audit=by))

        assert await audit_of(driver) == [
            AuditEntry(
                by.id, TENANT, driver.clock(), "complete", "applied", "ada", "api-key:a1",
                place.execution, place.unit, place.item, place.generation, by.shown,
            )
        ]  # fmt: skip

    async def test_what_nobody_signed_is_not(self, driver: Driver) -> None:
        """An unsigned decision leaves its own rows and no more."""
        await driver.one(answer(await driver.parked()))
        await driver.cancelled()

        assert await audit_of(driver) == []

    async def test_a_repeat_is_not_told_and_a_conflict_is(self, driver: Driver) -> None:
        """A duplicate is counted where it belongs; an answer that differs, and a late one, is told."""
        place, left = await driver.parked(), await driver.parked()
        await driver.one(Cancel(left.execution, TENANT, "no"))
        said: list[tuple[Admit, ReceiptOutcome]] = [
            (answer(place, b"1"), ReceiptOutcome.APPLIED),
            (answer(place, b"1"), ReceiptOutcome.DUPLICATE),
            (answer(place, b"2"), ReceiptOutcome.CONFLICT),
            (answer(left, b"3"), ReceiptOutcome.LATE),
            (answer(place._replace(unit=9)), ReceiptOutcome.UNKNOWN),
        ]
        moves: list[Move] = [replace(move, audit=signed(driver)) for move, _ in said]

        outcomes = [expect(each, Received).outcome for each in await driver.do(*moves)]

        assert outcomes == [outcome for _, outcome in said]
        told = [entry.outcome for entry in await audit_of(driver)]
        assert told == ["late", "conflict", "applied"]

    async def test_an_answer_by_key_is_audited(self, driver: Driver) -> None:
        """With the interaction that asked under the key, or with none where it is kept."""
        place = await driver.parked(correlation=correlated("k"))
        moves: list[Move] = [
            replace(answer_by_key(driver, key), audit=signed(driver)) for key in ("k", "l")
        ]

        await driver.do(*moves)

        kept, applied = await audit_of(driver)
        assert (applied.outcome, applied.execution) == ("applied", place.execution)
        assert (kept.outcome, kept.execution) == ("buffered", None)

    async def test_what_operators_do_is_audited(self, driver: Driver) -> None:
        """Each move that somebody signs leaves its entry; one that comes to nothing leaves none."""
        place = await driver.parked()
        failed = await driver.failed()
        moves: list[Move] = [
            Assign(place, TENANT, "bob", None, signed(driver)),
            Assign(place, TENANT, "eve", frozenset({None}), signed(driver)),
            Release(place.execution, TENANT, AFTER_AWAIT, None, signed(driver)),
            Cancel(place.execution, TENANT, "enough", signed(driver)),
            Cancel(place.execution, TENANT, "again", signed(driver)),
            replace(redrive_of(driver, failed), audit=signed(driver)),
        ]

        outcomes = await driver.do(*moves)

        expect(outcomes[-1], Submitted)
        entries = await audit_of(driver)
        assert [(entry.deed, entry.detail) for entry in reversed(entries)] == [
            ("assign", "bob"), ("release", AFTER_AWAIT), ("cancel", "enough"), ("redrive", None),
        ]  # fmt: skip
        assert {entry.outcome for entry in entries} == {"done"}
        assert entries[0].execution == failed

    async def test_a_note_is_an_entry(self, driver: Driver) -> None:
        """What was refused at the door is written with the commit's time."""
        note = noted(driver)
        driver.clock.advance(7)

        assert await driver.one(note) == Noted()

        assert await audit_of(driver) == [replace(note.entry, at=driver.clock())]

    async def test_a_repeat_of_an_entry_is_one(self, driver: Driver) -> None:
        """The same entry twice, in one batch and in two, is there once (S7)."""
        note = noted(driver)

        await driver.do(note, note)
        await driver.one(note)

        assert len(await audit_of(driver)) == 1

    async def test_a_bad_entry_fails_alone(self, driver: Driver) -> None:
        """What no store can keep takes its own move with it, and no other (S6)."""
        place, other = await driver.parked(), await driver.parked()
        bad = replace(answer(place), audit=signed(driver, "a\0b"))
        good = replace(answer(other), audit=signed(driver))

        outcomes = await driver.do(bad, good)

        assert not isinstance(outcomes[0], Received)
        assert expect(outcomes[1], Received).outcome is ReceiptOutcome.APPLIED
        [entry] = await audit_of(driver)
        assert entry.execution == other.execution
        assert (await driver.asked(place)).interaction.answer is None

    async def test_pages(self, driver: Driver) -> None:
        """Newest first, on from the last of the page before, of one execution or of all."""
        first, second = await driver.submit(), await driver.submit()
        notes = [noted(driver, execution=(first, second)[number % 2]) for number in range(7)]
        await driver.do(*notes)
        newest = [note.entry.id for note in reversed(notes)]

        pages: list[ExecutionId] = []
        while page := await driver.store.audit(
            AuditQuery(TENANT, before=pages[-1] if pages else None, limit=3)
        ):
            pages += [entry.id for entry in page]

        assert pages == newest
        of_second = await driver.store.audit(AuditQuery(TENANT, second, limit=LIMIT))
        assert [entry.id for entry in of_second] == newest[1::2]
        below = await driver.store.audit(AuditQuery(TENANT, second, newest[1], limit=1))
        assert [entry.id for entry in below] == [newest[3]]

    async def test_outlives_what_it_is_about(self, driver: Driver) -> None:
        """Retention of executions leaves the audit; its own removes the oldest, so many a call."""
        place = await driver.parked()
        await driver.one(replace(answer(place), audit=signed(driver)))
        await driver.one(Cancel(place.execution, TENANT, "done", signed(driver)))
        driver.clock.advance(10)
        await driver.store.retire(driver.clock(), LIMIT)
        kept = await audit_of(driver)
        await driver.one(noted(driver, tenant=OTHER_TENANT))
        before = compose_execution_id(driver.clock(), 0, 0)

        removed = [await driver.store.forget_audit(before, 1) for _ in range(3)]

        assert len(kept) == 2
        assert removed == [1, 1, 0]
        assert await audit_of(driver) == []
        assert len(await audit_of(driver, OTHER_TENANT)) == 1
