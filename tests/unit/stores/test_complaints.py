"""What a server refuses, in words."""

import socket
import ssl

import pytest

from bide.stores.postgres.complaints import explained, state_of


class _Refusal(Exception):
    def __init__(self, sqlstate: str, message: str) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (_Refusal("28P01", 'password authentication failed for user "ada"'), "PGPASSWORD"),
        (_Refusal("3D000", 'database "shop" does not exist'), "createdb"),
        (_Refusal("42501", "permission denied for table units"), "permission denied for table"),
        (_Refusal("42P01", 'relation "units" does not exist'), "bide migrate"),
        (_Refusal("25006", "cannot execute INSERT in a read-only transaction"), "standby"),
        (_Refusal("53300", "sorry, too many clients already"), "max_connections"),
        (_Refusal("57P03", "the database system is starting up"), "starting up"),
        (_Refusal("XX000", "could not read block 7\nDETAIL: of a row"), "block 7 (SQLSTATE XX000)"),
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused"),
        (socket.gaierror(-2, "Name or service not known"), "host"),
        (TimeoutError(), "in time"),
        (ssl.SSLError(1, "certificate verify failed"), "sslmode"),
        (EOFError("u:secret@"), "EOFError"),
    ],
)
def test_each_refusal_says_what_to_do(error: Exception, words: str) -> None:
    """A refusal is one line that begins with the database and names the way out."""
    said = str(explained(error, "the database shop on db:5432"))

    assert said.startswith("the database shop on db:5432 ")
    assert words in said
    assert "\n" not in said
    assert "secret" not in said


def test_a_state_is_read_only_from_a_servers_error() -> None:
    """Errors of the network have none."""
    assert state_of(_Refusal("40001", "could not serialize")) == "40001"
    assert state_of(OSError("no route")) is None
