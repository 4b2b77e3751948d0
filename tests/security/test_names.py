"""Queue names and job ids never reach beyond their own keys, whoever made them up."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redispatcher_fastapi import (
    BaseConsumer,
    ConsumerDefinitionError,
    InvalidNameError,
    Job,
    JobCancelledError,
    JobState,
    Redispatcher,
    RedispatcherConfig,
)
from redispatcher_fastapi.keys import (
    check_job_id,
    check_queue_name,
    finished_channel,
    queue_prefix,
    wake_key,
)
from tests.pool.running import PATIENCE, running_pool
from tests.security.keys import redis_command
from tests.waiting import wait_until

HOSTILE_NAMES = [
    "",
    "a}:jobs",
    "{a}",
    "a b",
    "a\n",
    "a\r\nFLUSHALL",
    "a\0b",
    "a*",
    "../a",
    "-a",
    "é",
    "\u0661",
    "a" * 65,
]
#: Who waits looks again by himself after five seconds.
TIME_WITHOUT_AN_ANNOUNCEMENT = 4.0
#: What somebody with access to Redis can put into the list of a queue.
FORGED_IDS = [b"\xff\xfe", b"a\nb", "é".encode(), b"x" * 5000, b"a,b", b"a}{b", b"a b"]


class Count(BaseConsumer):
    QUEUE = "count"

    class Message(BaseConsumer.Message):
        number: int = 0

    async def process_message(self, message: Message) -> int:
        return message.number


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_queue_cannot_have_a_name_that_means_something_to_redis_or_a_log(name: str) -> None:
    with pytest.raises(InvalidNameError) as refused:
        check_queue_name(name)
    with pytest.raises(ConsumerDefinitionError):
        type("Hostile", (Count,), {"QUEUE": name})

    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize("job_id", ["", "a b", "a\n", "a\0", "{a}", "é", "\x1b[2J", "a" * 129])
async def test_a_job_cannot_have_an_id_that_means_something_to_redis_or_a_log(job_id: str) -> None:
    dispatcher = Redispatcher(RedispatcherConfig(redis_dsn="memory://"))
    async with dispatcher.lifespan():
        publisher = dispatcher.publisher(Count)
        with pytest.raises(InvalidNameError) as refused:
            await publisher.publish(Count.Message(), id=job_id)
        with pytest.raises(InvalidNameError):
            publisher.job(job_id)
        with pytest.raises(InvalidNameError):
            await dispatcher.inspector.job("count", job_id)
        with pytest.raises(InvalidNameError):
            await dispatcher.inspector.counts(job_id[:-1] + "}")

    assert refused.value.args[0].isprintable()


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True))
def test_a_queue_has_exactly_one_hash_tag_and_it_is_its_name(name: str) -> None:
    for key in (queue_prefix(check_queue_name(name)), wake_key(name), finished_channel(name)):
        assert key.startswith(f"rd:{{{name}}}:")
        assert key.count("{") == key.count("}") == 1


@given(st.text(max_size=130))
def test_an_id_is_taken_as_it_is_or_refused(text: str) -> None:
    with suppress(InvalidNameError):
        assert check_job_id(text) == text
        assert text.isascii()
        assert text.isprintable()


@pytest.mark.parametrize("forged", FORGED_IDS)
@pytest.mark.usefixtures("leak_check")
async def test_a_forged_id_is_parked_and_stops_nobody(redis_dsn: str, forged: bytes) -> None:
    record = b'1767268800000{"v":1,"body":{"number":1}}'
    redis_command(redis_dsn, "HSET", "rd:{count}:jobs", forged, record)
    redis_command(redis_dsn, "RPUSH", "rd:{count}:ready", forged)

    async with running_pool(redis_dsn, Count) as pool:
        jobs = [await pool.publish(Count.Message(number=number)) for number in range(3)]

        assert [await job.result(PATIENCE) for job in jobs] == [0, 1, 2]
        dead = await pool.broker.list_jobs("count", JobState.DEAD, offset=0, limit=9)
        (found,) = await pool.broker.job_records("count", dead)
    assert found is not None
    assert found.id.encode("utf-8", "surrogateescape") == forged
    assert (found.reason, found.body) == ("undecodable", b'{"number":1}')


async def test_a_forged_announcement_disturbs_nobody_who_waits(redis_dsn: str) -> None:
    dispatcher = Redispatcher(RedispatcherConfig(redis_dsn=redis_dsn))
    channel = finished_channel("count")
    async with dispatcher.lifespan(), asyncio.TaskGroup() as tasks:
        job = await dispatcher.publisher(Count).publish(Count.Message(), delay=PATIENCE)
        waiting = tasks.create_task(wait_until_cancelled(job))
        await wait_until(lambda: redis_command(redis_dsn, "PUBSUB", "NUMSUB", channel)[1] > 0)

        for forged in (b"\xff", b"", b"\xed\xa0\x80", job.id.encode()):
            redis_command(redis_dsn, "PUBLISH", channel, forged)
        await job.cancel()

        assert await waiting < TIME_WITHOUT_AN_ANNOUNCEMENT


async def wait_until_cancelled(job: Job[int]) -> float:
    """Return how many seconds it took."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(JobCancelledError):
        await job.result(PATIENCE)
    return loop.time() - began
