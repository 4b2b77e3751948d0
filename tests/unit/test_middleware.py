"""What goes around a publish: order, headers, refusals, repetitions; and what is no middleware."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import ConfigDict, Field

from redispatcher_fastapi import (
    BaseConsumer,
    CallNext,
    ConfigurationError,
    ConsumerPool,
    Job,
    MessageEncodingError,
    Middleware,
    MiddlewareError,
    Publication,
    Publisher,
    PublishUncertainError,
    QueueFullError,
    Redispatcher,
    RedispatcherConfig,
    Run,
    WrongMessageError,
)
from redispatcher_fastapi.broker.types import Answer
from redispatcher_fastapi.consumer import InvalidOptionError, PublishOptions
from redispatcher_fastapi.middleware import around_publishes, around_runs, check_middleware
from tests.fastapi.recording import RecordingSender, Resize, SendEmail

MESSAGE = Resize.Message(path="a")


class Noting(Middleware):
    """Notes when it is entered and left."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self._name = name
        self._notes = notes

    async def around_publish(
        self, publication: Publication, call_next: CallNext[list[Job[Any]]]
    ) -> None:
        self._notes.append(f"{self._name} {publication.queue}")
        jobs = await call_next()
        self._notes.append(f"{self._name} {len(jobs)}")


class Stamping(Middleware):
    async def around_publish(self, publication: Publication, call_next: CallNext) -> None:
        publication.headers["tenant"] = "blue"
        await call_next()


class Seeing(Middleware):
    """Keeps what it sees."""

    def __init__(self) -> None:
        self.publications: list[Publication] = []
        self.headers: list[dict[str, Any]] = []
        self.jobs: list[Job[Any]] = []
        self.errors: list[Exception] = []

    async def around_publish(
        self, publication: Publication, call_next: CallNext[list[Job[Any]]]
    ) -> None:
        self.publications.append(publication)
        self.headers.append(dict(publication.headers))
        try:
            self.jobs += await call_next()
        except Exception as error:
            self.errors.append(error)
            raise


class Failing(RecordingSender):
    """Raises these errors first."""

    def __init__(self, *errors: Exception) -> None:
        super().__init__()
        self.errors = list(errors)
        self.tried: list[str] = []

    async def send(self, queue: str, submission: Any) -> Answer:
        self.tried.append(submission.job_id)
        if self.errors:
            raise self.errors.pop(0)
        return await super().send(queue, submission)


def publisher(sender: RecordingSender, *middleware: Middleware) -> Publisher[Resize]:
    return Publisher(Resize, sender, max_message_bytes=1000, middleware=middleware)


def envelope(sender: RecordingSender) -> bytes:
    ((_, submission),) = sender.sent
    return submission.envelope


async def test_the_first_is_the_outermost() -> None:
    notes: list[str] = []

    job = await publisher(
        RecordingSender(), Noting("one", notes), Middleware(), Noting("two", notes)
    ).publish(MESSAGE)

    assert notes == ["one resize", "two resize", "two 1", "one 1"]
    assert job.created


async def test_a_middleware_sees_the_call_as_it_was_made_and_the_job() -> None:
    seeing = Seeing()

    job = await publisher(RecordingSender(), seeing).publish(
        MESSAGE, id="chosen", delay=timedelta(seconds=5), headers={"trace": "7f"}
    )

    (publication,) = seeing.publications
    assert publication == Publication(
        consumer=Resize,
        queue="resize",
        messages=(MESSAGE,),
        headers={"trace": "7f"},
        id="chosen",
        delay=timedelta(seconds=5),
    )
    assert seeing.jobs == [job]


def test_every_option_of_a_publish_is_told() -> None:
    told = {field.name for field in fields(Publication)} - {"consumer", "queue", "messages"}

    assert told == set(PublishOptions.__annotations__)


async def test_the_options_and_the_headers_are_published() -> None:
    sender = RecordingSender()

    await publisher(sender, Stamping()).publish(
        MESSAGE, id="chosen", delay=timedelta(seconds=5), headers={"trace": "7f"}
    )

    ((queue, submission),) = sender.sent
    assert (queue, submission.job_id, submission.delay) == ("resize", "chosen", timedelta(0, 5))
    assert submission.is_chosen_id
    assert b'"headers":{"trace":"7f","tenant":"blue"}' in submission.envelope


async def test_many_messages_are_one_publication_and_their_jobs_come_in_order() -> None:
    sender, seeing = RecordingSender(), Seeing()

    jobs = await publisher(sender, Stamping(), seeing).publish_many(
        Resize.Message(path=path) for path in "abc"
    )

    (publication,) = seeing.publications
    assert [message.model_dump() for message in publication.messages] == [
        {"path": "a"},
        {"path": "b"},
        {"path": "c"},
    ]
    assert [job.id for job in jobs] == [submission.job_id for _, submission in sender.sent]
    assert seeing.jobs == jobs
    assert all(b'{"tenant":"blue"}' in submission.envelope for _, submission in sender.sent)


async def test_a_call_without_messages_goes_through_all_the_same() -> None:
    seeing = Seeing()

    assert await publisher(RecordingSender(), seeing).publish_many([]) == []
    assert len(seeing.publications) == 1


async def test_what_is_put_in_wins_over_the_caller_and_the_consumer() -> None:
    class Own(BaseConsumer):
        QUEUE = "own-headers"

        class Message(BaseConsumer.Message):
            pass

        @classmethod
        def headers(cls) -> dict[str, Any]:
            return {"tenant": "consumer's", "trace": "consumer's"}

        async def process_message(self, message: Message) -> None: ...

    sender = RecordingSender()
    own = Publisher(Own, sender, max_message_bytes=1000, middleware=[Stamping()])

    await own.publish(Own.Message(), headers={"tenant": "caller's"})

    assert b'"headers":{"tenant":"blue","trace":"consumer\'s"}' in envelope(sender)


async def test_headers_that_were_given_as_a_model_stay_what_they_are() -> None:
    class Numbered(BaseConsumer):
        QUEUE = "numbered"

        class Message(BaseConsumer.Message):
            pass

        class Headers(BaseConsumer.Headers):
            number: UUID = Field(default_factory=uuid4, alias="X-Number")

        async def process_message(self, message: Message) -> None: ...

    sender, seeing = RecordingSender(), Seeing()
    numbered = Publisher(Numbered, sender, max_message_bytes=1000, middleware=[Stamping(), seeing])
    headers = Numbered.Headers()

    await numbered.publish(Numbered.Message(), headers=headers)

    assert seeing.headers == [{"X-Number": headers.number, "tenant": "blue"}]
    assert f'"X-Number":"{headers.number}","tenant":"blue"'.encode() in envelope(sender)


async def test_without_headers_the_envelope_has_none() -> None:
    sender = RecordingSender()

    await publisher(sender, Seeing()).publish(MESSAGE)

    assert envelope(sender) == b'{"v":1,"body":{"path":"a"}}'


async def test_a_header_that_does_not_fit_is_refused() -> None:
    class Strict(BaseConsumer):
        QUEUE = "strict"

        class Message(BaseConsumer.Message):
            pass

        class Headers(BaseConsumer.Headers):
            model_config = ConfigDict(extra="forbid")

        async def process_message(self, message: Message) -> None: ...

    strict = Publisher(Strict, RecordingSender(), max_message_bytes=1000, middleware=[Stamping()])

    with pytest.raises(MessageEncodingError, match="tenant: Extra inputs are not permitted"):
        await strict.publish(Strict.Message())


async def test_a_middleware_refuses_by_raising() -> None:
    class Quota(Middleware):
        async def around_publish(self, publication: Publication, call_next: CallNext) -> None:
            raise PermissionError("over quota")

    sender, seeing = RecordingSender(), Seeing()

    with pytest.raises(PermissionError, match="over quota") as refused:
        await publisher(sender, seeing, Quota()).publish(MESSAGE)

    assert sender.sent == []
    assert seeing.errors == [refused.value]
    assert refused.value.__notes__ == [
        "raised by the middleware test_a_middleware_refuses_by_raising.<locals>.Quota"
    ]


async def test_an_error_of_the_publish_is_seen_and_passed_on_as_it_is() -> None:
    seeing, error = Seeing(), QueueFullError("no room")

    with pytest.raises(QueueFullError) as raised:
        await publisher(Failing(error), Noting("one", []), seeing).publish(MESSAGE)

    assert raised.value is error
    assert seeing.errors == [error]
    assert not hasattr(error, "__notes__")


@pytest.mark.parametrize("many", [False, True])
async def test_a_repeated_call_sends_the_same_jobs_under_the_same_ids(many: bool) -> None:
    class Repeating(Middleware):
        async def around_publish(self, publication: Publication, call_next: CallNext) -> None:
            try:
                await call_next()
            except PublishUncertainError:
                await call_next()

    sender = Failing(PublishUncertainError("no answer", job_ids=("a",)))
    resizes = publisher(sender, Repeating())

    if many:
        jobs = await resizes.publish_many([MESSAGE, MESSAGE])
    else:
        jobs = [await resizes.publish(MESSAGE)]

    assert sender.tried[0] == sender.tried[1] == jobs[0].id
    assert [submission.job_id for _, submission in sender.sent] == [job.id for job in jobs]


async def test_a_middleware_that_publishes_nothing_is_told() -> None:
    class Forgetful(Middleware):
        async def around_publish(self, publication: Publication, call_next: CallNext) -> None:
            pass

    with pytest.raises(MiddlewareError, match=r"Forgetful\.around_publish .* 'resize'") as raised:
        await publisher(RecordingSender(), Forgetful()).publish(MESSAGE)

    assert raised.value.__cause__ is None


async def test_a_middleware_that_swallows_the_error_is_told_with_it() -> None:
    class Silent(Middleware):
        async def around_publish(self, publication: Publication, call_next: CallNext) -> None:
            with suppress(QueueFullError):
                await call_next()

    error = QueueFullError("no room")

    with pytest.raises(MiddlewareError, match=r"Silent\.around_publish") as raised:
        await publisher(Failing(error), Silent()).publish(MESSAGE)

    assert raised.value.__cause__ is error


async def test_what_could_not_be_published_reaches_no_middleware() -> None:
    seeing = Seeing()
    resizes: Any = publisher(RecordingSender(), seeing)

    with pytest.raises(WrongMessageError):
        await resizes.publish(SendEmail.Message(address="a"))
    with pytest.raises(WrongMessageError):
        await resizes.publish_many([MESSAGE, "text"])
    with pytest.raises(MessageEncodingError, match="must be its Headers or a mapping"):
        await resizes.publish(MESSAGE, headers=5)
    for wrong in (MESSAGE, "text", {"width": 5}):
        with pytest.raises(InvalidOptionError, match="are a list of them, also of one, not "):
            await resizes.publish_many(wrong)

    assert seeing.publications == []


async def test_an_error_that_was_passed_on_is_not_kept_alive() -> None:
    class Silent(Middleware):
        async def around_publish(self, publication: Publication, call_next: CallNext) -> None:
            await call_next()

    gc.disable()
    try:
        with pytest.raises(QueueFullError) as raised:
            await publisher(Failing(QueueFullError("no room")), Silent()).publish(MESSAGE)
        error = weakref.ref(raised.value)
        del raised
        assert error() is None
    finally:
        gc.enable()


class Runs(Middleware):
    async def around_run(self, run: Run, call_next: CallNext) -> Any:
        return await call_next()


def test_only_what_is_overridden_is_called() -> None:
    runs, stamping, both = Runs(), Stamping(), Middleware()
    setattr(both, "around_publish", Seeing().around_publish)  # noqa: B010  # as a mock would

    assert around_publishes([runs, stamping, both, Middleware()]) == (stamping, both)
    assert around_runs([runs, stamping, both, Middleware()]) == (runs,)


class Blocking(Middleware):
    def around_run(self, run: Run, call_next: CallNext) -> Any:  # the mistake
        return call_next()


NOT_MIDDLEWARE: list[tuple[Any, str]] = [
    (Stamping, r"Stamping is a class: list an instance, Stamping\(\.\.\.\)"),
    (object(), "object is no middleware: derive it from Middleware"),
    (Blocking(), r"Blocking\.around_run must be `async def`"),
]
MAKERS: list[Callable[[Any], object]] = [
    lambda each: check_middleware([each]),
    lambda each: Redispatcher(RedispatcherConfig(redis_dsn="memory://"), middleware=[each]),
    lambda each: ConsumerPool(
        RedispatcherConfig(redis_dsn="memory://", consumers=[Resize]), middleware=[each]
    ),
]


@pytest.mark.parametrize(("wrong", "words"), NOT_MIDDLEWARE)
@pytest.mark.parametrize("make", MAKERS)
def test_what_is_no_middleware_is_refused_at_once(
    make: Callable[[Any], object], wrong: Any, words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        make(wrong)


def test_one_middleware_that_is_not_in_a_list_is_refused() -> None:
    alone: Any = Stamping()

    with pytest.raises(ConfigurationError, match=r"a list of them: middleware=\[Stamping\("):
        check_middleware(alone)
