"""Takes one protection away at a time and shows that the promise it keeps is broken then.

Each test names the one in this folder that would fail: a suite that cannot see a missing fence
proves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from hashlib import sha1
from pathlib import Path

import pytest

from redispatcher_fastapi.broker import scripts
from redispatcher_fastapi.broker.scripts import Script
from redispatcher_fastapi.broker.types import AttemptError, Retried, Succeeded
from redispatcher_fastapi.job import JobState
from tests.broker.engine import QUEUE, Engine

Without = Callable[[Script, str, str], None]


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Without:
    """Replace a line of a script for one test."""

    def replace(script: Script, line: str, by: str) -> None:
        assert script.source.count(line) == 1, f"{script.name} has changed: {line!r}"
        source = script.source.replace(line, by)
        monkeypatch.setattr(script, "source", source)
        monkeypatch.setattr(
            script, "digest", sha1(source.encode(), usedforsecurity=False).hexdigest()
        )

    return replace


FENCE = "local function owns(delivery, token) return delivery == token end"


@pytest.mark.parametrize("script", [scripts.ACK, scripts.FAIL, scripts.RELEASE])
async def test_without_the_fence_an_old_delivery_of_the_same_process_is_accepted(
    engine: Engine, without: Without, script: Script
) -> None:
    """Breaks test_the_fence_holds_between_two_deliveries_to_the_same_process."""
    process = await engine.process()
    await engine.publish("a")
    first = await process.claim_one()
    await process.release(first)
    await process.claim_one()

    without(script, FENCE, "local function owns(delivery) return delivery end")
    match script.name:
        case "ack":
            assert await process.succeed(first) == "1"
        case "fail":
            assert await process.retry(first) == "1"
        case _:
            assert await process.release(first) == "1"


async def test_without_giving_up_the_identity_a_zombie_renews_its_lease(
    engine: Engine, without: Without
) -> None:
    """Breaks test_a_process_that_was_given_up_never_comes_back."""
    without(
        scripts.RENEW, "call('HEXISTS', prefix .. 'calls:' .. holder, 'given_up') == 1", "false"
    )
    process = await engine.process()
    await engine.publish("a")
    await process.claim(1)
    await engine.lose(process)

    assert await process.renew() is not None


async def test_without_dedupe_a_repeated_publish_makes_a_second_job(
    engine: Engine, without: Without
) -> None:
    """Breaks test_publishing_the_same_id_again_leaves_the_one_job."""
    without(
        scripts.PUBLISH, "local is_known = known[index] or taken[id]", "local is_known = taken[id]"
    )

    await engine.publish("one", is_chosen_id=True)
    again = await engine.publish("one", is_chosen_id=True)

    assert again
    assert await engine.key("ready") == [b"one", b"one"]


async def test_without_replay_a_lost_claim_reply_takes_twice_as_many_jobs(
    engine: Engine, without: Without
) -> None:
    """Breaks test_a_claim_whose_reply_was_lost_is_repeated_with_the_same_jobs."""
    without(scripts.CLAIM, "if last and tonumber(last) >= tonumber(first) then", "if false then")
    process = await engine.process()
    await engine.publish_many(*"abcd")
    want = process.want(2)
    await process.ask(want)
    await process.ask(want)

    assert await engine.counts() == {JobState.RUNNING: 4}


async def test_without_remembered_answers_a_repeated_acknowledgement_is_taken_for_a_zombies(
    engine: Engine, without: Without
) -> None:
    """Breaks test_an_acknowledgement_repeated_after_a_lost_reply_gets_the_same_answer."""
    without(scripts.ACK, "if before[1] == request then return before[2] end", "")
    process = await engine.process()
    await engine.publish("a")
    delivery = await process.claim_one()
    request = process.broker.next_request()
    ended = [(delivery, Succeeded())]
    await process.broker.acknowledge(QUEUE, process.holder, request, ended)

    assert await process.broker.acknowledge(QUEUE, process.holder, request, ended) == "s"


async def test_without_remembered_answers_a_repeated_failure_is_taken_for_a_zombies(
    engine: Engine, without: Without
) -> None:
    """Breaks test_a_failure_repeated_after_a_lost_reply_is_charged_once."""
    without(scripts.FAIL, "if before[1] == request then return before[2] end", "")
    process = await engine.process()
    await engine.publish("a")
    delivery = await process.claim_one()
    request = process.broker.next_request()
    ended = [(delivery, Retried(timedelta(seconds=1), AttemptError("no")))]
    await process.broker.fail(QUEUE, process.holder, request, ended)

    assert await process.broker.fail(QUEUE, process.holder, request, ended) == "s"


async def test_without_isolation_an_innocent_neighbour_dies_too(
    engine: Engine, without: Without
) -> None:
    """Breaks test_an_innocent_job_survives_beside_one_that_kills: losses alone decide."""
    without(
        scripts.UPKEEP,
        "(solo >= SOLO_LOSSES or losses >= LOSSES)",
        "losses >= 3",
    )
    await engine.publish_many("innocent", "poison")
    for _ in range(3):
        process = await engine.process()
        await process.claim(2, suspects=2)
        await engine.lose(process)

    assert await engine.state("innocent") is JobState.DEAD


async def test_without_grace_an_outage_charges_everybody(engine: Engine, without: Without) -> None:
    """Breaks test_after_an_outage_every_lease_begins_anew."""
    without(scripts.UPKEEP, "if now < seen or now - seen > lease / 2 then", "if false then")
    process = await engine.process()
    await engine.publish("a")
    await process.claim(1)

    engine.clock.move(minutes=10)

    assert [job.job_id for job in await engine.upkeep()] == ["a"]


async def test_without_the_lane_of_its_losses_a_released_suspect_mixes_with_the_rest(
    engine: Engine, without: Without
) -> None:
    """Breaks test_a_suspect_that_fails_or_is_given_back_stays_a_suspect."""
    without(
        scripts.RELEASE,
        "else\n      call('LPUSH', prefix .. lane(losses), id)",
        "else\n      call('LPUSH', prefix .. 'ready', id)",
    )
    lost, process = await engine.process(), await engine.process()
    await engine.publish("a")
    await lost.claim(1)
    await engine.lose(lost)
    (delivery,) = await process.claim(1)
    await process.release(delivery)

    assert await engine.key("ready") == [b"a"]


async def test_without_release_a_job_waits_for_the_end_of_the_lease(
    engine: Engine, without: Without
) -> None:
    """Breaks test_jobs_given_back_are_first_in_line_and_not_charged."""
    without(
        scripts.RELEASE,
        "local text = table.concat(answers)\n",
        "if true then return table.concat(answers) end\nlocal text = ''\n",
    )
    process = await engine.process()
    await engine.publish("a")
    (delivery,) = await process.claim(1)
    await process.release(delivery)

    assert await process.claim(1) == []
    assert await engine.state("a") is JobState.RUNNING


async def test_without_a_bound_on_their_age_finished_jobs_stay(
    engine: Engine, without: Without
) -> None:
    """Breaks test_finished_jobs_are_forgotten_after_an_hour."""
    without(
        scripts.UPKEEP,
        "if not (age > max_age or (age > min_age and passed < excess)) then break end",
        "if true then break end",
    )
    process = await engine.process()
    await engine.publish("a")
    await process.succeed(await process.claim_one())
    engine.clock.move(hours=2)
    await engine.upkeep()

    assert await engine.state("a") is JobState.SUCCEEDED


def test_every_control_names_a_test_of_this_folder() -> None:
    folder = Path(__file__).parent
    tests = {
        name
        for path in folder.glob("test_*.py")
        for name in re.findall(r"^async def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    controls = re.findall(r'"""Breaks (test_\w+)', Path(__file__).read_text())

    assert len(controls) > 10
    assert set(controls) <= tests
