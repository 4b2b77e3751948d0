"""Publishes with the transaction of a database session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Never, TypeVar, final, overload

from redispatcher_fastapi.broker.types import CREATED, REFUSED
from redispatcher_fastapi.consumer import InvalidOptionError
from redispatcher_fastapi.database import Waiting
from redispatcher_fastapi.database.requirement import require_sqlalchemy
from redispatcher_fastapi.errors import MiddlewareError
from redispatcher_fastapi.publisher.coming import TransactionStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Unpack

    from redispatcher_fastapi.broker.types import Answer, Submission
    from redispatcher_fastapi.consumer import Consumes, ConsumesBatch, ConsumesSync, PublishOptions
    from redispatcher_fastapi.database import Channel
    from redispatcher_fastapi.database.channel import AnySession
    from redispatcher_fastapi.job import Job, JobStore
    from redispatcher_fastapi.publisher.publisher import Publisher

M = TypeVar("M")
R = TypeVar("R")
C_co = TypeVar(
    "C_co", bound="ConsumesSync[Never, object] | ConsumesBatch[Never, object]", covariant=True
)

#: How the lock of a unique message ends that wants an error, see ``lua/adding.lua``.
_RAISES = f":{REFUSED}"


class TransactionSender:
    """Takes the place of what sends, and lets messages wait for a transaction instead."""

    def __init__(
        self, store: JobStore, session: AnySession, channel: Channel, *, is_relayed: bool
    ) -> None:
        """``is_relayed``: it takes others some time after the commit to publish the messages."""
        require_sqlalchemy("Publishing with a transaction")
        from redispatcher_fastapi.database.transactions import Transactions, session_of

        self._store = TransactionStore(store, is_relayed=is_relayed)
        self._session = session_of(session)
        self._transactions = Transactions.of(self._session)
        self._channel = channel
        self._taken: list[Waiting] = []

    @property
    def store(self) -> JobStore:
        return self._store

    async def send(self, queue: str, submission: Submission) -> Answer:
        if submission.traits is not None and submission.traits.lock.endswith(_RAISES):
            raise InvalidOptionError(
                f"A message for queue {queue!r} is to raise if it is not unique, which is known "
                "only after the commit: give this publish a `unique` with another OnConflict."
            )
        self._taken.append(Waiting(queue, submission))
        return CREATED

    async def send_many(self, queue: str, submissions: Sequence[Submission]) -> list[Answer]:
        return [await self.send(queue, submission) for submission in submissions]

    def keep(self) -> None:
        """Let what was sent wait for the transaction."""
        taken, self._taken = self._taken, []
        for message in taken:
            self._store.follow(message)
            self._transactions.add(self._session, self._channel, message)

    def drop(self) -> None:
        """Forget what was sent, as the publish failed."""
        self._taken = []


@final
class TransactionalPublisher(Generic[C_co]):
    """Publishes messages that exist only if a transaction is committed."""

    __slots__ = ("_publisher", "_sender")

    def __init__(self, publisher: Publisher[C_co], sender: TransactionSender) -> None:
        self._publisher: Publisher[Any] = publisher
        self._sender = sender

    @overload
    def publish(
        self: TransactionalPublisher[Consumes[M, R]],
        message: M,
        **options: Unpack[PublishOptions],
    ) -> Job[R]: ...
    @overload
    def publish(
        self: TransactionalPublisher[ConsumesSync[M, R]],
        message: M,
        **options: Unpack[PublishOptions],
    ) -> Job[R]: ...
    @overload
    def publish(
        self: TransactionalPublisher[ConsumesBatch[M, R]],
        message: M,
        **options: Unpack[PublishOptions],
    ) -> Job[R]: ...
    def publish(self, message: Any, **options: Any) -> Job[Any]:
        """Check and encode a message now, and return the handle on its future job.

        ``job.id`` can be stored in the same transaction. ``job.created`` is ``True`` although
        nobody knows yet. ``delay`` and ``expires`` count from when Redis has the message. The
        options are those of ``Publisher.publish``.

        Raises:
            InvalidOptionError: a message that is not unique is to raise, or options cannot be used.
            NoTransactionError: the session is in no transaction and begins none by itself.
            MessageTooLargeError: the encoded message is larger than ``max_message_bytes``.
            WrongMessageError: the message is not exactly the consumer's ``Message``.
            MiddlewareError: a middleware waits for something in ``around_publish``.
        """
        publishing = self._publisher.publish(message, **options)
        try:
            publishing.send(None)
        except StopIteration as stop:
            job: Job[Any] = stop.value
            self._sender.keep()
            return job
        finally:
            self._sender.drop()
            publishing.close()
        raise MiddlewareError(
            f"A middleware waits for something in around_publish, for which {self} cannot wait: "
            "its publish is not asynchronous. Do it in an endpoint's dependency instead."
        )

    def __repr__(self) -> str:
        return f"Transactional{self._publisher!r}"
