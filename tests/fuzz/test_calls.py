"""Arguments that no script expects: refused before anything is written."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from redispatcher_fastapi.broker import scripts
from redispatcher_fastapi.broker.scripts import Argument, BlockingClient, Script
from redispatcher_fastapi.errors import BrokerError
from tests.fuzz.calls import GOOD, NOW, Call, Caller, fill, run
from tests.fuzz.targets import feed, script_arguments
from tests.model.running import open_store
from tests.model.store import read_raw

#: In memory, every call costs more.
INPUTS = {"memory": 150, "redis": 1_000}
SEED = 4
ACK: list[Argument] = [NOW, "p", 9, 10, 3_600_000, 10_000, 86_400_000]
FAIL: list[Argument] = [NOW, "p", 9, 86_400_000, 3_600_000]

FIRE: list[Argument] = ["every", "1", NOW, NOW + 60_000, NOW, "a", 0]


@pytest.fixture
def client(redis_dsn: str) -> Generator[BlockingClient]:
    with open_store(redis_dsn) as client:
        yield client


def test_a_refused_call_writes_nothing(client: BlockingClient, redis_dsn: str) -> None:
    feed(script_arguments(client), INPUTS[redis_dsn.partition(":")[0]], SEED)


@pytest.mark.parametrize("call", GOOD, ids=lambda call: call.script.name)
def test_a_call_as_it_should_be_is_answered(client: BlockingClient, call: Call) -> None:
    fill(client)

    run(client, call)


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        (scripts.PUBLISH, [NOW, 100, "", 0, "n1", "{}"]),
        (scripts.PUBLISH, [NOW, 100, "", 4, "n1", "{}", "dnan", ""]),
        (scripts.PUBLISH, [NOW, 100, "", 2, "n1", "{}", "n2"]),
        (scripts.PUBLISH, ["nan", 100, "", 2, "n1", "{}"]),
        (scripts.CLAIM, [NOW, "p", "1e308", 1, 50, ""]),
        (scripts.CLAIM, [NOW, "p", 2, 1, "first", ""]),
        (scripts.CLAIM_SOLO, [NOW, "p", 60, "", 0, ""]),
        (scripts.PUBLISH, [NOW, 100, "", 10, "n1", "{}", "", "", "top", "", "", "", "", ""]),
        (scripts.PUBLISH, [NOW, 100, "", 10, "n1", "{}", "", "", "", "", "soon", "", "", ""]),
        (scripts.PUBLISH, [NOW, 100, "", 10, "n1", "{}", "", "", "", "", "", "d:z", "U", ""]),
        (scripts.PUBLISH, [NOW, 100, "", 10, "n1", "{}", "", "", "", "", "", "t0:k", "U", ""]),
        (scripts.PUBLISH, [NOW, 100, "", 10, "n1", "{}", "", "", "", "", "", "d:k", "", ""]),
        (scripts.CLAIM, [NOW, "p", 2, 1, 50, "c 5"]),
        (scripts.CLAIM, [NOW, "p", 2, 1, 50, f"r5/{'9' * 19}"]),
        (scripts.CLAIM_SOLO, [NOW, "p", 60, "1", 1000, f"r5/{'9' * 19}"]),
        (scripts.SET_LIMITS, [NOW, f"s5/{'9' * 19}"]),
        (scripts.SET_LIMITS, [NOW, "C5"]),
        (scripts.SET_PRIORITY, [NOW, "x2", ""]),
        (scripts.PAUSE, [NOW, "soon", ""]),
        (scripts.ARRIVE, [NOW, "g", 3, 2, "S{}", "1", 60_000]),
        (scripts.ARRIVE, [NOW, "g", 1, 2, "R", "1", 60_000]),
        (scripts.ONWARD, [NOW, 10, "0", "x3"]),
        (scripts.RENEW, [NOW, 30_000, ""]),
        (scripts.RENEW, [NOW, "inf", "p"]),
        (scripts.ACK, [*ACK, "1000000000000000"]),
        (scripts.ACK, [*ACK, 1, "h1", f"1,{NOW}", "5,5", 1, 0, "{}"]),
        (scripts.FAIL, [*FAIL, "h1", f"1,{NOW}", "retry", "soon", "", ""]),
        (scripts.FAIL, [NOW, "p", 9, "1.5", 1, "h1", f"1,{NOW}", "dead", 0, "failed", ""]),
        (scripts.RELEASE, [NOW, "p", 9, 3_600_000, "h1"]),
        (scripts.UPKEEP, [NOW + 1_000_000, 30_000, 10, "", 10_000, 86_400_000, 10, 1, 100]),
        (scripts.CANCEL, [NOW, "r1", "1.5"]),
        (scripts.POKE, [NOW, "p", "long"]),
        (scripts.SCHEDULE_LOOK, [NOW, 30_000, "v1"]),
        (scripts.SCHEDULE_LOOK, [NOW, 0, "v1", ""]),
        (scripts.SCHEDULE_FIRE, [NOW, 100, *FIRE, 1]),
        (scripts.SCHEDULE_FIRE, [NOW, 100, *FIRE, 1, "j", "{}", "", "1", "", "", "", "", ""]),
        (scripts.SCHEDULE_FIRE, [NOW, 100, *FIRE, 1, "j", "{}", "soon", "1", *[""] * 6]),
        (scripts.SCHEDULE_FIRE, [NOW, 100, "every", "1", "soon", *FIRE[3:], 0]),
        (scripts.SCHEDULE_DECLARE, [NOW, "v1", "every", "", NOW]),
        (scripts.SCHEDULE_DECLARE, [NOW, "v1", "every", "", "soon", ""]),
        (scripts.SCHEDULE_PUT, [NOW, "cron", "2", "", NOW, ""]),
        (scripts.SCHEDULE_PUT, [NOW, "cron", "2", "r3", "soon", ""]),
        (scripts.SCHEDULE_CHANGE, [NOW, "every", "stop", "", "", 30_000]),
        (scripts.SCHEDULE_CHANGE, [NOW, "every", "delete", "", "", ""]),
        (scripts.SCHEDULE_READ, [NOW, "some", "every"]),
    ],
)
def test_wrong_arguments_are_refused(
    client: BlockingClient, script: Script, arguments: list[Argument]
) -> None:
    fill(client)
    before = read_raw(client)

    with pytest.raises(BrokerError):
        run(client, Call(script, arguments))

    assert read_raw(client).keys() == before.keys()
    Caller(client).check(Call(script, arguments))
