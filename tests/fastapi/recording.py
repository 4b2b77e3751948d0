"""A sender that keeps what it is given, and consumers to publish to."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from fastapi import FastAPI

from redispatcher_fastapi.broker.types import CREATED, KNOWN, Answer, Submission
from redispatcher_fastapi.consumer import BaseConsumer
from redispatcher_fastapi.job import JobRecord, JobState
from redispatcher_fastapi.publisher import STATE_KEY, Publishers


class SendEmail(BaseConsumer):
    QUEUE = "send-email"

    class Message(BaseConsumer.Message):
        address: str

    async def process_message(self, message: Message) -> None: ...


class Resize(BaseConsumer):
    QUEUE = "resize"

    class Message(BaseConsumer.Message):
        path: str

    async def process_message(self, message: Message) -> int:
        return len(message.path)


class NoStore:
    """Knows no job; the handles in these tests are not used further."""

    async def job_state(self, queue: str, job_id: str) -> JobState | None:
        return None

    async def job_record(self, queue: str, job_id: str) -> JobRecord | None:
        return None

    async def cancel_job(self, queue: str, job_id: str) -> bool:
        return False

    async def forestall_job(self, queue: str, job_id: str) -> bool:
        raise NotImplementedError

    async def wait_for_step(self, queue: str, job_id: str, *, may_come: bool) -> bool:
        raise NotImplementedError

    async def job_states(self, queue: str, job_ids: Sequence[str]) -> list[JobState | None]:
        raise NotImplementedError

    async def is_remembered(self, queue: str, job_id: str) -> bool:
        raise NotImplementedError

    async def wait_for_result(
        self, queue: str, job_id: str, timeout: timedelta | None, *, may_come: bool = False
    ) -> bytes | None:
        return b"3"


class RecordingSender:
    """Accepts everything; a chosen id is new the first time only."""

    def __init__(self) -> None:
        self.store = NoStore()
        self.sent: list[tuple[str, Submission]] = []

    async def send(self, queue: str, submission: Submission) -> Answer:
        is_new = all(submission.job_id != other.job_id for _, other in self.sent)
        self.sent.append((queue, submission))
        return CREATED if is_new else KNOWN

    async def send_many(self, queue: str, submissions: Sequence[Submission]) -> list[Answer]:
        return [await self.send(queue, submission) for submission in submissions]

    def begin(self, work: Callable[[], Coroutine[Any, Any, None]]) -> Future[bool]:
        raise NotImplementedError  # nothing is published with a transaction in these tests

    def publishers(self, *, max_message_bytes: int = 1000) -> Publishers:
        return Publishers(self, max_message_bytes=max_message_bytes)

    def app(self) -> FastAPI:
        """Return an app whose lifespan yields what a dispatcher's does."""

        @asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncGenerator[dict[str, Any], None]:
            yield {STATE_KEY: self.publishers()}

        return FastAPI(lifespan=lifespan)

    @property
    def bodies(self) -> list[tuple[str, bytes]]:
        return [(queue, submission.envelope) for queue, submission in self.sent]
