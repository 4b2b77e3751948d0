from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.typing.checking import (
    FOLDER,
    Check,
    Errors,
    check_with_mypy,
    check_with_pyright,
    copy_unsettled,
)

NAMES = (
    *("consumers.py", "right_uses.py", "testing_uses.py"),
    *("wrong_uses.py", "wrong_testing_uses.py"),
)
CHECKERS = [
    pytest.param(
        check,
        id=name,
        marks=[
            pytest.mark.slow,
            pytest.mark.skipif(find_spec(name) is None, reason=f"{name} is not installed"),
        ],
    )
    for name, check in (("mypy", check_with_mypy), ("pyright", check_with_pyright))
]


@pytest.fixture(scope="session", params=CHECKERS)
def errors(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, mypy_cache: Path
) -> Errors:
    """What one type checker says of all uses, right and wrong."""
    check: Check = request.param
    folder = tmp_path_factory.mktemp("uses")
    paths = [copy_unsettled(FOLDER / name, folder) for name in NAMES]
    return check(paths, mypy_cache if check is check_with_mypy else folder)
