"""What follows a job is published once, whoever dies in between."""

from __future__ import annotations

import pytest

from redispatcher_fastapi import JobState, QueueFullError, RedispatcherConfig, chain
from redispatcher_fastapi.broker.broker import Broker
from redispatcher_fastapi.broker.connection import Connections
from redispatcher_fastapi.broker.onward import EndedJob, OnwardBroker
from redispatcher_fastapi.broker.sending import DirectSender
from redispatcher_fastapi.broker.types import Submission
from redispatcher_fastapi.consumer import definition_of, prepare
from redispatcher_fastapi.flows.continuation import Continuation, Member, Step
from redispatcher_fastapi.flows.passing import Passing
from redispatcher_fastapi.flows.starting import follow
from tests.flows.photos import ALL, Collect, Fetch, Part, Resize
from tests.pool.running import PATIENCE, running_pool
from tests.waiting import wait_until

pytestmark = pytest.mark.anyio


class Stuck:
    """Notes what could not be passed on."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []

    def __call__(self, ended: EndedJob, error: Exception) -> None:
        self.errors.append(error)


class Forgetful(OnwardBroker):
    """Dies, as it were, before it can tell Redis what was passed on."""

    async def forget(self, queue: str, passed_on: object) -> None:
        return


async def end_two_of(broker: Broker, *, member_of: str | None = None) -> None:
    """Let two jobs end of which something follows, with no pool to pass it on: cancelled ones."""
    sender = DirectSender.of(broker)
    definition = definition_of(Part)
    for number in (1, 2):
        submission = prepare(definition, Part.Message(number=number))
        assert member_of is not None
        member = Member(member_of, number, 2, is_first_failure=False)
        follow(submission, (Step("collect", member_of),), None, queue="part", member=member)
        await sender.send("part", submission)
        await broker.cancel_job("part", submission.job_id)


async def test_passing_on_twice_makes_one_job(redis_dsn: str, leak_check: None) -> None:
    config = RedispatcherConfig(redis_dsn=redis_dsn)
    async with Connections(config.dsn) as connections:
        broker = Broker(connections, config.engine_settings())
        await end_two_of(broker, member_of="group")
        stuck = Stuck()
        forgetful = Forgetful(connections.worker_line, broker.clock)
        dying = Passing(broker, None, stuck=stuck, onward=forgetful)

        assert await dying.pass_on("part") == 2
        assert await Passing(broker, None, stuck=stuck).pass_on("part") == 2
        assert await Passing(broker, None, stuck=stuck).pass_on("part") == 0

        assert stuck.errors == []
        assert (await broker.count_jobs("collect"))[JobState.QUEUED] == 1
        record = await broker.job_record("collect", "group")
        assert record is not None
        assert record.body is not None
        assert record.body.startswith(b'{"results":[null,null],"failed":[{"number": 0')


async def test_what_cannot_be_published_is_told_of_and_tried_again(
    redis_dsn: str, leak_check: None
) -> None:
    config = RedispatcherConfig(redis_dsn=redis_dsn, max_queue_length=2)
    async with Connections(config.dsn) as connections:
        broker = Broker(connections, config.engine_settings())
        await end_two_of(broker, member_of="group")
        sender, stuck = DirectSender.of(broker), Stuck()
        for name in ("a", "b"):
            await sender.send("collect", Submission(name, b'{"v":1,"body":{}}'))

        await Passing(broker, None, stuck=stuck).pass_on("part")
        assert [type(error.__cause__) for error in stuck.errors] == [QueueFullError]
        assert await broker.cancel_job("collect", "a")

        await Passing(broker, None, stuck=stuck).pass_on("part")
        assert await broker.job_state("collect", "group") is JobState.QUEUED
        await broker.cancel_job("collect", "b")


async def test_nonsense_stays_and_holds_nobody_up(redis_dsn: str) -> None:
    config = RedispatcherConfig(redis_dsn=redis_dsn)
    async with Connections(config.dsn) as connections:
        broker = Broker(connections, config.engine_settings())
        client = connections.publisher_line
        for number, text in enumerate(
            [b"", b"X", b"S+{", b'S+{"steps":[{}]}\n1', b'S+{"steps":1}\n']
        ):
            await client.execute_command("HSET", "rd:{part}:onward", f"n{number}", text)
        await end_two_of(broker, member_of="group")
        stuck = Stuck()

        assert await Passing(broker, None, stuck=stuck).pass_on("part") == 2

        assert len(stuck.errors) == 5
        assert await broker.job_state("collect", "group") is JobState.QUEUED


async def test_a_pool_that_begins_passes_on_what_others_left(
    redis_dsn: str, leak_check: None
) -> None:
    config = RedispatcherConfig(redis_dsn=redis_dsn)
    async with Connections(config.dsn) as connections:
        broker = Broker(connections, config.engine_settings())
        await end_two_of(broker, member_of="group")

        async with running_pool(redis_dsn, *ALL) as running:
            job = running.publisher(Collect).job("group")
            await wait_until(lambda: _has_ended(broker))
            assert await job.result(PATIENCE) == (
                "[None, None] [(0, 'cancelled'), (1, 'cancelled')]"
            )


async def _has_ended(broker: Broker) -> bool:
    state = await broker.job_state("collect", "group")
    return state is JobState.SUCCEEDED


async def test_a_pool_in_burst_goes_to_the_end_of_a_chain(redis_dsn: str) -> None:
    async with running_pool(redis_dsn, *ALL) as running:
        flow = await running.publisher(Fetch).publish_chain(
            chain(Fetch).then(Resize), Fetch.Message(url="abc")
        )
        await flow.result(PATIENCE)


def test_a_continuation_reads_as_it_was_written() -> None:
    from redispatcher_fastapi.flows.continuation import read_continuation

    step = Step("collect", "g", {"a": 1}, "high", 5, 6, ("tenant",))
    written = Continuation((step,), Member("g", 1, 2, is_first_failure=True))

    text = written.write(None, queue="part", job_id="one")

    assert read_continuation(text, None, queue="part", job_id="one") == written
