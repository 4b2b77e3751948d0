"""Nothing that comes out of Redis can name code: no pickle, and no class that is looked up."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import redispatcher_fastapi
from redispatcher_fastapi import BaseConsumer, JobFailedError, RedispatcherError
from tests.pool.running import PATIENCE, running_pool
from tests.security.keys import redis_command

PACKAGE = Path(redispatcher_fastapi.__file__).parent
FORBIDDEN_MODULES = {
    *("pickle", "_pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"),
    *("copyreg", "code", "codeop", "runpy", "pydoc", "yaml", "xml", "plistlib", "imp", "pkgutil"),
}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
#: Both import what a person names on the command line, or what the package itself lists.
IMPORTERS = {"__init__.py", "testing/__init__.py", "cli/target.py"}


def parse(path: Path) -> Iterator[ast.AST]:
    yield from ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=str(path)))


def find_uses(package: Path) -> list[str]:
    """Return what could turn data into code, as ``file:line name``."""
    found: list[str] = []
    for path in sorted(package.rglob("*.py")):
        place = path.relative_to(package).as_posix()
        for node in parse(path):
            names: list[str] = []
            match node:
                case ast.Import(names=aliases):
                    names = [alias.name for alias in aliases]
                case ast.ImportFrom(module=str(module), names=aliases):
                    names = [module, *(f"{module}.{alias.name}" for alias in aliases)]
                case ast.Call(func=ast.Name(id=name)) if name in FORBIDDEN_CALLS:
                    found.append(f"{place}:{node.lineno} {name}")
                case _:
                    pass
            for name in names:
                is_importer = name.startswith("importlib") and name not in {
                    *("importlib.util", "importlib.util.find_spec"),
                    *("importlib.metadata", "importlib.metadata.version"),
                    *("importlib.metadata.PackageNotFoundError", "importlib.resources"),
                    "importlib.resources.files",
                }
                if name.partition(".")[0] in FORBIDDEN_MODULES or (
                    is_importer and name != "importlib" and place not in IMPORTERS
                ):
                    found.append(f"{place}:{getattr(node, 'lineno', 0)} {name}")
    return found


def test_the_package_has_nothing_that_turns_data_into_code() -> None:
    assert [use for use in find_uses(PACKAGE) if not use.endswith(" eval")] == []


def test_nothing_is_evaluated_but_the_annotations_of_a_class_or_a_function() -> None:
    calls = {
        f"{path.relative_to(PACKAGE).as_posix()}: {ast.unparse(node)}"
        for path in PACKAGE.rglob("*.py")
        for node in parse(path)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "eval"
    }

    assert calls == {
        "consumer/binding.py: eval(annotation, known, namespace)",
        "injection/parameters.py: eval(annotation, known, names)",
    }


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import pickle as p",
        "from pickle import loads",
        "def later():\n    import marshal",
        "eval(text)",
        "exec(text)",
        "__import__(name)",
        "from importlib import import_module",
        "import importlib.machinery",
    ],
)
def test_what_turns_data_into_code_is_found(tmp_path: Path, source: str) -> None:
    (tmp_path / "job.py").write_text(source, encoding="utf-8")

    assert find_uses(tmp_path)


def test_the_package_imports_by_name_only_what_it_lists_or_a_person_typed() -> None:
    calls = {
        f"{path.relative_to(PACKAGE).as_posix()}: {ast.unparse(node)}"
        for path in PACKAGE.rglob("*.py")
        for node in parse(path)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module")
    }

    assert calls == {
        "__init__.py: import_module(f'{__name__}.{_MODULES[name]}')",
        "testing/__init__.py: import_module(f'{__name__}.{_MODULES[name]}')",
        "cli/target.py: import_module(name)",
    }


class Greet(BaseConsumer):
    QUEUE = "greet"

    class Message(BaseConsumer.Message):
        name: str = ""

    async def process_message(self, message: Message) -> str:
        return message.name


@pytest.mark.parametrize(
    "body",
    [
        {"name": "x", "__class__": "os.system", "py/object": "os.system"},
        {"name": "x", "consumer": "Other", "queue": "other", "process_message": "os.system"},
        {"name": "!!python/object/apply:os.system ['true']"},
        {"name": "cos\nsystem\n(S'true'\ntR."},
    ],
)
async def test_a_body_is_data_whatever_it_says(redis_dsn: str, body: dict[str, str]) -> None:
    envelope = json.dumps({"v": 1, "body": body, "consumer": "os.system"}).encode()
    redis_command(redis_dsn, "HSET", "rd:{greet}:jobs", "a", b"1767268800000" + envelope)
    redis_command(redis_dsn, "LPUSH", "rd:{greet}:ready", "a")

    async with running_pool(redis_dsn, Greet) as pool:
        assert await pool.publisher(Greet).job("a").result(PATIENCE) == body["name"]


async def test_the_error_of_a_job_comes_back_as_text_and_as_no_class_of_its_own(
    redis_dsn: str,
) -> None:
    async with running_pool(redis_dsn, Greet) as pool:
        stored = b'1767268800000{"v":1,"body":{"name":5}}'
        redis_command(redis_dsn, "HSET", "rd:{greet}:jobs", "a", stored)
        redis_command(redis_dsn, "LPUSH", "rd:{greet}:ready", "a")
        with pytest.raises(RedispatcherError) as failed:
            await pool.publisher(Greet).job("a").result(PATIENCE)

    assert type(failed.value) is JobFailedError
    assert isinstance(failed.value.error, str)
