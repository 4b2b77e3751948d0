"""The heart of a pool: runs claimed jobs, and hands over how they end."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from redispatcher_fastapi.broker.cancellation import end_tasks
from redispatcher_fastapi.broker.types import Released
from redispatcher_fastapi.broker.working import WorkerBroker
from redispatcher_fastapi.hooks import GuardedHooks
from redispatcher_fastapi.pool.batching import BatchLane, give_back_gathered
from redispatcher_fastapi.pool.claimers import Claimers
from redispatcher_fastapi.pool.health import QueueHealth, queue_health
from redispatcher_fastapi.pool.heartbeat import make_heartbeats
from redispatcher_fastapi.pool.lanes import Lane, find_run
from redispatcher_fastapi.pool.leaving import (
    cancel_rest,
    depart,
    finish_settling,
    wait_until_ended,
)
from redispatcher_fastapi.pool.loop_watch import LoopWatch
from redispatcher_fastapi.pool.passing_on import PassingOn
from redispatcher_fastapi.pool.running import JobRunner
from redispatcher_fastapi.pool.runs import Run
from redispatcher_fastapi.pool.scheduling import keep_schedules, make_schedulers
from redispatcher_fastapi.pool.settling import Settler
from redispatcher_fastapi.pool.sharing import Sharing
from redispatcher_fastapi.pool.solo import SoloTurn
from redispatcher_fastapi.pool.upkeep import keep_up
from redispatcher_fastapi.stopping import StopReason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redispatcher_fastapi.broker.broker import Broker
    from redispatcher_fastapi.broker.types import Delivery, Outcome
    from redispatcher_fastapi.hooks import PoolHooks
    from redispatcher_fastapi.pool.claiming import Claimer
    from redispatcher_fastapi.pool.lanes import Lane
    from redispatcher_fastapi.scheduling import Timetable
    from redispatcher_fastapi.sealing import Sealing

_PASS_ON_SECONDS = 2.0
#: What a burst waits for is on its way already.
_BURST_LINGER = timedelta(milliseconds=50)


class Worker:
    """Runs the lanes of one process until it is told to stop; used once."""

    def __init__(
        self,
        broker: Broker,
        lanes: Sequence[Lane],
        hooks: PoolHooks,
        timetables: Sequence[Timetable] = (),
        *,
        concurrency: int | None = None,
        sealing: Sealing | None = None,
    ) -> None:
        """``concurrency`` is how many jobs run at once, over all lanes; ``None`` for no limit."""
        self.solo = SoloTurn(broker.settings.lease.total_seconds())
        self._broker = WorkerBroker(broker.connections, broker.settings, broker.clock)
        self._lanes = lanes
        self._hooks = GuardedHooks(hooks)
        self._quiet = asyncio.Event()
        self._stop_now = asyncio.Event()
        self._is_burst = False
        self._is_draining = False
        #: Whether what is claimed runs: until the pool drains or becomes quiet.
        self._is_open = True
        self._sharing = Sharing(concurrency, lanes)
        self._is_limited = concurrency is not None
        self._drained: set[Claimer] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        #: How many jobs were given back while their handlers went on.
        self._heedless = 0
        self._runner = JobRunner(self._hooks, self.solo, finished=self._end)
        self._passing = PassingOn(broker, sealing, self._hooks, done=self._note_settled)
        self._settler = Settler(
            self._broker,
            self._hooks,
            settled=self._note_settled,
            freed=self._go_on,
            onward=self._passing.note,
        )
        self._loop = asyncio.get_running_loop()
        self._claimers = Claimers(
            self._broker,
            broker.connections,
            lanes,
            sharing=self._sharing,
            runner=self,
            quiet=self._quiet,
            hooks=self._hooks,
            end=self._end_early,
        )
        self._heartbeats = make_heartbeats(broker, self._broker, self._claimers, self._loop)
        self._schedulers = make_schedulers(
            broker, timetables, [claimer.queues for claimer in self._claimers]
        )
        self._loop_watch = LoopWatch(
            self._loop,
            limit=broker.settings.lease / 2,
            find_run=partial(find_run, lanes),
            hooks=self._hooks,
        )

    @property
    def running(self) -> int:
        """How many jobs run, those included that do not heed their cancellation."""
        return sum(len(lane.runs) for lane in self._lanes) + self._heedless

    @property
    def loop_lag(self) -> timedelta:
        """How late the event loop does what is due; any thread may ask."""
        return self._loop_watch.lag

    def queue_health(self) -> tuple[QueueHealth, ...]:
        """Return how each queue does; any thread may ask."""
        return tuple(
            queue_health(
                lane,
                self._claimers.of[lane.queue].contact,
                unconfirmed=self._settler.longest_wait(lane.queue),
            )
            for lane in self._lanes
        )

    @property
    def is_empty(self) -> bool:
        """Whether no handler runs."""
        return not self._tasks

    @property
    def is_draining(self) -> bool:
        """Whether nothing is taken any more, and what runs may take its time."""
        return self._is_draining

    def drain(self) -> None:
        """Take nothing any more; stop once what is running has ended, however long that takes.

        Until then the leases are renewed and the queues looked after, as by a pool without a free
        slot.
        """
        if self._is_draining or self._quiet.is_set():
            return
        self._is_draining = True
        self._is_open = False
        self._hooks.pool_draining(self.running)
        give_back_gathered(self._lanes)
        self._claimers.wake()
        self._end_drain()

    def quiet(self) -> None:
        """Stop claiming; what is running goes on until the grace period ends."""
        self._quiet.set()
        self._is_open = False
        for claimer in self._claimers:
            claimer.contact.note_stop()
        give_back_gathered(self._lanes)
        self._claimers.wake()

    def stop_now(self) -> None:
        """Stop claiming, cancel what is running and give it back."""
        self.quiet()
        self._stop_now.set()

    def note_drained(self, claimer: Claimer) -> None:
        """Take in that a claim found nothing; with ``burst`` that is the end, once all say so."""
        if self._is_burst and not self._is_busy:
            self._drained.add(claimer)
            if len(self._drained) == len(self._claimers):
                self.quiet()

    async def run(self, grace_period: timedelta, *, burst: bool = False) -> None:
        """Work until :meth:`quiet`, then finish within the grace period and give back the rest.

        With ``burst``, also end when nothing is left that could run now.
        """
        self._is_burst = burst
        try:
            for heartbeat in self._heartbeats:
                heartbeat.start()
            self._loop_watch.start()
            async with asyncio.TaskGroup() as actors:
                settling = actors.create_task(self._settler.run())
                # With `burst`, what others left to be passed on comes before the end.
                left = [lane.queue for lane in self._lanes] if burst else []
                passing = actors.create_task(self._passing.run(left))
                helpers = [
                    actors.create_task(helper)
                    for claimer in self._claimers
                    for helper in (
                        keep_up(
                            self._broker,
                            claimer.queues,
                            self._hooks,
                            watch=claimer.contact.watch("upkeep"),
                            woken=claimer.note_work,
                            onward=self._passing.note,
                        ),
                        claimer.wait_for_tokens(),
                    )
                ]
                if not burst:
                    helpers += [
                        actors.create_task(keep_schedules(scheduler, claimer.rescheduled))
                        for claimer, scheduler in zip(self._claimers, self._schedulers, strict=True)
                    ]
                async with asyncio.TaskGroup() as claiming:
                    for claimer in self._claimers:
                        claiming.create_task(claimer.run())
                await end_tasks(helpers)
                if self._tasks:
                    cancelling = [
                        actors.create_task(claimer.go_on_cancelling()) for claimer in self._claimers
                    ]
                    await wait_until_ended(
                        self._tasks, grace_period.total_seconds(), or_set=self._stop_now
                    )
                    await end_tasks(cancelling)
                await cancel_rest(self._lanes, self._tasks, give_back=self._give_back)
                await finish_settling(self._settler, settling, self._lanes, self._hooks)
                await end_tasks([passing])
                await self._passing.finish(_PASS_ON_SECONDS)
        finally:
            # After an orderly end nothing is left to do here but the leave-taking.
            try:
                await cancel_rest(self._lanes, self._tasks, give_back=self._give_back)
                await asyncio.gather(*(depart(self._settler, each) for each in self._claimers))
            finally:
                self._loop_watch.stop()
                for heartbeat in self._heartbeats:
                    heartbeat.stop()

    def start(self, lane: Lane, delivery: Delivery) -> None:
        """Run a job that was claimed."""
        if not self._is_open or (self._is_limited and self._sharing.is_full):
            # Claimed by a call that was under way when the pool was told to stop, or so long that
            # others have the slot.
            self.solo.end(delivery)
            self._settler.add(lane, delivery, Released())
            return
        if self._drained:
            self._drained.clear()
        if isinstance(lane, BatchLane):
            self._start_in_batch(lane, delivery)
            return
        run = Run(delivery)
        lane.add(run)
        if self._is_limited:
            self._sharing.taken += 1
        # Not in a task group: one that ignores its cancellation must not hold up the shutdown. Each
        # is kept in a set, waited for when the pool stops, and never raises.
        run.task = self._loop.create_task(self._runner.run_job(lane, run))
        self._tasks.add(run.task)

    def _start_in_batch(self, lane: BatchLane, delivery: Delivery) -> None:
        is_alone = delivery.losses > 0  # as those are that run alone in this process, too
        if not is_alone and lane.room <= 0:
            # A job that must be alone has taken the place.
            self._settler.add(lane, delivery, Released())
            return
        batch = lane.join(delivery, is_alone=is_alone)
        if self._is_limited:
            self._sharing.taken += 1
        if batch.task is None:
            linger = min(lane.linger, _BURST_LINGER) if self._is_burst else lane.linger
            batch.task = self._loop.create_task(self._runner.run_batch(lane, batch, linger))
            batch.members[0].task = batch.task
            self._tasks.add(batch.task)
            # Each of its jobs may have been cancelled before it began.
            batch.task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._note_settled()

    def give_up(self, lane: Lane) -> None:
        """Take a new identity for a lane, and cancel what others run now."""
        lost = lane.give_up_holder()
        self._hooks.lease_lost(lane.queue, [run.delivery.job_id for run in lost])
        for run in lost:
            run.cancel(StopReason.LOST)

    def share_out(self, but: Claimer | None = None) -> None:
        """Wake the claimers, but one, whose turn it is to fill the free slots."""
        self._claimers.share_out(but)

    @property
    def _is_busy(self) -> bool:
        if self._tasks or self._passing.is_busy:
            return True
        return any(lane.unsettled for lane in self._lanes)

    def _note_settled(self) -> None:
        self._end_drain()
        if self._is_burst and not self._is_busy:
            self._claimers.note_work()

    def _end_drain(self) -> None:
        if self._is_draining and not self._is_busy:
            self.quiet()

    def _go_on(self, lane: Lane) -> None:
        self._claimers.of[lane.queue].wake()

    def _end(self, lane: Lane, run: Run, outcome: Outcome | None) -> None:
        """Take in that the handler of a job has ended, perhaps long after it was given back."""
        if run.task is not None:
            self._tasks.discard(run.task)
        if run.is_ended:
            self._heedless -= 1
            self._end_drain()
            return
        run.is_ended = True
        lane.remove(run)
        was_reserving = False
        if self.solo.is_in_use:
            was_reserving = self.solo.is_reserving(self._loop.time())
            self.solo.end(run.delivery)
        if run.delivery.losses:
            lane.may_have_more = True  # its share of suspects may be waiting
        if outcome is not None:
            self._settler.add(lane, run.delivery, outcome)
        if self._is_draining:
            self._end_drain()
            return
        if self._is_limited:
            self._sharing.taken -= 1
            if any(each.may_have_more for each in self._lanes):
                self.share_out()
        elif lane.may_have_more:
            self._claimers.of[lane.queue].wake()
        if was_reserving:
            self._claimers.wake()

    def _end_early(self, lane: Lane, run: Run, outcome: Outcome | None) -> None:
        """End a job although its task goes on, its batch's or one that heeds no cancellation."""
        self._end(lane, run, outcome)
        if run.task is not None and not run.task.done():
            self._tasks.add(run.task)

    def _give_back(self, lane: Lane, run: Run) -> None:
        self._end_early(lane, run, Released())
        self._heedless += run.task is not None and not run.task.done()
