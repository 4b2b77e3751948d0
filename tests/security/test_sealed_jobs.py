"""Signing and encryption from the publisher to the result, wherever a job is published and run."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from fastapi import FastAPI
from redis.asyncio import Redis

from redispatcher_fastapi import (
    Job,
    JobFailedError,
    JobRecord,
    JobState,
    MessageEncodingError,
    MessageTooLargeError,
    PublishError,
    Redispatcher,
    RedispatcherConfig,
    SealError,
    Sealing,
    SigningKeys,
)
from redispatcher_fastapi.testing import RedispatcherTester
from tests.cli.programs import Program
from tests.pool.running import PATIENCE, running_pool
from tests.security import keys
from tests.security.keys import FOREIGN_KEY, KEY, both, redis_command, signed
from tests.security.sealed_service import Note, Pay, make_config
from tests.security.test_encryption import Leaky
from tests.servers import RedisServer

CARD = "4111-SECRET"
MESSAGE = Pay.Message(card=CARD)
HEADERS = {"trace": "7f-SECRET"}
KINDS = ["signed", "encrypted", "both"]

pytestmark = pytest.mark.usefixtures("leak_check")


def sealing_of(kind: str) -> Sealing:
    sealing: Sealing = getattr(keys, kind)()
    return sealing


async def die(job: Job[object]) -> JobRecord:
    with pytest.raises(JobFailedError):
        await job.result(PATIENCE)
    record = await job.info()
    assert record is not None
    return record


def everything_in(dsn: str) -> bytes:
    found = b""
    for key in redis_command(dsn, "KEYS", "*"):
        match redis_command(dsn, "TYPE", key):
            case b"hash":
                found += b"".join(redis_command(dsn, "HVALS", key))
            case b"string":
                found += redis_command(dsn, "GET", key)
            case _:
                pass
    return found


@pytest.mark.parametrize("kind", KINDS)
async def test_jobs_run_and_answer_as_without_a_seal(redis_dsn: str, kind: str) -> None:
    async with running_pool(redis_dsn, Pay, Note, sealing=sealing_of(kind)) as pool:
        one = await pool.publisher(Pay).publish(MESSAGE, headers=HEADERS)
        many = await pool.publisher(Pay).publish_many([MESSAGE] * 3, headers=HEADERS)
        nothing = await pool.publisher(Pay).publish(Pay.Message(card=""))
        note: Job[object] = await pool.publisher(Note).publish(Note.Message(text="x"))

        for job in (one, *many, pool.publisher(Pay).job(one.id)):
            assert await job.result(PATIENCE) == f"{CARD} 7f-SECRET"
        assert await nothing.result(PATIENCE) is None
        assert await note.result(PATIENCE) is None


@pytest.mark.parametrize("kind", ["encrypted", "both"])
async def test_nothing_that_was_encrypted_can_be_read_in_redis(redis_dsn: str, kind: str) -> None:
    async with running_pool(redis_dsn, Pay, sealing=sealing_of(kind)) as pool:
        job = await pool.publisher(Pay).publish(MESSAGE, headers=HEADERS)
        await job.result(PATIENCE)
        await pool.publisher(Pay).publish(MESSAGE, headers=HEADERS, delay=PATIENCE)

        stored = everything_in(redis_dsn)

    assert b'"enc":"' in stored
    assert b"SECRET" not in stored


@pytest.mark.parametrize("kind", KINDS)
async def test_a_message_of_somebody_else_is_dead_with_a_reason_and_all_of_its_body(
    redis_dsn: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    reason = "undecryptable" if kind == "encrypted" else "bad_signature"
    async with running_pool(redis_dsn, Pay, sealing=sealing_of(kind)) as pool:
        good = await pool.publisher(Pay).publish(MESSAGE)
        with caplog.at_level(logging.INFO, "redispatcher"):
            async with unsealed(redis_dsn) as stranger:
                forged = await stranger.publisher(Pay).publish(MESSAGE, headers=HEADERS)
            record = await die(pool.publisher(Pay).job(forged.id))

        assert await good.result(PATIENCE) == f"{CARD} "
        assert (record.reason, record.state) == (reason, JobState.DEAD)
        assert record.body == b'{"card":"4111-SECRET"}'
        assert record.headers == HEADERS
        logged = [each for each in caplog.records if getattr(each, "event", "") == "job.dead"]
        assert [vars(each)["job_id"] for each in logged] == [forged.id]
        assert reason in caplog.text
        assert "SECRET" not in caplog.text


@pytest.mark.parametrize("kind", KINDS)
async def test_a_message_copied_to_another_job_is_dead(redis_dsn: str, kind: str) -> None:
    sealing = sealing_of(kind)
    async with Redispatcher(make_config(kind, redis_dsn)).lifespan() as state:
        publisher = state["redispatcher"].publisher(Pay)
        original = await publisher.publish(MESSAGE)
        victim = await publisher.publish(Pay.Message(card="mine"))
        stored = redis_command(redis_dsn, "HGET", "rd:{pay}:jobs", original.id)
        redis_command(redis_dsn, "HSET", "rd:{pay}:jobs", victim.id, stored)

    async with running_pool(redis_dsn, Pay, sealing=sealing) as pool:
        record = await die(pool.publisher(Pay).job(victim.id))

        assert await pool.publisher(Pay).job(original.id).result(PATIENCE) == f"{CARD} "
        assert record.reason == ("undecryptable" if kind == "encrypted" else "bad_signature")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_forged_result_is_refused_by_a_typed_error(redis_dsn: str, kind: str) -> None:
    async with running_pool(redis_dsn, Pay, sealing=sealing_of(kind)) as pool:
        job = await pool.publisher(Pay).publish(MESSAGE)
        other = await pool.publisher(Pay).publish(Pay.Message(card="theirs"))
        await job.result(PATIENCE)
        await other.result(PATIENCE)
        key = f"rd:{{pay}}:result:{job.id}"
        copied = redis_command(redis_dsn, "GET", f"rd:{{pay}}:result:{other.id}")

        for forged in (b'"I am paid"', b"null", copied):
            redis_command(redis_dsn, "SET", key, forged, "PX", 60_000)
            with pytest.raises(SealError) as refused:
                await job.result(PATIENCE)
            assert "paid" not in str(refused.value)


async def test_a_result_that_was_declared_away_is_missed(redis_dsn: str) -> None:
    async with running_pool(redis_dsn, Pay, sealing=signed()) as pool:
        job = await pool.publisher(Pay).publish(MESSAGE)
        await job.result(PATIENCE)
        line = redis_command(redis_dsn, "HGET", "rd:{pay}:jobs", job.id)
        redis_command(redis_dsn, "HSET", "rd:{pay}:jobs", job.id, line.removesuffix(b",r"))
        redis_command(redis_dsn, "HSET", "rd:{pay}:jobs", job.id, line.replace(b"r", b""))
        redis_command(redis_dsn, "DEL", f"rd:{{pay}}:result:{job.id}")

        with pytest.raises(SealError, match="has no signed result"):
            await job.result(PATIENCE)


async def test_a_redriven_job_is_still_sealed(redis_dsn: str) -> None:
    foreign = Sealing(signing=SigningKeys({"new": FOREIGN_KEY}))
    async with running_pool(redis_dsn, Pay, sealing=foreign) as pool:
        async with Redispatcher(make_config("signed", redis_dsn)).lifespan() as state:
            job = await state["redispatcher"].publisher(Pay).publish(MESSAGE)
        await die(pool.publisher(Pay).job(job.id))
        assert await pool.broker.redrive_job("pay", job.id)
    async with running_pool(redis_dsn, Pay, sealing=signed()) as pool:
        assert await pool.publisher(Pay).job(job.id).result(PATIENCE) == f"{CARD} "


@pytest.mark.parametrize("kind", ["encrypted", "both"])
async def test_a_pool_without_keys_says_that_a_message_is_encrypted(
    redis_dsn: str, kind: str
) -> None:
    async with Redispatcher(make_config(kind, redis_dsn)).lifespan() as state:
        job = await state["redispatcher"].publisher(Pay).publish(MESSAGE)

    async with running_pool(redis_dsn, Pay) as pool:
        record = await die(pool.publisher(Pay).job(job.id))

    assert record.reason == "undecryptable"
    assert "no `encryption`" in (record.error or "")


async def test_a_pool_without_keys_takes_signed_messages(redis_dsn: str) -> None:
    async with Redispatcher(make_config("signed", redis_dsn)).lifespan() as state:
        job = await state["redispatcher"].publisher(Pay).publish(MESSAGE, headers=HEADERS)

    async with running_pool(redis_dsn, Pay) as pool:
        assert await pool.publisher(Pay).job(job.id).result(PATIENCE) == f"{CARD} 7f-SECRET"


async def test_while_unsigned_messages_are_accepted_old_and_new_ones_run(redis_dsn: str) -> None:
    async with unsealed(redis_dsn) as before:
        old = await before.publisher(Pay).publish(MESSAGE)
    moving = Sealing(signing=SigningKeys({"new": KEY}), accept_unsigned=True)

    async with running_pool(redis_dsn, Pay, sealing=moving) as pool:
        new = await pool.publisher(Pay).publish(MESSAGE)

        assert await new.result(PATIENCE) == await pool.publisher(Pay).job(old.id).result(PATIENCE)


async def test_the_inspector_shows_signed_bodies_and_never_decrypts(redis_dsn: str) -> None:
    async with Redispatcher(make_config("signed", redis_dsn)).lifespan() as state:
        job = await state["redispatcher"].publisher(Pay).publish(MESSAGE, headers=HEADERS)
        shown = await state["redispatcher"].inspector.job("pay", job.id)
    assert (shown.body, shown.headers) == (b'{"card":"4111-SECRET"}', HEADERS)

    async with Redispatcher(make_config("both", redis_dsn)).lifespan() as state:
        job = await state["redispatcher"].publisher(Pay).publish(MESSAGE, headers=HEADERS)
        (hidden, *_) = (await state["redispatcher"].inspector.jobs("pay", "queued")).jobs[1:]
    assert hidden.id == job.id
    assert hidden.body.startswith(b'{"v":1,"kid":"new","sig":"')
    assert hidden.headers is None
    redis_command(redis_dsn, "FLUSHALL")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_consumer_publishes_with_any_client_and_the_seal_it_is_given(
    redis_server: RedisServer, redis_dsn: str, kind: str
) -> None:
    if redis_dsn.startswith("memory"):
        return  # the same with the client of a tester, below
    async with (
        running_pool(redis_dsn, Pay, sealing=sealing_of(kind)) as pool,
        Redis(port=redis_server.port) as client,
    ):
        job = await Pay.publish(MESSAGE, client, sealing=sealing_of(kind))
        unsealed = await Pay.publish(MESSAGE, client)

        assert await job.result(PATIENCE) == f"{CARD} "
        assert (await die(unsealed)).reason == (
            "undecryptable" if kind == "encrypted" else "bad_signature"
        )
        assert pool.pool.running == 0


@pytest.mark.redis
@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
async def test_a_process_of_its_own_runs_sealed_jobs(
    tmp_path: Path, redis_server: RedisServer, redis_dsn: str, kind: str
) -> None:
    if redis_dsn.startswith("memory"):
        return  # another process cannot see it
    environment = {"SEALED_KIND": kind}
    target = "tests.security.sealed_service:config"
    async with Redispatcher(make_config(kind, redis_dsn)).lifespan() as state:
        with Program(tmp_path, "pool", target, dsn=redis_dsn, environment=environment) as program:
            job = await state["redispatcher"].publisher(Pay).publish(MESSAGE)

            assert await job.result(PATIENCE) == f"{CARD} "
            assert "SECRET" not in program.log
            assert KEY not in program.log


@pytest.mark.parametrize("kind", KINDS)
async def test_a_pool_in_the_application_runs_sealed_jobs(redis_dsn: str, kind: str) -> None:
    dispatcher = Redispatcher(make_config(kind, redis_dsn), run_pool=True)
    app = FastAPI()
    app.include_router(dispatcher.router)

    async with app.router.lifespan_context(app):
        job = await dispatcher.publisher(Pay).publish(MESSAGE)

        assert await job.result(PATIENCE) == f"{CARD} "


@pytest.mark.parametrize("kind", KINDS)
async def test_a_tester_seals_as_the_configuration_says(redis_dsn: str, kind: str) -> None:
    dispatcher = Redispatcher(make_config(kind, redis_dsn))
    async with RedispatcherTester(dispatcher) as tester, dispatcher.lifespan():
        job = await dispatcher.publisher(Pay).publish(MESSAGE, headers=HEADERS)
        await Pay.publish(MESSAGE, tester.redis_client, sealing=sealing_of(kind))

        tester.assert_published(Pay, card=CARD, headers=HEADERS)
        report = await tester.run_until_idle()

        assert [run.result for run in report.runs] == [f"{CARD} 7f-SECRET", f"{CARD} "]
        assert await job.result() == f"{CARD} 7f-SECRET"
        assert await tester.run(Pay, MESSAGE) == f"{CARD} "


async def test_a_tester_refuses_what_production_would_refuse(redis_dsn: str) -> None:
    dispatcher = Redispatcher(make_config("both", redis_dsn))
    async with RedispatcherTester(dispatcher) as tester:
        await Pay.publish(MESSAGE, tester.redis_client)

        report = await tester.run_until_idle(expected=SealError)

        assert [run.reason for run in report.runs] == ["bad_signature"]
        with pytest.raises(SealError):
            tester.published(Pay)


@pytest.mark.parametrize("kind", KINDS)
async def test_the_limits_are_those_of_what_is_stored(redis_dsn: str, kind: str) -> None:
    plain = len(b'{"v":1,"body":{"card":"4111-SECRET"}}')
    async with running_pool(
        redis_dsn, Pay, sealing=sealing_of(kind), max_message_bytes=plain
    ) as pool:
        with pytest.raises(MessageTooLargeError):
            await pool.publisher(Pay).publish(MESSAGE)
    async with running_pool(redis_dsn, Pay, sealing=sealing_of(kind), max_result_bytes=20) as pool:
        job = await pool.publisher(Pay).publish(MESSAGE)

        assert (await die(job)).reason == "result_too_large"


async def test_a_cipher_that_fails_fails_the_publish_and_repeats_nothing(redis_dsn: str) -> None:
    class Broken(Leaky):
        def encrypt(self, plain: bytes, *, context: bytes) -> bytes:
            raise LookupError(plain)

    async with running_pool(redis_dsn, Pay, sealing=Sealing(encryption=Broken())) as pool:
        with pytest.raises(MessageEncodingError, match=r"cannot be encrypted \(LookupError\)") as e:
            await pool.publisher(Pay).publish(MESSAGE)

    assert isinstance(e.value, PublishError)
    assert "SECRET" not in str(e.value)


def test_a_configuration_shows_no_key() -> None:
    config = RedispatcherConfig(redis_dsn="memory://", sealing=both())

    assert KEY not in f"{config!r}{config!s}{config.model_dump()}"


def unsealed(dsn: str) -> _Unsealed:
    return _Unsealed(dsn)


class _Unsealed:
    """Publishes as somebody does who has no keys."""

    def __init__(self, dsn: str) -> None:
        self._dispatcher = Redispatcher(RedispatcherConfig(redis_dsn=dsn))
        self._lifespan = self._dispatcher.lifespan()

    async def __aenter__(self) -> Redispatcher:
        await self._lifespan.__aenter__()
        return self._dispatcher

    async def __aexit__(self, *exception: object) -> None:
        await self._lifespan.__aexit__(None, None, None)
