"""Files of keys: read again when they change, replaced as a whole."""

from pathlib import Path

import pytest

from bide.errors import DefinitionError
from bide.security.files import Watched, is_private, write_key_file


def text_of(data: bytes, source: str) -> str:
    if data.startswith(b"!"):
        raise DefinitionError(f"{source}: no text")
    return data.decode()


class Seconds:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_change_is_seen_within_a_second(tmp_path: Path) -> None:
    """A rotation needs no restart; looks are a second apart."""
    path, clock = tmp_path / "keys.json", Seconds()
    write_key_file(path, b"one")
    watched = Watched(path, text_of, clock=clock)
    write_key_file(path, b"two")

    assert watched.current() == "one"
    clock.now = 1.0
    assert watched.current() == "two"


@pytest.mark.parametrize("slip", [b"!", None])
def test_a_slip_locks_nobody_out(
    tmp_path: Path, slip: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    """What was read last stays good while the file is broken or away, and the log says so."""
    path, clock = tmp_path / "keys.json", Seconds()
    write_key_file(path, b"one")
    watched = Watched(path, text_of, clock=clock)
    if slip is None:
        path.unlink()
    else:
        write_key_file(path, slip)
    clock.now = 1.0

    assert watched.current() == "one"
    assert str(path) in caplog.text
    write_key_file(path, b"two")
    clock.now = 2.0
    assert watched.current() == "two"


def test_a_file_that_cannot_be_read_is_no_start(tmp_path: Path) -> None:
    """At the start nothing was read before, so it is an error that names the file."""
    with pytest.raises(DefinitionError, match=r"cannot read .*keys\.json: No such file"):
        Watched(tmp_path / "keys.json", text_of)


def test_a_file_is_written_for_its_owner_and_as_a_whole(tmp_path: Path) -> None:
    """Nobody else may read it, and no half of it or scrap beside it is left."""
    path = tmp_path / "keys.json"
    write_key_file(path, b"one")
    write_key_file(path, b"two")

    assert path.read_bytes() == b"two"
    assert is_private(path)
    assert list(tmp_path.iterdir()) == [path]
    path.chmod(0o644)
    assert not is_private(path)


def test_a_folder_that_takes_no_file_is_an_error(tmp_path: Path) -> None:
    """The message names the file."""
    with pytest.raises(DefinitionError, match="cannot write"):
        write_key_file(tmp_path / "nowhere" / "keys.json", b"one")
