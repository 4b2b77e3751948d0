"""Claims jobs into the free slots of some lanes, and waits without polling while there are none."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from redispatcher_fastapi.broker.retrying import repeat_until_answered
from redispatcher_fastapi.broker.types import Want
from redispatcher_fastapi.broker.waking import WakeUp
from redispatcher_fastapi.errors import BrokerError
from redispatcher_fastapi.pool.audit import Audit
from redispatcher_fastapi.pool.sharing import SharingWatch

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Mapping, Sequence
    from typing import Any

    from redispatcher_fastapi.broker.connection import Connections
    from redispatcher_fastapi.broker.types import Claimed, Delivery
    from redispatcher_fastapi.broker.working import WorkerBroker
    from redispatcher_fastapi.hooks import PoolHooks
    from redispatcher_fastapi.pool.cancelling import Canceller
    from redispatcher_fastapi.pool.contact import Contact
    from redispatcher_fastapi.pool.lanes import Lane
    from redispatcher_fastapi.pool.sharing import Sharer, Sharing
    from redispatcher_fastapi.pool.solo import SoloTurn

_SOLO_SECONDS = 1.0
#: What is due in a millisecond is not due yet; a timer that fires early would only ask twice.
_TIMER_SLACK = 0.001


class Runner(Protocol):
    """What a claimer needs of the process it claims for."""

    solo: SoloTurn

    @property
    def is_draining(self) -> bool:
        """Whether nothing is to be taken any more."""
        ...

    @property
    def is_empty(self) -> bool:
        """Whether no handler runs."""
        ...

    def start(self, lane: Lane, delivery: Delivery) -> None:
        """Run a job, or give it back if there is no slot for it any more."""
        ...

    def share_out(self, but: Claimer) -> None:
        """Wake those whose turn it is to fill the slots that this one leaves free."""
        ...

    def give_up(self, lane: Lane) -> None:
        """Take a new identity, as the old one has lost its lease."""
        ...

    def note_drained(self, claimer: Claimer) -> None:
        """Take in that a claim found nothing."""
        ...


class Claimer:
    """Fills the lanes whose queues answer together: in a cluster, each queue answers alone."""

    def __init__(
        self,
        broker: WorkerBroker,
        connections: Connections,
        lanes: Sequence[Lane],
        contact: Contact,
        *,
        canceller: Canceller,
        sharing: Sharing,
        runner: Runner,
        quiet: asyncio.Event,
        hooks: PoolHooks,
    ) -> None:
        self._broker = broker
        self._lanes = {lane.queue: lane for lane in lanes}
        self.contact = contact
        # What was asked for only shows in the answer.
        self._watch = SharingWatch(
            contact.watch("claim", is_proof=False), lanes, gave_back=lambda: runner.share_out(self)
        )
        self._sharing = sharing
        self._runner = runner
        self._quiet = quiet
        self._hooks = hooks
        self._paused: set[str] = set()
        self._news = asyncio.Event()
        #: Claims again: there may be work, or room for it.
        self.wake = self._news.set
        self._next_sequence = 1
        self._turn = 0
        #: Set when a schedule was changed.
        self.rescheduled = asyncio.Event()
        self._connections = connections
        self._canceller = canceller
        self._waker = WakeUp(connections, list(self._lanes), sleeper=self)
        self._audit = Audit(broker)
        self._loop = asyncio.get_running_loop()

    @property
    def queues(self) -> list[str]:
        return list(self._lanes)

    def note_reschedule(self) -> None:
        self.rescheduled.set()

    def note_call(self, queue: str, job_id: str) -> None:
        self._canceller.note_call(queue, job_id)
        self._news.set()

    def note_work(self, queue: str | None = None) -> None:
        """Claim again, from every queue or from one: something may wait there."""
        for lane in self._lanes.values() if queue is None else (self._lanes[queue],):
            lane.may_have_more = True
        self._news.set()

    def has_use_for(self, counts: Mapping[Sharer, int]) -> bool:
        """Whether it should claim as many jobs, or else none would."""
        return any(
            counts.get(lane) and (lane.may_have_more or not lane.is_watched)
            for lane in self._lanes.values()
        )

    def has_unwatched(self) -> bool:
        """Whether it would not learn of work that it has room for."""
        return any(lane.demand and not lane.is_watched for lane in self._lanes.values())

    def wait_for_tokens(self) -> Coroutine[Any, Any, None]:
        """Return what has to run, until cancelled, for this process to be woken by others."""
        return self._waker.run()

    async def run(self) -> None:
        """Claim until it is time to be quiet."""
        while not self._quiet.is_set():
            self._news.clear()
            try:
                claimed = await self._claim()
                if claimed.unleased:
                    await self._renew(claimed.unleased)
                    for queue in claimed.unleased:
                        self._lanes[queue].may_have_more = True
                    continue
                await self._audit.run(self._lanes.values())
                solo = self._runner.solo
                if (
                    claimed.has_solo
                    and not self._runner.is_draining
                    and solo.may_try(self._loop.time(), is_empty=self._runner.is_empty)
                ):
                    await self._claim_solo(sorted(claimed.has_solo)[0])
            except BrokerError:
                return  # quiet was asked for while Redis was away
            has_more = self._has_more_than_slots()
            if has_more and any(self._counts().values()):
                # At once: what was just claimed runs while Redis is at work on the next claim.
                continue
            if not claimed.deliveries and not claimed.has_solo and not has_more:
                self._runner.note_drained(self)
            await self._wait(claimed)

    async def go_on_cancelling(self) -> None:
        """Cancel what somebody cancels while nothing is claimed any more, until cancelled."""
        waker = WakeUp(self._connections, list(self._lanes), sleeper=self)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(waker.run())
            while True:
                self._news.clear()
                with suppress(BrokerError):  # the waker says when to ask again
                    await self._claim()
                await self._news.wait()

    def apply_renewal(self, holders: Mapping[str, str], answers: Mapping[str, int | None]) -> None:
        """Take in what Redis answered to a renewal under these holders."""
        for queue, held in answers.items():
            lane = self._lanes[queue]
            if lane.holder != holders[queue]:
                continue
            if held is not None:
                self._audit.note(lane, held)
            else:
                self._runner.give_up(lane)
                self._news.set()

    async def depart(self) -> None:
        """Give back what Redis still sees here, and end the leases."""
        for lane in self._lanes.values():
            await self._audit.give_back_strays(lane)
        await self._broker.depart(self.holders())

    def holders(self) -> dict[str, str]:
        """Return under which identity each queue's jobs are held; any thread may ask."""
        return {queue: lane.holder for queue, lane in self._lanes.items()}

    def _counts(self) -> dict[Sharer, int]:
        """Return how many jobs each lane may claim now."""
        if self._is_closed():
            return dict.fromkeys(self._lanes.values(), 0)
        return self._sharing.allot(self._lanes.values())

    def _is_closed(self) -> bool:
        return (
            self._quiet.is_set()
            or self._runner.is_draining
            or self._runner.solo.is_reserving(self._loop.time())
        )

    def _has_more_than_slots(self) -> bool:
        """Whether more may wait than was claimed, and only slots of the others are in the way."""
        return any(lane.may_have_more and lane.demand for lane in self._lanes.values())

    def _lanes_to_watch(self) -> list[Lane]:
        """Return the lanes whose tokens this process may take, as it has slots for them."""
        if self._is_closed() or self._sharing.is_full:
            return []
        # What is known to wait needs no token, only a slot.
        return [
            lane
            for lane in self._lanes.values()
            if lane.free > 0 and not (self._sharing.is_limited and lane.may_have_more)
        ]

    def _lanes_in_turn(self) -> list[Lane]:
        """Return all lanes, another one first each time: one call may not have enough for all."""
        lanes = [*self._lanes.values()]
        self._turn = (self._turn + 1) % len(lanes)
        return lanes[self._turn :] + lanes[: self._turn]

    async def _claim(self) -> Claimed:
        """Fill the free slots; with none free, still let due jobs on and pass on the token."""
        calls = self._canceller.take_calls()
        counts = self._counts()
        wants: list[Want] = []
        for lane in self._lanes_in_turn():
            want = lane.want(counts[lane], self._next_sequence)
            counts[lane] = want.count
            self._next_sequence += want.count
            wants.append(want)
        with self._watch.keeping(self._sharing.reserve(counts)):
            claimed = await repeat_until_answered(
                lambda: self._broker.claim(wants), "claim jobs", stop=self._quiet, watch=self._watch
            )
        if not claimed.unleased and any(want.count for want in wants):
            self.contact.answered("claim")
        if claimed.paused != self._paused:
            self._note_pauses(claimed)
        got: dict[Sharer, int] = dict.fromkeys(self._lanes.values(), 0)
        for delivery in claimed.deliveries:
            lane = self._lanes[delivery.queue]
            got[lane] += 1
            self._runner.start(lane, delivery)
        if claimed.cancelled:
            self._canceller.apply(self._lanes, claimed.cancelled, calls)
        self._sharing.charge(counts, got)
        return claimed

    def _note_pauses(self, claimed: Claimed) -> None:
        """Tell of each queue that is paused, or is so no longer, once."""
        before = self._paused
        self._paused = (before & claimed.unleased) | claimed.paused
        for queue in sorted(self._paused - before):
            self._hooks.queue_paused(queue)
        for queue in sorted(before - self._paused):
            self._hooks.queue_resumed(queue)

    async def _claim_solo(self, queue: str) -> None:
        """Run a job that must be alone if nothing else runs, or take the turn to become empty."""
        lane, solo = self._lanes[queue], self._runner.solo
        is_empty = self._runner.is_empty
        if is_empty and self._sharing.is_full:
            return  # by claims under way
        want = Want(queue, lane.holder, 1, self._next_sequence, limits=lane.limits)
        self._next_sequence += 1
        with self._watch.keeping(self._sharing.reserve({lane: int(is_empty)})):
            answer = await repeat_until_answered(
                lambda: self._broker.claim_solo(want, is_empty=is_empty, turn=solo.length),
                "claim a job that must run alone",
                stop=self._quiet,
                watch=self._watch,
            )
        if answer == "turn":
            solo.take_turn(queue, self._loop.time())
        elif answer is None:
            solo.miss(self._loop.time())
        else:
            solo.begin(answer)
            self._runner.start(lane, answer)

    async def _wait(self, claimed: Claimed) -> None:
        """Sleep until there is news, or something falls due."""
        lanes = self._lanes_to_watch()
        self.contact.expect_claims(is_expected=bool(lanes))
        await self._waker.want([lane.queue for lane in lanes])
        for lane in lanes:
            lane.is_watched = True
        self._runner.share_out(self)
        seconds = None if claimed.wait is None else claimed.wait.total_seconds() + _TIMER_SLACK
        if self._runner.is_draining:
            seconds = None  # others let on what falls due
        elif claimed.has_solo or self._runner.solo.queue is not None:
            seconds = min(seconds or _SOLO_SECONDS, _SOLO_SECONDS)
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            self.note_work()  # of what fell due
        finally:
            for lane in self._lanes.values():
                lane.is_watched = False

    async def _renew(self, queues: Iterable[str]) -> None:
        holders = {queue: self._lanes[queue].holder for queue in queues}
        answers = await repeat_until_answered(
            lambda: self._broker.renew(holders), "renew leases", stop=self._quiet, watch=self._watch
        )
        self.apply_renewal(holders, answers)
