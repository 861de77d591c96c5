"""Through a pooler in transaction mode: nothing leans on a session, and nothing stays behind in one."""

from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from bide import App, Pipeline, Transaction
from bide.settings import Settings
from tests.chaos.clients import Clients
from tests.chaos.proof import prove, until_all_succeeded
from tests.chaos.shop import app as shop
from tests.servers.pooler import Pooler

ORDERS = 300
_LEFT = (
    "select (select count(*) from pg_prepared_statements) +"
    " (select count(*) from pg_listening_channels()), current_setting('enable_seqscan'),"
    " current_setting('idle_in_transaction_session_timeout')"
)


def app_at(url: str) -> App:
    return shop.using(store=url, settings=Settings(poll_max_ms=50))


async def nothing() -> None:
    """No nemesis."""


async def test_two_processes_worth_of_apps_share_a_few_sessions(postgres_store: str) -> None:
    """Orders that park and resume finish once each, each transaction in another session."""
    async with Pooler(postgres_store) as pooler:
        door, worker = app_at(pooler.url), app_at(pooler.url)
        clients = Clients(door)
        async with door.running(workers=False), worker.running():
            await clients.run(nothing(), at_least=ORDERS, per_second=1_000, together=10)
            await until_all_succeeded(postgres_store, len(clients.submitted))
            checks = await door.service.examine()

        assert [check.name for check in checks if not (check.ok or check.warning)] == []
        assert pooler.moves > ORDERS / 10
    assert clients.refused == 0
    prove(postgres_store, clients)


async def test_a_session_is_left_as_it_was(postgres_store: str) -> None:
    """No prepared statement, no setting and no listening stays for whoever gets the session next."""
    async with Pooler(postgres_store, sessions=2) as pooler:
        app = app_at(pooler.url)
        async with app.running():
            clients = Clients(app)
            await clients.run(nothing(), at_least=20, per_second=1_000, together=5)
            await until_all_succeeded(postgres_store, len(clients.submitted))

        for session in pooler.sessions:  # nobody else reads from it any more
            assert session.login.execute(_LEFT).fetchall() == [(0, "on", "0")]


class Base(DeclarativeBase): ...


class Row(Base):
    __tablename__ = "pooled_rows"

    number: Mapped[int] = mapped_column(primary_key=True)


async def lay_table(_: int, tx: Transaction) -> None:
    await tx.execute("create table pooled_rows (number integer primary key)")


async def write(number: int, tx: Transaction) -> int:
    await tx.execute("insert into pooled_rows values ($1)", 2 * number)
    async with tx.session() as session:
        session.add(Row(number=2 * number + 1))
    return number


async def test_transactional_steps_share_sessions(postgres_store: str) -> None:
    """Each is whole in one session, through the driver and SQLAlchemy, and leaves nothing there."""
    laying, writing = (Pipeline(f.__name__, int).then(f) for f in (lay_table, write))
    async with Pooler(postgres_store, sessions=3) as pooler:
        app = App(laying, writing, store=pooler.url, settings=Settings(poll_max_ms=50))
        async with app.running():
            await (await app.submit(laying, 0)).result(timeout=60)
            made = [await app.submit(writing, number) for number in range(40)]

            assert [await each.result(timeout=60) for each in made] == list(range(40))
        for session in pooler.sessions:
            assert session.login.execute(_LEFT).fetchall() == [(0, "on", "0")]
            found = session.login.execute("select number from pooled_rows order by 1").fetchall()
            assert found == [(number,) for number in range(80)]


async def test_migrating_takes_turns_through_a_pooler(postgres_url: str) -> None:
    """The tables are made, and found when it is tried again."""
    async with Pooler(postgres_url) as pooler:
        app = app_at(pooler.url)
        await app.migrate()
        await app.migrate()
        async with app.running(workers=False):
            pass
