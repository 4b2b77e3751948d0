"""The part of a publisher that publishes chains and groups."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Never, TypeVar, overload

from redispatcher_fastapi.broker.ids import new_job_id
from redispatcher_fastapi.consumer import (
    Consumes,
    ConsumesBatch,
    ConsumesSync,
    FlowOptions,
    InvalidOptionError,
    definition_of,
    result_reader,
)
from redispatcher_fastapi.consumer.options import checked_id, refuse_one_message
from redispatcher_fastapi.errors import ConfigurationError
from redispatcher_fastapi.flows.chain import Chain, Link
from redispatcher_fastapi.flows.continuation import Member
from redispatcher_fastapi.flows.flow import Flow
from redispatcher_fastapi.flows.group import MOST_MEMBERS, Joins, JoinsSync, When, check_join
from redispatcher_fastapi.flows.starting import follow, name_steps, plan_step, refuse_unique
from redispatcher_fastapi.job import Disposition, Job
from redispatcher_fastapi.publisher.preparing import MessagePublisher

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime, timedelta

    from pydantic import BaseModel
    from typing_extensions import Unpack

    from redispatcher_fastapi.broker.types import Submission
    from redispatcher_fastapi.job import Priority
    from redispatcher_fastapi.publisher.preparing import Attach, Headers

M = TypeVar("M")
R = TypeVar("R")
N = TypeVar("N")
C_co = TypeVar(
    "C_co", bound="ConsumesSync[Never, object] | ConsumesBatch[Never, object]", covariant=True
)


class FlowPublisher(MessagePublisher[C_co]):
    """Publishes jobs of one consumer that others follow."""

    __slots__ = ()

    @overload
    async def publish_chain(
        self: FlowPublisher[Consumes[M, Any]],
        chain: Chain[M, R],
        message: M,
        **options: Unpack[FlowOptions],
    ) -> Flow[R]: ...
    @overload
    async def publish_chain(
        self: FlowPublisher[ConsumesSync[M, Any]],
        chain: Chain[M, R],
        message: M,
        **options: Unpack[FlowOptions],
    ) -> Flow[R]: ...
    @overload
    async def publish_chain(
        self: FlowPublisher[ConsumesBatch[M, Any]],
        chain: Chain[M, R],
        message: M,
        **options: Unpack[FlowOptions],
    ) -> Flow[R]: ...
    async def publish_chain(
        self,
        chain: Chain[Any, Any],
        message: Any,
        *,
        id: str | None = None,  # the name of the public attribute Flow.id
        delay: timedelta | None = None,
        at: datetime | None = None,
        headers: BaseModel | Mapping[str, Any] | None = None,
        priority: Priority | None = None,
        expires: timedelta | datetime | None = None,
    ) -> Flow[Any]:
        """Publish the first job of a chain; each further one is published when its time has come.

        What a job returns is the message of the next. The options hold for the first one, the
        ``headers`` for all. With an ``id``, publishing again leaves the flow as it is.

        Raises:
            ConfigurationError: the chain begins with another consumer.
            PublishError: as :meth:`publish`.
        """
        definition, (first, *rest) = self._definition, chain.links
        if first.definition is not definition:
            raise ConfigurationError(
                f"{chain!r} begins with {first.definition.name}, and this publishes the messages "
                f"of {definition.name}: take the publisher of {first.definition.name}."
            )
        flow_id = new_job_id() if id is None else checked_id(definition, id)
        step_ids = name_steps(rest, flow_id)

        def attach(submissions: Sequence[Submission], headers: Headers) -> None:
            steps = tuple(
                plan_step(link, job_id, headers)
                for link, job_id in zip(rest, step_ids, strict=True)
            )
            for submission in submissions:
                submission.is_chosen_id = id is not None
                if steps:
                    follow(submission, steps, self._sealing, queue=definition.queue)

        (job,) = await self._publish_flow(
            (message,),
            [flow_id],
            headers,
            {"delay": delay, "at": at, "priority": priority, "expires": expires},
            attach,
        )
        jobs = [job, *map(self._job_to_come, rest, step_ids)]
        last = chain.links[-1].definition
        read_result = partial(result_reader(last, self._sealing), jobs[-1].id)
        return Flow(
            self._sender.store, read_result, jobs, id=flow_id, is_group=False, created=job.created
        )

    @overload
    async def publish_group(
        self: FlowPublisher[Consumes[M, R]],
        messages: Iterable[M],
        *,
        then: type[Joins[R, N]],
        when: When = ...,
        **options: Unpack[FlowOptions],
    ) -> Flow[N]: ...
    @overload
    async def publish_group(
        self: FlowPublisher[Consumes[M, R]],
        messages: Iterable[M],
        *,
        then: type[JoinsSync[R, N]],
        when: When = ...,
        **options: Unpack[FlowOptions],
    ) -> Flow[N]: ...
    @overload
    async def publish_group(
        self: FlowPublisher[ConsumesSync[M, R]],
        messages: Iterable[M],
        *,
        then: type[Joins[R, N]],
        when: When = ...,
        **options: Unpack[FlowOptions],
    ) -> Flow[N]: ...
    @overload
    async def publish_group(
        self: FlowPublisher[ConsumesSync[M, R]],
        messages: Iterable[M],
        *,
        then: type[JoinsSync[R, N]],
        when: When = ...,
        **options: Unpack[FlowOptions],
    ) -> Flow[N]: ...
    @overload
    async def publish_group(
        self: FlowPublisher[ConsumesBatch[M, R]],
        messages: Iterable[M],
        *,
        then: type[Joins[R, N]],
        when: When = ...,
        **options: Unpack[FlowOptions],
    ) -> Flow[N]: ...
    @overload
    async def publish_group(
        self: FlowPublisher[ConsumesBatch[M, R]],
        messages: Iterable[M],
        *,
        then: type[JoinsSync[R, N]],
        when: When = ...,
        **options: Unpack[FlowOptions],
    ) -> Flow[N]: ...
    async def publish_group(
        self,
        messages: Iterable[Any],
        *,
        then: Any,
        when: When = "all_done",
        id: str | None = None,  # the name of the public attribute Flow.id
        delay: timedelta | None = None,
        at: datetime | None = None,
        headers: BaseModel | Mapping[str, Any] | None = None,
        priority: Priority | None = None,
        expires: timedelta | datetime | None = None,
    ) -> Flow[Any]:
        """Publish jobs that run beside each other, and one that follows when all have ended.

        With ``when="first_failure"`` it follows as soon as one did not succeed, whatever the
        others do. Its message is a :class:`GroupResult`. The options hold for each of the members,
        the ``headers`` for all jobs. With an ``id``, publishing again leaves the flow as it is.

        Raises:
            InvalidOptionError: there are no messages, or more than 10,000.
            ConfigurationError: ``then`` cannot follow a group.
            PublishError: as :meth:`publish_many`.
        """
        definition, join = self._definition, definition_of(then)
        refuse_one_message(definition, messages)
        check_join(join, when)
        all_messages = tuple(messages)
        count = len(all_messages)
        if not 1 <= count <= MOST_MEMBERS:
            raise InvalidOptionError(
                f"A group of {definition.name} has 1 to {MOST_MEMBERS} messages, not {count}."
            )
        flow_id = new_job_id() if id is None else checked_id(definition, id)

        def attach(submissions: Sequence[Submission], headers: Headers) -> None:
            step = plan_step(Link(join), flow_id, headers)
            is_first_failure, has_result = when == "first_failure", not definition.returns_nothing
            for number, submission in enumerate(submissions, start=1):
                submission.is_chosen_id = id is not None
                member = Member(flow_id, number, count, is_first_failure, has_result)
                follow(submission, (step,), self._sealing, queue=definition.queue, member=member)

        jobs = await self._publish_flow(
            all_messages,
            [new_job_id() if id is None else f"{flow_id}.{number + 1}" for number in range(count)],
            headers,
            {"delay": delay, "at": at, "priority": priority, "expires": expires},
            attach,
        )
        read_result = partial(result_reader(join, self._sealing), flow_id)
        return Flow(
            self._sender.store,
            read_result,
            [*jobs, self._job_to_come(Link(join), flow_id)],
            id=flow_id,
            is_group=True,
            created=jobs[0].created,
        )

    async def _publish_flow(
        self,
        messages: tuple[Any, ...],
        ids: Sequence[str],
        headers: Headers,
        options: Mapping[str, Any],
        attach: Attach,
    ) -> list[Job[Any]]:
        refuse_unique(self._definition.name, self._definition.unique)
        return await self._publish_all(messages, headers, options, ids, attach)

    def _job_to_come(self, link: Link, job_id: str) -> Job[Any]:
        definition = link.definition
        if self._notice is not None:
            self._notice(definition)
        return Job(
            self._sender.store,
            result_reader(definition, self._sealing),
            queue=definition.queue,
            id=job_id,
            disposition=Disposition.CREATED,
        )
