"""What all ways to publish share: through the middleware, prepared, sent, and handles returned."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Never, TypeVar

from pydantic import BaseModel

from redispatcher_fastapi.broker.types import Submission
from redispatcher_fastapi.consumer import ConsumesBatch, ConsumesSync, make_jobs, prepare
from redispatcher_fastapi.middleware import Publication, publish_through

if TYPE_CHECKING:
    from redispatcher_fastapi.broker.types import Answer, MessageSender
    from redispatcher_fastapi.consumer import ConsumerDefinition
    from redispatcher_fastapi.job import Job
    from redispatcher_fastapi.middleware import Middleware
    from redispatcher_fastapi.sealing import Sealing

C_co = TypeVar(
    "C_co", bound="ConsumesSync[Never, object] | ConsumesBatch[Never, object]", covariant=True
)


#: What a caller gave, and what is done with the submissions and their headers.
Headers = BaseModel | Mapping[str, Any] | None
Attach = Callable[[Sequence[Submission], Headers], None]


class MessagePublisher(Generic[C_co]):
    """Publishes any number of messages of one consumer at once."""

    __slots__ = (
        "_definition",
        "_max_message_bytes",
        "_middleware",
        "_notice",
        "_sealing",
        "_sender",
    )

    _definition: ConsumerDefinition
    _max_message_bytes: int
    _middleware: tuple[Middleware, ...]
    #: Is told of the other consumers that its flows need.
    _notice: Callable[[ConsumerDefinition], None] | None
    _sealing: Sealing | None
    _sender: MessageSender

    async def _publish_all(
        self,
        messages: tuple[Any, ...],
        headers: Headers,
        options: Mapping[str, Any],
        ids: Sequence[str | None] | None = None,
        attach: Attach | None = None,
    ) -> list[Job[Any]]:
        """Publish messages, each under its own id if there are ``ids``.

        ``attach`` may change the submissions before they are sent. It is given the headers, too,
        with those that middleware has added.
        """
        if self._middleware:
            return await self._publish_through(messages, headers, options, ids, attach)
        submissions = self._prepare(messages, headers, options, ids)
        if attach is not None:
            attach(submissions, headers)
        return await self._send(submissions)

    async def _publish_through(
        self,
        messages: tuple[Any, ...],
        headers: Headers,
        options: Mapping[str, Any],
        ids: Sequence[str | None] | None = None,
        attach: Attach | None = None,
    ) -> list[Job[Any]]:
        """Publish through the middleware, which sees nothing that could not be published."""
        definition = self._definition
        for message in messages:
            definition.check(message)
        publication = Publication(
            consumer=definition.consumer,
            queue=definition.queue,
            messages=messages,
            headers=definition.list_headers(headers),
            id=ids[0] if ids and len(ids) == 1 else None,
            **options,
        )
        prepared: list[Submission] = []

        async def publish() -> list[Job[Any]]:
            if not prepared:  # or it is called again, and the ids have to be the same
                headers = publication.headers or None
                prepared.extend(self._prepare(messages, headers, options, ids))
                if attach is not None:
                    attach(prepared, headers)
            return await self._send(prepared)

        return await publish_through(self._middleware, publication, publish)

    def _prepare(
        self,
        messages: Iterable[Any],
        headers: Headers,
        options: Mapping[str, Any],
        ids: Sequence[str | None] | None = None,
    ) -> list[Submission]:
        """Return what is sent for messages, each under its own id if there are ``ids``."""
        all_messages = tuple(messages)
        # Each by its name: to unpack the options anew for each message takes as long as its JSON.
        definition, limit, sealing = self._definition, self._max_message_bytes, self._sealing
        delay, at, expires = options["delay"], options["at"], options["expires"]
        priority, unique = options["priority"], options.get("unique")
        return [
            prepare(
                definition,
                message,
                id=job_id,
                delay=delay,
                at=at,
                headers=headers,
                priority=priority,
                expires=expires,
                unique=unique,
                max_message_bytes=limit,
                sealing=sealing,
            )
            for message, job_id in zip(all_messages, ids or [None] * len(all_messages), strict=True)
        ]

    async def _send(self, submissions: Sequence[Submission]) -> list[Job[Any]]:
        queue = self._definition.queue
        if len(submissions) == 1:
            answers = [await self._sender.send(queue, submissions[0])]
        else:
            answers = await self._sender.send_many(queue, submissions)
        return self._jobs(submissions, answers)

    def _jobs(self, submissions: Sequence[Submission], answers: Sequence[Answer]) -> list[Job[Any]]:
        return make_jobs(self._sender.store, self._definition, self._sealing, submissions, answers)
