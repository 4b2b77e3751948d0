"""What a schedule may be, what becomes of missed ticks, and how it is stored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from redispatcher_fastapi import (
    BaseConsumer,
    ConfigurationError,
    ConsumerConfig,
    ConsumerDefinitionError,
    ConsumerPool,
    InvalidScheduleError,
    JobContext,
    Misfire,
    Overlap,
    RedispatcherConfig,
    Schedule,
    Sealing,
)
from redispatcher_fastapi.consumer import definition_of
from redispatcher_fastapi.schedules import (
    Plan,
    Timing,
    decode_schedule,
    encode_schedule,
    plan,
)
from redispatcher_fastapi.schedules.ticks import job_id_of, tick_of
from redispatcher_fastapi.scheduling.timetable import Timetable
from tests.security.keys import both, encrypted, signed

MINUTE = timedelta(minutes=1)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Report(BaseConsumer):
    QUEUE = "reports"

    class Message(BaseConsumer.Message):
        kind: str

    async def process_message(self, message: Message) -> None:
        pass


class Other(BaseConsumer):
    QUEUE = "others"

    class Message(BaseConsumer.Message):
        pass

    async def process_message(self, message: Message) -> None:
        pass


MESSAGE = Report.Message(kind="daily")


def timing(**options: Any) -> Timing:
    values: dict[str, Any] = {"every": MINUTE, **options}
    return Schedule("s", MESSAGE, **values).timing


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "either a cron expression or an interval"),
        ({"cron": "* * * * *", "every": MINUTE}, "either a cron expression or an interval"),
        ({"cron": "nightly"}, "five fields"),
        ({"cron": "0 0 0 * * *"}, "five fields"),
        ({"cron": "@daily"}, "five fields"),
        ({"cron": "61 * * * *"}, "Bad minute"),
        ({"cron": "* * * * MOON"}, "Bad day-of-week"),
        ({"cron": "*/0 * * * *"}, "Bad minute"),
        ({"cron": "0 0 30 2 *"}, "cannot be used"),
        ({"cron": 5}, "takes a text as its cron"),
        ({"cron": "* * * * *", "tz": "Europe/Olso"}, "no time zone 'Europe/Olso'"),
        ({"cron": "* * * * *", "tz": "../etc/passwd"}, "no time zone"),
        ({"cron": "* * * * *", "tz": ""}, "no time zone"),
        ({"cron": "* * * * *", "tz": 5}, "no time zone 5"),
        ({"every": MINUTE, "tz": "Europe/Oslo"}, "leave out its tz"),
        ({"every": 60}, "takes a timedelta as its every"),
        ({"every": timedelta(milliseconds=999)}, "a second or more"),
        ({"every": timedelta()}, "a second or more"),
        ({"every": -MINUTE}, "a second or more"),
        ({"every": timedelta(seconds=1, microseconds=1)}, "in whole milliseconds"),
        ({"every": timedelta(days=40_000)}, "a second or more"),
        ({"every": MINUTE, "misfire": "skip"}, "takes Misfire.skip"),
        ({"every": MINUTE, "overlap": "no"}, "takes Overlap.ALLOW"),
        ({"every": MINUTE, "jitter": 5}, "as its jitter"),
        ({"every": MINUTE, "jitter": -MINUTE}, "as its jitter"),
    ],
)
def test_a_schedule_that_could_never_work_is_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidScheduleError, match=problem) as caught:
        Schedule("nightly", MESSAGE, **options)

    assert "'nightly'" in str(caught.value)


@pytest.mark.parametrize("schedule_id", ["", "a b", "a:b", "-a", "ä", "x" * 65, "a\n", None, 7])
def test_an_id_that_could_not_name_jobs_is_refused(schedule_id: Any) -> None:
    with pytest.raises(InvalidScheduleError, match="cannot name a schedule"):
        Schedule(schedule_id, MESSAGE, every=MINUTE)


@pytest.mark.parametrize("count", [0, -1, 1001, True, 1.5, "3"])
def test_a_number_of_missed_ticks_that_means_nothing_is_refused(count: Any) -> None:
    with pytest.raises(InvalidScheduleError, match="how many ticks"):
        Misfire.all(count)


def test_a_schedule_shows_no_message() -> None:
    assert "daily" not in repr(Schedule("nightly", MESSAGE, every=MINUTE))


class TestDeclaring:
    @pytest.mark.parametrize(
        ("schedules", "problem"),
        [
            ([Schedule("a", Other.Message(), every=MINUTE)], r"must be exactly .*Bad\.Message"),
            ([Schedule("a", MESSAGE, every=MINUTE)], r"must be exactly .*Bad\.Message"),
            (["nightly"], "str is none"),
            (5, "must be a list"),
        ],
    )
    def test_a_consumer_with_a_schedule_that_cannot_be_its_own_is_refused(
        self, schedules: Any, problem: str
    ) -> None:
        with pytest.raises(ConsumerDefinitionError, match=problem) as caught:

            class Bad(BaseConsumer):  # pyright: ignore[reportUnusedClass]  # its definition fails
                QUEUE = "bad"
                SCHEDULES = schedules

                class Message(BaseConsumer.Message):
                    pass

                async def process_message(self, message: Message) -> None:
                    pass

        assert "Bad.SCHEDULES" in str(caught.value)

    def test_two_schedules_of_one_id_are_refused(self) -> None:
        with pytest.raises(ConsumerDefinitionError, match="two schedules named 'a'"):

            class Bad(BaseConsumer):  # pyright: ignore[reportUnusedClass]  # its definition fails
                QUEUE = "bad"

                class Message(BaseConsumer.Message):
                    pass

                SCHEDULES = (
                    Schedule("a", Message(), every=MINUTE),
                    Schedule("a", Message(), every=2 * MINUTE),
                )

                async def process_message(self, message: Message) -> None:
                    pass

    def test_the_configuration_adds_to_those_of_the_class(self) -> None:
        class Both(Report):
            QUEUE = "both"
            SCHEDULES = (Schedule("a", MESSAGE, every=MINUTE),)

        config = ConsumerConfig(
            consumer_class=Both, schedules=[Schedule("b", MESSAGE, every=MINUTE)]
        )

        assert [schedule.id for schedule in config.all_schedules] == ["a", "b"]
        with pytest.raises(ConfigurationError, match="two schedules named 'a'"):
            ConsumerConfig(consumer_class=Both, schedules=[Schedule("a", MESSAGE, every=MINUTE)])

    def test_the_configuration_refuses_the_message_of_another_consumer(self) -> None:
        with pytest.raises(ConfigurationError, match="Report: the message of schedule 'a'"):
            ConsumerConfig(
                consumer_class=Report, schedules=[Schedule("a", Other.Message(), every=MINUTE)]
            )

    def test_a_message_that_is_too_large_is_refused_when_the_pool_is_made(self) -> None:
        large = Schedule("large", Report.Message(kind="x" * 2000), every=MINUTE)
        config = RedispatcherConfig(
            redis_dsn="memory://",
            consumers=[ConsumerConfig(consumer_class=Report, schedules=[large])],
            max_message_bytes=1000,
        )

        with pytest.raises(InvalidScheduleError, match=r"'large' of Report.*2011 bytes"):
            ConsumerPool(config)


class TestPlanning:
    @pytest.mark.parametrize("misfire", [Misfire.skip(), Misfire.latest(), Misfire.all(5)])
    def test_a_tick_that_is_noticed_at_once_runs(self, misfire: Misfire) -> None:
        todo = plan(timing(misfire=misfire), tick=NOON, now=NOON)

        assert todo == Plan((NOON,), 0, NOON + MINUTE)

    @pytest.mark.parametrize(
        ("misfire", "ran"),
        [
            (Misfire.skip(), [10]),
            (Misfire.latest(), [10]),
            (Misfire.all(3), [8, 9, 10]),
            (Misfire.all(100), list(range(11))),
        ],
    )
    def test_of_those_that_were_missed_the_newest_run(
        self, misfire: Misfire, ran: list[int]
    ) -> None:
        now = NOON + 10 * MINUTE + timedelta(seconds=30)

        todo = plan(timing(misfire=misfire), tick=NOON, now=now)

        assert todo.ticks == tuple(NOON + number * MINUTE for number in ran)
        assert todo.passed_over == 11 - len(ran)
        assert todo.next == NOON + 11 * MINUTE

    def test_one_that_is_more_than_a_minute_late_is_skipped(self) -> None:
        daily = timing(every=timedelta(days=1), misfire=Misfire.skip())
        midnight = datetime(2026, 1, 1, tzinfo=UTC)

        in_time = plan(daily, tick=midnight, now=midnight + MINUTE)
        late = plan(daily, tick=midnight, now=midnight + MINUTE + timedelta(milliseconds=1))

        assert in_time.ticks == (midnight,)
        assert late == Plan((), 1, midnight + timedelta(days=1))

    def test_one_that_waited_for_another_is_not_late(self) -> None:
        daily = timing(every=timedelta(days=1), misfire=Misfire.skip(), overlap=Overlap.QUEUE)
        midnight = datetime(2026, 1, 1, tzinfo=UTC)

        todo = plan(daily, tick=midnight, now=midnight + timedelta(hours=3), is_waiting=True)

        assert todo.ticks == (midnight,)

    @pytest.mark.parametrize("overlap", [Overlap.SKIP, Overlap.QUEUE])
    def test_what_must_not_overlap_runs_once(self, overlap: Overlap) -> None:
        todo = plan(
            timing(misfire=Misfire.all(5), overlap=overlap), tick=NOON, now=NOON + 3 * MINUTE
        )

        assert todo.ticks == (NOON + 3 * MINUTE,)
        assert todo.passed_over == 3


class TestStoring:
    @pytest.mark.parametrize(
        "options",
        [
            {"every": timedelta(seconds=1.5)},
            {"every": None, "cron": "0 3 * * 1-5", "tz": "Europe/Oslo"},
            {"every": None, "cron": "0 3 * * *"},
            {"misfire": Misfire.skip(), "overlap": Overlap.SKIP, "jitter": MINUTE},
            {"misfire": Misfire.all(7), "overlap": Overlap.QUEUE},
        ],
    )
    def test_what_is_stored_is_read_back(self, options: dict[str, Any]) -> None:
        given, body = timing(**options), b'{"kind":"\xc3\xa4","n":1.50}'

        stored = decode_schedule(encode_schedule(given, body), name="s")

        assert (stored.timing, stored.body) == (given, body)

    @pytest.mark.parametrize(
        "stored",
        [
            b"",
            b"{}",
            b"\xff",
            b'{"v":2,"schedule":{"every":60000},"body":{}}',
            b'{"v":1,"schedule":[],"body":{}}',
            b'{"v":1,"schedule":{"every":60000},"body":{}}',
            b'{"v":1,"schedule":{"every":true,"misfire":"skip","overlap":"skip"},"body":{}}',
            b'{"v":1,"schedule":{"every":1,"misfire":"skip","overlap":"skip"},"body":{}}',
            b'{"v":1,"schedule":{"every":60000,"misfire":"some","overlap":"skip"},"body":{}}',
            b'{"v":1,"schedule":{"every":60000,"misfire":"skip","overlap":"skip"}}',
        ],
    )
    def test_what_was_changed_by_hand_is_refused(self, stored: bytes) -> None:
        with pytest.raises(InvalidScheduleError, match="'mine'"):
            decode_schedule(stored, name="mine")


class TestIds:
    @pytest.mark.parametrize("tick", [NOON, NOON + timedelta(milliseconds=1500)])
    def test_the_id_of_a_job_tells_its_tick(self, tick: datetime) -> None:
        job_id = job_id_of("nightly", tick)

        context = JobContext(job_id, "q", 1, {}, NOON)
        assert tick_of(job_id) == tick
        assert context.tick == tick

    def test_the_id_can_be_read(self) -> None:
        assert job_id_of("nightly", NOON) == "nightly:2026-01-01T12:00:00Z"

    @pytest.mark.parametrize(
        "job_id", ["2AAczX1XfTUd6C-U", "a:now-2AAczX1XfTUd6C-U", "a:2026-13-01T12:00:00Z", ""]
    )
    def test_other_ids_have_none(self, job_id: str) -> None:
        assert tick_of(job_id) is None


@pytest.mark.parametrize(
    ("sealing", "tells_apart"),
    [(None, True), (signed(), True), (both(), True), (encrypted(), False)],
)
def test_declarations_of_other_messages_are_another_version_unless_they_could_be_guessed(
    sealing: Sealing | None, tells_apart: bool
) -> None:
    def version(kind: str) -> str:
        schedule = Schedule("nightly", Report.Message(kind=kind), every=MINUTE)
        definition = definition_of(Report)
        return Timetable(definition, [schedule], max_message_bytes=1000, sealing=sealing).version

    assert version("daily") == version("daily")
    assert (version("daily") != version("weekly")) is tells_apart
