"""Finding the app: an argument, BIDE_APP, or pyproject.toml of the working directory.

The working directory is importable, first of all places, so that `bide serve hello:app` finds
hello.py where the user stands.
"""

import importlib
import os
import sys
import tomllib
import traceback
from pathlib import Path
from types import ModuleType

from bide import App
from bide.cli.complaints import USAGE, CliError, is_of_settings
from bide.errors import BideError

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
    name = os.environ.get("BIDE_APP", "").strip() or _of_project(Path("pyproject.toml"))
    if not name:
        raise CliError(f"which app? {_HOW}")
    return name


def import_app(name: str) -> App:
    """Import `MODULE:APP`."""
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


def _import(name: str) -> ModuleType:
    here = str(Path.cwd())
    if sys.path[:1] != [here]:
        sys.path.insert(0, here)
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


def _of_project(path: Path) -> str:
    try:
        project = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ""
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CliError(f"{path} cannot be read: {error}") from error
    try:
        name: object = project["tool"]["bide"]["app"]
    except (KeyError, TypeError):
        return ""
    if not isinstance(name, str):
        raise CliError(f'{path}: app under [tool.bide] is no text; write app = "MODULE:APP"')
    return name.strip()
