"""The part of the tester that runs a batch by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from redispatcher_fastapi.consumer import ConsumesBatch, definition_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pydantic import BaseModel

    from redispatcher_fastapi.testing.report import JobRun
    from redispatcher_fastapi.testing.work import Work

M = TypeVar("M")


class BatchRuns:
    """Runs one batch all the way it goes."""

    def __init__(self, work: Work) -> None:
        self._work = work

    async def run_batch(
        self,
        consumer: type[ConsumesBatch[M, object]],
        messages: Sequence[M],
        *,
        attempt: int = 1,
        headers: BaseModel | Mapping[str, Any] | None = None,
        overrides: Mapping[Callable[..., Any], Callable[..., Any]] | None = None,
    ) -> list[JobRun]:
        """Run one attempt at a batch, and return how each of its items ended, in order.

        As with ``run``, the store is not involved: there are no jobs and no retries. What the
        handler raises is not raised here; it is the ``error`` of the items it said nothing of.
        """
        definition = definition_of(consumer)
        return await self._work.run_batch_once(definition, messages, attempt, headers, overrides)

    def run_batch_blocking(
        self,
        consumer: type[ConsumesBatch[M, object]],
        messages: Sequence[M],
        *,
        attempt: int = 1,
        headers: BaseModel | Mapping[str, Any] | None = None,
        overrides: Mapping[Callable[..., Any], Callable[..., Any]] | None = None,
    ) -> list[JobRun]:
        """Do the same as :meth:`run_batch` in a test that is not ``async``."""
        definition, work = definition_of(consumer), self._work
        return work.block(
            lambda: work.run_batch_once(definition, messages, attempt, headers, overrides)
        )
