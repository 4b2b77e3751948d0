"""The promises about the testing kit's types, kept by both type checkers at their strictest."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.typing.test_type_checkers import CHECKERS, Check, count_refused

FOLDER = Path(__file__).parent
RIGHT = FOLDER / "testing_uses.py"
WRONG = FOLDER / "wrong_testing_uses.py"


@pytest.mark.parametrize("check", CHECKERS)
def test_right_uses_of_the_testing_kit_have_the_types_that_are_promised(
    check: Check, tmp_path: Path
) -> None:
    assert check(RIGHT, tmp_path) == {}


@pytest.mark.parametrize("check", CHECKERS)
def test_every_wrong_use_of_the_testing_kit_is_refused(check: Check, tmp_path: Path) -> None:
    assert count_refused(check, WRONG, tmp_path) > 15
