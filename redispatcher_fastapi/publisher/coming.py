"""Knows of jobs whose messages wait for a transaction, and so are not in Redis yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redispatcher_fastapi.errors import JobExpiredError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from redispatcher_fastapi.database import Waiting
    from redispatcher_fastapi.database.channel import Fate
    from redispatcher_fastapi.job import JobRecord, JobState, JobStore


class TransactionStore:
    """What handles ask that were made in a transaction: the store, once there can be a job."""

    def __init__(self, store: JobStore, *, is_relayed: bool) -> None:
        """``is_relayed``: a job is still to come for some time after the commit."""
        self._store = store
        self._is_relayed = is_relayed
        self._fates: dict[str, Fate] = {}
        self._coming: set[str] = set()

    def follow(self, message: Waiting) -> None:
        """Keep in mind a message that waits for the transaction."""
        submission = message.submission
        self._fates[submission.job_id] = message.fate
        # Of a message that turns out not to be unique, no job has the id.
        if self._is_relayed and not (submission.traits and submission.traits.lock):
            self._coming.add(submission.job_id)

    async def wait_for_result(
        self, queue: str, job_id: str, timeout: timedelta | None, *, may_come: bool = False
    ) -> bytes | None:
        """Return the result as the store does; wait for who moves the message, too."""
        fate = self._fates[job_id]
        if not fate.is_committed:
            reason = "is not committed" if fate.is_open else "was rolled back"
            raise JobExpiredError(
                f"Job {job_id} in queue {queue!r} does not exist: its transaction {reason}."
            )
        is_coming = job_id in self._coming
        try:
            return await self._store.wait_for_result(
                queue, job_id, timeout, may_come=may_come or is_coming
            )
        except JobExpiredError as error:
            if is_coming or not self._is_relayed:
                raise
            raise JobExpiredError(
                f"{error} Its message is in the outbox still, or was not unique, and another job "
                "stands for it."
            ) from None

    async def job_state(self, queue: str, job_id: str) -> JobState | None:
        return await self._store.job_state(queue, job_id)

    async def job_states(self, queue: str, job_ids: Sequence[str]) -> list[JobState | None]:
        return await self._store.job_states(queue, job_ids)

    async def job_record(self, queue: str, job_id: str) -> JobRecord | None:
        return await self._store.job_record(queue, job_id)

    async def is_remembered(self, queue: str, job_id: str) -> bool:
        return await self._store.is_remembered(queue, job_id)

    async def cancel_job(self, queue: str, job_id: str) -> bool:
        return await self._store.cancel_job(queue, job_id)

    async def forestall_job(self, queue: str, job_id: str) -> bool:
        return await self._store.forestall_job(queue, job_id)

    async def wait_for_step(self, queue: str, job_id: str, *, may_come: bool) -> bool:
        return await self._store.wait_for_step(queue, job_id, may_come=may_come)
