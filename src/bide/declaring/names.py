"""Dotted names, looked up inside the packages that an app allows and nowhere else.

A file that names functions is code, so it is trusted like code. The wall is there all the same: it
keeps a slip from reaching what nobody meant to offer, and whoever reviews a declaration need only
look at those packages. An object counts as part of the module that it says it is from, so that an
import inside an allowed module opens nothing.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
from collections.abc import Iterable, Sequence
from types import MappingProxyType, ModuleType
from typing import Any, Final

from bide.errors import DefinitionError

#: Types that need no package.
PLAIN_TYPES: Final = MappingProxyType({"str": str, "int": int, "float": float, "bool": bool})

_NAME: Final = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_OPEN: Final = "__"


class Unresolved(Exception):
    """A name names nothing that may be used; the message says what to write instead."""


class Names:
    """The packages that may be named, and what is found in them.

    Args:
        packages: dotted names of packages or modules; whatever is below them belongs to them.

    Raises:
        DefinitionError: none is given, or one is no dotted name.
    """

    def __init__(self, packages: Sequence[str]) -> None:
        if isinstance(packages, str) or not packages:
            given = f"[{packages!r}]" if packages else '["shop"]'
            raise DefinitionError(
                f"load: name the packages that the file may name things of: packages={given}."
            )
        for package in packages:
            if not isinstance(package, str) or not _NAME.fullmatch(package):
                raise DefinitionError(
                    f"load: packages has {package!r}, which is no dotted name such as 'shop.flows'."
                )
        self._packages = tuple(packages)

    def type(self, name: str) -> object:
        """Give a type.

        Raises:
            Unresolved: there is none of that name, or it is no type.
        """
        if name in PLAIN_TYPES:
            return PLAIN_TYPES[name]
        found = self._find(name, "a type")
        if inspect.isroutine(found) or inspect.ismodule(found):
            kind = "module" if inspect.ismodule(found) else "function"
            raise Unresolved(f"{name} is a {kind}; name a type")
        return found

    def function(self, name: str) -> Any:
        """Give a function.

        Raises:
            Unresolved: there is none of that name, or it is none.
        """
        found = self._find(name, "a function")
        if inspect.isclass(found) or not callable(found):
            kind = "a class" if inspect.isclass(found) else f"a {type(found).__name__}"
            raise Unresolved(f"{name} is {kind}; name a function")
        return found

    def _find(self, name: str, what: str) -> object:
        if not _NAME.fullmatch(name) or "." not in name:
            plain = f", or {', '.join(PLAIN_TYPES)}" if what == "a type" else ""
            raise Unresolved(
                f"{name!r} is no dotted name; write {what} as package.module.Name{plain}"
            )
        if any(part.startswith(_OPEN) for part in name.split(".")):
            raise Unresolved(f"{name} names what is Python's own; name {what} of yours")
        if not self._allowed(name):
            raise Unresolved(self._outside(name))
        module, rest = _module_of(name)
        found: object = module
        for index, part in enumerate(rest):
            found = _attribute(found, part, ".".join([module.__name__, *rest[:index]]))
            home = _home(found)
            if home is not None and not self._allowed(home):
                raise Unresolved(self._outside(home, as_=name))
        return found

    def _allowed(self, name: str) -> bool:
        return any(name == one or name.startswith(f"{one}.") for one in self._packages)

    def _outside(self, name: str, as_: str | None = None) -> str:
        package = name.split(".", maxsplit=1)[0]
        return (
            f"{f'{as_} is {name}, which' if as_ else name} is outside of what this app lets files name"
            f" ({', '.join(self._packages)}); wrap it in a function of yours, or add {package!r}"
            " to packages"
        )


def _home(found: object) -> str | None:
    """Where an object says it is from; None of one that does not say, as an alias of a type."""
    if isinstance(found, ModuleType):
        return found.__name__
    if inspect.isclass(found) or inspect.isroutine(found):
        return f"{found.__module__}.{found.__qualname__}"
    return None


def _module_of(name: str) -> tuple[ModuleType, list[str]]:
    """Import the modules that a name leads through; give the rest of it as attributes."""
    first, *rest = name.split(".")
    module = _imported(first)
    if module is None:
        raise Unresolved(f"there is no module {first!r} where Python looks for it")
    while rest:
        inner = getattr(module, rest[0], None)
        if inner is not None and not isinstance(inner, ModuleType):
            break
        below = _imported(f"{module.__name__}.{rest[0]}") if hasattr(module, "__path__") else None
        if below is None:
            break
        module, rest = below, rest[1:]
    return module, rest


def _imported(path: str) -> ModuleType | None:
    """Import a module; None where there is none of that name."""
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name == path:
            return None
        raise Unresolved(f"importing {path} failed: {error}") from error
    except Exception as error:
        raise Unresolved(f"importing {path} failed: {type(error).__name__}: {error}") from error


def _attribute(found: object, name: str, path: str) -> object:
    missing = object()
    value: object = getattr(found, name, missing)
    if value is missing:
        raise Unresolved(f"{path} has no {name!r}{_close(name, dir(found))}")
    return value


def _close(name: str, known: Iterable[str]) -> str:
    public = [one for one in known if not one.startswith("_")]
    close = difflib.get_close_matches(name, public, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
