"""The configuration: validated when it is made, and without a way to show the DSN."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Generic, TypeVar

import pytest
from pydantic import AnyUrl, BaseModel, RedisDsn, SecretStr, TypeAdapter, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from redispatcher_fastapi import Batch, BatchConsumer, BatchItem
from redispatcher_fastapi.config import ConsumerConfig, RedispatcherConfig
from redispatcher_fastapi.consumer import BaseConsumer, definition_of
from redispatcher_fastapi.errors import ConfigurationError

T = TypeVar("T")

SECRET = "hunter2"
WITH_SECRET = f"redis://user:{SECRET}@example.org:6380/1"


class SendEmail(BaseConsumer):
    QUEUE = "send-email"

    class Message(BaseConsumer.Message):
        email: str

    async def process_message(self, message: Message) -> None: ...


class Resize(BaseConsumer):
    QUEUE = "resize"

    class Message(BaseConsumer.Message):
        path: str

    async def process_message(self, message: Message) -> None: ...


class ResizeLater(Resize):
    pass


class Base(BaseConsumer):
    pass


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().endswith("REDIS_DSN"):
            monkeypatch.delenv(name)


def configure(options: dict[str, Any]) -> RedispatcherConfig:
    return RedispatcherConfig(**options)


def test_the_defaults_are_those_of_the_design() -> None:
    config = RedispatcherConfig(redis_dsn="memory://", consumers=[SendEmail])

    assert config.consumers == (ConsumerConfig(consumer_class=SendEmail, count=10),)
    assert config.lease == timedelta(seconds=30)
    assert config.grace_period == timedelta(seconds=25)
    assert config.publish_timeout == timedelta(seconds=5)
    assert config.max_message_bytes == 262_144
    assert config.max_result_bytes == 1_048_576
    assert config.max_queue_length == 1_000_000
    assert (config.finished_max_age, config.finished_max_count) == (timedelta(hours=1), 10_000)
    assert (config.dead_max_age, config.dead_max_count) == (timedelta(days=30), 10_000)
    assert config.chosen_id_memory == timedelta(hours=24)


def test_consumers_are_classes_or_configurations_with_a_count() -> None:
    config = RedispatcherConfig(
        redis_dsn="memory://",
        consumers=[ConsumerConfig(consumer_class=SendEmail, count=2), Resize],
    )

    assert [(each.consumer_class, each.count) for each in config.consumers] == [
        (SendEmail, 2),
        (Resize, 10),
    ]
    assert config.consumers[0].definition is definition_of(SendEmail)


def test_a_generic_consumer_may_be_named_with_its_parameters() -> None:
    class Keep(BaseConsumer, Generic[T]):
        QUEUE = "keep"

        class Message(BaseConsumer.Message):
            pass

        async def process_message(self, message: Message) -> T | None: ...

    config = RedispatcherConfig(redis_dsn="memory://", consumers=[Keep[int]])

    assert config.consumers == (ConsumerConfig(consumer_class=Keep),)


def test_it_cannot_be_changed() -> None:
    config = RedispatcherConfig(redis_dsn="memory://")

    with pytest.raises(ValidationError, match="frozen"):
        config.lease = timedelta(seconds=1)  # pyright: ignore[reportAttributeAccessIssue]  # frozen is what is tested


class TestTheAddress:
    def test_what_is_passed_wins_over_the_environment(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("REDISPATCHER_REDIS_DSN", "redis://first")

        assert RedispatcherConfig(redis_dsn="memory://").dsn.kind == "memory"

    def test_our_own_variable_wins_over_the_common_one(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("REDISPATCHER_REDIS_DSN", "redis://first")
        monkeypatch.setenv("REDIS_DSN", "redis://second")

        assert RedispatcherConfig().dsn.addresses[0].host == "first"
        assert RedispatcherConfig(redis_dsn=None).dsn.addresses[0].host == "first"

    def test_an_empty_variable_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("REDISPATCHER_REDIS_DSN", "")
        monkeypatch.setenv("REDIS_DSN", "redis://second")

        assert RedispatcherConfig().dsn.addresses[0].host == "second"

    def test_no_address_at_all_is_refused_with_the_names_of_the_variables(self) -> None:
        with pytest.raises(ConfigurationError, match="REDISPATCHER_REDIS_DSN or REDIS_DSN"):
            RedispatcherConfig()

    def test_a_wrong_address_in_the_environment_is_refused(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("REDIS_DSN", f"redis://:{SECRET}@h:port")

        with pytest.raises(ConfigurationError, match="HOST:PORT") as caught:
            RedispatcherConfig()

        assert SECRET not in str(caught.value)

    @pytest.mark.parametrize(
        "given",
        [
            WITH_SECRET,
            SecretStr(WITH_SECRET),
            TypeAdapter[Any](RedisDsn).validate_python(WITH_SECRET),
            AnyUrl(WITH_SECRET),
        ],
        ids=["text", "secret", "RedisDsn", "AnyUrl"],
    )
    def test_it_may_be_text_a_secret_or_a_url(self, given: Any) -> None:
        dsn = RedispatcherConfig(redis_dsn=given).dsn

        assert dsn.addresses[0] == ("example.org", 6380)
        assert (dsn.username, dsn.password, dsn.database) == ("user", SECRET, 1)

    def test_it_is_never_shown(self) -> None:
        config = RedispatcherConfig(redis_dsn=WITH_SECRET)

        shown = f"{config} {config!r} {config.dsn} {config.model_dump()} {config.model_dump_json()}"

        assert SECRET not in shown


class TestWhatCannotBeUsed:
    @pytest.mark.parametrize(
        ("options", "advice"),
        [
            ({"lease": timedelta(milliseconds=999)}, "lease: .*greater than or equal to 1 second"),
            ({"grace_period": timedelta(seconds=-1)}, "grace_period"),
            ({"publish_timeout": timedelta()}, "publish_timeout"),
            ({"max_message_bytes": 0}, "max_message_bytes"),
            ({"max_result_bytes": 0}, "max_result_bytes"),
            ({"max_queue_length": 0}, "max_queue_length"),
            ({"dead_max_count": -1}, "dead_max_count"),
            ({"dead_max_age": timedelta(seconds=-1)}, "dead_max_age"),
            ({"chosen_id_memory": timedelta(seconds=-1)}, "chosen_id_memory"),
            ({"leese": timedelta(seconds=5)}, "leese: there is no such option; .*lease"),
            ({"redis_dsn": 5}, "redis_dsn"),
            ({"consumers": [int]}, "subclass of BaseConsumer"),
            ({"consumers": [Base]}, "Base has no QUEUE"),
            ({"consumers": [Resize()]}, r"consumers.0: list .*, not an instance of Resize\."),
            ({"consumers": ["Resize"]}, r"consumers.0: list consumer classes .*, not str\."),
            ({"consumers": Resize}, r"consumers: it is a list, also of one: consumers=\["),
            ({"consumers": [Resize, ResizeLater]}, "Resize and ResizeLater both.*'resize'"),
            ({"consumers": [Resize, Resize]}, "listed twice"),
            ({"consumers": [{"consumer_class": Resize, "count": 0}]}, "consumers.0.count"),
        ],
    )
    def test_it_is_refused_by_name(self, options: dict[str, Any], advice: str) -> None:
        with pytest.raises(ConfigurationError, match=advice):
            configure({"redis_dsn": "memory://", **options})

    @pytest.mark.parametrize("count", [0, 1001, "many"])
    def test_a_count_is_from_1_to_1000(self, count: Any) -> None:
        with pytest.raises(ConfigurationError, match=r"ConsumerConfig cannot be used\. count"):
            ConsumerConfig(consumer_class=Resize, count=count)

    def test_options_without_names(self) -> None:
        make: Any = ConsumerConfig

        with pytest.raises(ConfigurationError, match=r"by name: ConsumerConfig\(consumer_class="):
            make(Resize)

    def test_all_problems_are_told_at_once(self) -> None:
        with pytest.raises(ConfigurationError, match=r"lease.*grace_period"):
            RedispatcherConfig(
                redis_dsn="memory://", lease=timedelta(), grace_period=timedelta(seconds=-1)
            )

    def test_pydantic_s_error_which_holds_the_input_is_not_kept(self) -> None:
        with pytest.raises(ConfigurationError) as caught:
            RedispatcherConfig(redis_dsn=WITH_SECRET, lease=timedelta())

        assert SECRET not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__


class TestHowLongFinishedJobsAreRemembered:
    def test_less_than_twice_the_publish_timeout_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="twice publish_timeout"):
            RedispatcherConfig(
                redis_dsn="memory://",
                publish_timeout=timedelta(seconds=10),
                finished_max_age=timedelta(seconds=19),
            )

    def test_twice_the_publish_timeout_is_enough(self) -> None:
        config = RedispatcherConfig(
            redis_dsn="memory://",
            publish_timeout=timedelta(seconds=10),
            finished_max_age=timedelta(seconds=20),
        )

        assert config.engine_settings().finished_max_age == timedelta(seconds=20)

    def test_the_default_grows_with_the_publish_timeout(self) -> None:
        config = RedispatcherConfig(redis_dsn="memory://", publish_timeout=timedelta(hours=1))

        assert config.engine_settings().finished_max_age == timedelta(hours=2)

    def test_none_may_be_kept_beyond_that(self) -> None:
        config = RedispatcherConfig(redis_dsn="memory://", finished_max_count=0, dead_max_count=0)

        assert config.engine_settings().finished_max_count == 0


def test_the_engine_gets_what_was_configured() -> None:
    config = RedispatcherConfig(
        redis_dsn="memory://",
        lease=timedelta(seconds=2),
        publish_timeout=timedelta(seconds=3),
        max_queue_length=4,
        finished_max_age=timedelta(seconds=50),
        finished_max_count=6,
        dead_max_age=timedelta(seconds=7),
        dead_max_count=8,
        chosen_id_memory=timedelta(seconds=9),
    )
    settings = config.engine_settings()

    assert settings.lease == timedelta(seconds=2)
    assert settings.publish_timeout == timedelta(seconds=3)
    assert settings.max_queue_length == 4
    assert (settings.finished_max_age, settings.finished_max_count) == (timedelta(seconds=50), 6)
    assert (settings.dead_max_age, settings.dead_max_count) == (timedelta(seconds=7), 8)
    assert settings.chosen_id_memory == timedelta(seconds=9)


class AppSettings(BaseSettings):
    model_config = SettingsConfigDict(env_nested_delimiter="__")

    jobs: RedispatcherConfig


class Outer(BaseModel):
    jobs: RedispatcherConfig


class TestInsideOfTheSettingsOfAnApplication:
    def test_it_is_read_from_the_application_s_environment(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("JOBS__REDIS_DSN", "redis://nested")
        monkeypatch.setenv("JOBS__LEASE", "PT5S")
        monkeypatch.setenv("JOBS__MAX_QUEUE_LENGTH", "12")

        jobs = AppSettings().jobs  # type: ignore[call-arg]  # from the environment  # pyright: ignore[reportCallIssue]

        assert jobs.dsn.addresses[0].host == "nested"
        assert jobs.lease == timedelta(seconds=5)
        assert jobs.max_queue_length == 12

    def test_what_is_wrong_is_part_of_the_application_s_own_error(self) -> None:
        with pytest.raises(ValidationError) as caught:
            Outer.model_validate({"jobs": {"redis_dsn": "memory://", "lease": 0}})

        assert [problem["loc"] for problem in caught.value.errors()] == [("jobs", "lease")]

    @pytest.mark.parametrize(
        "jobs",
        [
            {"redis_dsn": f"redis://:{SECRET}@h:port"},
            {"redis_dsn": WITH_SECRET, "lease": 0},
            {"redis_dsn": WITH_SECRET, "publish_timeout": 10, "finished_max_age": 1},
            {"redis_dsn": WITH_SECRET, "consumers": [Resize, ResizeLater]},
        ],
    )
    def test_that_error_does_not_show_the_dsn(self, jobs: dict[str, Any]) -> None:
        with pytest.raises(ValidationError) as caught:
            Outer.model_validate({"jobs": jobs})

        assert SECRET not in f"{caught.value} {caught.value.errors()}"

    def test_a_finished_configuration_can_be_passed_on(self) -> None:
        config = RedispatcherConfig(redis_dsn="memory://", consumers=[Resize])

        assert Outer(jobs=config).jobs is config


class TestSharedSlots:
    def test_weights_share_the_concurrency_of_a_process(self) -> None:
        heavy = ConsumerConfig(consumer_class=SendEmail, weight=3)

        config = RedispatcherConfig(redis_dsn="memory://", concurrency=4, consumers=[heavy, Resize])

        assert [each.weight for each in config.consumers] == [3, 1]

    def test_a_weight_without_it_is_refused_by_the_name_of_the_consumer(self) -> None:
        heavy = ConsumerConfig(consumer_class=SendEmail, weight=3)

        with pytest.raises(ConfigurationError, match="the weight of SendEmail means nothing"):
            RedispatcherConfig(redis_dsn="memory://", consumers=[heavy, Resize])

    def test_a_batch_that_could_never_be_full_is_refused(self) -> None:
        class Gather(BatchConsumer):
            QUEUE = "gather"
            BATCH = Batch(size=5)

            class Message(BatchConsumer.Message):
                pass

            async def process_batch(self, items: Sequence[BatchItem[Message, None]]) -> None: ...

        RedispatcherConfig(redis_dsn="memory://", concurrency=5, consumers=[Gather])
        with pytest.raises(ConfigurationError, match=r"a batch of .*Gather is 5 jobs at once"):
            RedispatcherConfig(redis_dsn="memory://", concurrency=4, consumers=[Gather])

    @pytest.mark.parametrize("weight", [0, 101])
    def test_a_weight_is_1_to_100(self, weight: int) -> None:
        with pytest.raises(ConfigurationError, match="weight"):
            ConsumerConfig(consumer_class=SendEmail, weight=weight)

    def test_no_jobs_at_all_are_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="concurrency"):
            configure({"redis_dsn": "memory://", "concurrency": 0})
