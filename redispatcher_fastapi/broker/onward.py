"""Ends of jobs that are to be passed on to what follows them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from redispatcher_fastapi.broker.ids import read_id, write_id
from redispatcher_fastapi.broker.scripts import ARRIVE, ONWARD, as_bytes, as_text
from redispatcher_fastapi.clock import to_milliseconds
from redispatcher_fastapi.keys import queue_prefix

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redispatcher_fastapi.broker.scripts import Argument, CommandClient, Script
    from redispatcher_fastapi.clock import Clock

#: Each brings a result along, which can have a megabyte or more.
_PAGE = 20
#: Of an incomplete group nothing more is heard: not all of it was published, or keys were deleted
#: by hand. A member that waits for longer than this after all others have ended is no such case.
_GROUP_LIFETIME = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class EndedJob:
    """How a job ended of which something follows: ``letter`` S, D or C, and the result or reason.

    ``stored`` is all of it, as Redis has it.
    """

    queue: str
    job_id: str
    letter: str
    continuation: bytes
    details: bytes
    stored: bytes


class OnwardBroker:
    """Reads ends and arrivals; every call may be repeated with equal arguments."""

    def __init__(self, client: CommandClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock

    async def read(
        self, queue: str, cursor: str, passed_on: Sequence[EndedJob]
    ) -> tuple[str, list[EndedJob]]:
        """Forget what was passed on, and return some of the rest and the next cursor."""
        arguments: list[Argument] = [_PAGE, cursor]
        for each in passed_on:
            arguments += (write_id(each.job_id), each.stored)
        following, page = await self._run(ONWARD, queue, arguments)
        return as_text(following), [
            _read_ended(queue, read_id(page[at]), as_bytes(page[at + 1]))
            for at in range(0, len(page), 2)
        ]

    async def forget(self, queue: str, passed_on: Sequence[EndedJob]) -> None:
        """Forget what was passed on."""
        arguments: list[Argument] = [0, "0"]
        for each in passed_on:
            arguments += (write_id(each.job_id), each.stored)
        await self._run(ONWARD, queue, arguments)

    async def arrive(
        self, queue: str, group: str, number: int, count: int, ended: bytes, *, first_failure: bool
    ) -> Mapping[int, bytes] | None:
        """Note the end of a member; the last one that was needed is answered with those of all.

        Once the job that follows is there, the ends are forgotten.
        """
        arguments: list[Argument] = [
            group,
            number,
            count,
            ended,
            "1" if first_failure else "",
            to_milliseconds(_GROUP_LIFETIME),
        ]
        reply = await self._run(ARRIVE, queue, arguments)
        if not reply:
            return None
        return {int(reply[at]): as_bytes(reply[at + 1]) for at in range(0, len(reply), 2)}

    async def _run(self, script: Script, queue: str, arguments: Sequence[Argument]) -> Any:
        now = self._clock.now()
        time = "" if now is None else to_milliseconds(now)
        return await script.run(self._client, [queue_prefix(queue)], [time, *arguments])


def _read_ended(queue: str, job_id: str, stored: bytes) -> EndedJob:
    continuation, _, details = stored[1:].partition(b"\n")
    return EndedJob(queue, job_id, chr(stored[0]) if stored else "", continuation, details, stored)
