"""Schedules in Redis: one job per tick whoever asks, overlap, pauses, and versions of the code."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from redispatcher_fastapi import (
    BaseConsumer,
    DeclaredScheduleError,
    InvalidScheduleError,
    JobState,
    Misfire,
    Overlap,
    QueueFullError,
    RedispatcherConfig,
    Schedule,
    Schedules,
    UnknownScheduleError,
    WrongMessageError,
)
from redispatcher_fastapi.broker.scheduling import Declaration, Firing, ScheduleBroker
from redispatcher_fastapi.broker.scripts import SCHEDULE_PUT, Argument
from redispatcher_fastapi.broker.types import EngineSettings, Submission
from redispatcher_fastapi.config import ConsumerConfig
from redispatcher_fastapi.consumer import definition_of
from redispatcher_fastapi.keys import queue_prefix
from redispatcher_fastapi.scheduling import Scheduler, Timetable
from tests.broker.engine import QUEUE, START, Engine

MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
#: How many jobs may wait.
FULL = 150


class Letter(BaseConsumer):
    QUEUE = QUEUE

    class Message(BaseConsumer.Message):
        text: str

    async def process_message(self, message: Message) -> str:
        return message.text


class Unknown(BaseConsumer):
    QUEUE = "unknown"

    class Message(BaseConsumer.Message):
        pass

    async def process_message(self, message: Message) -> None:
        pass


HELLO = Letter.Message(text="hello")


@pytest.fixture
def engine_settings() -> EngineSettings:
    return EngineSettings(max_queue_length=FULL)


def hourly(schedule_id: str = "hourly", text: str = "hello", **options: object) -> Schedule:
    values: dict[str, Any] = {"cron": "0 * * * *", **options}
    return Schedule(schedule_id, Letter.Message(text=text), **values)


class Pools:
    """What the pools of one queue do about schedules; each version of the code is a list."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.schedules = Schedules(
            engine.broker,
            RedispatcherConfig(redis_dsn="memory://", consumers=[Letter], max_queue_length=FULL),
        )

    def start(self, schedules: Sequence[Schedule] = ()) -> Scheduler:
        engine = self.engine
        broker = ScheduleBroker(
            engine.broker.connections.publisher, engine.clock, max_queue_length=FULL
        )
        definition = definition_of(Letter)
        timetable = Timetable(definition, schedules, max_message_bytes=1000)
        return Scheduler(broker, [timetable], random=lambda: 0.5)

    async def look(self, *pools: Scheduler) -> list[str]:
        """Let pools look until none has anything to do; return the ids of the jobs they made."""
        made: list[str] = []
        for pool in pools:
            while True:
                looked = await pool.look()
                made += [job.submission.job_id for job in looked.fired]
                if looked.wait != timedelta():
                    break
        return made

    async def roll_out(
        self, before: Sequence[Schedule], after: Sequence[Schedule]
    ) -> tuple[Scheduler, Scheduler]:
        """Start a pool of an old version of the code, and a second later one of the new."""
        old, new = self.start(before), self.start(after)
        for pool in (old, new):
            self.engine.clock.move(seconds=1)
            await self.look(pool)
        return old, new

    async def ids(self) -> list[str]:
        return [schedule.id for schedule in await self.schedules.list(Letter)]


@pytest.fixture
def pools(engine: Engine) -> Pools:
    return Pools(engine)


def tick(hours: int, schedule_id: str = "hourly") -> str:
    at = START.replace(tzinfo=None) + timedelta(hours=hours)
    return f"{schedule_id}:{at.isoformat()}Z"


class TestFiring:
    async def test_nothing_is_made_before_the_first_tick(
        self, engine: Engine, pools: Pools
    ) -> None:
        pool = pools.start([hourly()])
        assert await pools.look(pool) == []

        engine.clock.move(minutes=59, seconds=59)

        assert await pools.look(pool) == []
        assert await engine.counts() == {}

    async def test_a_tick_makes_one_job_with_the_message(
        self, engine: Engine, pools: Pools
    ) -> None:
        pool = pools.start([hourly()])
        await pools.look(pool)
        engine.clock.move(hours=1)

        assert await pools.look(pool) == [tick(1)]

        record = await engine.record(tick(1))
        assert (record.state, record.body) == (JobState.QUEUED, b'{"text":"hello"}')
        assert await pools.look(pool) == []

    async def test_a_pool_waits_exactly_until_the_next_tick(
        self, engine: Engine, pools: Pools
    ) -> None:
        pool = pools.start([hourly()])
        await pools.look(pool)
        engine.clock.move(minutes=59, seconds=57.5)

        assert (await pool.look()).wait == timedelta(seconds=2.5)

    async def test_of_many_pools_one_makes_the_job(self, engine: Engine, pools: Pools) -> None:
        started = [pools.start([hourly(), hourly("other")]) for _ in range(20)]
        await pools.look(*started)

        made: list[str] = []
        for _ in range(5):
            engine.clock.move(hours=1)
            rounds = await asyncio.gather(*(pool.look() for pool in started))
            made += [job.submission.job_id for each in rounds for job in each.fired]

        expected = {tick(hour, each) for hour in range(1, 6) for each in ("hourly", "other")}
        assert len(made) == 10
        assert set(made) == expected
        assert await engine.counts() == {JobState.QUEUED: 10}

    async def test_a_call_that_is_repeated_makes_nothing_more(
        self, engine: Engine, pools: Pools
    ) -> None:
        pool = pools.start([hourly()])
        await pools.look(pool)
        engine.clock.move(hours=1)
        broker = pool._broker  # pyright: ignore[reportPrivateUsage]  # a lost reply
        fire = broker.fire
        answers: list[list[str]] = []

        async def fire_twice(*arguments: Any) -> list[str]:
            answers.append(await fire(*arguments))
            answers.append(await fire(*arguments))
            return answers[-1]

        broker.fire = fire_twice  # type: ignore[assignment]  # a lost reply
        await pools.look(pool)

        assert answers == [["1"], ["stale"]]
        assert await engine.counts() == {JobState.QUEUED: 1}

    async def test_jitter_puts_the_job_off(self, engine: Engine, pools: Pools) -> None:
        pool = pools.start([hourly(jitter=10 * MINUTE)])
        await pools.look(pool)
        engine.clock.move(hours=1)

        await pools.look(pool)

        record = await engine.record(tick(1))
        assert record.state is JobState.SCHEDULED
        assert record.due_at == START + timedelta(hours=1, minutes=5)

    async def test_a_full_queue_keeps_the_tick_until_there_is_room(
        self, engine: Engine, pools: Pools
    ) -> None:
        pool = pools.start([hourly()])
        await pools.look(pool)
        await engine.publish_many(*(f"job-{number}" for number in range(FULL)))
        engine.clock.move(hours=1)
        looked = await pool.look()
        assert (looked.fired, looked.wait) == ([], SECOND)

        assert await engine.broker.cancel_job(QUEUE, "job-1")

        assert await pools.look(pool) == [tick(1)]

    async def test_missed_ticks_run_as_the_schedule_says(
        self, engine: Engine, pools: Pools
    ) -> None:
        pool = pools.start(
            [
                hourly("none", misfire=Misfire.skip()),
                hourly("last", misfire=Misfire.latest()),
                hourly("three", misfire=Misfire.all(3)),
            ]
        )
        await pools.look(pool)
        engine.clock.move(hours=5, minutes=30)

        made = await pools.look(pool)

        assert sorted(made) == sorted([tick(5, "last"), *(tick(n, "three") for n in (3, 4, 5))])
        passed_over = {each.id: each.passed_over for each in await pools.schedules.list(Letter)}
        assert passed_over == {"none": 5, "last": 4, "three": 2}

    async def test_a_clock_of_redis_that_is_set_back_makes_no_job_twice(
        self, engine: Engine, pools: Pools
    ) -> None:
        pool = pools.start([hourly()])
        await pools.look(pool)
        engine.clock.move(hours=2)
        await pools.look(pool)
        engine.clock.move(hours=-2)
        # A pool that declares anew begins after the present, which has been before.
        made = await pools.look(pools.start([hourly(text="changed", tz="Europe/London")]))

        engine.clock.move(hours=2)
        made += await pools.look(pool)

        assert made == []
        assert await engine.counts() == {JobState.QUEUED: 1}


class TestOverlap:
    async def test_a_tick_is_passed_over_while_the_job_before_it_runs(
        self, engine: Engine, pools: Pools
    ) -> None:
        pool = pools.start([hourly(overlap=Overlap.SKIP)])
        process = await engine.process()
        await pools.look(pool)
        engine.clock.move(hours=1)
        await pools.look(pool)
        delivery = await process.claim_one()
        engine.clock.move(hours=1)

        assert await pools.look(pool) == []
        await process.succeed(delivery)
        engine.clock.move(hours=1)

        assert await pools.look(pool) == [tick(3)]
        (record,) = await pools.schedules.list(Letter)
        assert (record.jobs_made, record.passed_over) == (2, 1)

    async def test_a_tick_waits_until_the_job_before_it_has_ended(
        self, engine: Engine, pools: Pools
    ) -> None:
        pool = pools.start([hourly(overlap=Overlap.QUEUE, misfire=Misfire.skip())])
        process = await engine.process()
        await pools.look(pool)
        engine.clock.move(hours=1)
        await pools.look(pool)
        delivery = await process.claim_one()
        engine.clock.move(hours=1)
        assert await pools.look(pool) == []
        engine.clock.move(minutes=30)
        looked = await pool.look()
        assert (looked.fired, looked.wait) == ([], SECOND)
        (record,) = await pools.schedules.list(Letter)
        assert record.is_waiting

        await process.succeed(delivery)

        assert await pools.look(pool) == [tick(2)]
        (record,) = await pools.schedules.list(Letter)
        assert (record.is_waiting, record.passed_over) == (False, 0)

    async def test_of_several_that_wait_only_the_newest_runs(
        self, engine: Engine, pools: Pools
    ) -> None:
        pool = pools.start([hourly(overlap=Overlap.QUEUE, misfire=Misfire.all(9))])
        await pools.look(pool)
        for _ in range(4):
            engine.clock.move(hours=1)
            await pools.look(pool)
        assert await engine.counts() == {JobState.QUEUED: 1}

        await engine.broker.cancel_job(QUEUE, tick(1))

        assert await pools.look(pool) == [tick(4)]
        (record,) = await pools.schedules.list(Letter)
        assert record.passed_over == 2

    async def test_any_number_that_waits_holds_up_no_other(
        self, engine: Engine, pools: Pools
    ) -> None:
        waiting = [hourly(f"w{number}", overlap=Overlap.QUEUE) for number in range(120)]
        pool = pools.start([*waiting, hourly("free", cron="30 * * * *")])
        await pools.look(pool)
        engine.clock.move(hours=2)
        await pools.look(pool)
        engine.clock.move(hours=1)
        await pools.look(pool)
        engine.clock.move(minutes=30)

        looked = await pool.look()

        assert [job.submission.job_id for job in looked.fired] == ["free:2026-01-01T15:30:00Z"]

    async def test_ticks_that_wait_do_not_hold_up_other_schedules(
        self, engine: Engine, pools: Pools
    ) -> None:
        pool = pools.start([hourly(overlap=Overlap.QUEUE), hourly("free")])
        await pools.look(pool)
        engine.clock.move(hours=1)
        await pools.look(pool)
        engine.clock.move(hours=1)
        made = await pools.look(pool)

        assert made == [tick(2, "free")]


class TestDeclaring:
    async def test_declared_again_nothing_changes(self, engine: Engine, pools: Pools) -> None:
        await pools.look(pools.start([hourly()]))
        before = await engine.key("schedules")
        engine.clock.move(minutes=30)

        await pools.look(pools.start([hourly()]))

        assert await engine.key("schedules") == before

    async def test_another_message_keeps_the_tick_that_is_due(
        self, engine: Engine, pools: Pools
    ) -> None:
        await pools.look(pools.start([hourly()]))
        engine.clock.move(hours=1, seconds=10)

        made = await pools.look(pools.start([hourly(text="bye")]))

        assert made == [tick(1)]
        assert (await engine.record(tick(1))).body == b'{"text":"bye"}'

    async def test_other_times_begin_anew(self, engine: Engine, pools: Pools) -> None:
        await pools.look(pools.start([hourly()]))
        engine.clock.move(hours=1, seconds=10)

        made = await pools.look(pools.start([hourly(cron="30 * * * *")]))

        assert made == []
        (record,) = await pools.schedules.list(Letter)
        assert record.next_run_at == START + timedelta(hours=1, minutes=30)

    async def test_what_the_code_no_longer_declares_is_removed(
        self, engine: Engine, pools: Pools
    ) -> None:
        await pools.schedules.upsert("mine", Letter, HELLO, every=MINUTE)
        await pools.look(pools.start([hourly("a"), hourly("b")]))
        engine.clock.move(seconds=1)

        await pools.look(pools.start([hourly("b")]))

        assert await pools.ids() == ["b", "mine"]

    async def test_no_schedules_at_all_are_a_version_too(
        self, engine: Engine, pools: Pools
    ) -> None:
        await pools.look(pools.start([hourly()]))
        engine.clock.move(seconds=1)

        await pools.look(pools.start())

        assert await pools.ids() == []
        for key in ("schedules", "ticks", "fired", "declarations"):
            assert await engine.key(key) is None

    async def test_a_queue_without_schedules_has_no_keys(
        self, engine: Engine, pools: Pools
    ) -> None:
        await pools.look(pools.start())

        assert await engine.redis.keys("*") == []

    async def test_where_redis_lost_nothing_else_they_are_declared_again(
        self, engine: Engine, pools: Pools
    ) -> None:
        pool = pools.start([hourly()])
        await pools.look(pool)
        await engine.redis.delete(f"rd:{{{QUEUE}}}:schedules")

        await pools.look(pool)

        assert await pools.ids() == ["hourly"]

    async def test_after_redis_was_emptied_they_are_declared_again(
        self, engine: Engine, pools: Pools
    ) -> None:
        pool = pools.start([hourly()])
        await pools.look(pool)
        await engine.redis.flushall()

        await pools.look(pool)

        assert await pools.ids() == ["hourly"]


class TestTwoVersions:
    """Pools of two versions of the code, side by side."""

    async def test_the_one_that_began_last_is_in_force(self, engine: Engine, pools: Pools) -> None:
        old = pools.start([hourly("old")])
        await pools.look(old)
        engine.clock.move(seconds=1)
        new = pools.start([hourly("new")])

        await pools.look(new, old, new, old)

        assert await pools.ids() == ["new"]

    async def test_an_old_pool_that_starts_again_changes_nothing(
        self, engine: Engine, pools: Pools
    ) -> None:
        await pools.roll_out([hourly("old")], [hourly("new")])
        engine.clock.move(seconds=5)

        await pools.look(pools.start([hourly("old")]))

        assert await pools.ids() == ["new"]

    async def test_old_pools_make_the_jobs_of_the_new_version(
        self, engine: Engine, pools: Pools
    ) -> None:
        old, new = await pools.roll_out([hourly("old")], [hourly("new")])
        engine.clock.move(minutes=59, seconds=50)
        await pools.look(new)
        engine.clock.move(seconds=10)

        assert await pools.look(old) == [tick(1, "new")]

    async def test_once_the_new_pools_are_gone_the_old_version_is_in_force_again(
        self, engine: Engine, pools: Pools
    ) -> None:
        old, _new = await pools.roll_out([hourly("old")], [hourly("new")])
        for _ in range(6):
            engine.clock.move(seconds=5)
            await pools.look(old)
        assert await pools.ids() == ["new"]

        engine.clock.move(seconds=5)
        await pools.look(old)

        assert await pools.ids() == ["old"]

    async def test_a_pool_that_was_frozen_is_not_taken_for_a_new_one(
        self, engine: Engine, pools: Pools
    ) -> None:
        old, new = await pools.roll_out([hourly("old")], [hourly("new")])
        engine.clock.move(seconds=1)
        await pools.look(old)
        for _ in range(10):
            engine.clock.move(seconds=5)
            await pools.look(new)

        await pools.look(old)

        assert await pools.ids() == ["new"]

    async def test_an_outage_of_redis_is_not_taken_for_the_end_of_the_new_pools(
        self, engine: Engine, pools: Pools
    ) -> None:
        old, new = await pools.roll_out([hourly("old")], [hourly("new")])
        engine.clock.move(hours=1)

        made = await pools.look(old, new)

        assert made == [tick(1, "new")]
        assert await pools.ids() == ["new"]

    async def test_after_redis_was_emptied_the_new_version_is_in_force_again(
        self, engine: Engine, pools: Pools
    ) -> None:
        old, new = await pools.roll_out([hourly("old")], [hourly("new")])
        await engine.redis.flushall()

        await pools.look(new, old, new)

        assert await pools.ids() == ["new"]


class TestManaging:
    async def test_a_schedule_made_at_run_time_ticks(self, engine: Engine, pools: Pools) -> None:
        pool = pools.start()
        await pools.look(pool)

        record = await pools.schedules.upsert(
            "mine", Letter, HELLO, cron="0 8 * * *", tz="Europe/Oslo", misfire=Misfire.all(2)
        )

        assert (record.id, record.queue, record.message) == ("mine", QUEUE, HELLO)
        assert (record.cron, record.tz, record.every) == ("0 8 * * *", "Europe/Oslo", None)
        assert str(record.misfire) == "all(2)"
        assert record.next_runs(2) == [
            datetime(2026, 1, 2, 7, tzinfo=UTC),
            datetime(2026, 1, 3, 7, tzinfo=UTC),
        ]
        engine.clock.move(hours=20)
        assert await pools.look(pool) == ["mine:2026-01-02T07:00:00Z"]
        again = await pools.schedules.get("mine", Letter)
        assert again is not None
        assert again.last_job_id == "mine:2026-01-02T07:00:00Z"
        assert again.last_tick == datetime(2026, 1, 2, 7, tzinfo=UTC)
        assert again.next_run_at == datetime(2026, 1, 3, 7, tzinfo=UTC)

    async def test_repeated_it_changes_nothing(self, engine: Engine, pools: Pools) -> None:
        first = await pools.schedules.upsert("mine", Letter, HELLO, every=MINUTE)
        before = await engine.key("schedules")

        assert await pools.schedules.upsert("mine", Letter, HELLO, every=MINUTE) == first
        assert await engine.key("schedules") == before

    async def test_a_new_message_keeps_the_tick_and_new_times_do_not(
        self, engine: Engine, pools: Pools
    ) -> None:
        await pools.schedules.upsert("mine", Letter, HELLO, every=MINUTE)
        engine.clock.move(seconds=90)

        bye = Letter.Message(text="bye")
        kept = await pools.schedules.upsert("mine", Letter, bye, every=MINUTE)
        moved = await pools.schedules.upsert("mine", Letter, bye, every=2 * MINUTE)

        assert kept.next_run_at == START + MINUTE
        assert moved.next_run_at == START + 2 * MINUTE

    async def test_the_earliest_tick_wakes_a_pool(self, engine: Engine, pools: Pools) -> None:
        await pools.schedules.upsert("late", Letter, HELLO, every=timedelta(hours=1))
        assert await engine.redis.lpop(f"rd:{{{QUEUE}}}:wake") == b"t"

        await pools.schedules.upsert("later", Letter, HELLO, every=timedelta(days=1))
        assert await engine.key("wake") is None

        await pools.schedules.upsert("early", Letter, HELLO, every=MINUTE)
        assert await engine.redis.lpop(f"rd:{{{QUEUE}}}:wake") == b"t"

    async def test_a_paused_schedule_ticks_no_more_whatever_is_deployed(
        self, engine: Engine, pools: Pools
    ) -> None:
        pool = pools.start([hourly()])
        await pools.look(pool)
        await pools.schedules.pause("hourly", Letter)
        engine.clock.move(seconds=1)
        other = pools.start([hourly(text="bye")])

        engine.clock.move(hours=3)
        assert await pools.look(other, pool) == []
        (record,) = await pools.schedules.list(Letter)
        assert (record.is_paused, record.next_run_at, record.next_runs(3)) == (True, None, [])

    async def test_a_resumed_schedule_goes_on_with_the_next_tick(
        self, engine: Engine, pools: Pools
    ) -> None:
        pool = pools.start([hourly(misfire=Misfire.all(9))])
        await pools.look(pool)
        await pools.schedules.pause("hourly", Letter)
        engine.clock.move(hours=3, minutes=30)

        await pools.schedules.resume("hourly", Letter)
        await pools.schedules.resume("hourly", Letter)

        assert await pools.look(pool) == []
        engine.clock.move(minutes=30)
        assert await pools.look(pool) == [tick(4)]

    async def test_to_resume_what_is_not_paused_loses_no_tick(
        self, engine: Engine, pools: Pools
    ) -> None:
        pool = pools.start([hourly()])
        await pools.look(pool)
        engine.clock.move(hours=1)

        await pools.schedules.resume("hourly", Letter)

        assert await pools.look(pool) == [tick(1)]

    async def test_run_now_makes_a_job_and_moves_no_tick(
        self, engine: Engine, pools: Pools
    ) -> None:
        pool = pools.start([hourly()])
        await pools.look(pool)

        job = await pools.schedules.run_now("hourly", Letter)

        assert job.id.startswith("hourly:now-")
        assert await job.state() is JobState.QUEUED
        (record,) = await pools.schedules.list(Letter)
        assert record.next_run_at == START + timedelta(hours=1)
        assert (record.jobs_made, record.last_job_id, record.last_tick) == (1, job.id, None)

    async def test_run_now_works_while_it_is_paused(self, engine: Engine, pools: Pools) -> None:
        await pools.schedules.upsert("mine", Letter, HELLO, every=MINUTE)
        await pools.schedules.pause("mine", Letter)

        await pools.schedules.run_now("mine", Letter)

        record = await pools.schedules.get("mine", Letter)
        assert record is not None
        assert record.is_paused
        assert await engine.counts() == {JobState.QUEUED: 1}

    async def test_run_now_is_refused_by_a_full_queue(self, engine: Engine, pools: Pools) -> None:
        await pools.schedules.upsert("mine", Letter, HELLO, every=MINUTE)
        await engine.publish_many(*(f"job-{number}" for number in range(FULL)))

        with pytest.raises(QueueFullError, match=str(FULL)):
            await pools.schedules.run_now("mine", Letter)

    async def test_a_deleted_schedule_is_gone_with_all_its_keys(
        self, engine: Engine, pools: Pools
    ) -> None:
        await pools.schedules.upsert("mine", Letter, HELLO, every=MINUTE)
        await pools.schedules.pause("mine", Letter)

        assert await pools.schedules.delete("mine", Letter)
        assert not await pools.schedules.delete("mine", Letter)
        for key in ("schedules", "ticks", "fired", "declarations"):
            assert await engine.key(key) is None

    async def test_what_the_code_declares_is_neither_replaced_nor_deleted(
        self, engine: Engine, pools: Pools
    ) -> None:
        await pools.look(pools.start([hourly()]))

        with pytest.raises(DeclaredScheduleError, match="'hourly' of Letter"):
            await pools.schedules.upsert("hourly", Letter, HELLO, every=MINUTE)
        with pytest.raises(DeclaredScheduleError, match="'hourly' of Letter"):
            await pools.schedules.delete("hourly", Letter)

    async def test_what_no_pool_declares_any_more_can_be_deleted(
        self, engine: Engine, pools: Pools
    ) -> None:
        await pools.look(pools.start([hourly()]))
        engine.clock.move(seconds=31)

        assert await pools.schedules.delete("hourly", Letter)

    async def test_the_code_takes_over_a_schedule_of_run_time(
        self, engine: Engine, pools: Pools
    ) -> None:
        await pools.schedules.upsert("hourly", Letter, HELLO, cron="0 * * * *")
        engine.clock.move(hours=1, seconds=1)

        made = await pools.look(pools.start([hourly(text="bye")]))

        assert made == [tick(1)]
        (record,) = await pools.schedules.list(Letter)
        assert (record.is_declared, record.message) == (True, Letter.Message(text="bye"))

    async def test_more_than_a_page_is_listed(self, engine: Engine, pools: Pools) -> None:
        names = [f"n{number:03}" for number in range(201)]
        for name in names:
            await pools.schedules.upsert(name, Letter, HELLO, every=MINUTE)

        assert await pools.ids() == names

    async def test_an_unknown_schedule_is_an_error(self, engine: Engine, pools: Pools) -> None:
        for manage in (pools.schedules.pause, pools.schedules.resume, pools.schedules.run_now):
            with pytest.raises(UnknownScheduleError, match="Letter has no schedule 'no'"):
                await manage("no", Letter)
        assert await pools.schedules.get("no", Letter) is None
        assert not await pools.schedules.delete("no", Letter)

    async def test_a_consumer_that_no_pool_of_this_configuration_runs_is_refused(
        self, engine: Engine, pools: Pools
    ) -> None:
        with pytest.raises(InvalidScheduleError, match="'mine' is for Unknown"):
            await pools.schedules.upsert("mine", Unknown, Unknown.Message(), every=MINUTE)

    async def test_without_consumers_others_run_them(self, engine: Engine) -> None:
        elsewhere = Schedules(engine.broker, RedispatcherConfig(redis_dsn="memory://"))

        record = await elsewhere.upsert("mine", Letter, HELLO, every=MINUTE)

        assert record.id == "mine"

    async def test_the_message_of_another_consumer_is_refused(
        self, engine: Engine, pools: Pools
    ) -> None:
        with pytest.raises(WrongMessageError, match="Letter takes exactly"):
            await pools.schedules.upsert("mine", Letter, Unknown.Message(), every=MINUTE)  # type: ignore[misc]  # refused

    async def test_an_id_of_the_configuration_is_refused_before_any_pool_declared_it(
        self, engine: Engine
    ) -> None:
        config = RedispatcherConfig(
            redis_dsn="memory://",
            consumers=[ConsumerConfig(consumer_class=Letter, schedules=[hourly()])],
        )

        with pytest.raises(DeclaredScheduleError, match="'hourly' of Letter"):
            await Schedules(engine.broker, config).upsert("hourly", Letter, HELLO, every=MINUTE)


class TestChangedMeanwhile:
    """Others are faster between a look and what follows from it."""

    @pytest.fixture
    def broker(self, engine: Engine) -> ScheduleBroker:
        return ScheduleBroker(
            engine.broker.connections.publisher, engine.clock, max_queue_length=FULL
        )

    async def test_a_schedule_that_was_changed_makes_no_job_of_the_old_message(
        self, engine: Engine, pools: Pools, broker: ScheduleBroker
    ) -> None:
        await pools.schedules.upsert("mine", Letter, HELLO, every=MINUTE)
        _, found = await broker.read(QUEUE, ["mine"])
        await pools.schedules.upsert("mine", Letter, Letter.Message(text="bye"), every=MINUTE)
        engine.clock.move(minutes=1)
        at = START + MINUTE
        job = Submission("mine:1", b'{"v":1,"body":{}}', is_chosen_id=True)

        firing = Firing(found["mine"], at, at + MINUTE, at, "allow", 0, [job])

        assert await broker.fire(QUEUE, [firing]) == ["stale"]
        assert await engine.counts() == {}

    async def test_two_who_replace_a_schedule_see_each_other(
        self, engine: Engine, pools: Pools, broker: ScheduleBroker
    ) -> None:
        await pools.schedules.upsert("mine", Letter, HELLO, every=MINUTE)
        _, found = await broker.read(QUEUE, ["mine"])
        await pools.schedules.upsert("mine", Letter, Letter.Message(text="bye"), every=MINUTE)

        for before in (found["mine"], None):
            assert not await broker.put(
                QUEUE, "mine", b"{}", before=before, tick=START, keeps_tick=False
            )

        record = await pools.schedules.get("mine", Letter)
        assert record is not None
        assert record.message == Letter.Message(text="bye")

    async def test_a_put_that_is_repeated_after_a_lost_reply_is_done(self, engine: Engine) -> None:
        arguments: list[Argument] = ["", "mine", "", "r1\n{}", 5, ""]
        client = engine.broker.connections.publisher

        for _ in range(2):
            assert await SCHEDULE_PUT.run(client, [queue_prefix(QUEUE)], arguments) == 1

    async def test_a_schedule_that_was_changed_is_not_resumed_with_its_old_tick(
        self, engine: Engine, pools: Pools, broker: ScheduleBroker
    ) -> None:
        await pools.schedules.upsert("mine", Letter, HELLO, every=MINUTE)
        await pools.schedules.pause("mine", Letter)
        _, found = await broker.read(QUEUE, ["mine"])
        await pools.schedules.upsert("mine", Letter, HELLO, every=2 * MINUTE)

        revision = found["mine"].revision
        assert await broker.change(QUEUE, "mine", "resume", revision=revision, tick=START) == -1

        record = await pools.schedules.get("mine", Letter)
        assert record is not None
        assert record.is_paused

    async def test_a_version_that_is_no_longer_in_force_declares_nothing(
        self, engine: Engine, pools: Pools, broker: ScheduleBroker
    ) -> None:
        looked = await broker.look({QUEUE: "old"}, began={})
        assert looked[QUEUE].must_declare
        engine.clock.move(seconds=1)
        await pools.look(pools.start([hourly("new")]))

        declaration = Declaration("old", b"{}", START, keeps_tick=False)

        assert not await broker.declare(QUEUE, "old", [declaration])
        assert await pools.ids() == ["new"]


class TestForeignHands:
    async def test_a_schedule_that_cannot_be_read_holds_up_no_other(
        self, engine: Engine, pools: Pools, caplog: pytest.LogCaptureFixture
    ) -> None:
        pool = pools.start([hourly()])
        await pools.look(pool)
        prefix = f"rd:{{{QUEUE}}}:"
        for name, value in (
            ("broken", "r1\n{}"),
            ("nonsense", "?"),
            ("sp ace", 'r1\n{"v":1}'),
            (b"\xff", "r1\n{}"),
        ):
            await engine.redis.hset(f"{prefix}schedules", name, value)
            await engine.redis.zadd(f"{prefix}ticks", {name: 1})
        await engine.redis.zadd(f"{prefix}ticks", {"absent": 1})
        engine.clock.move(hours=1)

        assert await pools.look(pool, pool) == [tick(1)]

        assert caplog.text.count("Schedule broken of queue letters cannot run") == 1
        records = {each.id: each for each in await pools.schedules.list(Letter)}
        assert "cannot be read" in str(records["broken"].problem)
        assert records["hourly"].problem is None

    async def test_a_message_that_no_longer_fits_becomes_a_job_that_is_seen(
        self, engine: Engine, pools: Pools
    ) -> None:
        await pools.schedules.upsert("mine", Letter, HELLO, every=MINUTE)
        prefix = f"rd:{{{QUEUE}}}:"
        stored: bytes = await engine.redis.hget(f"{prefix}schedules", "mine")
        await engine.redis.hset(f"{prefix}schedules", "mine", stored.replace(b"text", b"word"))
        engine.clock.move(minutes=1)

        (made,) = await pools.look(pools.start())

        assert (await engine.record(made)).body == b'{"word":"hello"}'
        record = await pools.schedules.get("mine", Letter)
        assert record is not None
        assert "does not fit" in str(record.problem)
