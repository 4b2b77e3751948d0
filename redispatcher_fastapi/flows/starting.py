"""What the first jobs of a chain or a group carry with them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from redispatcher_fastapi.broker.types import Traits
from redispatcher_fastapi.clock import to_milliseconds
from redispatcher_fastapi.errors import ConfigurationError
from redispatcher_fastapi.flows.continuation import Continuation, Member, Step
from redispatcher_fastapi.job import Priority
from redispatcher_fastapi.keys import check_job_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import BaseModel

    from redispatcher_fastapi.broker.types import Submission
    from redispatcher_fastapi.flows.chain import Link
    from redispatcher_fastapi.sealing import Sealing

_NO_TRAITS = Traits()


def name_steps(links: Sequence[Link], flow_id: str) -> list[str]:
    """Return the ids of the jobs to come of these consumers.

    Raises:
        InvalidNameError: the flow's id is too long for theirs.
    """
    return [check_job_id(f"{flow_id}.{number}") for number in range(2, len(links) + 2)]


def follow(
    submission: Submission,
    steps: tuple[Step, ...],
    sealing: Sealing | None,
    *,
    queue: str,
    member: Member | None = None,
) -> None:
    """Let steps follow a job that is to be published."""
    text = Continuation(steps, member).write(sealing, queue=queue, job_id=submission.job_id)
    submission.traits = replace(submission.traits or _NO_TRAITS, continuation=text)


def plan_step(link: Link, job_id: str, headers: BaseModel | Mapping[str, Any] | None) -> Step:
    """Return the job to come of one consumer, with its headers.

    Raises:
        MessageEncodingError: the headers are none of the consumer's.
    """
    definition = link.definition
    encoded = definition.encode_headers(headers)
    level = definition.priority if link.priority is None else Priority(link.priority)
    expires = definition.expires if link.expires is None else link.expires
    fields = definition.message_type.model_fields
    return Step(
        definition.queue,
        job_id,
        json.loads(encoded) if encoded and encoded != b"{}" else None,
        "" if level is Priority.NORMAL else level.value,
        None if link.delay is None else to_milliseconds(link.delay),
        None if expires is None else to_milliseconds(expires),
        tuple(
            fields[name].serialization_alias or fields[name].alias or name
            for name in definition.partition_fields
        ),
    )


def refuse_unique(name: str, unique: object) -> None:
    """Refuse to begin a flow with a job that may be another one's."""
    if unique is not None:
        raise ConfigurationError(
            f"{name} cannot begin a chain or be in a group: its jobs are UNIQUE, and one that is "
            "there already belongs to somebody else. Give the flow an `id` to start it once."
        )
