"""The handle that a publisher gets on the job that there is for its message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redispatcher_fastapi.broker.types import REFUSED
from redispatcher_fastapi.consumer.sealed import result_reader
from redispatcher_fastapi.errors import DuplicateJobError
from redispatcher_fastapi.job import Disposition, Job

if TYPE_CHECKING:
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
    letter, other = answer
    if letter == REFUSED:
        raise _duplicate(definition, answer)
    job_id = other or submission.job_id
    return Job(
        store,
        result_reader(definition, sealing, job_id),
        queue=definition.queue,
        id=job_id,
        disposition=_DISPOSITIONS[letter],
    )


def _duplicate(definition: ConsumerDefinition, answer: Answer) -> DuplicateJobError:
    return DuplicateJobError(
        f"A message for {definition.name} was not published, as it is to be unique: job "
        f"{answer.other} in queue {definition.queue!r} is there for the same one.",
        job_id=answer.other or "",
    )
