"""The promises about types, kept by both type checkers at their strictest."""

from __future__ import annotations

import pytest

from tests.typing.checking import FOLDER, Errors, find_marked

# Without a cache, on a busy machine.
pytestmark = pytest.mark.timeout(400)


@pytest.mark.parametrize("name", ["right_uses.py", "testing_uses.py", "consumers.py"])
def test_right_uses_are_accepted_with_the_types_that_are_promised(
    errors: Errors, name: str
) -> None:
    assert _errors_in(errors, name) == {}


@pytest.mark.parametrize(("name", "least"), [("wrong_uses.py", 20), ("wrong_testing_uses.py", 15)])
def test_every_wrong_use_is_refused_and_nothing_else(errors: Errors, name: str, least: int) -> None:
    marked = find_marked(FOLDER / name)

    assert len(marked) > least
    assert set(_errors_in(errors, name)) == marked


def _errors_in(errors: Errors, name: str) -> Errors:
    return {place: message for place, message in errors.items() if place[0] == name}
