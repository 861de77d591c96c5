"""What goes wrong between us and the server, as one line that says what to do about it.

Told by SQLSTATE, the five characters that every driver hands on, so that nothing here depends on
one. A server's own words are repeated only where they help and can hold no password.
"""

import socket
import ssl

from bide.errors import StoreUnavailable

#: SQLSTATE to what is wrong with the database, and what to do; `{said}` is what the server said.
_WORDS = {
    "28P01": "refuses the password; check user and password in the address, PGPASSWORD or ~/.pgpass",
    "28000": "lets this user in neither so nor from here: {said}",
    "3D000": "does not exist on that server; make it first: createdb NAME",
    "42501": "may not be used so by this user: {said}; grant it, or let its owner run bide migrate",
    "3F000": "lacks a schema: {said}; see search_path of the user",
    "42P01": "lacks a table: {said}; make it: bide migrate",
    "25006": "may only be read; name the primary, not a standby",
    "53300": "takes no more connections: {said}; raise max_connections, or go through PgBouncer",
    "53100": "has no disk space left; nothing acknowledged was lost, free some",
    "57P01": "was disconnected by an administrator",
    "57P02": "is restarting after a crash of the server",
    "57P03": "takes no connections yet: {said}",
    "57014": "cut a statement off: {said}",
    "0A000": "lacks what is needed: {said}",
}
#: Classes of SQLSTATE that are about values: data, integrity constraints, too large rows or keys.
_OF_VALUES = ("22", "23", "54")


def explained(error: BaseException, database: str) -> StoreUnavailable:
    """Say in a sentence what is wrong, and what to do.

    Args:
        error: what the driver raised.
        database: which one, to begin the sentence with: `the database shop on db.internal:5432`.
    """
    return StoreUnavailable(f"{database} {_what(error)}")


def state_of(error: BaseException) -> str | None:
    """The SQLSTATE of a driver's error, if the server sent one."""
    state: object = getattr(error, "sqlstate", None)
    return state if isinstance(state, str) else None


def _what(error: BaseException) -> str:
    state = state_of(error)
    if state is not None:
        said = str(error).partition("\n")[0].rstrip(".")
        return _WORDS.get(state, "failed: {said} (SQLSTATE {state})").format(said=said, state=state)
    match error:
        case socket.gaierror():
            return "is on a host whose name nobody knows; check the address"
        case ssl.SSLError():
            return (
                f"cannot be reached safely: {error.strerror or error}; see sslmode in the address"
            )
        case TimeoutError():
            return "did not answer in time; is the address right, and the way there open?"
        case OSError():
            reason = error.strerror or str(error).partition("\n")[0]
            return f"cannot be reached: {reason}; does the server run there?"
        case _:
            return f"was lost: {type(error).__name__}"


def refused_value(error: BaseException) -> str | None:
    """Say what is wrong with a value that the database or the driver refuses, and never the value.

    Gives None for an error of any other kind.
    """
    state = state_of(error) or ""
    if state == "22021":
        return "a text holds the character NUL, or is not UTF-8"
    match error.__cause__:
        case UnicodeEncodeError() if state:
            return "a text holds half a character (a lone surrogate)"
        case OverflowError() if state:
            return "a number needs more bits than its column has"
        case _ if state.startswith(_OF_VALUES):
            return f"the database cannot keep a value (SQLSTATE {state})"
        case _:
            return None
