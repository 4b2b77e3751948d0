"""What tests/test_architecture.py enforces: layers, the length of files, the headers of scripts.

Every check takes the folder of a package and answers with sentences, one per violation.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

#: Lowest first; a name stands for a module or for a package with everything in it.
LAYERS: tuple[frozenset[str], ...] = tuple(
    frozenset(names.split())
    for names in (
        "errors clock keys backoff dsn limits spelling stopping",
        "message job queues schedules sealing",
        "broker database",
        "consumer config",
        "publisher flows scheduling hooks middleware injection execution batch_execution "
        "logs describing",
        "pool",
        "dispatcher inspector controls testing",
        "cli __main__",
    )
)
ROOT = "__init__"  # re-exports, so it lies above everything and nothing may import it

#: The files of functions that stand before the operations in Lua.
LUA_LIBRARIES = frozenset(
    {"prelude", "traits", "endings", "limits", "special", "adding", "schedules"}
)

LOWEST_WITH_FASTAPI = 4
WEB_FRAMEWORKS = frozenset({"fastapi", "starlette"})
REDIS_CLIENTS = frozenset({"redis", "fakeredis"})
ONLY_REDIS_CALLER = "broker"
ONLY_DATABASE_CALLER = "database"

LONGEST_FILE = 400
LONGEST_MEDIAN = 150


class Import(NamedTuple):
    """One import statement: the file and line it stands on, and the dotted name it asks for."""

    path: Path
    line: int
    module: str


def find_layer_violations(package: Path) -> list[str]:
    """Return the imports that go upwards, and the modules that have no layer."""
    layer_of = {name: number for number, names in enumerate(LAYERS) for name in names}
    layer_of[ROOT] = len(LAYERS)
    problems = [
        f"{name} has no layer: give it one in tests/architecture.py"
        for name in sorted({_part_of(package, path) for path in package.rglob("*.py")})
        if name not in layer_of
    ]
    for found in _imports_in(package):
        importer = _part_of(package, found.path)
        imported = _own_part(package, found.module)
        if imported is None or importer not in layer_of or importer == imported:
            continue
        if imported not in layer_of:
            problems.append(f"{_place(package, found)} imports {imported}, which does not exist")
        elif layer_of[imported] > layer_of[importer]:
            problems.append(
                f"{_place(package, found)} imports upwards: "
                f"{importer} (L{layer_of[importer]}) -> {imported} (L{layer_of[imported]})"
            )
    return problems


def find_foreign_imports(package: Path) -> list[str]:
    """Return the imports of what a module must not know: a web framework, Redis or a database."""
    with_fastapi = {ROOT}.union(*LAYERS[LOWEST_WITH_FASTAPI:])
    problems: list[str] = []
    for found in _imports_in(package):
        distribution = found.module.partition(".")[0]
        part = _part_of(package, found.path)
        if distribution in WEB_FRAMEWORKS and part not in with_fastapi:
            problems.append(
                f"{_place(package, found)} imports {distribution} below L{LOWEST_WITH_FASTAPI}"
            )
        if distribution in REDIS_CLIENTS and part != ONLY_REDIS_CALLER:
            problems.append(
                f"{_place(package, found)} imports {distribution} outside {ONLY_REDIS_CALLER}/"
            )
        if distribution == "sqlalchemy" and part != ONLY_DATABASE_CALLER:
            problems.append(
                f"{_place(package, found)} imports {distribution} outside {ONLY_DATABASE_CALLER}/"
            )
    return problems


def find_long_files(package: Path) -> list[str]:
    """Return the files that are too long, and the median if the files are too long as a whole."""
    modules = sorted(package.rglob("*.py"))
    lengths = {path: _count_lines(path) for path in [*modules, *sorted(package.rglob("*.lua"))]}
    problems = [
        f"{path.relative_to(package)} has {length} lines, more than {LONGEST_FILE}"
        for path, length in lengths.items()
        if length > LONGEST_FILE
    ]
    middle = median(lengths[path] for path in modules)
    if middle > LONGEST_MEDIAN:
        problems.append(f"the median file has {middle:g} lines, more than {LONGEST_MEDIAN}")
    return problems


def find_undocumented_lua(package: Path) -> list[str]:
    """Return what the headers of the Lua operations leave out.

    The libraries stand before every operation: they document ``ARGV[1]`` and return nothing.
    """
    problems: list[str] = []
    for path in sorted(package.rglob("*.lua")):
        header, code = _split_lua(path.read_text(encoding="utf-8"))
        name = path.relative_to(package)
        is_prelude = path.stem in LUA_LIBRARIES
        if not header.partition("\n")[0].endswith("."):
            problems.append(f"{name}: the header does not begin with a sentence")
        required = ("KEYS",) if is_prelude else ("KEYS", "Returns", "Moves")
        problems += [
            f"{name}: the header says nothing of {word}"
            for word in required
            if not re.search(rf"^{word}\b", header, re.MULTILINE)
        ]
        documented = header if is_prelude else f"{header}\nARGV[1]"
        problems += [
            f"{name}: the header does not document {use}"
            for use in _undocumented_uses(documented, code)
        ]
    return problems


def _part_of(package: Path, path: Path) -> str:
    """Return the layered name a file belongs to: its module, or the package it lies in."""
    return path.relative_to(package).with_suffix("").parts[0]


def _own_part(package: Path, module: str) -> str | None:
    """Return the layered name of an imported module of ours, ``None`` for anybody else's."""
    names = module.split(".")
    if names[0] != package.name:
        return None
    return names[1] if len(names) > 1 else ROOT


def _imports_in(package: Path) -> Iterator[Import]:
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=str(path))):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(path, node.lineno, alias.name)
            elif isinstance(node, ast.ImportFrom):
                origin = _origin(package, path, node)
                if origin != package.name:
                    yield Import(path, node.lineno, origin)
                    continue
                for alias in node.names:
                    yield Import(path, node.lineno, _submodule_or_root(package, alias.name))


def _origin(package: Path, path: Path, node: ast.ImportFrom) -> str:
    """Return the absolute name after ``from``."""
    if not node.level:
        return node.module or ""
    parents = [package.name, *path.relative_to(package).parent.parts]
    parents = parents[: len(parents) - (node.level - 1)]
    return ".".join([*parents, node.module] if node.module else parents)


def _submodule_or_root(package: Path, name: str) -> str:
    """Tell ``from package import module`` from ``from package import PublicName``."""
    is_module = (package / name).is_dir() or (package / f"{name}.py").is_file()
    return f"{package.name}.{name}" if is_module else package.name


def _place(package: Path, found: Import) -> str:
    return f"{found.path.relative_to(package)}:{found.line}"


def _count_lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def _split_lua(source: str) -> tuple[str, str]:
    """Return the leading comment without its dashes, and everything after it without comments."""
    lines = source.splitlines()
    length = next((i for i, line in enumerate(lines) if not line.startswith("--")), len(lines))
    header = "\n".join(line.removeprefix("--").strip() for line in lines[:length])
    return header, "\n".join(line.partition("--")[0] for line in lines[length:])


def _undocumented_uses(header: str, code: str) -> list[str]:
    """Return the arguments that Lua code reads and a header does not name.

    A header documents one argument as ``ARGV[3]``, and all from one on as ``ARGV[4…]`` or
    ``KEYS[i]``; an index that is computed needs the latter.
    """
    missing: list[str] = []
    for table in ("KEYS", "ARGV"):
        single = {int(number) for number in re.findall(rf"\b{table}\[(\d+)\]", header)}
        opened = [int(number) for number in re.findall(rf"\b{table}\[(\d+)…\]", header)]
        opened += [1] * (f"{table}[i]" in header)
        for index in dict.fromkeys(re.findall(rf"\b{table}\[([^\]]+)\]", code)):
            if index.isdecimal():
                number = int(index)
                is_documented = number in single or any(number >= first for first in opened)
            else:
                is_documented = bool(opened)
            if not is_documented:
                missing.append(f"{table}[{index}]")
    return missing
