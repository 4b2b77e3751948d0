"""Who calls the engine: the processes there were, what they were handed, and what they called."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from tests.model.claiming import Taken, Want
from tests.model.oracle import Oracle
from tests.model.pair import Pair
from tests.model.publishing import Message
from tests.model.strategies import IDS, Ended, Held, end, pick


class Actors:
    """Every process and every call is kept, the newest last, so that any can be met again."""

    def __init__(self, pair: Pair, limits: dict[str, str]) -> None:
        """``limits`` are those that the code of all processes has, by queue."""
        self.pair = pair
        self.limits = limits
        self.oracle = Oracle(pair.queues)
        self.holders: list[str] = []
        self.deliveries: list[Held] = []
        self.calls: list[Callable[[], object]] = []
        #: Kept apart, because the answer brings jobs that nobody expects when it comes again.
        self.claims: list[Callable[[], object]] = []
        self.published = 0
        self._sequences: dict[str, int] = {}
        self._requests: dict[str, int] = {}

    @property
    def newest(self) -> str:
        """The process that began last."""
        return self.holders[-1]

    def do(self, call: Callable[[], object]) -> None:
        """Make a call that may be made again later."""
        self.calls.append(call)
        call()

    def join(self, queues: Sequence[str]) -> None:
        """Begin one more process."""
        holder = f"p{len(self.holders)}"
        self.holders.append(holder)
        self._sequences[holder] = self._requests[holder] = 1
        self.do(partial(self.pair.renew, queues, holder))

    def publish_ids(
        self, queue: str, ids: str, *, needed: int | None = None, partition: str = ""
    ) -> None:
        """Publish one message for each letter."""
        envelope = b'{"v":1,"body":3}'
        messages = [Message(job_id, envelope, partition=partition) for job_id in ids]
        self.do(partial(self.pair.publish, queue, messages, needed))

    def publish_new(self, queue: str, count: int, *, partition: str = "") -> None:
        """Publish so many messages with ids that nobody has used before."""
        for _ in range(count):
            self.published += 1
            envelope, follows = b'{"v":1,"body":4}', ("", "then", "+then")[self.published % 3]
            message = Message(f"n{self.published}", envelope, partition=partition, follows=follows)
            self.do(partial(self.pair.publish, queue, [message], None))

    def next_sequence(self, holder: str, count: int, back: int = 0) -> int:
        """Return the number of the first of so many deliveries, or one that was used before."""
        first = max(1, self._sequences[holder] - back)
        self._sequences[holder] = max(self._sequences[holder], first + count)
        return first

    def want(self, queue: str, count: int, *, suspects: int) -> Want:
        """Return what the newest process asks for next."""
        first = self.next_sequence(self.newest, count)
        return Want(queue, self.newest, count, suspects, first, self.limits[queue])

    def claim(self, wants: Sequence[Want]) -> list[Held]:
        call = partial(self.pair.claim, wants)
        self.claims.append(call)
        claimed = [
            Held(want.queue, want.holder, taken)
            for want, claim in zip(wants, call(), strict=True)
            for taken in claim.taken
        ]
        for want in wants:
            self.oracle.judge(want.queue, want.limits, claimed)
        self.deliveries += claimed
        return claimed

    def claim_solo(self, queue: str, holder: str, sequence: int, *, is_empty: bool) -> list[Held]:
        limits = self.limits[queue]
        call = partial(
            self.pair.claim_solo, queue, holder, sequence, limits, is_empty=is_empty, turn=200_000
        )
        self.claims.append(call)
        taken = call()
        claimed = [Held(queue, holder, taken)] if isinstance(taken, Taken) else []
        self.oracle.judge(queue, limits, claimed)
        self.deliveries += claimed
        return claimed

    def ensure_held(self, queue: str) -> list[Held]:
        """Return the deliveries somebody has; the newest process claims where there are none."""
        held = self.pair.queues[queue].held
        found = [
            one
            for one in self.deliveries
            if one.queue == queue
            and held.get(one.holder, {}).get(one.taken.id) == one.taken.delivery
        ]
        if found:
            return found
        self.publish_ids(queue, IDS[:3])
        if self.pair.renew([queue], self.newest)[0] == -1:
            self.join([queue])
        return self.claim([self.want(queue, 3, suspects=3)])

    def settle(
        self,
        deliveries: list[Held],
        ending: Ended,
        ago: int,
        count: int,
        *,
        is_stranger: bool = False,
        twist: str = "",
        is_repeated: bool = False,
    ) -> None:
        """End one of the deliveries and, in the same call, the newest of the same process.

        ``twist`` is wrong with the token of that one, see `end`; ``is_stranger`` ends them in the
        name of the newest process, and ``is_repeated`` with the number of the call before.
        """
        if not deliveries:
            return
        last = pick(deliveries, ago)
        same = [one for one in deliveries if one[:2] == last[:2]]
        chosen = {one.taken[::5]: one for one in [*same[-count:], last]}
        settled = [end(one.taken, ending, twist if one is last else "") for one in chosen.values()]
        holder = self.newest if is_stranger else last.holder
        self._requests[holder] += not is_repeated
        request = self._requests[holder]
        match ending.action:
            case "done":
                call = partial(self.pair.acknowledge, last.queue, holder, request, settled, 700_000)
            case "release":
                call = partial(self.pair.release, last.queue, holder, request, settled)
            case _:
                call = partial(self.pair.fail, last.queue, holder, request, settled)
        self.do(call)
