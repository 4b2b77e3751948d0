"""``BaseConsumer``: what every consumer inherits from."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, Protocol, get_origin, overload

from pydantic import BaseModel, ConfigDict
from typing_extensions import TypeVar, Unpack

from redispatcher_fastapi.backoff import RetryPolicy
from redispatcher_fastapi.broker.scripts import CommandClient
from redispatcher_fastapi.broker.sending import DirectSender
from redispatcher_fastapi.consumer.checks import check_attributes
from redispatcher_fastapi.consumer.definition import ConsumerDefinition, define
from redispatcher_fastapi.consumer.handles import make_job
from redispatcher_fastapi.consumer.submission import MAX_MESSAGE_BYTES, prepare
from redispatcher_fastapi.errors import ConsumerDefinitionError
from redispatcher_fastapi.job import Job, JobContext, Priority

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence

    from redispatcher_fastapi.consumer.batch import BatchItem
    from redispatcher_fastapi.consumer.options import PublishOptions
    from redispatcher_fastapi.consumer.unique import Unique
    from redispatcher_fastapi.limits import Limit
    from redispatcher_fastapi.schedules import Schedule
    from redispatcher_fastapi.sealing import Sealing

MessageT = TypeVar("MessageT")
ResultT = TypeVar("ResultT")
MessageT_contra = TypeVar("MessageT_contra", contravariant=True)
ResultT_co = TypeVar("ResultT_co", covariant=True)


class Consumes(Protocol[MessageT_contra, ResultT_co]):
    """What a consumer takes and returns, read off its asynchronous ``process_message``."""

    @property
    def process_message(
        self,
    ) -> Callable[Concatenate[MessageT_contra, ...], Coroutine[Any, Any, ResultT_co]]: ...


class ConsumesSync(Protocol[MessageT_contra, ResultT_co]):
    """The same, read off a synchronous ``process_message``."""

    @property
    def process_message(self) -> Callable[Concatenate[MessageT_contra, ...], ResultT_co]: ...


class ConsumesBatch(Protocol[MessageT_contra, ResultT_co]):
    """The same, read off the items that a ``process_batch`` takes."""

    @property
    def process_batch(
        self,
    ) -> Callable[Concatenate[Sequence[BatchItem[MessageT_contra, ResultT_co]], ...], object]: ...


class AsyncRedisClient(CommandClient, Protocol):
    """Any client of ``redis.asyncio``; by ``aclose``, type checkers tell it from a blocking one."""

    def aclose(self) -> Awaitable[None]: ...


class BaseConsumer:
    """Work of one kind: the message it takes, the queue it comes from, and what to do with it.

    A subclass names its ``QUEUE``, declares its ``Message`` and overrides ``process_message``. One
    without a ``QUEUE`` is a base for other consumers, which inherit its hooks and policies. A new
    instance is made for every attempt.
    """

    QUEUE: ClassVar[str]
    RETRY: ClassVar[RetryPolicy] = RetryPolicy()
    #: How long one attempt may take; ``None`` for as long as it needs.
    TIMEOUT: ClassVar[timedelta | None] = None
    #: How long what ``process_message`` returned is kept for ``Job.result()``.
    RESULT_TTL: ClassVar[timedelta] = timedelta(hours=1)
    #: Which of the queue's jobs start first.
    PRIORITY: ClassVar[Priority] = Priority.NORMAL
    #: Which messages get one job between them, and for how long; ``None`` for none.
    UNIQUE: ClassVar[Unique | None] = None
    #: How long after its publish a job may still start for the first time; ``None`` for ever.
    EXPIRES: ClassVar[timedelta | None] = None
    #: How many of its jobs run or start, and in which order; see ``docs/limits.md``.
    LIMITS: ClassVar[Sequence[Limit]] = ()
    #: Messages that every pool of the consumer makes by the clock.
    SCHEDULES: ClassVar[Sequence[Schedule]] = ()
    #: The name of the method that does the work.
    __redispatcher_method__: ClassVar[str] = "process_message"

    class Message(BaseModel):
        """What is published; every consumer declares its own."""

    class Headers(BaseModel):
        """What travels beside the message, such as trace ids. Takes any further key."""

        model_config = ConfigDict(extra="allow")

    # The one signature that every override is compatible with.
    def process_message(self, *args: Any, **kwargs: Any) -> Any:
        """Do the work; ``async def``, or ``def`` to be run in a thread.

        The message is the first parameter. The others are bound by annotation: the consumer's
        ``Headers`` (or by the name ``headers``), ``JobContext``, and whatever has a ``Depends``.
        """
        raise NotImplementedError

    @classmethod
    def headers(cls) -> Headers | Mapping[str, Any]:
        """Make the headers of a message that is being published; what the caller gives wins."""
        return {}

    async def around(self, run: Callable[[], Awaitable[Any]], context: JobContext) -> Any:
        """Run one attempt: an override does something before and after, and returns its result.

        Overrides nest by ``super().around(run, context)``.
        """
        return await run()

    @overload
    @classmethod
    async def publish(
        cls: type[Consumes[MessageT, ResultT]],
        message: MessageT,
        redis_client: AsyncRedisClient,
        *,
        sealing: Sealing | None = None,
        **options: Unpack[PublishOptions],
    ) -> Job[ResultT]: ...
    @overload
    @classmethod
    async def publish(
        cls: type[ConsumesSync[MessageT, ResultT]],
        message: MessageT,
        redis_client: AsyncRedisClient,
        *,
        sealing: Sealing | None = None,
        **options: Unpack[PublishOptions],
    ) -> Job[ResultT]: ...
    @overload
    @classmethod
    async def publish(
        cls: type[ConsumesBatch[MessageT, ResultT]],
        message: MessageT,
        redis_client: AsyncRedisClient,
        *,
        sealing: Sealing | None = None,
        **options: Unpack[PublishOptions],
    ) -> Job[ResultT]: ...
    @classmethod
    async def publish(
        cls,
        message: Any,
        redis_client: AsyncRedisClient,
        *,
        id: str | None = None,  # the name of the public attribute Job.id
        delay: timedelta | None = None,
        at: datetime | None = None,
        headers: BaseModel | Mapping[str, Any] | None = None,
        priority: Priority | None = None,
        expires: timedelta | datetime | None = None,
        unique: Unique | None = None,
        sealing: Sealing | None = None,
    ) -> Job[Any]:
        """Publish with any ``redis.asyncio`` client; it stays the caller's.

        With an ``id``, publishing again is recognised and leaves the first job as it is. ``delay``
        or an aware ``at`` makes it start later. ``priority``, ``expires`` and ``unique`` stand in
        for what the class says. ``sealing`` is that of the pool's configuration; without it,
        nothing is signed or encrypted, and a pool that has it refuses the message.

        Raises:
            DuplicateJobError: the message was to be unique, or raise.
            PublishError: it was not published, or (``PublishUncertainError``) perhaps it was.
        """
        definition = definition_of(cls)
        submission = prepare(
            definition,
            message,
            id=id,
            delay=delay,
            at=at,
            headers=headers,
            priority=priority,
            expires=expires,
            unique=unique,
            max_message_bytes=MAX_MESSAGE_BYTES,
            sealing=sealing,
        )
        sender = DirectSender(redis_client)
        answer = await sender.send(definition.queue, submission)
        return make_job(sender.store, definition, sealing, submission, answer)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_attributes(cls, root=BaseConsumer)
        if hasattr(cls, "QUEUE"):
            parent = next((base for base in cls.__mro__[1:] if _DEFINITION in vars(base)), None)
            setattr(cls, _DEFINITION, define(cls, root=BaseConsumer, parent=parent))


_DEFINITION = "__redispatcher_definition__"


def definition_of(consumer_class: Any) -> ConsumerDefinition:
    """Return what was read off a consumer when its class was created.

    The parameters of a generic one, as in ``MyConsumer[int]``, make no difference.

    Raises:
        ConsumerDefinitionError: it is not a consumer, or a base without a ``QUEUE``.
    """
    definition = getattr(consumer_class, _DEFINITION, None)
    if isinstance(definition, ConsumerDefinition):
        return definition
    if (generic := get_origin(consumer_class)) is not None:
        return definition_of(generic)
    name = getattr(consumer_class, "__qualname__", repr(consumer_class))
    if isinstance(consumer_class, type) and issubclass(consumer_class, BaseConsumer):
        raise ConsumerDefinitionError(
            f"{name} has no QUEUE, so it is only a base for consumers: give it one, as in "
            'QUEUE = "send-email".'
        )
    raise ConsumerDefinitionError(
        f"{name} is not a consumer: a consumer inherits from BaseConsumer."
    )
