"""Who takes the next free slot of a process, where there are not enough for all of its queues."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Mapping, Sequence

    from redispatcher_fastapi.broker.retrying import Watch
    from redispatcher_fastapi.errors import BrokerError

#: Queues that were found empty are asked again so often, all together, while others have work.
_PAUSE_BETWEEN_LOOKS = 0.01


class Sharer(Protocol):
    """A queue with a right to slots."""

    @property
    def weight(self) -> int: ...

    @property
    def occupied(self) -> int:
        """How many slots it has, those included that a claim under way may fill."""
        ...

    @property
    def demand(self) -> int:
        """How many jobs it could take at once if nobody else wanted a slot."""
        ...

    #: Slots that a claim under way may fill.
    reserved: int
    #: Whether the last claim brought all it asked for, or something waits for other reasons.
    may_have_more: bool
    #: Whether a token of its queue is being waited for, and will tell of work.
    is_watched: bool
    #: Whether its Redis does not answer, so that nobody should wait for it.
    is_away: bool


@dataclass(slots=True)
class _Account:
    """What one sharer has had; see :meth:`Sharing.charge`."""

    had: float = 0.0
    asked_at: float = float("-inf")


class Sharing:
    """Shares ``total`` slots out among queues by their weights; ``None`` for no limit.

    A queue with work waiting is owed its share of the slots, rounded down, and comes first while it
    has less. What the rounding leaves goes round, by weight as well, so that the smallest share is
    served too. A queue without waiting work is owed nothing; where no token would tell of new work,
    it is asked for that now and then, with a single slot. ``clock`` gives monotonic seconds.
    """

    def __init__(
        self,
        total: int | None,
        sharers: Sequence[Sharer],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total = total
        self._sharers = sharers
        self._clock = clock
        #: How many slots are taken, or reserved by a claim under way.
        self.taken = 0
        self._accounts = {sharer: _Account() for sharer in sharers}
        #: What a queue that had no work is taken to have had, so that it has saved nothing up.
        self._level = 0.0

    @property
    def is_limited(self) -> bool:
        """Whether there is a limit at all."""
        return self._total is not None

    @property
    def is_full(self) -> bool:
        """Whether every slot is taken, or reserved by a claim under way."""
        return self._total is not None and self.taken >= self._total

    def allot(self, asking: Collection[Sharer]) -> dict[Sharer, int]:
        """Return how many jobs each of ``asking`` may claim now; all others count as rivals.

        Never more than half of all slots at once, so that the next claim is under way while these
        jobs run.
        """
        if self._total is None:
            return {sharer: sharer.demand for sharer in asking}
        rooms = {
            sharer: room
            for sharer in self._sharers
            if (sharer in asking or not sharer.is_away) and (room := sharer.demand) > 0
        }
        free = max(0, min(self._total - self.taken, (self._total + 1) // 2))
        if sum(rooms.values()) > free:
            rooms = self._deal(rooms, free, self._total)
        return {sharer: rooms.get(sharer, 0) for sharer in asking}

    def allot_all(self) -> dict[Sharer, int]:
        """Return how many jobs each would claim now of those whose Redis answers."""
        return self.allot([sharer for sharer in self._sharers if not sharer.is_away])

    def reserve(self, counts: Mapping[Sharer, int]) -> Reservation:
        """Keep slots for a claim that is about to be made."""
        return Reservation(self, counts if self._total is not None else {})

    def charge(self, asked: Mapping[Sharer, int], got: Mapping[Sharer, int]) -> None:
        """Take in what a claim brought, where it asked for something."""
        now = self._clock()
        for sharer, count in asked.items():
            if count:
                brought = got.get(sharer, 0)
                sharer.may_have_more = brought == count
                account = self._accounts[sharer]
                account.asked_at = now
                account.had = max(account.had, self._level) + brought / sharer.weight
        if self._total is None:
            return
        served = [
            self._accounts[sharer].had
            for sharer in self._sharers
            if got.get(sharer) or (sharer.may_have_more and sharer.demand > 0)
        ]
        most = max(account.had for account in self._accounts.values())
        # A queue of long jobs has less starts than its share; that debt does not grow for ever.
        self._level = max(self._level, min(served, default=most), most - 2 * self._total)

    def _deal(self, rooms: dict[Sharer, int], free: int, total: int) -> dict[Sharer, int]:
        idle = sum(not (sharer.may_have_more or sharer.is_watched) for sharer in rooms)
        look_before = self._clock() - _PAUSE_BETWEEN_LOOKS * idle
        wanted = {
            sharer: room if sharer.may_have_more else 1
            for sharer, room in rooms.items()
            if sharer.may_have_more
            or (not sharer.is_watched and self._accounts[sharer].asked_at <= look_before)
        }
        counts = dict.fromkeys(rooms, 0)
        free = self._deal_to(wanted, free, total, counts)
        if free:  # nobody is known to need them: the others may look
            self._deal_to(rooms, free, total, counts)
        return counts

    def _deal_to(
        self, wanted: dict[Sharer, int], free: int, total: int, counts: dict[Sharer, int]
    ) -> int:
        """Raise ``counts`` to what each gets of the free slots; return how many are left."""
        others = sum(sharer.occupied for sharer in self._sharers if sharer not in wanted)
        weights = sum(sharer.weight for sharer in wanted)
        owed = {
            sharer: (total - others) * sharer.weight // weights - sharer.occupied
            for sharer in wanted
        }
        first = {sharer: min(room, owed[sharer]) for sharer, room in wanted.items()}
        free = self._deal_round(first, free, counts)
        return self._deal_round(wanted, free, counts)

    def _deal_round(self, limits: dict[Sharer, int], free: int, counts: dict[Sharer, int]) -> int:
        """Deal slot by slot, to whoever has had least for its weight, up to everybody's limit."""
        places = list(limits)
        line = [
            (self._had(sharer, counts[sharer]), place)
            for place, sharer in enumerate(places)
            if counts[sharer] < limits[sharer]
        ]
        heapify(line)
        while free and line:
            had, place = heappop(line)
            sharer = places[place]
            counts[sharer] += 1
            free -= 1
            if counts[sharer] < limits[sharer]:
                heappush(line, (had + 1 / sharer.weight, place))
        return free

    def _had(self, sharer: Sharer, more: int) -> float:
        had = max(self._accounts[sharer].had, self._level)
        return had + (sharer.reserved + more) / sharer.weight


class Reservation:
    """Slots that are kept free for a claim under way."""

    def __init__(self, sharing: Sharing, counts: Mapping[Sharer, int]) -> None:
        self._sharing = sharing
        self._counts: Mapping[Sharer, int] = counts
        for sharer, count in counts.items():
            sharer.reserved += count
            sharing.taken += count

    def give_back(self) -> None:
        """Keep them no longer; once is enough."""
        for sharer, count in self._counts.items():
            sharer.reserved -= count
            self._sharing.taken -= count
        self._counts = {}


class SharingWatch:
    """Notes that Redis does not answer, and then keeps no slots for what it may give.

    Others may take them; what comes after all without finding a slot is given back.
    """

    def __init__(
        self, watch: Watch, sharers: Sequence[Sharer], *, gave_back: Callable[[], None]
    ) -> None:
        self._watch = watch
        self._sharers = sharers
        self._gave_back = gave_back
        self._reservation: Reservation | None = None

    @contextmanager
    def keeping(self, reservation: Reservation) -> Generator[None]:
        """Keep slots while a call is made, and tried again."""
        self._reservation = reservation
        try:
            yield
        finally:
            self._reservation = None
            reservation.give_back()

    def answered(self) -> None:
        for sharer in self._sharers:
            sharer.is_away = False
        self._watch.answered()

    def failed(self, error: BrokerError, after: float) -> None:
        for sharer in self._sharers:
            sharer.is_away = True
        if self._reservation is not None:
            self._reservation.give_back()
        self._gave_back()
        self._watch.failed(error, after)
