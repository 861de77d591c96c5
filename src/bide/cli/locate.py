"""Finding the app: an argument, BIDE_APP, or pyproject.toml of the working directory.

The working directory is importable, first of all places, so that `bide serve hello:app` finds
hello.py where the user stands. A file of YAML is an app as well, of the pipeline that it declares.
"""

import importlib
import os
import sys
import tomllib
import traceback
from pathlib import Path
from types import ModuleType
from typing import cast

from bide import App, load
from bide.cli.complaints import USAGE, CliError, is_of_settings
from bide.errors import BideError

_PROJECT = Path("pyproject.toml")
_HOW = (
    'write --app MODULE:APP, set BIDE_APP, or put app = "MODULE:APP" under [tool.bide] in'
    " pyproject.toml"
)


def find_app(name: str | None, store: str | None = None) -> App:
    """Import the app that `name`, the environment or the project names; with `store` instead of
    its own if given.
    """
    if store is not None and not store.strip():
        raise CliError("--store is empty; write sqlite:///bide.db, for example", exit_code=USAGE)
    app = import_app(name or app_name_here())
    return app if store is None else app.using(store=store)


def app_name_here() -> str:
    """What BIDE_APP or the project in the working directory says."""
    name = os.environ.get("BIDE_APP", "").strip() or _app_of_project()
    if not name:
        raise CliError(f"which app? {_HOW}")
    return name


def packages_here() -> list[str]:
    """What files may name things of: as BIDE_PACKAGES or the project in this directory says."""
    names = os.environ.get("BIDE_PACKAGES", "").split(",")
    given = [name.strip() for name in names if name.strip()] or _said("packages", _PROJECT) or []
    listed = cast("list[object]", given if isinstance(given, list) else [given])
    found = [one for one in listed if isinstance(one, str)]
    if found != given:
        raise CliError(
            f'{_PROJECT}: packages under [tool.bide] is no list of texts; write ["shop"]'
        )
    if not found:
        raise CliError(
            "which packages may a file name things of? set BIDE_PACKAGES=shop, or put"
            f' packages = ["shop"] under [tool.bide] in {_PROJECT}'
        )
    return found


def import_app(name: str) -> App:
    """Import `MODULE:APP`, or load a file of YAML."""
    if name.endswith((".yaml", ".yml")):
        make_here_importable()
        return App(load(name, packages=packages_here()))
    module_name, _, path = name.partition(":")
    if not module_name or not path:
        example = f"{module_name.removesuffix('.py').replace('/', '.') or 'shop'}:app"
        raise CliError(f"{name!r} names no app: write MODULE:APP, for example {example}")
    module = _import(module_name)
    found: object = module
    for attribute in path.split("."):
        if not hasattr(found, attribute):
            raise CliError(f"module {module_name!r} has no {path!r}{_apps_of(module)}")
        found = getattr(found, attribute)
    if not isinstance(found, App):
        raise CliError(f"{name} is of type {type(found).__name__}, not an App{_apps_of(module)}")
    return found


def make_here_importable() -> str:
    """Let modules of the working directory be found first; give that directory."""
    here = str(Path.cwd())
    if sys.path[:1] != [here]:
        sys.path.insert(0, here)
    return here


def _import(name: str) -> ModuleType:
    here = make_here_importable()
    if name.endswith(".py") or "/" in name:
        dotted = name.removesuffix(".py").replace("/", ".")
        raise CliError(f"{name!r} is a file: name its module, {dotted}")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise CliError(f"there is no module {error.name!r} (looked in {here} first)") from error
        raise CliError(f"importing {name!r}: {error}{_where(error)}") from error
    except BideError:
        raise
    except SystemExit as error:
        raise CliError(f"importing {name!r} ended with exit code {error.code}") from error
    except Exception as error:
        if is_of_settings(error):
            raise
        problem = f"{type(error).__name__}: {error}"
        raise CliError(f"importing {name!r} failed with {problem}{_where(error)}") from error


def _where(error: BaseException) -> str:
    """The line of the user's own code that it happened at."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<")
        and frame.filename != __file__
        and os.sep + "importlib" + os.sep not in frame.filename
    ]
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""


def _apps_of(module: ModuleType) -> str:
    apps = [name for name, value in vars(module).items() if isinstance(value, App)]
    if not apps:
        return f", and no App at all: app = App(...) makes one in {module.__name__}"
    return "; it has " + ", ".join(f"{module.__name__}:{name}" for name in apps)


def _app_of_project() -> str:
    name = _said("app", _PROJECT) or ""
    if not isinstance(name, str):
        raise CliError(f'{_PROJECT}: app under [tool.bide] is no text; write app = "MODULE:APP"')
    return name.strip()


def _said(key: str, path: Path) -> object:
    """What a project says under [tool.bide]; None where it says nothing."""
    try:
        project = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CliError(f"{path} cannot be read: {error}") from error
    try:
        found: object = project["tool"]["bide"][key]
    except (KeyError, TypeError):
        return None
    return found
