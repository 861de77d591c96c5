"""The server that the tests start: real, fresh for each test, and as mortal as a test needs."""

import psycopg
import pytest

from tests.servers.postgres import PostgresServer, Stop


def _rows(url: str) -> list[int]:
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute("select n from kept order by n")]


def test_a_database_is_new_and_owned(postgres_server: PostgresServer, postgres_url: str) -> None:
    """Its owner, who is no superuser, may make tables in it, and finds none."""
    with psycopg.connect(postgres_url) as connection:
        tables = "select count(*) from pg_tables where schemaname = 'public'"
        assert connection.execute(tables).fetchone() == (0,)
        connection.execute("create table mine (n int)")
        who = "select rolsuper from pg_roles where rolname = current_user"
        assert connection.execute(who).fetchone() == (False,)


def test_a_template_is_copied(postgres_server: PostgresServer) -> None:
    """What a template holds is in each copy, and what is written to a copy is in none."""
    with postgres_server.database() as url:
        postgres_server.execute("create table kept (n int)", url=url)
        postgres_server.execute("insert into kept values (1)", url=url)
        name = url.rpartition("/")[2]
        with postgres_server.database(template=name) as first:
            postgres_server.execute("insert into kept values (2)", url=first)
            with postgres_server.database(template=name) as second:
                assert (_rows(first), _rows(second)) == ([1, 2], [1])


@pytest.mark.process
def test_it_comes_back_with_all_that_was_committed() -> None:
    """On the same port, however it ended: asked to in each way, or killed with all its processes."""
    with PostgresServer(durable=True) as server, server.database() as url:
        server.execute("create table kept (n int)", url=url)
        for n, how in enumerate((*Stop, None)):
            server.execute(f"insert into kept values ({n})", url=url)
            if how is None:
                server.kill()
                assert not server.alive
                server.start()
            else:
                server.restart(how)
            assert _rows(url) == list(range(n + 1))
    assert not server.alive
