"""``dispatcher.schedules``: makes schedules at run time, and looks after all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Never, TypeVar, overload

from redispatcher_fastapi.broker.ids import new_job_id
from redispatcher_fastapi.broker.publishing import queue_full
from redispatcher_fastapi.broker.scheduling import Firing, ScheduleBroker
from redispatcher_fastapi.consumer import (
    Consumes,
    ConsumesBatch,
    ConsumesSync,
    definition_of,
    result_reader,
)
from redispatcher_fastapi.errors import (
    BrokerError,
    DeclaredScheduleError,
    InvalidScheduleError,
    UnknownScheduleError,
)
from redispatcher_fastapi.job import Job
from redispatcher_fastapi.schedules import Misfire, Overlap, Schedule
from redispatcher_fastapi.schedules.schedule import check_schedule_id
from redispatcher_fastapi.scheduling.records import ScheduleRecord, make_record
from redispatcher_fastapi.scheduling.timetable import Timetable

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from typing_extensions import Unpack

    from redispatcher_fastapi.broker.broker import Broker
    from redispatcher_fastapi.broker.scheduling import ScheduleEntry
    from redispatcher_fastapi.config import RedispatcherConfig
    from redispatcher_fastapi.consumer import ConsumerDefinition
    from redispatcher_fastapi.schedules.schedule import ScheduleOptions

M = TypeVar("M")
R = TypeVar("R")
AnyConsumer = ConsumesSync[Never, object] | ConsumesBatch[Never, object]

_PAGE = 200
_TRIES = 20


class Schedules:
    """The schedules of an application: those its code declares, and those made at run time.

    The ids are those of one consumer. All methods raise ``BrokerError`` when Redis gives no answer;
    calling again is safe.
    """

    def __init__(self, broker: Broker, config: RedispatcherConfig) -> None:
        self._broker = ScheduleBroker(
            broker.connections.publisher,
            broker.clock,
            max_queue_length=broker.settings.max_queue_length,
        )
        self._store = broker
        self._config = config
        self._declared = {
            each.definition.queue: {schedule.id for schedule in each.all_schedules}
            for each in config.consumers
        }

    @overload
    async def upsert(
        self,
        id: str,
        consumer: type[Consumes[M, R]],
        message: M,
        **options: Unpack[ScheduleOptions],
    ) -> ScheduleRecord: ...
    @overload
    async def upsert(
        self,
        id: str,
        consumer: type[ConsumesSync[M, R]],
        message: M,
        **options: Unpack[ScheduleOptions],
    ) -> ScheduleRecord: ...
    @overload
    async def upsert(
        self,
        id: str,
        consumer: type[ConsumesBatch[M, R]],
        message: M,
        **options: Unpack[ScheduleOptions],
    ) -> ScheduleRecord: ...
    async def upsert(
        self,
        id: str,  # the name of the public attribute
        consumer: type[Any],
        message: Any,
        *,
        cron: str | None = None,
        every: timedelta | None = None,
        tz: str | None = None,
        misfire: Misfire | None = None,
        overlap: Overlap = Overlap.ALLOW,
        jitter: timedelta | None = None,
    ) -> ScheduleRecord:
        """Make a schedule, or replace the one of this id; repeating it changes nothing.

        A schedule that keeps its times keeps its next tick, and one that is paused stays so. The
        options are those of :class:`Schedule`.

        Raises:
            InvalidScheduleError: it could never work, or no pool of this configuration runs the
                consumer.
            DeclaredScheduleError: the code declares a schedule of this id.
            WrongMessageError: the message is not exactly the consumer's ``Message``.
        """
        definition = definition_of(consumer)
        schedule = Schedule(
            id,
            message,
            cron=cron,
            every=every,
            tz=tz,
            misfire=misfire,
            overlap=overlap,
            jitter=jitter,
        )
        self._check_is_run(definition, id)
        timetable = self._timetable(definition)
        wanted = timetable.encode(
            schedule.timing, message, owner=f"Schedule {id!r} of {definition.name}"
        )
        for _ in range(_TRIES):
            now, found = await self._broker.read(definition.queue, [id])
            before = found.get(id)
            if id in self._declared.get(definition.queue, ()) or (before and before.is_declared):
                raise _declared(id, definition)
            known = None if before is None else make_record(timetable, before)
            if before and known and timetable.holds(id, before.definition, wanted):
                return known
            is_done = await self._broker.put(
                definition.queue,
                id,
                timetable.seal(id, wanted),
                before=before,
                tick=schedule.timing.calendar.after(now),
                keeps_tick=known is not None and known.calendar == schedule.timing.calendar,
            )
            if is_done:
                return await self._require(id, definition)
        raise _contended(id, definition)

    async def get(self, id: str, consumer: type[AnyConsumer]) -> ScheduleRecord | None:
        """Return a schedule of a consumer, ``None`` when there is none of this id."""
        definition = definition_of(consumer)
        _, found = await self._broker.read(definition.queue, [check_schedule_id(id)])
        entry = found.get(id)
        return None if entry is None else make_record(self._timetable(definition), entry)

    async def list(self, consumer: type[AnyConsumer] | None = None) -> list[ScheduleRecord]:
        """Return all schedules of a consumer in the order of their ids.

        Without one, those of every consumer of the configuration.
        """
        definitions = (
            [each.definition for each in self._config.consumers]
            if consumer is None
            else [definition_of(consumer)]
        )
        records: list[ScheduleRecord] = []
        for definition in definitions:
            timetable, after = self._timetable(definition), ""
            while True:
                _, page = await self._broker.read_page(definition.queue, after=after, limit=_PAGE)
                records += [make_record(timetable, entry) for entry in page.values()]
                if len(page) < _PAGE:
                    break
                after = max(page)
        return records

    async def pause(self, id: str, consumer: type[AnyConsumer]) -> None:
        """Let no tick of a schedule run until it is resumed, whatever is deployed meanwhile.

        Raises:
            UnknownScheduleError: there is none of this id.
        """
        definition = definition_of(consumer)
        if not await self._broker.change(definition.queue, check_schedule_id(id), "pause"):
            raise _unknown(id, definition)

    async def resume(self, id: str, consumer: type[AnyConsumer]) -> None:
        """Go on with the next tick from now; what was missed meanwhile does not run.

        Raises:
            UnknownScheduleError: there is none of this id.
        """
        definition = definition_of(consumer)
        timetable = self._timetable(definition)
        for _ in range(_TRIES):
            now, entry = await self._find(id, definition)
            answer = await self._broker.change(
                definition.queue,
                id,
                "resume",
                revision=entry.revision,
                tick=timetable.read(id, entry.definition).timing.calendar.after(now),
            )
            if answer == 1:
                return
            if answer == 0:
                raise _unknown(id, definition)
        raise _contended(id, definition)

    async def delete(self, id: str, consumer: type[AnyConsumer]) -> bool:
        """Remove a schedule; return whether there was one. Its jobs stay.

        Raises:
            DeclaredScheduleError: the code declares it: pause it, or remove it there. One that no
                running pool declares any more can be deleted half a minute after the last has gone.
        """
        definition = definition_of(consumer)
        answer = await self._broker.change(definition.queue, check_schedule_id(id), "delete")
        if answer == -2:
            raise _declared(id, definition)
        return answer == 1

    @overload
    async def run_now(self, id: str, consumer: type[Consumes[M, R]]) -> Job[R]: ...
    @overload
    async def run_now(self, id: str, consumer: type[ConsumesSync[M, R]]) -> Job[R]: ...
    @overload
    async def run_now(self, id: str, consumer: type[ConsumesBatch[M, R]]) -> Job[R]: ...
    async def run_now(self, id: str, consumer: type[Any]) -> Job[Any]:
        """Publish the message of a schedule once, at once, paused or not; its ticks stay.

        Raises:
            UnknownScheduleError: there is none of this id.
            QueueFullError: the queue is at its limit.
        """
        definition = definition_of(consumer)
        timetable = self._timetable(definition)
        job_id = f"{check_schedule_id(id)}:now-{new_job_id()}"
        for _ in range(_TRIES):
            _, entry = await self._find(id, definition)
            stored = timetable.read(id, entry.definition)
            submission = timetable.submit(stored.body, job_id, None)
            firing = Firing(entry, None, None, None, stored.timing.overlap, 0, [submission])
            (answer,) = await self._broker.fire(definition.queue, [firing])
            if answer == "full":
                raise queue_full(definition.queue, self._config.max_queue_length)
            if answer != "stale":
                return Job(
                    self._store,
                    result_reader(definition, self._config.sealing),
                    queue=definition.queue,
                    id=job_id,
                )
        raise _contended(id, definition)

    async def _find(
        self, id: str, definition: ConsumerDefinition
    ) -> tuple[datetime, ScheduleEntry]:
        now, found = await self._broker.read(definition.queue, [check_schedule_id(id)])
        if id not in found:
            raise _unknown(id, definition)
        return now, found[id]

    async def _require(self, id: str, definition: ConsumerDefinition) -> ScheduleRecord:
        _, entry = await self._find(id, definition)
        return make_record(self._timetable(definition), entry)

    def _timetable(self, definition: ConsumerDefinition) -> Timetable:
        config = self._config
        return Timetable(
            definition, max_message_bytes=config.max_message_bytes, sealing=config.sealing
        )

    def _check_is_run(self, definition: ConsumerDefinition, id: str) -> None:
        if self._declared and definition.queue not in self._declared:
            raise InvalidScheduleError(
                f"Schedule {id!r} is for {definition.name}, which is not among the consumers of "
                "this configuration: no pool of it would ever make its jobs. Add it to consumers=, "
                "or use a configuration without any where others run them."
            )


def _unknown(id: str, definition: ConsumerDefinition) -> UnknownScheduleError:
    return UnknownScheduleError(
        f"{definition.name} has no schedule {id!r}: `await schedules.list({definition.name})` "
        "shows those that it has."
    )


def _declared(id: str, definition: ConsumerDefinition) -> DeclaredScheduleError:
    return DeclaredScheduleError(
        f"Schedule {id!r} of {definition.name} is declared by the code: change or remove it there, "
        "or pause it."
    )


def _contended(id: str, definition: ConsumerDefinition) -> BrokerError:
    return BrokerError(
        f"Schedule {id!r} of {definition.name} is being changed again and again by others: try "
        "again."
    )
