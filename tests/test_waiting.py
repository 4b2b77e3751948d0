"""Waiting for a condition ends when it holds, and tells what did not hold."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.waiting import wait_until, wait_until_blocking


async def test_waiting_ends_as_soon_as_the_condition_holds() -> None:
    answers = iter([False, False, True])

    async def is_done() -> bool:
        return next(answers)

    await wait_until(is_done)

    assert next(answers, None) is None


async def test_waiting_in_vain_names_the_condition() -> None:
    with pytest.raises(AssertionError, match=r"0\.01 s.*test_waiting\.py"):
        await wait_until(lambda: False, timeout=timedelta(milliseconds=10))
    with pytest.raises(AssertionError, match="is_done"):
        wait_until_blocking(_is_done, timeout=timedelta(milliseconds=10))


def _is_done() -> bool:
    return False
