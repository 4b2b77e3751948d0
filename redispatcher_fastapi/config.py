"""What a user configures: validated, complete and frozen before anything connects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast, get_origin

from pydantic import (
    AfterValidator,
    AliasChoices,
    AnyUrl,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    RedisDsn,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from redispatcher_fastapi.broker.types import EngineSettings
from redispatcher_fastapi.consumer import (
    BaseConsumer,
    ConsumerDefinition,
    check_own_limits,
    definition_of,
)
from redispatcher_fastapi.consumer.lock_keys import refuse_debounced
from redispatcher_fastapi.consumer.traits import refuse_sealed_changes
from redispatcher_fastapi.database import Outbox
from redispatcher_fastapi.dsn import Dsn, parse_dsn
from redispatcher_fastapi.errors import ConfigurationError, ConsumerDefinitionError
from redispatcher_fastapi.limits import Limit, LimitRules
from redispatcher_fastapi.schedules import Schedule, check_schedules
from redispatcher_fastapi.sealing import Sealing

FunctionT = TypeVar("FunctionT", bound=Callable[..., None])

_SECOND = timedelta(seconds=1)
_DEFAULTS = EngineSettings()


class _Environment(BaseSettings):
    """The only place where the library reads an environment variable by itself."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore")

    redis_dsn: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("REDISPATCHER_REDIS_DSN", "REDIS_DSN")
    )


def _to_secret(value: Any) -> Any:
    """Hide the DSN before anything can fail: pydantic shows a failed input, but not a secret's."""
    if value is None:
        value = _Environment().redis_dsn
    if value is None:
        raise ConfigurationError(
            "there is no Redis DSN: pass redis_dsn, or set the environment variable "
            "REDISPATCHER_REDIS_DSN or REDIS_DSN (memory:// needs no Redis)."
        )
    # pydantic's own URL types have this method, in all releases.
    text = value.unicode_string() if hasattr(value, "unicode_string") else value
    return SecretStr(text) if isinstance(text, str) else text


def _check_dsn(value: SecretStr) -> SecretStr:
    parse_dsn(value.get_secret_value())
    return value


def _check_consumer(value: type[BaseConsumer]) -> type[BaseConsumer]:
    try:
        definition_of(value)
    except ConsumerDefinitionError as error:
        raise ConfigurationError(str(error)) from error
    return value


def _to_consumer_config(value: Any) -> Any:
    bare = get_origin(value) or value  # a generic consumer may be named with its parameters
    if isinstance(bare, type):
        return {"consumer_class": bare}
    if isinstance(value, (ConsumerConfig, Mapping)):
        return cast("Any", value)
    name = type(value).__qualname__
    wrong = f"an instance of {name}" if isinstance(value, BaseConsumer) else name
    raise ConfigurationError(f"list consumer classes or ConsumerConfig(...), not {wrong}.")


def _refuse_one_consumer(value: Any) -> Any:
    if isinstance(value, (type, ConsumerConfig)):
        raise ConfigurationError("it is a list, also of one: consumers=[MyConsumer].")
    return value


def _native(function: FunctionT) -> FunctionT:
    """Let pydantic validate a nested model by its fields, although it has an ``__init__``."""
    setattr(function, "__pydantic_base_init__", True)  # noqa: B010  # pydantic's mark, unknown to type checkers
    return function


class _Configuration(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    if not TYPE_CHECKING:  # type checkers are to see the fields

        @_native
        def __init__(self, *unnamed: Any, **values: Any) -> None:
            if unnamed:
                name, first = type(self).__name__, next(iter(type(self).model_fields))
                raise ConfigurationError(f"{name} takes its options by name: {name}({first}=...).")
            try:
                super().__init__(**values)
            except ValidationError as error:
                raise _translate(type(self), error) from None


class ConsumerConfig(_Configuration):
    """One consumer that a pool runs."""

    consumer_class: Annotated[type[BaseConsumer], AfterValidator(_check_consumer)]
    #: How many of its jobs run at once in one process.
    count: int = Field(default=10, ge=1, le=1000)
    #: Its share of the process's ``concurrency``, beside the weights of the other consumers.
    weight: int = Field(default=1, ge=1, le=100)
    #: Limits instead of those that the class declares; ``None`` for those of the class.
    limits: tuple[Limit, ...] | None = None
    #: Schedules beside those that the class declares.
    schedules: tuple[InstanceOf[Schedule], ...] = ()

    if TYPE_CHECKING:
        # What may be passed is wider than what the fields hold.
        def __init__(
            self,
            *,
            consumer_class: type[BaseConsumer],
            count: int = ...,
            weight: int = ...,
            limits: Sequence[Limit] | None = ...,
            schedules: Sequence[Schedule] = ...,
        ) -> None: ...

    @field_validator("limits", mode="plain")
    @classmethod
    def _check_limits(cls, limits: Any, info: ValidationInfo) -> tuple[Limit, ...] | None:
        consumer: type[BaseConsumer] | None = info.data.get("consumer_class")
        if limits is None or consumer is None:
            return None
        definition = definition_of(consumer)
        check_own_limits(definition, limits, f"the limits of {definition.name}")
        return tuple(limits)

    @property
    def rules(self) -> LimitRules:
        """What its limits mean, of the class or instead of them."""
        definition = self.definition
        if self.limits is None:
            return definition.limits
        return check_own_limits(definition, self.limits, f"the limits of {definition.name}")

    @field_validator("schedules")
    @classmethod
    def _check_schedules(
        cls, schedules: tuple[Schedule, ...], info: ValidationInfo
    ) -> tuple[Schedule, ...]:
        consumer: type[BaseConsumer] | None = info.data.get("consumer_class")
        if consumer is None or not schedules:
            return schedules
        definition = definition_of(consumer)
        refuse_debounced(definition.unique, definition.name, ConfigurationError)
        check_schedules(
            [*definition.schedules, *schedules],
            owner=f"The configuration of {definition.name}",
            message_type=definition.message_type,
        )
        return schedules

    @property
    def definition(self) -> ConsumerDefinition:
        """What was read off the class."""
        return definition_of(self.consumer_class)

    @property
    def all_schedules(self) -> tuple[Schedule, ...]:
        """Those of the class and those of this configuration."""
        return (*self.definition.schedules, *self.schedules)


class RedispatcherConfig(_Configuration):
    """Everything that can be configured; every time is a ``timedelta``, every size is in bytes.

    Created directly, it raises :class:`ConfigurationError`; as a field of another model, what is
    wrong is part of that model's ``ValidationError``.
    """

    #: Where Redis is; ``None`` reads ``REDISPATCHER_REDIS_DSN``, else ``REDIS_DSN``.
    redis_dsn: Annotated[SecretStr, AfterValidator(_check_dsn), BeforeValidator(_to_secret)] = (
        Field(
            default=None,
            validate_default=True,
        )
    )
    #: What a pool runs: classes, or :class:`ConsumerConfig` with a count.
    consumers: Annotated[
        tuple[Annotated[ConsumerConfig, BeforeValidator(_to_consumer_config)], ...],
        BeforeValidator(_refuse_one_consumer),
    ] = ()
    #: How many jobs run at once in one process, of all consumers together; with ``None`` each
    #: consumer has its ``count`` to itself.
    concurrency: int | None = Field(default=None, ge=1, le=10_000, validate_default=True)
    #: How long a silent process keeps its jobs before others take them over.
    lease: timedelta = Field(default=_DEFAULTS.lease, ge=_SECOND)
    #: How long running jobs may take to finish at shutdown before they are handed back.
    grace_period: timedelta = Field(default=timedelta(seconds=25), ge=timedelta())
    #: How long a publish tries before it raises.
    publish_timeout: timedelta = Field(default=_DEFAULTS.publish_timeout, gt=timedelta())
    #: The largest message, with its headers, that can be published.
    max_message_bytes: int = Field(default=262_144, ge=1, le=512 * 1024 * 1024)
    #: The largest result that is kept.
    max_result_bytes: int = Field(default=1024 * 1024, ge=1, le=256 * 1024 * 1024)
    #: How many jobs may wait in one queue.
    max_queue_length: int = Field(default=_DEFAULTS.max_queue_length, ge=1)
    #: How long succeeded and cancelled jobs are remembered: at least twice ``publish_timeout``,
    #: so that a publish that is repeated after a lost reply is still recognised.
    finished_max_age: timedelta = _DEFAULTS.finished_max_age
    #: How many of them are kept per queue; 0 keeps none longer than twice ``publish_timeout``.
    finished_max_count: int = Field(default=_DEFAULTS.finished_max_count, ge=0)
    #: How long dead jobs are kept, with their messages and their history.
    dead_max_age: timedelta = Field(default=_DEFAULTS.dead_max_age, ge=timedelta())
    #: How many dead jobs are kept per queue.
    dead_max_count: int = Field(default=_DEFAULTS.dead_max_count, ge=0)
    #: How long an id that the caller chose is recognised when it is published again.
    chosen_id_memory: timedelta = Field(default=_DEFAULTS.chosen_id_memory, ge=timedelta())
    #: How messages and results are signed and encrypted; ``None`` for not at all.
    sealing: InstanceOf[Sealing] | None = None
    #: The table through which ``publisher.in_transaction(session)`` publishes; pools move it on.
    outbox: InstanceOf[Outbox] | None = None
    #: How many replicas must have a job before its publish returns; 0 asks none.
    confirmed_replicas: int = Field(default=_DEFAULTS.confirmed_replicas, ge=0, le=100)

    if TYPE_CHECKING:
        # What may be passed is wider than what the fields hold.
        def __init__(
            self,
            *,
            redis_dsn: str | SecretStr | AnyUrl | RedisDsn | None = ...,
            consumers: Sequence[ConsumerConfig | type[BaseConsumer]] = ...,
            concurrency: int | None = ...,
            lease: timedelta = ...,
            grace_period: timedelta = ...,
            publish_timeout: timedelta = ...,
            max_message_bytes: int = ...,
            max_result_bytes: int = ...,
            max_queue_length: int = ...,
            finished_max_age: timedelta = ...,
            finished_max_count: int = ...,
            dead_max_age: timedelta = ...,
            dead_max_count: int = ...,
            chosen_id_memory: timedelta = ...,
            sealing: Sealing | None = ...,
            outbox: Outbox | None = ...,
            confirmed_replicas: int = ...,
        ) -> None: ...

    @field_validator("consumers")
    @classmethod
    def _refuse_shared_queues(
        cls, consumers: tuple[ConsumerConfig, ...]
    ) -> tuple[ConsumerConfig, ...]:
        owners: dict[str, type[BaseConsumer]] = {}
        for each in consumers:
            definition = each.definition
            owner = owners.setdefault(definition.queue, each.consumer_class)
            if owner is not each.consumer_class:
                raise ConfigurationError(
                    f"{owner.__qualname__} and {definition.name} both consume the queue "
                    f"{definition.queue!r}: give each a QUEUE of its own."
                )
        if len(owners) < len(consumers):
            raise ConfigurationError("a consumer is listed twice: use its count instead.")
        return consumers

    @field_validator("concurrency")
    @classmethod
    def _require_something_to_share(
        cls, concurrency: int | None, info: ValidationInfo
    ) -> int | None:
        consumers: tuple[ConsumerConfig, ...] = info.data.get("consumers", ())
        weighted = [each.definition.name for each in consumers if each.weight != 1]
        if concurrency is None and weighted:
            raise ConfigurationError(
                f"the weight of {', '.join(weighted)} means nothing without it: set it to how many "
                "jobs a process runs at once, or leave the weights out."
            )
        for each in consumers:
            batch = each.definition.batch
            if concurrency is not None and batch is not None and batch.size > concurrency:
                raise ConfigurationError(
                    f"a batch of {each.definition.name} is {batch.size} jobs at once: set it to as "
                    "many at least, or make the batches smaller."
                )
        return concurrency

    @field_validator("finished_max_age")
    @classmethod
    def _require_time_to_repeat(cls, age: timedelta, info: ValidationInfo) -> timedelta:
        publish_timeout: timedelta | None = info.data.get("publish_timeout")
        if publish_timeout is not None and age < 2 * publish_timeout:
            raise ConfigurationError(
                f"it must be at least twice publish_timeout ({2 * publish_timeout}), or a publish "
                "repeated after a lost reply would run twice; set finished_max_count=0 to keep "
                "records no longer than that."
            )
        return age

    @field_validator("sealing")
    @classmethod
    def _refuse_sealed_changes(
        cls, sealing: Sealing | None, info: ValidationInfo
    ) -> Sealing | None:
        for each in info.data.get("consumers", ()):
            definition: ConsumerDefinition = each.definition
            refuse_sealed_changes(definition.unique, sealing, f"{definition.name}.UNIQUE")
        return sealing

    @field_validator("confirmed_replicas")
    @classmethod
    def _require_replicas(cls, count: int, info: ValidationInfo) -> int:
        dsn: SecretStr | None = info.data.get("redis_dsn")
        if count and dsn is not None and parse_dsn(dsn.get_secret_value()).kind == "memory":
            raise ConfigurationError(
                "memory:// has no replicas that could confirm a publish: leave it at 0, or use a "
                "Redis that has some."
            )
        return count

    @property
    def dsn(self) -> Dsn:
        """The address of Redis, parsed; shows no password."""
        return parse_dsn(self.redis_dsn.get_secret_value())

    @property
    def queues(self) -> frozenset[str]:
        """The queues of its consumers."""
        return frozenset(each.definition.queue for each in self.consumers)

    def engine_settings(self) -> EngineSettings:
        """Return the part that the scripts are given."""
        return EngineSettings(
            lease=self.lease,
            publish_timeout=self.publish_timeout,
            max_queue_length=self.max_queue_length,
            # The default is not longer than every publish_timeout; what was given is, see above.
            finished_max_age=max(self.finished_max_age, 2 * self.publish_timeout),
            finished_max_count=self.finished_max_count,
            dead_max_age=self.dead_max_age,
            dead_max_count=self.dead_max_count,
            chosen_id_memory=self.chosen_id_memory,
            confirmed_replicas=self.confirmed_replicas,
        )


def _translate(model: type[BaseModel], error: ValidationError) -> ConfigurationError:
    """Return our error with all problems and no values: one of them could be a password."""
    problems: list[str] = []
    for problem in error.errors(include_input=False, include_url=False, include_context=False):
        place = ".".join(str(part) for part in problem["loc"])
        text = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            text = f"there is no such option; there are {', '.join(model.model_fields)}"
        problems.append(f"{place}: {text}" if place else text)
    return ConfigurationError(f"{model.__name__} cannot be used. {'; '.join(problems)}")
