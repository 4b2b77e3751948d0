"""Whether Redis does what a pool asks for some queues, from the calls that it makes anyway."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from redispatcher_fastapi.errors import BrokerUnavailableError
from redispatcher_fastapi.hooks import Outage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redispatcher_fastapi.errors import BrokerError
    from redispatcher_fastapi.hooks import PoolHooks

Call = Literal["connect", "claim", "renew", "upkeep"]

_UNANSWERED: dict[Call, str] = {
    "connect": "Redis cannot be reached, trying again",
    "claim": "Redis did not answer a claim",
    "renew": "Redis did not answer a renewal of the leases",
    "upkeep": "Redis did not answer while looking after the queues",
}
_REFUSED: dict[Call, str] = {
    "connect": "Redis refused to be used",
    "claim": "Redis refused a claim",
    "renew": "Redis refused a renewal of the leases",
    "upkeep": "Redis refused to have the queues looked after",
}
_SAID_EVERY = 30.0
#: Longer than an idle pool waits for a token, and for the replies of a connection that broke.
_OVERDUE_AFTER = 30.0


@dataclass(frozen=True, slots=True)
class _Failure:
    since: float
    reason: str
    is_refusal: bool


@dataclass(frozen=True, slots=True)
class ContactWatch:
    """Notes what becomes of one kind of call; ``is_proof`` as in :meth:`Contact.answered`."""

    contact: Contact
    call: Call
    is_proof: bool

    def answered(self) -> None:
        self.contact.answered(self.call, is_proof=self.is_proof)

    def failed(self, error: BrokerError, after: float) -> None:
        self.contact.failed(self.call, error, after=after)


class Contact:
    """What is known of the contact to Redis for the queues that answer together.

    Each kind of call is noted by one thread; :meth:`report` runs on the event loop, and anybody may
    read. ``clock`` gives monotonic seconds.
    """

    def __init__(
        self,
        queues: Sequence[str],
        hooks: PoolHooks,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queues = tuple(queues)
        self._hooks = hooks
        self._clock = clock
        self._failures: dict[Call, _Failure] = {}
        self._last_claim: float | None = None
        self._latency: timedelta | None = None
        self._reason = ""
        self._began: float | None = None
        self._said = 0.0
        self._is_stopping = False
        #: Since when a claim is to be expected now and then, as there are free slots.
        self._has_room_since: float | None = None

    def watch(self, call: Call, *, is_proof: bool = True) -> ContactWatch:
        """Return what is to be told of each try of one kind of call, on the event loop."""
        return ContactWatch(self, call, is_proof)

    def answered(self, call: Call, *, is_proof: bool = True) -> None:
        """Take in that Redis answered, on the event loop.

        An answer that is no proof, as to a claim of nothing, shows that Redis is there, and not
        that it does again what it has refused.
        """
        if call == "claim":
            self._last_claim = self._clock()
        if not self._failures:
            return
        failure = self._failures.get(call)
        if failure is not None and (is_proof or not failure.is_refusal):
            del self._failures[call]
        self.report()

    def note_stop(self) -> None:
        """Take in that the pool stops: from now on nothing is resumed."""
        self._is_stopping = True

    def failed(self, call: Call, error: BrokerError, *, after: float = 0.0) -> None:
        """Take in that Redis did not answer, on the event loop, ``after`` seconds."""
        self.note_failure(call, error, after=after)
        self.report()

    def note_answer(self, call: Call, latency: timedelta) -> bool:
        """Take in an answer, in a thread; return whether :meth:`report` has something to say."""
        self._latency = latency
        return self._failures.pop(call, None) is not None

    def note_failure(self, call: Call, error: BrokerError, *, after: float = 0.0) -> None:
        """Take in a failure, in a thread; :meth:`report` has something to say."""
        if call == "upkeep" and not isinstance(error, BrokerUnavailableError):
            return  # it is in the log, and claiming goes on without
        known = self._failures.get(call)
        since = self._clock() - after if known is None else known.since
        text = " ".join(str(error).split())
        is_refusal = not isinstance(error, BrokerUnavailableError)
        failed = _REFUSED if is_refusal else _UNANSWERED
        self._failures[call] = _Failure(since, f"{failed[call]}: {text}", is_refusal)

    def expect_claims(self, *, is_expected: bool) -> None:
        """Take in whether the claimer waits for work, rather than for a slot or to be alone."""
        self._has_room_since = self._clock() if is_expected else None

    def report(self) -> None:
        """Tell the hooks what has changed, and now and then what has not."""
        now = self._clock()
        failure = self._oldest_failure()
        if failure is not None:
            if self._began is None:
                self._began, self._said = failure.since, now - _SAID_EVERY
            self._reason = failure.reason
            if now - self._said >= _SAID_EVERY:
                self._said = now
                self._hooks.claiming_failed(self._outage(now - self._began))
        elif self._began is not None:
            lasted = now - self._began
            self._began = None
            if not self._is_stopping:
                self._hooks.claiming_resumed(self._outage(lasted))

    @property
    def last_claim_at(self) -> datetime | None:
        since = self.since_last_claim
        return None if since is None else datetime.now(UTC) - since

    @property
    def since_last_claim(self) -> timedelta | None:
        last = self._last_claim
        return None if last is None else timedelta(seconds=self._clock() - last)

    @property
    def latency(self) -> timedelta | None:
        """How long the last renewal took."""
        return self._latency

    @property
    def unanswered_for(self) -> timedelta | None:
        failure = self._oldest_failure()
        return None if failure is None else timedelta(seconds=self._clock() - failure.since)

    @property
    def problem(self) -> str | None:
        """Why the queues cannot be claimed from, ``None`` when they can."""
        if failure := self._oldest_failure():
            return failure.reason
        last, room_since = self._last_claim, self._has_room_since
        if last is None:
            return "nothing was claimed yet"
        if room_since is not None:
            seconds = self._clock() - max(last, room_since)
            if seconds > _OVERDUE_AFTER:
                return f"there are free slots, and no claim for {seconds:.0f} s"
        return None

    def _oldest_failure(self) -> _Failure | None:
        # A copy is made at once; the other threads go on meanwhile.
        return min([*self._failures.values()], key=lambda each: each.since, default=None)

    def _outage(self, seconds: float) -> Outage:
        return Outage(self._queues, self._reason, timedelta(seconds=seconds))
