"""Whatever kind of job a step or a member is, and however it ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from redispatcher_fastapi import (
    BaseConsumer,
    Batch,
    BatchConsumer,
    BatchItem,
    CallNext,
    ConfigurationError,
    ConsumerPool,
    GroupResult,
    JobCancelledError,
    JobFailedError,
    JobRecord,
    JobState,
    Middleware,
    Publication,
    RedispatcherConfig,
    Sealing,
    SigningKeys,
    Unique,
    chain,
)
from redispatcher_fastapi.consumer import definition_of
from redispatcher_fastapi.flows.group import check_join
from tests.flows.photos import ALL, Collect, Fetch, Part, Resize, Upload
from tests.pool.running import PATIENCE, RunningPool, running_pool
from tests.waiting import wait_until

pytestmark = pytest.mark.anyio

Info = Callable[[], Awaitable[JobRecord | None]]


class Tag(BatchConsumer):
    QUEUE = "tag"
    BATCH = Batch(size=5, linger=timedelta(milliseconds=5))

    class Message(BatchConsumer.Message):
        path: str

    async def process_batch(self, items: Sequence[BatchItem[Message, Resize.Message]]) -> None:
        for item in items:
            if item.message.path == "bad":
                item.fail(ValueError("bad"))
            else:
                item.succeed(Resize.Message(path=item.message.path))


class Search(BaseConsumer):
    """Synchronous."""

    QUEUE = "search"

    class Message(BaseConsumer.Message):
        term: str

    def process_message(self, message: Message) -> Tag.Message:
        return Tag.Message(path=message.term)


class Tidy(BaseConsumer):
    QUEUE = "tidy"

    class Message(BaseConsumer.Message):
        pass

    async def process_message(self, message: Message) -> None: ...


class Tidied(BaseConsumer):
    QUEUE = "tidied"

    class Message(GroupResult[None]):
        pass

    async def process_message(self, message: Message) -> int:
        return len(message.results) - len(message.failed)


class Tenancy(Middleware):
    async def around_publish(self, publication: Publication, call_next: CallNext) -> None:
        publication.headers.setdefault("tenant", "x" * 7)
        await call_next()


async def test_steps_in_threads_and_in_batches_are_steps(redis_dsn: str, leak_check: None) -> None:
    async with running_pool(redis_dsn, *ALL, Search, Tag) as running:
        steps = chain(Search).then(Tag).then(Resize).then(Upload)
        flow = await running.publisher(Search).publish_chain(steps, Search.Message(term="cow"))

        assert await flow.result(PATIENCE) == "uploaded 3"


async def test_headers_that_middleware_adds_go_along(redis_dsn: str, leak_check: None) -> None:
    async with running_pool(redis_dsn, *ALL, middleware=[Tenancy()]) as running:
        flow = await running.publisher(Fetch).publish_chain(
            chain(Fetch).then(Resize).then(Upload), Fetch.Message(url="tenant")
        )

        assert await flow.result(PATIENCE) == "uploaded 7"


async def test_members_that_return_nothing_are_followed_also_where_results_are_signed(
    redis_dsn: str, leak_check: None
) -> None:
    sealing = Sealing(signing=SigningKeys({"one": SecretStr("k" * 40)}))
    async with running_pool(redis_dsn, Tidy, Tidied, sealing=sealing) as running:
        group = await running.publisher(Tidy).publish_group([Tidy.Message()] * 3, then=Tidied)

        assert await group.result(PATIENCE) == 3


async def test_a_step_that_expires_ends_the_chain(redis_dsn: str, leak_check: None) -> None:
    async with running_pool(redis_dsn, Fetch) as running:
        steps = chain(Fetch).then(Resize, expires=timedelta(milliseconds=20)).then(Upload)
        flow = await running.publisher(Fetch).publish_chain(steps, Fetch.Message(url="a"))
        await flow.jobs[0].result(PATIENCE)
        await wait_until(lambda: _is_over(flow.jobs[1].info))

        async with running_pool(redis_dsn, Resize, Upload):
            with pytest.raises(JobCancelledError, match="expired"):
                await flow.result(PATIENCE)
        assert await flow.state() is JobState.CANCELLED


async def _is_over(info: Info) -> bool:
    """Whether a job is there, and it is too late for it to start."""
    record = await info()
    expires = None if record is None else record.expires_at
    return expires is not None and expires < datetime.now(UTC)


async def test_members_that_expire_are_named(redis_dsn: str, leak_check: None) -> None:
    async with running_pool(redis_dsn, Collect) as running:
        group = await running.publisher(Part).publish_group(
            [Part.Message(number=1)], then=Collect, expires=timedelta(milliseconds=1)
        )
        await wait_until(lambda: _is_over(group.jobs[0].info))
        async with running_pool(redis_dsn, Part):
            assert await group.result(PATIENCE) == "[None] [(0, 'expired')]"


async def test_a_member_that_is_redriven_does_not_count_again(
    redis_dsn: str, leak_check: None
) -> None:
    async with running_pool(redis_dsn, *ALL) as running:
        group = await running.publisher(Part).publish_group([Part.Message(number=-1)], then=Collect)
        assert await group.result(PATIENCE) == "[None] [(0, 'failed')]"
        member, follower = group.jobs
        await _forget(running, "collect", follower.id)
        record = await member.info()
        assert record is not None
        assert not record.is_followed

        assert await running.broker.redrive_job("part", member.id)
        await wait_until(lambda: _ran_twice(member.info))

        assert await follower.state() is None


async def _ran_twice(info: Info) -> bool:
    record = await info()
    assert record is not None
    return record.state is JobState.DEAD and len(record.history) == 2


async def _forget(running: RunningPool, queue: str, job_id: str) -> None:
    client = running.broker.connections.publisher_line
    await client.execute_command("HDEL", f"rd:{{{queue}}}:jobs", job_id)
    await client.execute_command("DEL", f"rd:{{{queue}}}:succeeded")
    await client.execute_command("DEL", f"rd:{{{queue}}}:result:{job_id}")


async def test_a_group_leaves_nothing_of_its_ends_behind_once_what_follows_is_there(
    redis_dsn: str, leak_check: None
) -> None:
    async with running_pool(redis_dsn, *ALL) as running:
        client = running.broker.connections.publisher_line
        messages = [Part.Message(number=number) for number in (-1, 1, 1000)]
        group = await running.publisher(Part).publish_group(
            messages, then=Collect, when="first_failure"
        )
        await group.result(PATIENCE)
        await group.cancel()
        await wait_until(lambda: running.pool.running == 0)

        async def is_clean() -> bool:
            left = ("rd:{collect}:joins:" + group.id, "rd:{part}:onward", "rd:{part}:flows")
            return not await client.execute_command("EXISTS", *left)

        await wait_until(is_clean)


async def test_a_job_shows_that_others_follow_it(redis_dsn: str, leak_check: None) -> None:
    async with running_pool(redis_dsn, *ALL) as running:
        flow = await running.publisher(Fetch).publish_chain(
            chain(Fetch).then(Resize), Fetch.Message(url="missing"), delay=timedelta(hours=1)
        )
        plain = await running.publisher(Fetch).publish(
            Fetch.Message(url="a"), delay=timedelta(hours=1)
        )
        first, second = await flow.jobs[0].info(), await plain.info()

        assert first is not None
        assert second is not None
        assert (first.is_followed, second.is_followed) == (True, False)
        await flow.cancel()
        await plain.cancel()


async def test_a_dead_job_shows_that_others_follow_it_once_it_is_redriven(
    redis_dsn: str, leak_check: None
) -> None:
    async with running_pool(redis_dsn, Fetch) as running:
        flow = await running.publisher(Fetch).publish_chain(
            chain(Fetch).then(Resize), Fetch.Message(url="missing")
        )
        with pytest.raises(JobFailedError):
            await flow.result(PATIENCE)

        record = await flow.jobs[0].info()

        assert record is not None
        assert (record.state, record.is_followed) == (JobState.DEAD, True)


@pytest.mark.parametrize("path", ["cat", "a cat, with spaces"])
async def test_a_step_belongs_to_the_partition_that_its_message_says(
    redis_dsn: str, leak_check: None, path: str
) -> None:
    async with running_pool(redis_dsn, Fetch) as running:
        flow = await running.publisher(Fetch).publish_chain(
            chain(Fetch).then(Resize, delay=timedelta(hours=1)), Fetch.Message(url=path)
        )
        alone = await running.publisher(Resize).publish(
            Resize.Message(path=path), delay=timedelta(hours=1)
        )
        await wait_until(lambda: _is_there(flow.jobs[1].info))
        step, published = await flow.jobs[1].info(), await alone.info()

        assert step is not None
        assert published is not None
        assert step.partition == published.partition is not None
        assert await flow.cancel()
        assert await alone.cancel()


async def _is_there(info: Info) -> bool:
    return await info() is not None


async def test_a_pool_in_burst_passes_on_what_others_left(redis_dsn: str, leak_check: None) -> None:
    async with running_pool(redis_dsn, Resize) as running:
        ended = 'S+{"v":1,"steps":[{"queue":"upload","id":"b"}]}\n{"size":4}'
        await running.broker.connections.publisher_line.execute_command(
            "HSET", "rd:{fetch}:onward", "a", ended
        )

        config = RedispatcherConfig(redis_dsn=redis_dsn, consumers=[Fetch, Upload])
        await ConsumerPool(config, broker=running.broker).run(burst=True)

        assert await running.publisher(Upload).job("b").state() is JobState.SUCCEEDED


def test_what_cannot_follow_a_group_is_refused() -> None:
    class Needy(BaseConsumer):
        QUEUE = "needy"

        class Message(GroupResult[int]):
            tenant: str

        async def process_message(self, message: Message) -> None: ...

    class Lonely(BaseConsumer):
        QUEUE = "lonely-join"
        UNIQUE = Unique(fields=("failed",))

        class Message(GroupResult[int]):
            pass

        async def process_message(self, message: Message) -> None: ...

    with pytest.raises(ConfigurationError, match="'tenant'"):
        check_join(definition_of(Needy), "all_done")
    with pytest.raises(ConfigurationError, match="UNIQUE"):
        check_join(definition_of(Lonely), "all_done")


def test_what_returns_no_message_is_followed_by_nothing() -> None:
    with pytest.raises(ConfigurationError, match="returns None"):
        chain(Tidy).then(Resize)  # type: ignore[arg-type]  # pyright: ignore
    with pytest.raises(ConfigurationError, match="Upload cannot follow Tag"):
        chain(Tag).then(Upload)  # type: ignore[arg-type]  # pyright: ignore
