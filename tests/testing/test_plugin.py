"""The pytest plugin, in test suites of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from textwrap import dedent
from tomllib import loads

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]

SHOP = """
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    from redispatcher_fastapi.testing import FakeClock, RedispatcherTester
    from tests.testing.shop import Welcome, make_app, make_dispatcher

    dispatcher = make_dispatcher()
    app = make_app(dispatcher)
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A test suite that has the plugin and nothing else, installed or not."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyprojecttoml("[tool.pytest.ini_options]\nfilterwarnings = ['error']")
    return pytester


def run(suite: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return suite.runpytest_subprocess(
        "-p", "anyio", "-p", "redispatcher_fastapi.testing.plugin", *arguments
    )


def make_module(suite: pytest.Pytester, name: str, text: str) -> None:
    (suite.path / f"{name}.py").write_text(dedent(SHOP) + dedent(text))


def test_a_fixture_that_names_the_dispatcher_is_all_it_takes(suite: pytest.Pytester) -> None:
    make_module(
        suite,
        "conftest",
        """
        import pytest

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        @pytest.fixture
        def redispatcher_dispatcher():
            return dispatcher

        @pytest.fixture
        def client(redispatcher_tester):
            with TestClient(app) as client:
                yield client
        """,
    )
    make_module(
        suite,
        "test_shop",
        """
        import pytest
        from conftest import dispatcher

        def test_published(client, redispatcher_tester):
            client.post("/welcome", params={"email": "a"})
            redispatcher_tester.assert_published(Welcome, email="a", count=1)
            assert len(redispatcher_tester.run_until_idle_blocking().runs) == 1

        def test_empty_again(client, redispatcher_tester):
            assert isinstance(redispatcher_tester, RedispatcherTester)
            redispatcher_tester.assert_nothing_published()

        @pytest.mark.anyio
        async def test_async(redispatcher_tester):
            await dispatcher.publisher(Welcome).publish(Welcome.Message(email="b"))
            assert len((await redispatcher_tester.run_until_idle()).runs) == 1
        """,
    )

    run(suite).assert_outcomes(passed=3)


def test_app_and_clock_can_be_given_as_well(suite: pytest.Pytester) -> None:
    make_module(
        suite,
        "test_shop",
        """
        import pytest

        @pytest.fixture
        def redispatcher_dispatcher():
            return dispatcher

        @pytest.fixture
        def redispatcher_app():
            return app

        @pytest.fixture
        def redispatcher_clock():
            return FakeClock()

        def test_published(redispatcher_tester, redispatcher_clock):
            TestClient(app).post("/welcome", params={"email": "a"})
            [job] = redispatcher_tester.published(Welcome)
            assert job.published_at == redispatcher_clock.now() == FakeClock().now()
        """,
    )

    run(suite).assert_outcomes(passed=1)


def test_a_missing_dispatcher_is_told_of_without_a_traceback(suite: pytest.Pytester) -> None:
    make_module(suite, "test_shop", "def test_it(redispatcher_tester): ...")

    result = run(suite)

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*define the fixture redispatcher_dispatcher in your conftest.py*"]
    )
    result.stdout.no_fnmatch_line("*plugin.py*")


def test_a_failed_expectation_points_at_the_line_of_the_test(suite: pytest.Pytester) -> None:
    make_module(
        suite,
        "test_shop",
        """
        import pytest

        @pytest.fixture
        def redispatcher_dispatcher():
            return dispatcher

        def test_published(redispatcher_tester):
            redispatcher_tester.assert_published(Welcome, email="a")
        """,
    )

    result = run(suite)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            '>*redispatcher_tester.assert_published(Welcome, email="a")',
            "E*No job of Welcome with email='a' was published.",
            "E*Nothing was published to welcome.",
            "*test_shop.py:*: AssertionError",
        ]
    )
    result.stdout.no_fnmatch_line("*publications.py*")


def test_a_failed_job_points_at_its_handler_and_at_the_line_of_the_test(
    suite: pytest.Pytester,
) -> None:
    make_module(
        suite,
        "test_shop",
        """
        import asyncio
        from tests.testing.shop import Flaky

        def test_run():
            with RedispatcherTester(dispatcher, app) as tester, TestClient(app):
                asyncio.run(Flaky.publish(Flaky.Message(raises="oh"), tester.redis_client))
                tester.run_until_idle_blocking()
        """,
    )

    result = run(suite)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E*ValueError: oh",
            "*shop.py:*: ValueError",
            "*direct cause of the following exception*",
            ">*tester.run_until_idle_blocking()",
            "E*1 of 1 run(s) failed:",
            "*test_shop.py:*: FailedRunsError",
        ]
    )


def test_fixtures_are_listed_with_what_they_do(suite: pytest.Pytester) -> None:
    result = run(suite, "--fixtures")

    result.stdout.fnmatch_lines(["redispatcher_tester *", "*with an empty store*"])


def test_the_plugin_imports_nothing_before_a_fixture_is_used() -> None:
    # The root package re-exports everything; here only what the plugin itself imports counts.
    code = """
        import json, sys, types
        import pytest

        root = types.ModuleType("redispatcher_fastapi")
        root.__path__ = ["redispatcher_fastapi"]
        sys.modules["redispatcher_fastapi"] = root
        before = set(sys.modules)
        import redispatcher_fastapi.testing.plugin
        print(json.dumps(sorted(set(sys.modules) - before)))
    """
    output = subprocess.run(
        [sys.executable, "-c", dedent(code)], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout

    imported = {name.partition(".")[0] for name in json.loads(output)}
    assert imported == {"redispatcher_fastapi"}
    assert [name for name in json.loads(output) if name.startswith("redispatcher")] == [
        "redispatcher_fastapi.testing",
        "redispatcher_fastapi.testing.plugin",
    ]


def test_the_package_registers_the_plugin_under_its_own_name() -> None:
    project = loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert project["entry-points"]["pytest11"] == {
        "redispatcher": "redispatcher_fastapi.testing.plugin"
    }
    for installed in entry_points(group="pytest11", name="redispatcher"):
        assert installed.value == "redispatcher_fastapi.testing.plugin"


def test_every_name_of_the_package_can_be_imported_and_listed() -> None:
    from redispatcher_fastapi import testing

    assert set(dir(testing)) == set(testing.__all__)
    assert all(getattr(testing, name).__name__ == name for name in testing.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Tester'"):
        _ = testing.Tester  # type: ignore[attr-defined]  # the point
