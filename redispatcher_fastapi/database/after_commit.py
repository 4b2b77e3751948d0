"""Publishes once the transaction is committed."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TYPE_CHECKING, Protocol

from redispatcher_fastapi.errors import NotRunningError, PublishUncertainError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from sqlalchemy.orm import Session

    from redispatcher_fastapi.broker.types import BackgroundSender, Submission
    from redispatcher_fastapi.database.channel import Waiting

logger = logging.getLogger("redispatcher.publisher")

_THREAD_WAITS_SECONDS = 15.0


class FailureReport(Protocol):
    """Tells of jobs that do not exist although their transaction was committed."""

    def after_commit_failed(self, queue: str, job_ids: list[str], error: Exception) -> None: ...


class AfterCommit:
    """The messages of a transaction go out when it is committed, in one call for each queue.

    The commit of an asynchronous session returns when Redis has them, and so does that of a
    synchronous one in a thread; on the event loop itself that would block everything, so there it
    returns before.
    """

    def __init__(self, sender: BackgroundSender, failures: FailureReport) -> None:
        self._sender = sender
        self._failures = failures

    def write(self, session: Session, unit: str, messages: Sequence[Waiting]) -> None:
        """Do nothing: nothing of this is in the database."""

    def release(self, messages: Sequence[Waiting]) -> None:
        """Publish, and wait for it where that blocks nobody else."""
        queues: dict[str, list[Submission]] = {}
        for message in messages:
            queues.setdefault(message.queue, []).append(message.submission)
        done = self._sender.begin(lambda: self._publish(queues))
        done.add_done_callback(lambda done: None if done.result() else self._refuse(queues))
        _wait(done)

    def _refuse(self, queues: dict[str, list[Submission]]) -> None:
        for queue, submissions in queues.items():
            error = NotRunningError("The lifespan of this publisher's dispatcher is over.")
            self._report(queue, submissions, error)

    async def _publish(self, queues: dict[str, list[Submission]]) -> None:
        await asyncio.gather(*(self._publish_to(*each) for each in queues.items()))

    async def _publish_to(self, queue: str, submissions: list[Submission]) -> None:
        try:
            if len(submissions) == 1:  # shares its round trip with others
                await self._sender.send(queue, submissions[0])
            else:
                await self._sender.send_many(queue, submissions)
        except Exception as error:
            self._report(queue, submissions, error)
        except asyncio.CancelledError:
            job_ids = tuple(submission.job_id for submission in submissions)
            stopped = PublishUncertainError("The application stopped meanwhile.", job_ids=job_ids)
            self._report(queue, submissions, stopped)
            raise

    def _report(self, queue: str, submissions: list[Submission], error: Exception) -> None:
        job_ids = [submission.job_id for submission in submissions]
        self._failures.after_commit_failed(queue, job_ids, error)


def _wait(done: Future[bool]) -> None:
    from sqlalchemy.util import await_only
    from sqlalchemy.util.concurrency import in_greenlet

    if done.done():
        return
    if in_greenlet():
        # Who is cancelled here stops waiting; the publish goes on.
        await_only(asyncio.wait([asyncio.wrap_future(done)]))
        return
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        try:
            done.result(_THREAD_WAITS_SECONDS)
        except FutureTimeoutError:
            logger.warning(
                "A publish after a commit takes more than %g s; the thread goes on without it.",
                _THREAD_WAITS_SECONDS,
            )
