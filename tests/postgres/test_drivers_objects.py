"""The driver's connection and SQLAlchemy's session, within the transaction of a step."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import asyncpg
import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from bide import App, Context, ExecutionFailed, Pipeline, Retry, Transaction, step
from bide.stores.postgres import held
from tests.integration.support import quick

ONCE = Retry(attempts=1)
SOON = Retry(attempts=3, first="1ms", longest="2ms")
TABLES = (
    "drop table if exists notes",
    "create table notes (id uuid primary key, words text not null, extra jsonb)",
)
MINE = uuid5(NAMESPACE_URL, "mine")


class Base(DeclarativeBase): ...


class Note(Base):
    __tablename__ = "notes"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    words: Mapped[str]


async def lay_tables(_: int, tx: Transaction) -> None:
    for sql in TABLES:
        await tx.execute(sql)


async def look(_: int, tx: Transaction) -> list[str]:
    rows = await tx.fetch("select id, words from notes order by words")
    assert all(isinstance(row["id"], UUID) for row in rows)
    return [row["words"] for row in rows]


laying = Pipeline("laying", int).then(lay_tables)
looking = Pipeline("looking", int).then(look)


async def run(app: App, pipeline: Any, value: int = 1) -> Any:
    return await (await app.submit(pipeline, value)).result(timeout=60)


@pytest.fixture
def made(postgres_tables: str) -> Callable[..., App]:
    def make(*pipelines: Any, **settings: Any) -> App:
        return App(*pipelines, laying, looking, store=postgres_tables, settings=quick(**settings))

    return make


async def test_the_connection_is_the_drivers(made: Callable[..., App]) -> None:
    """Its statements are the step's, its blocks are savepoints, and its types are as ever."""

    async def write(number: int, tx: Transaction) -> int:
        db: asyncpg.Connection = await tx.connection()
        await db.execute("insert into notes values ($1, 'kept')", MINE)
        with pytest.raises(asyncpg.UniqueViolationError):
            async with db.transaction():
                await db.execute("insert into notes values ($1, 'again')", MINE)
        async with db.transaction():
            await db.execute("insert into notes values ($1, 'nested')", uuid5(MINE, "2"))
        assert await db.fetchval("select id from notes where words = 'kept'") == MINE
        await tx.execute("insert into notes values ($1, 'beside')", uuid5(MINE, "3"))
        return number

    writing = Pipeline("writing", int).then(write)
    async with made(writing).running() as app:
        await run(app, laying)

        assert await run(app, writing) == 1

        assert await run(app, looking) == ["beside", "kept", "nested"]


async def test_a_session_is_sqlalchemys(made: Callable[..., App]) -> None:
    """What it flushes is the step's; its commits and roll-backs are savepoints."""

    async def write(number: int, tx: Transaction) -> int:
        await tx.execute("insert into notes values ($1, 'before')", uuid5(MINE, "0"))
        async with tx.session() as session:
            session.add(Note(id=MINE, words="one"))
            await session.commit()
            session.add(Note(id=uuid5(MINE, "2"), words="gone"))
            await session.flush()
            await session.rollback()
            session.add(note := Note(id=uuid5(MINE, "3"), words="three"))
        assert note.words == "three"
        async with tx.session() as session:
            found = await session.scalars(select(Note.words).order_by(Note.words))
            assert list(found) == ["before", "one", "three"]
        return number

    writing = Pipeline("writing", int).then(write)
    async with made(writing).running() as app:
        await run(app, laying)

        assert await run(app, writing) == 1

        assert await run(app, looking) == ["before", "one", "three"]


async def test_a_step_that_fails_behind_a_session(made: Callable[..., App]) -> None:
    """What a session has committed goes with the step, and a retry starts clean."""

    @step(retry=SOON)
    async def write(number: int, ctx: Context, tx: Transaction) -> int:
        async with tx.session() as session:
            session.add(Note(id=MINE, words=f"try {ctx.attempt}"))
            await session.commit()
        if ctx.attempt < 3:
            raise OSError("not yet")
        return number

    writing = Pipeline("writing", int).then(write)
    async with made(writing).running() as app:
        await run(app, laying)

        assert await run(app, writing) == 1

        assert await run(app, looking) == ["try 3"]


async def test_a_refused_statement_of_a_session(made: Callable[..., App]) -> None:
    """An error of SQLAlchemy's that leaves the step is its failure; one within is a savepoint's."""

    async def write(number: int, tx: Transaction) -> int:
        async with tx.session() as session:
            session.add(Note(id=MINE, words="one"))
            await session.commit()
            session.add(Note(id=MINE, words="again"))
            with pytest.raises(IntegrityError):
                await session.flush()
            await session.rollback()
        return number

    @step(retry=ONCE)
    async def careless(number: int, tx: Transaction) -> int:
        async with tx.session() as session:
            await session.execute(text("insert into nowhere values (1)"))
        return number

    writing, failing = Pipeline("writing", int).then(write), Pipeline("failing", int).then(careless)
    async with made(writing, failing).running() as app:
        await run(app, laying)

        assert await run(app, writing) == 1
        with pytest.raises(ExecutionFailed, match="nowhere"):
            await run(app, failing)

        assert await run(app, looking) == ["one"]


@pytest.mark.parametrize("sql", ["commit", "rollback"])
async def test_a_step_that_ends_the_transaction_itself(made: Callable[..., App], sql: str) -> None:
    """Over the driver it can, and then it has failed: nothing of Bide's goes on as if it had not."""

    @step(retry=ONCE)
    async def meddle(number: int, tx: Transaction) -> int:
        db = await tx.connection()
        await db.execute(sql)
        return number

    meddling = Pipeline("meddling", int).then(meddle)
    async with made(meddling).running() as app:
        with pytest.raises(ExecutionFailed, match="ended its transaction itself") as failed:
            await run(app, meddling)

        assert failed.value.code == "transaction-failed"


async def test_an_error_that_was_swallowed(made: Callable[..., App]) -> None:
    """A statement that failed outside a savepoint dooms the transaction, whatever the step does."""

    @step(retry=ONCE)
    async def careless(number: int, tx: Transaction) -> int:
        db = await tx.connection()
        await db.execute("insert into notes values ($1, 'one')", MINE)
        with pytest.raises(asyncpg.UndefinedTableError):
            await db.execute("insert into nowhere values (1)")
        return number

    failing = Pipeline("failing", int).then(careless)
    async with made(failing).running() as app:
        await run(app, laying)

        with pytest.raises(ExecutionFailed, match="refuses to commit"):
            await run(app, failing)

        assert await run(app, looking) == []


async def test_it_is_bounded_all_the_same(made: Callable[..., App]) -> None:
    """A connection that was lent is cut off when the whole time is up."""

    @step(retry=SOON)
    async def slow(number: int, ctx: Context, tx: Transaction) -> int:
        db = await tx.connection()
        await db.execute("insert into notes values ($1, $2)", MINE, f"try {ctx.attempt}")
        if ctx.attempt == 1:
            await db.execute("select pg_sleep(60)")
        return number

    lasting = Pipeline("lasting", int).then(slow)
    async with made(lasting, transaction_max_ms=1_000).running() as app:
        await run(app, laying)

        assert await run(app, lasting) == 1

        assert await run(app, looking) == ["try 2"]


async def test_a_file_has_none_of_it(tmp_path: Path) -> None:
    """Over SQLite both say that they are PostgreSQL's, and trying again does not help."""

    async def connect(number: int, tx: Transaction) -> int:
        await tx.connection()
        return number

    async def open_session(number: int, tx: Transaction) -> int:
        async with tx.session():
            return number

    pipelines = [Pipeline(f.__name__, int).then(f) for f in (connect, open_session)]
    store = f"sqlite:///{tmp_path}/bide.db"
    async with App(*pipelines, store=store, settings=quick()).running() as app:
        for pipeline in pipelines:
            with pytest.raises(ExecutionFailed, match="on PostgreSQL alone") as failed:
                await run(app, pipeline)

            assert (failed.value.code, failed.value.attempts) == ("non-retryable", 1)


async def test_without_sqlalchemy(
    made: Callable[..., App], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session says what to install where SQLAlchemy is not."""
    monkeypatch.setitem(sys.modules, "bide.stores.postgres.sessions", None)
    held._sessions.cache_clear()

    async def open_session(number: int, tx: Transaction) -> int:
        async with tx.session():
            return number

    opening = Pipeline("opening", int).then(open_session)
    async with made(opening).running() as app:
        with pytest.raises(ExecutionFailed, match=r'pip install "bide\[sqlalchemy\]"'):
            await run(app, opening)
