"""The layers, the length of files and the headers of scripts are law; see tests/architecture.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.architecture import (
    find_foreign_imports,
    find_layer_violations,
    find_long_files,
    find_undocumented_lua,
)

PACKAGE = Path(__file__).parents[1] / "redispatcher_fastapi"


def test_no_module_imports_from_a_higher_layer() -> None:
    assert find_layer_violations(PACKAGE) == []


def test_fastapi_and_redis_are_imported_only_where_they_belong() -> None:
    assert find_foreign_imports(PACKAGE) == []


def test_files_stay_short() -> None:
    assert find_long_files(PACKAGE) == []


def test_every_lua_operation_documents_its_arguments_and_its_answer() -> None:
    assert list(PACKAGE.rglob("*.lua"))
    assert find_undocumented_lua(PACKAGE) == []


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "redispatcher_fastapi"
    folder.mkdir()
    write(folder, "__init__.py", "from redispatcher_fastapi.dispatcher import Redispatcher")
    write(folder, "errors.py", "")
    write(folder, "dispatcher.py", "from redispatcher_fastapi.errors import RedispatcherError")
    return folder


def write(package: Path, name: str, source: str) -> None:
    path = package / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source, encoding="utf-8")


def test_imports_downwards_and_within_a_layer_are_allowed(package: Path) -> None:
    write(package, "keys.py", "from redispatcher_fastapi.errors import RedispatcherError")
    write(package, "inspector.py", "import redispatcher_fastapi.dispatcher")
    write(package, "pool/claims.py", "from .workers import Worker\nfrom ..errors import X")
    write(package, "pool/workers.py", "import redispatcher_fastapi.pool.claims")

    assert find_layer_violations(package) == []


@pytest.mark.parametrize(
    "source",
    [
        "from redispatcher_fastapi.dispatcher import Redispatcher",
        "import redispatcher_fastapi.dispatcher",
        "import redispatcher_fastapi.dispatcher as d",
        "from redispatcher_fastapi import dispatcher",
        "from ..dispatcher import Redispatcher",
        "from .. import dispatcher",
        "def later():\n    from redispatcher_fastapi.dispatcher import Redispatcher",
        "if TYPE_CHECKING:\n    from redispatcher_fastapi.dispatcher import Redispatcher",
    ],
)
def test_an_import_upwards_is_found_in_every_spelling(package: Path, source: str) -> None:
    write(package, "pool/claims.py", source)

    problems = find_layer_violations(package)

    assert len(problems) == 1
    assert "pool (L5) -> dispatcher (L6)" in problems[0]
    assert problems[0].startswith("pool/claims.py:")


@pytest.mark.parametrize(
    "source",
    [
        "import redispatcher_fastapi",
        "from redispatcher_fastapi import Redispatcher",
        "from . import Redispatcher",
    ],
)
def test_nothing_may_import_the_root(package: Path, source: str) -> None:
    write(package, "cli.py", source)

    problems = find_layer_violations(package)

    assert len(problems) == 1
    assert "cli (L7) -> __init__ (L8)" in problems[0]


def test_a_module_without_a_layer_is_refused(package: Path) -> None:
    write(package, "helpers.py", "")

    assert find_layer_violations(package) == [
        "helpers has no layer: give it one in tests/architecture.py"
    ]


def test_an_import_of_a_module_that_does_not_exist_is_found(package: Path) -> None:
    write(package, "keys.py", "from redispatcher_fastapi.gone import Gone")

    assert find_layer_violations(package) == ["keys.py:1 imports gone, which does not exist"]


@pytest.mark.parametrize("name", ["errors.py", "broker/broker.py", "consumer.py", "config.py"])
@pytest.mark.parametrize("framework", ["fastapi", "starlette"])
def test_web_frameworks_are_refused_below_the_fourth_layer(
    package: Path, name: str, framework: str
) -> None:
    write(package, name, f"from {framework}.requests import HTTPConnection")

    assert find_foreign_imports(package) == [f"{name}:1 imports {framework} below L4"]


@pytest.mark.parametrize("name", ["__init__.py", "publisher.py", "pool/pool.py", "cli/main.py"])
def test_web_frameworks_are_allowed_from_the_fourth_layer_on(package: Path, name: str) -> None:
    write(package, name, "import fastapi\nimport starlette.types")

    assert find_foreign_imports(package) == []


@pytest.mark.parametrize("name", ["__init__.py", "config.py", "consumer.py", "testing/store.py"])
@pytest.mark.parametrize("client", ["redis", "fakeredis"])
def test_redis_clients_are_refused_outside_the_broker(
    package: Path, name: str, client: str
) -> None:
    write(package, name, f"if TYPE_CHECKING:\n    from {client}.asyncio import Redis")

    assert find_foreign_imports(package) == [f"{name}:2 imports {client} outside broker/"]


def test_redis_clients_are_allowed_in_the_broker(package: Path) -> None:
    write(package, "broker/connection.py", "import fakeredis\nfrom redis.asyncio import Redis")

    assert find_foreign_imports(package) == []


def test_a_file_of_more_than_400_lines_is_refused(package: Path) -> None:
    write(package, "pool/pool.py", "x = 1\n" * 401)
    write(package, "broker/lua/claim.lua", "local x = 1\n" * 401)
    write(package, "job.py", "x = 1\n" * 400)

    assert find_long_files(package) == [
        "pool/pool.py has 401 lines, more than 400",
        "broker/lua/claim.lua has 401 lines, more than 400",
    ]


def test_a_median_of_more_than_150_lines_is_refused(package: Path) -> None:
    for name in ("keys.py", "clock.py", "job.py", "message.py"):
        write(package, name, "x = 1\n" * 151)

    assert find_long_files(package) == ["the median file has 151 lines, more than 150"]


DOCUMENTED = """\
-- Ends jobs.
--
-- KEYS[i]  prefix of a queue
-- ARGV[2]  holder      ARGV[3]  lease
-- ARGV[4…] per job: id
--
-- Returns  how many
-- Moves    nothing

local now, prefix, holder, lease = ARGV[1], KEYS[1], ARGV[2], ARGV[3]
return ARGV[5] .. ARGV[2 * 3] .. KEYS[index]  -- ARGV[0] stands in a comment only
"""


def test_a_complete_lua_header_is_accepted(package: Path) -> None:
    write(package, "broker/lua/ack.lua", DOCUMENTED)

    assert find_undocumented_lua(package) == []


@pytest.mark.parametrize(
    ("left_out", "problem"),
    [
        ("-- Ends jobs.\n", "the header does not begin with a sentence"),
        ("-- Returns  how many\n", "the header says nothing of Returns"),
        ("-- Moves    nothing\n", "the header says nothing of Moves"),
        ("-- KEYS[i]  prefix of a queue\n", "the header says nothing of KEYS"),
        ("-- KEYS[i]  prefix of a queue\n", "the header does not document KEYS[1]"),
        ("ARGV[3]  lease", "the header does not document ARGV[3]"),
        ("-- ARGV[4…] per job: id\n", "the header does not document ARGV[5]"),
        ("-- ARGV[4…] per job: id\n", "the header does not document ARGV[2 * 3]"),
    ],
)
def test_what_a_lua_header_leaves_out_is_found(package: Path, left_out: str, problem: str) -> None:
    write(package, "broker/lua/ack.lua", DOCUMENTED.replace(left_out, "", 1))

    assert f"broker/lua/ack.lua: {problem}" in find_undocumented_lua(package)


def test_a_lua_file_without_a_header_is_refused(package: Path) -> None:
    write(package, "broker/lua/ack.lua", "return ARGV[2]")

    assert len(find_undocumented_lua(package)) == 5


def test_the_prelude_documents_the_time_and_answers_nothing(package: Path) -> None:
    prelude = "-- Stands before every script.\n-- KEYS[i]  prefixes\n{}\nlocal now = ARGV[1]"
    write(package, "broker/lua/prelude.lua", prelude.format("-- ARGV[1]  the time"))
    assert find_undocumented_lua(package) == []

    write(package, "broker/lua/prelude.lua", prelude.format("--"))
    assert find_undocumented_lua(package) == [
        "broker/lua/prelude.lua: the header does not document ARGV[1]"
    ]
