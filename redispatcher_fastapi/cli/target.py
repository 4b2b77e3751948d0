"""Finds what a ``module:name`` on the command line stands for."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from fastapi import FastAPI

from redispatcher_fastapi.config import RedispatcherConfig
from redispatcher_fastapi.describing import describe_text
from redispatcher_fastapi.dispatcher import Redispatcher
from redispatcher_fastapi.errors import ConfigurationError, RedispatcherError

if TYPE_CHECKING:
    from types import ModuleType

Target: TypeAlias = FastAPI | Redispatcher | RedispatcherConfig


class TargetError(RedispatcherError):
    """Raised when a target cannot be run; its cause, if there is one, is worth a traceback."""


def load_target(text: str) -> Target:
    """Import the module of ``text``, from the current directory too, and return what it names.

    Raises:
        TargetError: with the next step to take.
        ConfigurationError: the module raised it while it was imported.
    """
    module_name, colon, name = text.partition(":")
    if module_name.endswith(".py") or "/" in module_name:
        dotted = ".".join(Path(module_name).with_suffix("").parts).lstrip("./")
        raise TargetError(
            f"{module_name!r} is a path, and a module is needed: write {dotted}:{name or 'app'}."
        )
    if not module_name or not colon or not name:
        raise TargetError(
            f"{text!r} is not a target: write MODULE:NAME, as in main:app for the object `app` in "
            "main.py."
        )
    module = _import(module_name)
    found: object = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise TargetError(
                f"{module_name} has no {name!r}. {_describe_candidates(module, module_name)}"
            )
        found = getattr(found, part)
    if isinstance(found, FastAPI | Redispatcher | RedispatcherConfig):
        return found
    kind = "a function" if callable(found) and not isinstance(found, type) else f"{_name_of(found)}"
    raise TargetError(
        f"{text} is {kind}, and nothing that a pool can run: it takes a FastAPI application, a "
        f"Redispatcher or a RedispatcherConfig. {_describe_candidates(module, module_name)}"
    )


def _import(name: str) -> ModuleType:
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return import_module(name)
    except ConfigurationError:
        raise
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise TargetError(
                f"There is no module {error.name!r} in {folder} or on Python's path: go to the "
                "folder that contains it, or correct the name."
            ) from None
        raise _broken_module(name, error) from error
    except (Exception, SystemExit) as error:
        raise _broken_module(name, error) from error


def _broken_module(name: str, error: BaseException) -> TargetError:
    return TargetError(
        f"Importing {name} raised {describe_text(error)}. "
        f"Correct that first; `python -c 'import {name}'` shows it, too."
    )


def _describe_candidates(module: ModuleType, module_name: str) -> str:
    names = [
        f"{module_name}:{name}"
        for name, value in vars(module).items()
        if isinstance(value, FastAPI | Redispatcher | RedispatcherConfig)
    ]
    if names:
        return f"Take one of these: {', '.join(names)}."
    return (
        "The module has none of these at its top level: create one there, as in `app = FastAPI()`."
    )


def _name_of(value: object) -> str:
    if isinstance(value, type):
        return f"the class {value.__qualname__}"
    return f"an object of type {type(value).__qualname__}"
