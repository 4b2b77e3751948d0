"""How the schedules of one consumer are written, sealed, read, and turned into jobs."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from redispatcher_fastapi.broker.scheduling import NO_SCHEDULES
from redispatcher_fastapi.broker.types import Submission
from redispatcher_fastapi.consumer import MessageEncodingError, prepare
from redispatcher_fastapi.consumer.lock_keys import refuse_debounced
from redispatcher_fastapi.errors import (
    InvalidScheduleError,
    SealError,
)
from redispatcher_fastapi.message import EnvelopeError, encode_envelope
from redispatcher_fastapi.schedules import StoredSchedule, decode_schedule, encode_schedule

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from redispatcher_fastapi.config import RedispatcherConfig
    from redispatcher_fastapi.consumer import ConsumerDefinition
    from redispatcher_fastapi.schedules import Schedule, Timing
    from redispatcher_fastapi.sealing import Sealing


@dataclass(frozen=True, slots=True)
class Declared:
    """A schedule of the code, with its definition before it is sealed."""

    id: str
    timing: Timing
    definition: bytes


class Timetable:
    """The schedules that the code declares for one consumer, and how any of its are read.

    Raises:
        InvalidScheduleError: a message cannot be published; the text names the schedule.
    """

    def __init__(
        self,
        definition: ConsumerDefinition,
        schedules: Sequence[Schedule] = (),
        *,
        max_message_bytes: int,
        sealing: Sealing | None = None,
    ) -> None:
        self.queue = definition.queue
        self._definition = definition
        self._max_message_bytes = max_message_bytes
        self._sealing = sealing
        self.declared = [self._declare(schedule) for schedule in schedules]
        #: The same in all processes that declare the same.
        self.version = self._make_version()

    def encode(self, timing: Timing, message: Any, *, owner: str) -> bytes:
        """Return the definition of a schedule, before it is sealed.

        Raises:
            WrongMessageError: it is not exactly the consumer's ``Message``.
            InvalidScheduleError: naming the ``owner``.
        """
        refuse_debounced(self._definition.unique, owner, InvalidScheduleError)
        try:
            body = self._definition.encode_body(message)
        except MessageEncodingError as error:
            raise InvalidScheduleError(f"{owner}: {error}") from error
        if len(body) > self._max_message_bytes:
            raise InvalidScheduleError(
                f"{owner}: its message takes {len(body)} bytes, more than the limit of "
                f"{self._max_message_bytes} (max_message_bytes)."
            )
        return encode_schedule(timing, body)

    def seal(self, schedule_id: str, definition: bytes) -> bytes:
        """Return a definition as it is to be stored; raises what the cipher raises."""
        if self._sealing is None:
            return definition
        return self._sealing.seal_schedule(definition, queue=self.queue, schedule_id=schedule_id)

    def open(self, schedule_id: str, stored: bytes) -> bytes:
        """Return the definition that was stored.

        Raises:
            SealError: it was not sealed for this schedule with a known key.
        """
        if self._sealing is None:
            return stored
        return self._sealing.open_schedule(stored, queue=self.queue, schedule_id=schedule_id)

    def read(self, schedule_id: str, stored: bytes) -> StoredSchedule:
        """Return the schedule that was stored.

        Raises:
            SealError: it was not sealed for this schedule with a known key.
            InvalidScheduleError: it was changed by hand, or by a newer release.
        """
        return decode_schedule(self.open(schedule_id, stored), name=schedule_id)

    def holds(self, schedule_id: str, stored: bytes, definition: bytes) -> bool:
        """Whether what Redis holds of a schedule is this definition."""
        try:
            return self.open(schedule_id, stored) == definition
        except SealError:
            return False

    def decode(self, body: bytes) -> Any:
        """Return the message of a schedule.

        Raises:
            EnvelopeError: it does not fit the consumer.
        """
        return self._definition.decoder.decode_message(encode_envelope(body))

    def submit(self, body: bytes, job_id: str, delay: timedelta | None) -> Submission:
        """Return one job with the message of a schedule.

        It goes all the way that a publish goes. A message that no longer fits the consumer becomes
        a job all the same, which will be dead: that is where people look.

        Raises:
            MessageTooLargeError: the envelope is larger than it may be.
            PublishError: headers or cipher fail.
        """
        try:
            message = self.decode(body)
        except EnvelopeError:
            return self._submit_raw(encode_envelope(body), job_id, delay)
        return prepare(
            self._definition,
            message,
            id=job_id,
            delay=delay,
            max_message_bytes=self._max_message_bytes,
            sealing=self._sealing,
        )

    def _submit_raw(self, envelope: bytes, job_id: str, delay: timedelta | None) -> Submission:
        if self._sealing is not None:
            envelope = self._sealing.seal_message(envelope, queue=self.queue, job_id=job_id)
        return Submission(job_id, envelope, delay, None, is_chosen_id=True)

    def _declare(self, schedule: Schedule) -> Declared:
        owner = f"Schedule {schedule.id!r} of {self._definition.name}"
        definition = self.encode(schedule.timing, schedule.message, owner=owner)
        return Declared(schedule.id, schedule.timing, definition)

    def _make_version(self) -> str:
        if not self.declared:
            return NO_SCHEDULES
        sealing = self._sealing
        # A hash of what is encrypted could be guessed without a key: then only the times count.
        is_guessable = sealing is not None and sealing.encrypts and not sealing.has_signing_keys
        parts: list[bytes] = []
        for each in sorted(self.declared, key=lambda each: each.id):
            content = encode_schedule(each.timing, b"") if is_guessable else each.definition
            parts += (b"%d:%b" % (len(part), part) for part in (each.id.encode(), content))
        text = b"".join(parts)
        digest = sha256(text).hexdigest() if sealing is None else sealing.digest(text)
        return digest[:24]


def timetables_of(config: RedispatcherConfig) -> list[Timetable]:
    """Return the timetable of each consumer of a configuration.

    Raises:
        InvalidScheduleError: a declared message cannot be published.
    """
    return [
        Timetable(
            consumer.definition,
            consumer.all_schedules,
            max_message_bytes=config.max_message_bytes,
            sealing=config.sealing,
        )
        for consumer in config.consumers
    ]
