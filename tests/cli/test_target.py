"""What a target on the command line stands for, and what a wrong one is answered."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from fastapi import FastAPI

from redispatcher_fastapi.cli.target import TargetError, load_target
from redispatcher_fastapi.config import RedispatcherConfig
from redispatcher_fastapi.dispatcher import Redispatcher
from redispatcher_fastapi.errors import ConfigurationError

WriteModule = Callable[[str], str]

_NUMBERS = count()

SOURCE = """
from fastapi import FastAPI
from redispatcher_fastapi.config import RedispatcherConfig
from redispatcher_fastapi.dispatcher import Redispatcher

config = RedispatcherConfig(redis_dsn="memory://")
dispatcher = Redispatcher(config)
app = FastAPI()
number = 1

def create_app(): ...
"""


@pytest.fixture
def write_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WriteModule:
    """Write a module into the current directory, from which nothing can be imported yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def write(source: str) -> str:
        name = f"target_{next(_NUMBERS)}"
        (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
        return name

    return write


def refusal(target: str) -> str:
    with pytest.raises(TargetError) as caught:
        load_target(target)
    return str(caught.value)


def test_an_application_a_dispatcher_and_a_configuration_are_targets(
    write_module: WriteModule,
) -> None:
    name = write_module(SOURCE)

    assert isinstance(load_target(f"{name}:app"), FastAPI)
    assert isinstance(load_target(f"{name}:dispatcher"), Redispatcher)
    assert isinstance(load_target(f"{name}:config"), RedispatcherConfig)


def test_an_attribute_of_an_object_is_a_target(write_module: WriteModule) -> None:
    name = write_module(SOURCE)

    assert isinstance(load_target(f"{name}:dispatcher.config"), RedispatcherConfig)


def test_a_module_in_a_package_is_found(write_module: WriteModule, tmp_path: Path) -> None:
    name = write_module(SOURCE)
    package = tmp_path / f"package_{name}"
    package.mkdir()
    (tmp_path / f"{name}.py").rename(package / "main.py")

    assert isinstance(load_target(f"package_{name}.main:app"), FastAPI)


@pytest.mark.parametrize("target", ["main", "main:", ":app", ""])
def test_a_target_without_module_or_name_is_explained(target: str) -> None:
    assert "write MODULE:NAME, as in main:app" in refusal(target)


@pytest.mark.parametrize("path", ["shop/main.py", "./shop/main.py", "shop/main"])
def test_a_path_is_answered_with_the_module(path: str) -> None:
    assert "write shop.main:app." in refusal(f"{path}:app")


def test_a_module_that_does_not_exist_is_named_with_the_folder_it_was_looked_for_in(
    write_module: WriteModule, tmp_path: Path
) -> None:
    problem = refusal("no_such_module_at_all:app")

    assert "There is no module 'no_such_module_at_all' in" in problem
    assert str(tmp_path) in problem


def test_a_submodule_that_does_not_exist_is_named(write_module: WriteModule) -> None:
    name = write_module(SOURCE)

    assert f"There is no module '{name}.more'" in refusal(f"{name}.more:app")


def test_a_missing_name_is_answered_with_those_there_are(write_module: WriteModule) -> None:
    name = write_module(SOURCE)

    problem = refusal(f"{name}:application")

    assert f"{name} has no 'application'" in problem
    assert f"Take one of these: {name}:config, {name}:dispatcher, {name}:app." in problem


@pytest.mark.parametrize(
    ("attribute", "kind"),
    [
        ("number", "an object of type int"),
        ("create_app", "a function"),
        ("FastAPI", "the class FastAPI"),
    ],
)
def test_a_target_of_the_wrong_kind_is_refused(
    write_module: WriteModule, attribute: str, kind: str
) -> None:
    name = write_module(SOURCE)

    assert f"is {kind}, and nothing that a pool can run" in refusal(f"{name}:{attribute}")


def test_a_module_without_anything_to_run_is_told_what_to_create(write_module: WriteModule) -> None:
    name = write_module("number = 1")

    assert "create one there, as in `app = FastAPI()`" in refusal(f"{name}:number")


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import not_installed_anywhere", "ModuleNotFoundError: No module named"),
        ("def", "SyntaxError"),
    ],
)
def test_a_module_that_raises_is_refused_with_what_it_raised(
    write_module: WriteModule, source: str, error: str
) -> None:
    name = write_module(source)

    with pytest.raises(TargetError, match=f"Importing {name} raised {error}") as caught:
        load_target(f"{name}:app")

    assert caught.value.__cause__ is not None


def test_a_configuration_that_cannot_be_used_stays_what_it_is(write_module: WriteModule) -> None:
    name = write_module(SOURCE.replace("memory://", "nonsense://"))

    with pytest.raises(ConfigurationError, match="unknown scheme"):
        load_target(f"{name}:app")
