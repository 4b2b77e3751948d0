"""The handles that a publisher gets on the jobs that there are for its messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redispatcher_fastapi.broker.types import REFUSED
from redispatcher_fastapi.consumer.sealed import result_reader
from redispatcher_fastapi.errors import DuplicateJobError
from redispatcher_fastapi.job import Disposition, Job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from redispatcher_fastapi.broker.types import Answer, Submission
    from redispatcher_fastapi.consumer.definition import ConsumerDefinition
    from redispatcher_fastapi.job import JobStore
    from redispatcher_fastapi.sealing import Sealing

_DISPOSITIONS = {
    "1": Disposition.CREATED,
    "0": Disposition.EXISTING,
    "u": Disposition.EXISTING,
    "r": Disposition.REPLACED,
    "p": Disposition.DEBOUNCED,
}


def make_job(
    store: JobStore,
    definition: ConsumerDefinition,
    sealing: Sealing | None,
    submission: Submission,
    answer: Answer,
) -> Job[Any]:
    """Return the handle on the job that a submission made or met.

    Raises:
        DuplicateJobError: it met one, and was to be refused then.
    """
    return _job(store, definition, result_reader(definition, sealing), submission, answer)


def make_jobs(
    store: JobStore,
    definition: ConsumerDefinition,
    sealing: Sealing | None,
    submissions: Iterable[Submission],
    answers: Iterable[Answer],
) -> list[Job[Any]]:
    """Return the handles on the jobs of one consumer; raises as :func:`make_job`."""
    read_result = result_reader(definition, sealing)
    return [
        _job(store, definition, read_result, submission, answer)
        for submission, answer in zip(submissions, answers, strict=True)
    ]


def _job(
    store: JobStore,
    definition: ConsumerDefinition,
    read_result: Callable[[str, bytes | None], Any],
    submission: Submission,
    answer: Answer,
) -> Job[Any]:
    letter, other = answer
    if letter == REFUSED:
        raise _duplicate(definition, answer)
    job_id, disposition = other or submission.job_id, _DISPOSITIONS[letter]
    return Job(store, read_result, queue=definition.queue, id=job_id, disposition=disposition)


def _duplicate(definition: ConsumerDefinition, answer: Answer) -> DuplicateJobError:
    return DuplicateJobError(
        f"A message for {definition.name} was not published, as it is to be unique: job "
        f"{answer.other} in queue {definition.queue!r} is there for the same one.",
        job_id=answer.other or "",
    )
