"""The methods a pool calls as things happen."""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any

from redispatcher_fastapi.describing import log_exception
from redispatcher_fastapi.errors import ConfigurationError
from redispatcher_fastapi.spelling import check_overrides

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from redispatcher_fastapi.broker.types import Delivery, Grace, Outcome, TakenBack
    from redispatcher_fastapi.hooks.events import LoopBlock, Outage

logger = logging.getLogger("redispatcher.pool")

_FAILED = "A hook of the pool failed."


class PoolHooks:
    """Called by a pool as things happen; override what you need.

    The methods run on the event loop between jobs: they must not block. Only ``loop_blocked`` and
    ``loop_freed`` are called in a thread of their own, the first one while the loop stands still.
    What they raise is logged.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_overrides(cls, PoolHooks)

    def job_started(self, delivery: Delivery, name: str) -> None:
        """A handler is about to run."""

    def job_ended(self, delivery: Delivery, name: str, outcome: Outcome, seconds: float) -> None:
        """A handler ended; Redis has not been told yet."""

    def job_parked(self, queue: str, job_id: str, reason: str) -> None:
        """Redis has confirmed that a job is dead; it will not run again by itself."""

    def write_refused(
        self, delivery: Delivery, name: str, outcome: Outcome, *, is_gone: bool
    ) -> None:
        """Redis refused what became of a job, giving it back included.

        The lease was taken and somebody else has the job, or (``is_gone``) it is unknown.
        """

    def job_called_off(self, delivery: Delivery, name: str, outcome: Outcome) -> None:
        """Redis cancelled a job that was to run again, as somebody had asked for meanwhile."""

    def cancellation_ignored(self, delivery: Delivery, name: str, seconds: float) -> None:
        """A handler still runs so long after its job was cancelled; it keeps its slot."""

    def lease_lost(self, queue: str, job_ids: list[str]) -> None:
        """This process was given up on a queue; the jobs it ran there are cancelled."""

    def outcomes_unconfirmed(self, queue: str, job_ids: list[str]) -> None:
        """The process ends before Redis has confirmed how these jobs ended."""

    def job_taken_back(self, taken: TakenBack) -> None:
        """A job was taken from a lost process."""

    def job_isolated(self, taken: TakenBack) -> None:
        """A job was lost so often that from now on it runs in a process that runs nothing else."""

    def solo_run_started(self, delivery: Delivery, name: str) -> None:
        """An isolated job is about to run, alone in this process."""

    def leases_restarted(self, grace: Grace) -> None:
        """All leases of a queue began anew: after an outage nobody could have renewed them.

        Every pool of the queue is told within five seconds, whoever noticed; one that began later
        is not.
        """

    def flow_stuck(self, queue: str, job_id: str, reason: str) -> None:
        """What follows a job cannot be published; it stays in Redis and is tried again.

        Each pool tells of a job once.
        """

    def pool_draining(self, running: int) -> None:
        """The pool takes no more jobs, and ends once those that run have ended."""

    def claiming_failed(self, outage: Outage) -> None:
        """The pool cannot claim; called at once, and then every half minute while that lasts."""

    def claiming_resumed(self, outage: Outage) -> None:
        """The pool can claim again."""

    def queue_paused(self, queue: str) -> None:
        """A claim has shown that somebody paused a queue; once, not at every claim."""

    def queue_resumed(self, queue: str) -> None:
        """A claim has shown that a queue is paused no longer."""

    def loop_blocked(self, block: LoopBlock) -> None:
        """The event loop has been blocked for half a lease, and still is; once for each block."""

    def loop_freed(self, block: LoopBlock) -> None:
        """The event loop goes on after a block of more than half a lease."""

    def after_commit_failed(self, queue: str, job_ids: list[str], error: Exception) -> None:
        """A transaction is committed, but jobs that ``after_commit`` promised are not published.

        After a ``PublishUncertainError`` some or all of them may exist. Called in the process that
        published, on its event loop; in the thread of a synchronous session where that loop is
        over.
        """

    def outbox_relayed(self, count: int) -> None:
        """So many messages went from the outbox to Redis, and are deleted."""

    def outbox_refused(self, queue: str, job_id: str, reason: str) -> None:
        """A message cannot be published; it stays in the outbox and is tried again now and then."""

    def outbox_failed(self, reason: str, lasted: timedelta) -> None:
        """Messages wait in the outbox; called at once, and every half minute while that lasts."""

    def outbox_resumed(self, lasted: timedelta) -> None:
        """The outbox is moved to Redis again."""


def check_hooks(hooks: PoolHooks | None) -> PoolHooks | None:
    """Return the hooks of a dispatcher or a pool.

    Raises:
        ConfigurationError: they are no ``PoolHooks``, or some of them would have to be awaited.
    """
    if hooks is None:
        return None
    if isinstance(hooks, type):
        name = hooks.__qualname__
        raise ConfigurationError(f"The hooks {name} are a class: give an instance, {name}(...).")
    name = type(hooks).__qualname__
    if not isinstance(hooks, PoolHooks):  # pyright: ignore[reportUnnecessaryIsInstance]  # a user may give anything
        raise ConfigurationError(
            f"{name} is no PoolHooks: derive it from PoolHooks, or from LoggingHooks to keep the "
            "log."
        )
    for event in (event for event in vars(PoolHooks) if not event.startswith("_")):
        if inspect.iscoroutinefunction(inspect.unwrap(getattr(hooks, event))):
            raise ConfigurationError(
                f"{name}.{event} must be a plain `def`: nobody awaits it, and it must not block."
            )
    return hooks


class GuardedHooks(PoolHooks):
    """Calls other hooks, and keeps from the pool what they raise: no job is to suffer for it."""

    def __init__(self, hooks: PoolHooks) -> None:
        self._hooks = hooks

    def job_started(self, delivery: Delivery, name: str) -> None:
        try:
            self._hooks.job_started(delivery, name)
        except Exception as error:
            log_exception(logger, error, _FAILED)

    def job_ended(self, delivery: Delivery, name: str, outcome: Outcome, seconds: float) -> None:
        try:
            self._hooks.job_ended(delivery, name, outcome, seconds)
        except Exception as error:
            log_exception(logger, error, _FAILED)

    def job_parked(self, queue: str, job_id: str, reason: str) -> None:
        _call(self._hooks.job_parked, queue, job_id, reason)

    def write_refused(
        self, delivery: Delivery, name: str, outcome: Outcome, *, is_gone: bool
    ) -> None:
        _call(self._hooks.write_refused, delivery, name, outcome, is_gone=is_gone)

    def job_called_off(self, delivery: Delivery, name: str, outcome: Outcome) -> None:
        _call(self._hooks.job_called_off, delivery, name, outcome)

    def cancellation_ignored(self, delivery: Delivery, name: str, seconds: float) -> None:
        _call(self._hooks.cancellation_ignored, delivery, name, seconds)

    def lease_lost(self, queue: str, job_ids: list[str]) -> None:
        _call(self._hooks.lease_lost, queue, job_ids)

    def outcomes_unconfirmed(self, queue: str, job_ids: list[str]) -> None:
        _call(self._hooks.outcomes_unconfirmed, queue, job_ids)

    def job_taken_back(self, taken: TakenBack) -> None:
        _call(self._hooks.job_taken_back, taken)

    def job_isolated(self, taken: TakenBack) -> None:
        _call(self._hooks.job_isolated, taken)

    def solo_run_started(self, delivery: Delivery, name: str) -> None:
        _call(self._hooks.solo_run_started, delivery, name)

    def leases_restarted(self, grace: Grace) -> None:
        _call(self._hooks.leases_restarted, grace)

    def flow_stuck(self, queue: str, job_id: str, reason: str) -> None:
        _call(self._hooks.flow_stuck, queue, job_id, reason)

    def pool_draining(self, running: int) -> None:
        _call(self._hooks.pool_draining, running)

    def claiming_failed(self, outage: Outage) -> None:
        _call(self._hooks.claiming_failed, outage)

    def claiming_resumed(self, outage: Outage) -> None:
        _call(self._hooks.claiming_resumed, outage)

    def queue_paused(self, queue: str) -> None:
        _call(self._hooks.queue_paused, queue)

    def queue_resumed(self, queue: str) -> None:
        _call(self._hooks.queue_resumed, queue)

    def loop_blocked(self, block: LoopBlock) -> None:
        _call(self._hooks.loop_blocked, block)

    def loop_freed(self, block: LoopBlock) -> None:
        _call(self._hooks.loop_freed, block)

    def after_commit_failed(self, queue: str, job_ids: list[str], error: Exception) -> None:
        _call(self._hooks.after_commit_failed, queue, job_ids, error)

    def outbox_relayed(self, count: int) -> None:
        _call(self._hooks.outbox_relayed, count)

    def outbox_refused(self, queue: str, job_id: str, reason: str) -> None:
        _call(self._hooks.outbox_refused, queue, job_id, reason)

    def outbox_failed(self, reason: str, lasted: timedelta) -> None:
        _call(self._hooks.outbox_failed, reason, lasted)

    def outbox_resumed(self, lasted: timedelta) -> None:
        _call(self._hooks.outbox_resumed, lasted)


def _call(hook: Callable[..., None], *arguments: Any, **options: Any) -> None:
    try:
        hook(*arguments, **options)
    except Exception as error:
        log_exception(logger, error, _FAILED)
