"""Beginning and ending to seal, one deployment after the other, while jobs are under way."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest

from redispatcher_fastapi import (
    AesGcmCipher,
    BaseConsumer,
    Redispatcher,
    RedispatcherConfig,
    SealError,
    Sealing,
    SigningKeys,
)
from tests.pool.running import PATIENCE, running_pool
from tests.security.keys import KEY, redis_command

SIGNING = SigningKeys({"new": KEY})
CIPHER = AesGcmCipher({"new": KEY})

#: The configurations of each way to begin, in the order of their deployments.
ROLL_OUTS: dict[str, list[Sealing | None]] = {
    "signing": [
        None,
        Sealing(signing=SIGNING, sign=False),
        Sealing(signing=SIGNING, accept_unsigned=True),
        Sealing(signing=SIGNING),
    ],
    "encryption": [
        None,
        Sealing(encryption=CIPHER, encrypt=False),
        Sealing(encryption=CIPHER, accept_unencrypted=True),
        Sealing(encryption=CIPHER),
    ],
    "both": [
        None,
        Sealing(signing=SIGNING, encryption=CIPHER, sign=False, encrypt=False),
        Sealing(signing=SIGNING, encryption=CIPHER, accept_unsigned=True, accept_unencrypted=True),
        Sealing(signing=SIGNING, encryption=CIPHER),
    ],
    "encryption after signing": [
        Sealing(signing=SIGNING),
        Sealing(signing=SIGNING, encryption=CIPHER, encrypt=False),
        Sealing(signing=SIGNING, encryption=CIPHER, accept_unencrypted=True),
        Sealing(signing=SIGNING, encryption=CIPHER),
    ],
    "signing after encryption": [
        Sealing(encryption=CIPHER),
        Sealing(signing=SIGNING, encryption=CIPHER, sign=False),
        Sealing(signing=SIGNING, encryption=CIPHER, accept_unsigned=True),
        Sealing(signing=SIGNING, encryption=CIPHER),
    ],
}

pytestmark = pytest.mark.usefixtures("leak_check")


class Count(BaseConsumer):
    """Its result could be anything that is stored, so that nothing but a check refuses a seal."""

    QUEUE = "count"

    class Message(BaseConsumer.Message):
        words: list[str]

    async def process_message(self, message: Message) -> dict[str, object] | None:
        return {word: message.words.count(word) for word in message.words} or None


class Echo(BaseConsumer):
    QUEUE = "echo"

    class Message(BaseConsumer.Message):
        fields: dict[str, object]

    async def process_message(self, message: Message) -> dict[str, object]:
        return message.fields


@pytest.mark.parametrize("roll_out", ROLL_OUTS)
@pytest.mark.parametrize("is_app_first", [True, False], ids=["app first", "pools first"])
async def test_neighbouring_steps_work_together_whoever_is_deployed_first(
    redis_dsn: str, roll_out: str, is_app_first: bool
) -> None:
    for before, after in pairwise(ROLL_OUTS[roll_out]):
        of_app, of_pool = (after, before) if is_app_first else (before, after)
        async with (
            app(redis_dsn, of_app) as dispatcher,
            running_pool(redis_dsn, Count, sealing=of_pool),
        ):
            publisher = dispatcher.publisher(Count)
            one = await publisher.publish(Count.Message(words=["a", "a"]))
            nothing = await publisher.publish(Count.Message(words=[]))

            assert await one.result(PATIENCE) == {"a": 2}
            assert await nothing.result(PATIENCE) is None


@pytest.mark.parametrize("roll_out", ROLL_OUTS)
@pytest.mark.parametrize("is_beginning", [True, False], ids=["begin", "end"])
async def test_what_a_step_left_behind_is_good_in_the_next(
    redis_dsn: str, roll_out: str, is_beginning: bool
) -> None:
    steps = ROLL_OUTS[roll_out] if is_beginning else ROLL_OUTS[roll_out][::-1]
    if is_beginning:
        steps = steps[:-1]  # the last one begins once nothing older is left
    for before, after in pairwise(steps):
        async with running_pool(redis_dsn, Count, sealing=before) as pool:
            done = await pool.publisher(Count).publish(Count.Message(words=["a"]))
            await done.result(PATIENCE)
        async with app(redis_dsn, before) as dispatcher:
            message = Count.Message(words=["b"])
            waiting = await dispatcher.publisher(Count).publish(message)

        async with running_pool(redis_dsn, Count, sealing=after) as pool:
            assert await pool.publisher(Count).job(done.id).result(PATIENCE) == {"a": 1}
            assert await pool.publisher(Count).job(waiting.id).result(PATIENCE) == {"b": 1}


@pytest.mark.parametrize("roll_out", ["signing", "encryption", "both"])
async def test_the_first_step_writes_what_was_written_before_it(
    redis_dsn: str, roll_out: str
) -> None:
    stored: list[object] = []
    for sealing in ROLL_OUTS[roll_out][:2]:
        async with running_pool(redis_dsn, Count, sealing=sealing) as pool:
            job = await pool.publisher(Count).publish(Count.Message(words=["a"]))
            await job.result(PATIENCE)
            stored.append(redis_command(redis_dsn, "GET", f"rd:{{count}}:result:{job.id}"))

    assert stored == [b'{"a":1}'] * 2


@pytest.mark.parametrize(
    ("roll_out", "advice"),
    [
        ("signing", "the same with sign=False."),
        ("encryption", "the same with encrypt=False."),
        ("both", "the same with sign=False and encrypt=False."),
    ],
)
@pytest.mark.parametrize("words", [["a"], []], ids=["something", "nothing"])
async def test_a_sealed_result_is_never_read_as_if_it_were_the_result(
    redis_dsn: str, roll_out: str, advice: str, words: list[str]
) -> None:
    async with (
        running_pool(redis_dsn, Count, sealing=ROLL_OUTS[roll_out][2]),
        app(redis_dsn, None) as dispatcher,
    ):
        job = await dispatcher.publisher(Count).publish(Count.Message(words=words))

        with pytest.raises(SealError) as refused:
            await job.result(PATIENCE)

        assert job.id in str(refused.value)
        assert str(refused.value).endswith(advice)
        assert refused.value.reason == (
            "bad_signature" if roll_out == "signing" else "undecryptable"
        )


@pytest.mark.parametrize(
    "fields",
    [
        {"v": 2, "enc": "abc"},
        {"v": "1", "enc": "abc"},
        {"v": 1, "enc": None},
        {"v": 1, "enc": "two words"},
        {"v": 1, "enc": "abc", "more": 1},
        {"v": 1, "result": 7},
        {"v": 1, "kid": "a", "sig": "short", "result": 7},
        {"v": 1, "kid": "a b", "sig": "s" * 43, "result": 7},
        {"v": 1, "kid": "a", "sig": "s" * 43, "body": 7},
    ],
    ids=str,
)
async def test_a_result_that_only_resembles_a_sealed_one_is_what_it_is(
    redis_dsn: str, fields: dict[str, object]
) -> None:
    async with running_pool(redis_dsn, Echo) as pool:
        job = await pool.publisher(Echo).publish(Echo.Message(fields=fields))

        assert await job.result(PATIENCE) == fields


@asynccontextmanager
async def app(dsn: str, sealing: Sealing | None) -> AsyncGenerator[Redispatcher]:
    """Publish and read results with a configuration of its own."""
    dispatcher = Redispatcher(RedispatcherConfig(redis_dsn=dsn, sealing=sealing))
    async with dispatcher.lifespan():
        yield dispatcher
