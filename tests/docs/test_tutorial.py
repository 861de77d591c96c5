"""Pages that are sessions, typed in by a test: every file, every command, every promised answer."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.processes import PATIENCE_S, ROOT, free_port

TUTORIAL = ROOT / "docs" / "tutorial.md"
HOW_TO = ROOT / "docs" / "how-to"
PAGES = [
    TUTORIAL,
    ROOT / "README.md",
    HOW_TO / "authentication.md",
    HOW_TO / "graph.md",
    HOW_TO / "new-project.md",
    HOW_TO / "tokens-and-links.md",
    HOW_TO / "watch-it-run.md",
    HOW_TO / "yaml.md",
]
FENCE = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass
class Block:
    """One fenced block: a file, commands, or what the commands before it print."""

    kind: str
    note: str
    text: str

    def matches(self, output: str) -> bool:
        """Tell whether each line is in the output, in this order; `...` stands for anything."""
        printed = iter(output.splitlines())
        wanted = [
            re.compile(".*".join(re.escape(part.strip()) for part in line.split("...")))
            for line in self.text.splitlines()
        ]
        return all(any(pattern.search(line) for line in printed) for pattern in wanted)


def blocks(page: Path = TUTORIAL) -> list[Block]:
    """Read a page's blocks."""
    return [Block(*groups) for groups in FENCE.findall(page.read_text(encoding="utf-8"))]


class Shell:
    """The reader's terminal: one bash in a fresh folder."""

    def __init__(self, folder: Path, port: int) -> None:
        self._port = str(port)
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self._bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env={**os.environ, "PATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, commands: str) -> tuple[int, str]:
        """Run some lines; gives how the last one ended, and what they printed."""
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        self._bash.stdin.write(f'{self.with_port(commands)}\necho "@@end $?"\n')
        self._bash.stdin.flush()
        printed: list[str] = []
        for line in self._bash.stdout:
            before, mark, code = line.partition("@@end ")
            printed.append(before)
            if mark:
                return int(code), "".join(printed)
        raise AssertionError(f"the shell ended: {''.join(printed)}")

    def with_port(self, text: str) -> str:
        """Name a port that is free, where the page says 8000."""
        return text.replace("8000", self._port)

    def close(self) -> None:
        """End it with all that it started."""
        os.killpg(self._bash.pid, signal.SIGKILL)
        self._bash.wait()
        for pipe in (self._bash.stdin, self._bash.stdout):
            if pipe is not None:
                pipe.close()


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A terminal that is closed after the test."""
    opened = Shell(tmp_path, free_port())
    yield opened
    opened.close()


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_page_does_what_it_says(tmp_path: Path, shell: Shell, page: Path) -> None:
    """From an empty folder, every command works and prints what the page shows."""
    todo = blocks(page)
    ran = 0
    for number, block in enumerate(todo):
        follows = todo[number + 1] if number + 1 < len(todo) else None
        expected = follows if follows is not None and follows.kind == "text" else None
        if block.note.startswith("title="):
            text = shell.with_port(block.text)
            (tmp_path / block.note.removeprefix("title=")).write_text(text, encoding="utf-8")
        elif block.kind == "bash":
            run_block(shell, block, expected)
            ran += 1
    assert ran > 2


def run_block(shell: Shell, block: Block, expected: Block | None) -> None:
    """Run commands once; those that only look are repeated until they see it, as a reader does."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        code, output = shell.run(block.text)
        as_said = (code != 0) is (block.note == "fails")
        if as_said and (expected is None or expected.matches(output)):
            return
        if block.note != "look" or time.monotonic() > deadline:
            log = shell.run("cat service.log")[1]
            pytest.fail(f"{block.text}\ngave {code}:\n{output}\nservice.log:\n{log}")


def test_every_block_is_of_a_kind_that_is_tested() -> None:
    """Only the installation is left to people: all else is run."""
    kinds = {block.kind for block in blocks()}

    assert kinds == {"sh", "python", "bash", "text"}
    assert [block.text.count("pip install") for block in blocks() if block.kind == "sh"] == [1]


def test_the_first_program_is_five_lines() -> None:
    """The hello world stays a hello world."""
    [hello] = [block for block in blocks() if block.note == "title=hello.py"]

    assert len([line for line in hello.text.splitlines() if line.strip()]) <= 5
