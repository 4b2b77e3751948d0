"""The root of the package: all it promises is there, and nothing is imported before its use."""

from __future__ import annotations

import subprocess
import sys

import pytest

import redispatcher_fastapi


@pytest.mark.parametrize("name", redispatcher_fastapi.__all__)
def test_every_exported_name_is_there(name: str) -> None:
    assert getattr(redispatcher_fastapi, name).__name__ == name
    assert name in dir(redispatcher_fastapi)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Consumer'"):
        getattr(redispatcher_fastapi, "Consumer")  # noqa: B009  # the checkers know it is missing


def test_importing_the_package_imports_neither_fastapi_nor_redis() -> None:
    look = (
        "import sys, redispatcher_fastapi, redispatcher_fastapi.testing.plugin;"
        "print(sorted({'fastapi', 'redis', 'pydantic'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"


def test_every_error_is_in_one_tree() -> None:
    errors = [
        getattr(redispatcher_fastapi, name)
        for name in redispatcher_fastapi.__all__
        if name.endswith("Error")
    ]

    assert len(errors) > 15
    assert all(issubclass(error, redispatcher_fastapi.RedispatcherError) for error in errors)
