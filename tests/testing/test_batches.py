"""What the tester does with consumers that take batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from fastapi import Depends

from redispatcher_fastapi import (
    Batch,
    BatchConsumer,
    BatchItem,
    ConfigurationError,
    JobState,
    Redispatcher,
    RedispatcherConfig,
)
from redispatcher_fastapi.testing import FailedRunsError, RedispatcherTester
from tests.testing.shop import NOWHERE, Welcome


async def get_index() -> list[str]:
    raise ConnectionError("there is no index here")


class Index(BatchConsumer):
    """Puts words into an index; does with some of them what they say."""

    QUEUE = "index"
    BATCH = Batch(size=3, linger=timedelta(seconds=30))

    class Message(BatchConsumer.Message):
        word: str

    async def process_batch(
        self, items: Sequence[BatchItem[Message, str]], index: list[str] = Depends(get_index)
    ) -> None:
        for item in items:
            match item.message.word:
                case "reject":
                    item.reject("not a word")
                case "snooze":
                    item.snooze(timedelta(minutes=5))
                case "retry" if item.attempt == 1:
                    item.retry(timedelta(minutes=1))
                case "fail":
                    item.fail(ValueError("no"))
                case "raise":
                    raise RuntimeError("in the middle")
                case word:
                    index.append(word)
                    item.succeed(f"{word} of {len(items)}")


class Plain(BatchConsumer):
    """Tells how many items there are."""

    QUEUE = "plain"
    BATCH = Batch(size=5)

    class Message(BatchConsumer.Message):
        pass

    async def process_batch(self, items: Sequence[BatchItem[Message, int]]) -> None:
        for item in items:
            item.succeed(len(items))


INDEXED: list[str] = []
OVERRIDES: dict[Any, Any] = {get_index: lambda: INDEXED}


@pytest.fixture
def tester() -> Iterator[RedispatcherTester]:
    INDEXED.clear()
    dispatcher = Redispatcher(RedispatcherConfig(redis_dsn=NOWHERE, consumers=[Index, Welcome]))
    with RedispatcherTester(dispatcher) as tester:
        yield tester


async def publish(tester: RedispatcherTester, *words: str) -> None:
    publisher = tester.dispatcher.publisher(Index)
    await publisher.publish_many([Index.Message(word=word) for word in words])


def messages(*words: str) -> list[Index.Message]:
    return [Index.Message(word=word) for word in words]


async def test_what_is_due_runs_in_batches_without_lingering(tester: RedispatcherTester) -> None:
    await publish(tester, *"abcd")

    report = await tester.run_until_idle(overrides=OVERRIDES)

    assert [run.result for run in report.of(Index)] == ["a of 3", "b of 3", "c of 3", "d of 1"]
    assert {job.state for job in tester.published(Index)} == {JobState.SUCCEEDED}


async def test_each_item_ends_by_itself(tester: RedispatcherTester) -> None:
    await publish(tester, "reject", "snooze", "retry")

    with pytest.raises(FailedRunsError, match=r"1 of 3 run\(s\) failed:\n.*not a word"):
        await tester.run_until_idle(overrides=OVERRIDES)

    assert [run.outcome for run in tester.runs] == ["dead", "snoozed", "retried"]
    report = await tester.run_for(timedelta(minutes=1), overrides=OVERRIDES)
    assert [run.result for run in report.runs] == ["retry of 1"]


async def test_a_batch_runs_when_its_first_job_is_due_by_the_order_of_time(
    tester: RedispatcherTester,
) -> None:
    await tester.dispatcher.publisher(Welcome).publish(Welcome.Message(email="first"))
    await publish(tester, "a")
    await tester.dispatcher.publisher(Welcome).publish(Welcome.Message(email="second"))
    await publish(tester, "b")

    report = await tester.run_until_idle(overrides=OVERRIDES)

    assert [run.consumer for run in report.runs] == [Welcome, Index, Index, Welcome]


async def test_waiting_for_a_result_runs_the_whole_batch() -> None:
    dispatcher = Redispatcher(RedispatcherConfig(redis_dsn=NOWHERE, consumers=[Plain]))
    with RedispatcherTester(dispatcher) as tester:
        publisher = dispatcher.publisher(Plain)
        jobs = await publisher.publish_many([Plain.Message()] * 2)

        assert await jobs[1].result() == 2
        assert [run.result for run in tester.runs] == [2, 2]


async def test_a_batch_can_be_run_by_itself(tester: RedispatcherTester) -> None:
    runs = await tester.run_batch(
        Index, messages("a", "reject", "fail"), attempt=2, overrides=OVERRIDES
    )

    assert [run.outcome for run in runs] == ["succeeded", "dead", "retried"]
    assert [run.attempt for run in runs] == [2, 2, 2]
    assert runs[0].result == "a of 3"
    assert runs[1].reason == "rejected"
    assert isinstance(runs[2].error, ValueError)
    assert tester.published(Index) == []


async def test_what_the_handler_raises_is_the_error_of_the_items_it_said_nothing_of(
    tester: RedispatcherTester,
) -> None:
    runs = await tester.run_batch(Index, messages("a", "raise", "b"), overrides=OVERRIDES)

    assert [type(run.error) for run in runs] == [type(None), RuntimeError, RuntimeError]


def test_a_batch_runs_in_a_test_that_is_not_asynchronous(tester: RedispatcherTester) -> None:
    runs = tester.run_batch_blocking(Index, messages("a", "b"), overrides=OVERRIDES)

    assert [run.result for run in runs] == ["a of 2", "b of 2"]


async def test_a_batch_that_could_not_be_is_refused(tester: RedispatcherTester) -> None:
    for words in ("", "abcd"):
        with pytest.raises(ConfigurationError, match=f"1 to 3 messages, not {len(words)}"):
            await tester.run_batch(Index, messages(*words))


async def test_batches_and_single_messages_are_not_mixed_up(tester: RedispatcherTester) -> None:
    anything: Any = tester
    with pytest.raises(ConfigurationError, match="use run_batch"):
        await anything.run(Index, Index.Message(word="a"))
    with pytest.raises(ConfigurationError, match="use run instead"):
        await anything.run_batch(Welcome, [Welcome.Message(email="a")])
