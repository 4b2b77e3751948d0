"""What follows a job is published once, whoever dies in between."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import SecretStr

from redispatcher_fastapi import (
    JobState,
    PoolHooks,
    QueueFullError,
    RedispatcherConfig,
    SealError,
    Sealing,
    SigningKeys,
)
from redispatcher_fastapi.broker.broker import Broker
from redispatcher_fastapi.broker.cancellation import end_tasks
from redispatcher_fastapi.broker.connection import Connections
from redispatcher_fastapi.broker.onward import EndedJob, OnwardBroker
from redispatcher_fastapi.broker.sending import DirectSender
from redispatcher_fastapi.broker.types import Submission
from redispatcher_fastapi.consumer import definition_of, prepare
from redispatcher_fastapi.flows.continuation import (
    Continuation,
    ContinuationError,
    Member,
    Step,
    read_continuation,
)
from redispatcher_fastapi.flows.passing import Passing
from redispatcher_fastapi.flows.starting import follow
from redispatcher_fastapi.hooks import GuardedHooks
from redispatcher_fastapi.pool.passing_on import PassingOn
from tests.flows.photos import ALL, Collect, Part
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
        await client.execute_command("HSET", "rd:{part}:onward", b"\xff\xfe", b"S+\xff")
        await end_two_of(broker, member_of="group")
        stuck = Stuck()

        assert await Passing(broker, None, stuck=stuck).pass_on("part") == 2

        assert len(stuck.errors) == 6
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


class Guest(PoolHooks):
    """Counts what is stuck."""

    def __init__(self) -> None:
        self.stuck: list[tuple[str, str]] = []

    def flow_stuck(self, queue: str, job_id: str, reason: str) -> None:
        self.stuck.append((queue, job_id))


async def test_what_is_under_way_when_a_pool_stops_is_passed_on_before_it_ends(
    redis_dsn: str, leak_check: None
) -> None:
    config = RedispatcherConfig(redis_dsn=redis_dsn)
    async with Connections(config.dsn) as connections:
        broker = Broker(connections, config.engine_settings())
        await end_two_of(broker, member_of="group")
        passing = PassingOn(broker, None, GuardedHooks(Guest()), done=lambda: None)
        under_way = asyncio.create_task(passing.run(["part"]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert passing.is_busy

        await end_tasks([under_way])
        assert passing.is_busy
        await passing.finish(2.0)

        assert not passing.is_busy
        assert await broker.job_state("collect", "group") is JobState.QUEUED


async def test_what_is_stuck_is_told_of_once(redis_dsn: str) -> None:
    config = RedispatcherConfig(redis_dsn=redis_dsn)
    async with Connections(config.dsn) as connections:
        broker, guest = Broker(connections, config.engine_settings()), Guest()
        await connections.publisher_line.execute_command("HSET", "rd:{part}:onward", "n", b"S+{")
        passing = PassingOn(broker, None, GuardedHooks(guest), done=lambda: None)

        for _ in range(3):
            passing.note("part")
            await passing.finish(2.0)

        assert guest.stuck == [("part", "n")]


async def test_many_ends_are_passed_on_page_by_page(redis_dsn: str, leak_check: None) -> None:
    config = RedispatcherConfig(redis_dsn=redis_dsn)
    async with Connections(config.dsn) as connections:
        broker, stuck = Broker(connections, config.engine_settings()), Stuck()
        fields: list[str] = []
        for number in range(300):
            follows = Continuation((Step("upload", f"u{number}"),))
            text = follows.write(None, queue="part", job_id=f"n{number}").decode()
            fields += (f"n{number}", f'S{text}\n{{"size":{" " * 100}1}}')
        await connections.publisher_line.execute_command("HSET", "rd:{part}:onward", *fields)

        counts = await asyncio.gather(
            *(Passing(broker, None, stuck=stuck).pass_on("part") for _ in range(2))
        )

        assert max(counts) <= 300 <= sum(counts)
        assert await Passing(broker, None, stuck=stuck).pass_on("part") == 0
        assert (await broker.count_jobs("upload"))[JobState.QUEUED] == 300
        assert stuck.errors == []


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"+",
        b"+{}",
        b"+[]",
        b"+1",
        b"+" + b"[" * 100_000,
        b'+{"v":1,"steps":[{"queue":"q"}]}',
        b'+{"v":1,"steps":["a"]}',
        b'*{"v":1,"steps":[],"member":{"group":"g"}}',
        b'*{"v":1,"steps":[],"member":{"group":"g","number":"x","count":1,"first":0,"result":1}}',
        b"+\xff",
    ],
)
def test_a_continuation_that_was_changed_by_hand_is_refused(text: bytes) -> None:
    with pytest.raises(ContinuationError, match="job one in queue 'part'"):
        read_continuation(text, None, queue="part", job_id="one")


def test_a_signed_continuation_is_that_of_its_job_alone() -> None:
    sealing = Sealing(signing=SigningKeys({"one": SecretStr("k" * 40)}))
    text = Continuation((Step("collect", "g"),)).write(sealing, queue="part", job_id="one")

    with pytest.raises(SealError):
        read_continuation(text, sealing, queue="part", job_id="two")
    with pytest.raises(SealError):
        read_continuation(b'+{"v":1,"steps":[]}', sealing, queue="part", job_id="one")
    assert read_continuation(text, sealing, queue="part", job_id="one").steps[0].job_id == "g"


def test_a_continuation_reads_as_it_was_written() -> None:
    step = Step("collect", "g", {"a": 1}, "high", 5, 6, ("tenant",))
    written = Continuation((step,), Member("g", 1, 2, is_first_failure=True))

    text = written.write(None, queue="part", job_id="one")

    assert read_continuation(text, None, queue="part", job_id="one") == written
