"""A project's files: texts that depend on its choice, and the folder that they go to."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from string import Template

from bide.errors import DefinitionError
from bide.scaffold.choices import Choice


class _Text(Template):
    """`@{name}` is filled in; the dollars of make and shell stay."""

    delimiter = "@"


def files_of(choice: Choice) -> Mapping[str, str]:
    """Give every file of a project by its path inside of it: what was chosen, and nothing else."""
    words = _words(choice)
    package = choice.package
    wanted = {
        "README.md": "README",
        "Makefile": "Makefile",
        "pyproject.toml": "pyproject",
        "requirements.txt": "requirements",
        ".gitignore": "gitignore",
        f"{package}/__init__.py": "init",
        f"{package}/app.py": "app-yaml" if choice.yaml else "app-code",
        f"{package}/orders.py": "orders",
        **({f"{package}/orders.yaml": "orders-yaml"} if choice.yaml else {}),
        "tests/test_orders.py": "tests",
    }
    return {path: _filled(name, words) for path, name in wanted.items()}


def write(choice: Choice, where: Path) -> list[Path]:
    """Make the project's folder in `where` and write its files; give their paths.

    Raises:
        DefinitionError: there is something of that name already; nothing is touched.
    """
    folder = where / choice.name
    try:
        folder.mkdir()
    except FileExistsError:
        raise DefinitionError(
            f"{choice.name} is there already; remove it, or choose another name"
        ) from None
    written: list[Path] = []
    for path, text in files_of(choice).items():
        target = folder / path
        target.parent.mkdir(exist_ok=True)
        target.write_text(text, encoding="utf-8")
        written.append(target)
    return written


def _words(choice: Choice) -> dict[str, str]:
    """What stands in the places that differ."""
    carrier = choice.carrier
    package = choice.package
    extras = [*carrier.extras, "yaml"] if choice.yaml else list(carrier.extras)
    sent = carrier.flows == "sent"
    built = ["Await", "Pipeline", "branch", carrier.class_name]
    words = {
        "name": choice.name,
        "package": package,
        "version": version("bide"),
        "extras": f"[{','.join(extras)}]" if extras else "",
        "packages": f'packages = ["{package}"]\n' if choice.yaml else "",
        "ignored": "".join(f"{name}\n" for name in carrier.ignored),
        "orders_are": "types and steps" if choice.yaml else "types, steps and the pipeline",
        "names": _imported("NonRetryable", *([] if choice.yaml else built)),
        "via": carrier.via.format(package=package),
        "file": f"{package}/orders.{'yaml' if choice.yaml else 'py'}",
        "where": f"the types and the steps, `{package}/orders.yaml` the pipeline"
        if choice.yaml
        else "the types, the steps and the pipeline",
        "submit": '"orders", ORDER.model_dump()' if choice.yaml else "orders, ORDER",
        "decide": '"decide-on-order"' if choice.yaml else "decide",
        "test_orders": "\n".join(f"    {name}," for name in _used_by_tests(choice)),
        "untyped": ": object" if choice.yaml else "",
        "keys": "\n    export BIDE_KEYRING_FILE=keyring.json" if sent else "",
        "as_whom": "   # in its place" if sent else " --actor ada",
        "test_names": _imported("CompletionConflict", "ExecutionFailed", "NonRetryable"),
        "outcomes": "from bide.spi.transport import Delivered, Delivery, Unclear\n" if sent else "",
        "tests_are": "nothing is sent" if sent else "nothing waits",
    }
    for place, name in {
        "pipeline": None if choice.yaml else "pipeline-code",
        "transport": f"transport-{choice.via}",
        "run": f"run-{choice.via}",
        "try": f"try-{choice.via}",
        "flows": f"flows-{carrier.flows}",
    }.items():
        words[place] = "" if name is None else _filled(name, words).rstrip("\n")
    return words


def _used_by_tests(choice: Choice) -> list[str]:
    """What the tests need of the orders, beside what all of them need: the objects of code."""
    if choice.yaml:
        return ["regret"]
    return (
        ["orders", "regret"] if choice.carrier.flows == "sent" else ["decide", "orders", "regret"]
    )


def _imported(*names: str) -> str:
    """The names of an import, in the order that sorters give them: classes, then functions."""
    return ", ".join(sorted(names, key=lambda name: (name[0].islower(), name)))


def _filled(name: str, words: Mapping[str, str]) -> str:
    text = (files("bide.scaffold") / "templates" / f"{name}.txt").read_text(encoding="utf-8")
    return f"{_Text(text).substitute(words).rstrip()}\n"
