"""What operators set, and what passes ends of jobs on, for the real engine and the model alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redispatcher_fastapi.broker import scripts
from redispatcher_fastapi.broker.scripts import Argument
from tests.model import controlling
from tests.model.comparison import Comparison


class Controls(Comparison):
    """One call per method, see :class:`Comparison`."""

    def pause(self, queue: str, ends: str, reason: str) -> int:
        return self.call(
            scripts.PAUSE,
            [queue],
            [ends, reason],
            lambda: controlling.pause(self.queues[queue], ends, reason),
            int,
            is_repeated=lambda _: None,
        )

    def set_limits(self, queue: str, limits: str) -> int:
        return self.call(
            scripts.SET_LIMITS,
            [queue],
            [limits],
            lambda: controlling.set_limits(self.queues[queue], limits),
            int,
        )

    def set_priority(self, queue: str, job_id: str, level: str) -> int:
        return self.call(
            scripts.SET_PRIORITY,
            [queue],
            [job_id, level],
            lambda: controlling.set_priority(self.queues[queue], job_id, level),
            int,
            is_refused=lambda answer: answer <= 0,
        )

    def onward(self, queue: str, passed_on: Sequence[tuple[str, str]]) -> dict[str, str]:
        """Compare what is to be passed on, all in one page."""
        arguments: list[Argument] = [1000, "0", *(part for one in passed_on for part in one)]
        return self.call(
            scripts.ONWARD,
            [queue],
            arguments,
            lambda: controlling.list_onward(self.queues[queue], list(passed_on)),
            lambda reply: _pairs(reply[1]),
        )

    def arrive(
        self, queue: str, group: str, number: int, count: int, end: str, *, is_hasty: bool, ttl: int
    ) -> dict[str, str]:
        return self.call(
            scripts.ARRIVE,
            [queue],
            [group, number, count, end, "1" if is_hasty else "", ttl],
            lambda: dict(
                controlling.arrive(
                    self.queues[queue], group, number, count, end, is_hasty=is_hasty, ttl=ttl
                )
            ),
            _pairs,
        )


def _pairs(values: Any) -> dict[str, str]:
    return dict(zip(*[(value.decode() for value in values)] * 2, strict=True))
