"""The ends of the members of a group, as they arrive for the job that follows."""

from __future__ import annotations

from redispatcher_fastapi.broker.onward import OnwardBroker
from tests.broker.engine import QUEUE, Engine


async def test_of_a_member_that_ends_again_the_first_end_counts(engine: Engine) -> None:
    onward = OnwardBroker(engine.redis, engine.clock)

    async def arrive(number: int, ended: bytes) -> object:
        return await onward.arrive(QUEUE, "group", number, 2, ended, first_failure=False)

    assert not await arrive(1, b"Dfailed")
    assert not await arrive(1, b"S5")
    assert await arrive(2, b"S6") == {1: b"Dfailed", 2: b"S6"}
