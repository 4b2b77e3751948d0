"""What follows a job, as a text that travels with it and that any pool can read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redispatcher_fastapi.clock import to_milliseconds
from redispatcher_fastapi.errors import RedispatcherError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redispatcher_fastapi.sealing import Sealing

#: Opens a continuation that only a success has, and one that every end has.
ON_SUCCESS, ON_EVERY_END = b"+", b"*"


class ContinuationError(RedispatcherError):
    """Raised when what follows a job cannot be read."""


@dataclass(frozen=True, slots=True)
class Step:
    """One job to come; ``key`` names the fields of its message that are its partition."""

    queue: str
    job_id: str
    headers: Mapping[str, Any] | None = None
    level: str = ""
    delay_ms: int | None = None
    expires_ms: int | None = None
    key: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return it with short names, and without what is as usual."""
        fields: dict[str, Any] = {
            "queue": self.queue,
            "id": self.job_id,
            "headers": self.headers,
            "level": self.level,
            "delay": self.delay_ms,
            "expires": self.expires_ms,
            "key": list(self.key),
        }
        return {name: value for name, value in fields.items() if value not in (None, "", [])}


@dataclass(frozen=True, slots=True)
class Member:
    """The place of a job in a group: its number of ``count``, from 1.

    ``has_result``: its consumer is not declared to return nothing.
    """

    group: str
    number: int
    count: int
    is_first_failure: bool
    has_result: bool = True

    def as_json(self) -> dict[str, Any]:
        """Return it with short names."""
        return {
            "group": self.group,
            "number": self.number,
            "count": self.count,
            "first": self.is_first_failure,
            "result": self.has_result,
        }


@dataclass(frozen=True, slots=True)
class Continuation:
    """The jobs that follow one after the other; of a group's member, once the group has ended."""

    steps: tuple[Step, ...]
    member: Member | None = None

    def write(self, sealing: Sealing | None, *, queue: str, job_id: str) -> bytes:
        """Return the text that travels with a job, sealed for it."""
        fields: dict[str, Any] = {"v": 1, "steps": [step.as_json() for step in self.steps]}
        if self.member is not None:
            fields["member"] = self.member.as_json()
        text = json.dumps(fields, separators=(",", ":")).encode()
        if sealing is not None:
            text = sealing.seal_continuation(text, queue=queue, job_id=job_id)
        return (ON_SUCCESS if self.member is None else ON_EVERY_END) + text


def read_continuation(
    text: bytes, sealing: Sealing | None, *, queue: str, job_id: str
) -> Continuation:
    """Return what follows a job.

    Raises:
        ContinuationError: it is no continuation.
        SealError: it is not sealed for this job with a known key.
    """
    sealed = text[1:]
    if sealing is not None:
        sealed = sealing.open_continuation(sealed, queue=queue, job_id=job_id)
    try:
        fields: Any = json.loads(sealed)
        member = fields.get("member")
        return Continuation(
            tuple(_read_step(each) for each in fields["steps"]),
            None
            if member is None
            else Member(
                str(member["group"]),
                int(member["number"]),
                int(member["count"]),
                bool(member["first"]),
                bool(member["result"]),
            ),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ContinuationError(
            f"What follows job {job_id} in queue {queue!r} cannot be read "
            f"({type(error).__name__}): it was changed by hand, or is sealed."
        ) from error


def _read_step(fields: Mapping[str, Any]) -> Step:
    key: Sequence[Any] = fields.get("key", ())
    return Step(
        str(fields["queue"]),
        str(fields["id"]),
        fields.get("headers"),
        str(fields.get("level", "")),
        fields.get("delay"),
        fields.get("expires"),
        tuple(map(str, key)),
    )


def milliseconds(duration: Any) -> int | None:
    """Return a duration as a continuation has it."""
    return None if duration is None else to_milliseconds(duration)
