"""The heart of a pool: claims jobs into free slots, runs them, hands over how they end."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from time import perf_counter
from typing import TYPE_CHECKING

from redispatcher_fastapi.broker.retrying import repeat_until_answered
from redispatcher_fastapi.broker.types import Released, Succeeded, Want
from redispatcher_fastapi.broker.waking import WakeUp
from redispatcher_fastapi.broker.working import WorkerBroker
from redispatcher_fastapi.errors import BrokerError
from redispatcher_fastapi.hooks import GuardedHooks
from redispatcher_fastapi.pool.audit import Audit
from redispatcher_fastapi.pool.heartbeat import Heartbeat
from redispatcher_fastapi.pool.lanes import Lane, Run
from redispatcher_fastapi.pool.settling import Settler
from redispatcher_fastapi.pool.solo import SoloTurn
from redispatcher_fastapi.pool.upkeep import keep_up

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import timedelta
    from typing import Literal

    from redispatcher_fastapi.broker.broker import Broker
    from redispatcher_fastapi.broker.types import Claimed, Delivery, Outcome
    from redispatcher_fastapi.hooks import PoolHooks

logger = logging.getLogger("redispatcher.pool")

_UNWIND_SECONDS = 3.0
_SETTLE_SECONDS = 5.0
_DEPART_SECONDS = 2.0
_CANCEL_AGAIN_SECONDS = 0.05
_SOLO_SECONDS = 1.0
_RENEWALS_PER_LEASE = 3
#: What is due in a millisecond is not due yet; a timer that fires early would only ask twice.
_TIMER_SLACK = 0.001


class Worker:
    """Runs the lanes of one process until it is told to stop; used once."""

    def __init__(self, broker: Broker, lanes: Sequence[Lane], hooks: PoolHooks) -> None:
        self._broker = WorkerBroker(broker.connections, broker.settings, broker.clock)
        self._lanes = {lane.queue: lane for lane in lanes}
        self._hooks = GuardedHooks(hooks)
        self._news = asyncio.Event()
        self._quiet = asyncio.Event()
        self._stop_now = asyncio.Event()
        self._next_sequence = 1
        self._is_burst = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._settler = Settler(self._broker, self._hooks, settled=self._note_settled)
        self._waker = WakeUp(broker.connections, list(self._lanes), woken=self._news.set)
        self._solo = SoloTurn(broker.settings.lease.total_seconds())
        self._audit = Audit(self._broker)
        self._loop = asyncio.get_running_loop()
        self._heartbeat = Heartbeat(
            broker.connections,
            self._broker,
            broker.settings.lease / _RENEWALS_PER_LEASE,
            holders=self._holders,
            renewed=self._renewed_in_thread,
        )

    @property
    def running(self) -> int:
        """How many handlers run, those included that do not heed their cancellation."""
        return len(self._tasks)

    def quiet(self) -> None:
        """Stop claiming; what is running goes on until the grace period ends."""
        self._quiet.set()
        self._news.set()

    def stop_now(self) -> None:
        """Stop claiming, cancel what is running and give it back."""
        self.quiet()
        self._stop_now.set()

    def _note_settled(self) -> None:
        if self._is_burst and not self._is_busy:
            self._news.set()

    async def run(self, grace_period: timedelta, *, burst: bool = False) -> None:
        """Work until :meth:`quiet`, then finish within the grace period and give back the rest.

        With ``burst``, also end when nothing is left that could run now.
        """
        self._is_burst = burst
        self._heartbeat.start()
        try:
            async with asyncio.TaskGroup() as actors:
                settling = actors.create_task(self._settler.run())
                upkeep = keep_up(self._broker, list(self._lanes), self._hooks, woken=self._news.set)
                helpers = [actors.create_task(helper) for helper in (upkeep, *self._waker.waits())]
                await self._claim_until_quiet()
                await _end(helpers)
                await self._wait_until_empty(grace_period.total_seconds(), or_stopped=True)
                await self._cancel_rest()
                await self._finish_settling(settling)
        finally:
            # After an orderly end nothing is left to do here but the leave-taking.
            try:
                await self._cancel_rest()
                await self._depart()
            finally:
                self._heartbeat.stop()

    async def _claim_until_quiet(self) -> None:
        while not self._quiet.is_set():
            self._news.clear()
            try:
                claimed = await self._claim()
                if claimed.unleased:
                    await self._renew(claimed.unleased)
                    continue
                await self._audit.run(self._lanes.values())
                if claimed.has_solo and self._solo.may_try(
                    self._loop.time(), is_empty=not self._tasks
                ):
                    await self._claim_solo(sorted(claimed.has_solo)[0])
            except BrokerError:
                return  # quiet was asked for while Redis was away
            if self._wants_more:
                await asyncio.sleep(0)
            elif self._is_burst and not self._is_busy and not claimed.has_solo:
                return
            else:
                await self._wait(claimed)

    @property
    def _wants_more(self) -> bool:
        return any(lane.may_have_more for lane in self._lanes_to_fill())

    @property
    def _is_busy(self) -> bool:
        return bool(self._tasks) or any(lane.unsettled for lane in self._lanes.values())

    def _lanes_to_fill(self) -> list[Lane]:
        if self._solo.is_reserving(self._loop.time()):
            return []
        return [lane for lane in self._lanes.values() if lane.free]

    async def _claim(self) -> Claimed:
        """Fill the free slots; with none free, still let due jobs on and pass on the token."""
        is_reserved = self._solo.is_reserving(self._loop.time())
        wants: list[Want] = []
        for lane in self._lanes.values():
            want = lane.want(self._next_sequence, is_reserved=is_reserved)
            self._next_sequence += want.count
            wants.append(want)
        claimed = await repeat_until_answered(
            lambda: self._broker.claim(wants), "claim jobs", stop=self._quiet
        )
        got = dict.fromkeys(self._lanes, 0)
        for delivery in claimed.deliveries:
            got[delivery.queue] += 1
            self._start(delivery)
        for want in wants:
            if want.count:
                self._lanes[want.queue].may_have_more = got[want.queue] == want.count
        return claimed

    async def _claim_solo(self, queue: str) -> None:
        """Run a job that must be alone if nothing else runs, or take the turn to become empty."""
        sequence = self._next_sequence
        self._next_sequence += 1
        want = Want(queue, self._lanes[queue].holder, 1, sequence)
        is_empty = not self._tasks
        answer = await repeat_until_answered(
            lambda: self._broker.claim_solo(want, is_empty=is_empty, turn=self._solo.length),
            "claim a job that must run alone",
            stop=self._quiet,
        )
        if answer == "turn":
            self._solo.take_turn(queue, self._loop.time())
        elif answer is None:
            self._solo.miss(self._loop.time())
        else:
            self._solo.begin(sequence)
            self._start(answer)

    async def _wait(self, claimed: Claimed) -> None:
        """Sleep until there is news, or something falls due."""
        await self._waker.want([lane.queue for lane in self._lanes_to_fill()])
        seconds = None if claimed.wait is None else claimed.wait.total_seconds() + _TIMER_SLACK
        if claimed.has_solo or self._solo.queue is not None:
            seconds = min(seconds or _SOLO_SECONDS, _SOLO_SECONDS)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()

    def _start(self, delivery: Delivery) -> None:
        lane = self._lanes[delivery.queue]
        if self._quiet.is_set():
            # Claimed by a call that was under way when the pool was told to stop.
            self._settler.add(lane, delivery, Released())
            return
        run = Run(delivery)
        lane.add(run)
        # Not in a task group: one that ignores its cancellation must not hold up the shutdown. Each
        # is kept in a set, waited for in _drain(), and never raises.
        run.task = self._loop.create_task(self._work(lane, run))
        self._tasks.add(run.task)
        run.task.add_done_callback(self._tasks.discard)

    async def _work(self, lane: Lane, run: Run) -> None:
        delivery = run.delivery
        outcome: Outcome | None = Released()
        started = perf_counter()
        try:
            self._hooks.job_started(delivery, lane.name)
            try:
                outcome = await lane.execution.run(delivery)
            except asyncio.CancelledError as error:
                if run.cancelled_for is None:  # the handler cancelled its own task
                    outcome = lane.execution.fail(delivery, error)
            except Exception as error:
                # Given back it would run again at once, and again; charged, it comes to an end.
                logger.exception(
                    "Running %s %s went wrong in the pool itself.", lane.name, delivery.job_id
                )
                outcome = lane.execution.fail(delivery, error)
            if run.cancelled_for == "shutdown" and not isinstance(outcome, Succeeded):
                outcome = Released()
            elif run.cancelled_for == "lost" and isinstance(outcome, Released):
                outcome = None  # somebody else runs it now
            delivery.ran_for = perf_counter() - started
            if outcome is not None:
                self._hooks.job_ended(delivery, lane.name, outcome, delivery.ran_for)
        finally:
            self._end(lane, run, outcome)

    def _end(self, lane: Lane, run: Run, outcome: Outcome | None) -> None:
        if run.is_ended:
            return
        run.is_ended = True
        lane.remove(run)
        was_reserving = self._solo.is_reserving(self._loop.time())
        self._solo.end(run.delivery.sequence)
        if run.delivery.losses:
            lane.may_have_more = True  # its share of suspects may be waiting
        if outcome is not None:
            self._settler.add(lane, run.delivery, outcome)
        if lane.may_have_more or was_reserving:
            self._news.set()

    async def _cancel_rest(self) -> None:
        """Cancel what still runs and hand it over to be given back, heeding or not."""
        runs = self._all_runs()
        if not runs:
            return
        logger.info("Giving back %d job(s) that did not finish in time.", len(runs))
        self._cancel(runs, "shutdown")
        await self._wait_until_empty(_UNWIND_SECONDS)
        for run in self._all_runs():
            logger.warning(
                "Job %s does not heed its cancellation; giving it back all the same.",
                run.delivery.job_id,
            )
            self._end(self._lanes[run.delivery.queue], run, Released())

    async def _wait_until_empty(self, seconds: float, *, or_stopped: bool = False) -> None:
        stopped = self._loop.create_task(self._stop_now.wait())
        deadline = self._loop.time() + seconds
        try:
            while self._tasks and (left := deadline - self._loop.time()) > 0:
                if or_stopped and stopped.done():
                    return
                watched = {*self._tasks, stopped} if or_stopped else set(self._tasks)
                await asyncio.wait(watched, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()

    async def _finish_settling(self, settling: asyncio.Task[None]) -> None:
        self._settler.close()
        await asyncio.wait([settling], timeout=_SETTLE_SECONDS)
        if not settling.done():
            settling.cancel()
            logger.warning(
                "Redis did not confirm how %d job(s) ended; they run again when the lease ends.",
                sum(len(lane.unsettled) for lane in self._lanes.values()),
            )

    async def _depart(self) -> None:
        """Give back what Redis still sees here, and end the leases."""
        try:
            async with asyncio.timeout(_DEPART_SECONDS):
                await self._settler.settle_rest()
                for lane in self._lanes.values():
                    await self._audit.give_back_strays(lane)
                await self._broker.depart(self._holders())
        except (BrokerError, TimeoutError) as error:
            logger.warning("Could not take leave of Redis, the leases end by themselves: %s", error)

    def _all_runs(self) -> list[Run]:
        return [run for lane in self._lanes.values() for run in lane.runs.values()]

    def _cancel(self, runs: Iterable[Run], reason: Literal["shutdown", "lost"]) -> None:
        for run in runs:
            run.cancel(reason)

    def _holders(self) -> dict[str, str]:
        return {queue: lane.holder for queue, lane in self._lanes.items()}

    async def _renew(self, queues: Iterable[str]) -> None:
        holders = {queue: self._lanes[queue].holder for queue in queues}
        answers = await repeat_until_answered(
            lambda: self._broker.renew(holders), "renew leases", stop=self._quiet
        )
        self._apply_renewal(holders, answers)

    def _renewed_in_thread(
        self, holders: Mapping[str, str], answers: Mapping[str, int | None]
    ) -> None:
        with suppress(RuntimeError):  # the loop is closed already
            self._loop.call_soon_threadsafe(self._apply_renewal, holders, answers)

    def _apply_renewal(self, holders: Mapping[str, str], answers: Mapping[str, int | None]) -> None:
        for queue, held in answers.items():
            lane = self._lanes[queue]
            if lane.holder != holders[queue]:
                continue
            if held is not None:
                self._audit.note(lane, held)
                continue
            lost = lane.give_up_holder()
            self._hooks.lease_lost(queue, [run.delivery.job_id for run in lost])
            self._cancel(lost, "lost")
            self._news.set()


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel tasks until they have ended, as redis-py can lose a cancellation."""
    while any(not task.done() for task in tasks):
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=_CANCEL_AGAIN_SECONDS)
