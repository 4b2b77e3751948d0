"""Calls of every script with arguments that this library would never send."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from redispatcher_fastapi.broker import scripts
from redispatcher_fastapi.broker.scripts import Argument, BlockingClient, Script
from redispatcher_fastapi.errors import BrokerError
from redispatcher_fastapi.keys import queue_prefix
from tests.fuzz import nonsense
from tests.model.store import Raw, read_raw, written

QUEUE = "letters"
NOW = 1_767_268_800_000
_LIVE = b'{"v":1,"body":{}}'
_SCHEDULE = b'd1\n{"v":1,"schedule":{"every":60000},"body":{}}'
_ERROR = b'{"outcome":"failed","error":"E: no"}'


class Call(NamedTuple):
    """One call of a script on one queue."""

    script: Script
    arguments: list[Argument]


def _job(job_id: str) -> tuple[Argument, ...]:
    return (job_id, _LIVE, "d500", "1", "high", "", "", "", "", "")


#: One good call of each, on the store that `fill` makes.
GOOD: tuple[Call, ...] = (
    Call(scripts.PUBLISH, [NOW, 100, "", 2, "n1", _LIVE, "n2", _LIVE]),
    Call(scripts.PUBLISH, [NOW, 100, 2, 4, "n1", _LIVE, "d500", "1", "n2", _LIVE, "", ""]),
    Call(scripts.PUBLISH, [NOW, 100, "", 2, "n1", _LIVE]),
    Call(
        scripts.PUBLISH,
        [
            *(NOW, 100, "", 10, "n1", _LIVE, "d500", "", "high", "K", "d9000", "d:p", "U", "then"),
            *("n2", _LIVE, "", "1", "", "", f"a{NOW + 9}", "t5000:r", "V", ""),
        ],
    ),
    Call(scripts.CLAIM, [NOW, "p", 2, 1, 50, ""]),
    Call(scripts.CLAIM, [NOW, "p", 9, 1, 50, "c5;k2;r9/5000,99/60000;s1/5000"]),
    Call(scripts.CLAIM, [NOW + 9000, "p", 9, 1, 50, "o"]),
    Call(scripts.CLAIM_SOLO, [NOW, "p", 60, "1", 1000, "c5;s1/5000;o"]),
    Call(scripts.CLAIM_SOLO, [NOW, "p", 60, "1", 1000, ""]),
    Call(scripts.CLAIM_SOLO, [NOW, "p", 60, "", 1000, ""]),
    Call(scripts.RENEW, [NOW, 30_000, "p"]),
    Call(
        scripts.ACK,
        [
            *(NOW, "p", 9, 10, 3_600_000, 10_000, 86_400_000, 2),
            *("h1", f"1,{NOW}", "5,5", "h2", f"2,{NOW}", "5,5!", 1, 60_000, b"{}"),
        ],
    ),
    Call(
        scripts.FAIL,
        [
            *(NOW, "p", 9, 86_400_000, 3_600_000),
            *("h1", f"1,{NOW}", "retry", 500, "", _ERROR),
            *("h2", f"2,{NOW}", "dead", 0, "failed", _ERROR),
        ],
    ),
    Call(
        scripts.FAIL,
        [NOW, "p", 9, 86_400_000, 3_600_000, "h1", f"1,{NOW}", "snooze", 500, "", ""],
    ),
    Call(scripts.RELEASE, [NOW, "p", 9, 3_600_000, "h1", f"1,{NOW}", "h2", f"2,{NOW}"]),
    Call(
        scripts.FAIL,
        [
            *(NOW, "p", 9, 86_400_000, 3_600_000),
            *("x1", f"3,{NOW}", "limited", 500, "", ""),
            *("h2", f"2,{NOW}", "limited", 500, "queue", ""),
            *("h1", f"1,{NOW}", "cancel", 0, "", _ERROR),
        ],
    ),
    Call(scripts.DEPART, [NOW, "q"]),
    Call(scripts.PAUSE, [NOW, "d5000", "why"]),
    Call(scripts.PAUSE, [NOW, "-", ""]),
    Call(scripts.SET_LIMITS, [NOW, "c5;k2;r9/5000;s1/5000"]),
    Call(scripts.SET_LIMITS, [NOW, "-"]),
    Call(scripts.SET_PRIORITY, [NOW, "x2", "low"]),
    Call(scripts.QUEUE, [NOW, 10]),
    Call(scripts.WHY, [NOW, "x2", "c5;k1;r9/5000;s1/5000"]),
    Call(scripts.ONWARD, [NOW, 10, "0", "x3", "Cthen\n"]),
    Call(scripts.ARRIVE, [NOW, "g", 2, 2, "S{}", "1", 60_000]),
    Call(
        scripts.UPKEEP,
        [NOW + 1_000_000, 30_000, 10, 3_600_000, 10_000, 86_400_000, 10, 86_400_000, 100],
    ),
    Call(scripts.UPKEEP, [NOW, 30_000, 0, 0, 0, 86_400_000, 0, 0, 0]),
    Call(scripts.CANCEL, [NOW, "r1", 3_600_000]),
    Call(scripts.CANCEL, [NOW, "t1", 3_600_000]),
    Call(scripts.CANCEL, [NOW, "x1", 3_600_000]),
    Call(scripts.CANCEL, [NOW, "none", 3_600_000, "1"]),
    Call(scripts.REDRIVE, [NOW, "d1"]),
    Call(scripts.DELETE, [NOW, "r1"]),
    Call(scripts.DELETE, [NOW, "d1"]),
    Call(scripts.RECORD, [NOW, "1", "r1", "h1", "none"]),
    Call(scripts.COUNTS, [NOW]),
    Call(scripts.LIST, [NOW, "queued", 0, 10]),
    Call(scripts.LIST, [NOW, "dead", 1, 10]),
    Call(scripts.WATCH, [NOW, "r1"]),
    Call(scripts.POKE, [NOW, "p", 10_000]),
    Call(scripts.SCHEDULE_LOOK, [NOW, 30_000, "v1", ""]),
    Call(scripts.SCHEDULE_LOOK, [NOW, 30_000, "v2", NOW - 1000]),
    Call(
        scripts.SCHEDULE_FIRE,
        [
            *(NOW, 100, "every", "1", NOW, NOW + 60_000, NOW, "q", 1, 1, *_job("every:1")),
            *("cron", "2", "", "", 0, "a", 0, 2, *_job("cron:1"), *_job("cron:2")),
        ],
    ),
    Call(scripts.SCHEDULE_DECLARE, [NOW, "v1", "every", "", NOW, "1", "new", _SCHEDULE, "", ""]),
    Call(scripts.SCHEDULE_PUT, [NOW, "cron", "2", b"r3\n{}", NOW + 1000, ""]),
    Call(scripts.SCHEDULE_CHANGE, [NOW, "every", "pause", "", "", 30_000]),
    Call(scripts.SCHEDULE_CHANGE, [NOW, "paused", "resume", "3", NOW + 1000, 30_000]),
    Call(scripts.SCHEDULE_CHANGE, [NOW, "cron", "delete", "", "", 30_000]),
    Call(scripts.SCHEDULE_READ, [NOW, "", "every", "none"]),
    Call(scripts.SCHEDULE_READ, [NOW, 10, "every"]),
)
_WORDS = ("", "*", "\x00", "a" * 5000, "h1", "d1", "r1", "p", "retry", "é", "-inf", "1,2,3", "{}")


def fill(client: BlockingClient) -> None:
    """Make a store with a job in every state, and two processes."""
    client.execute_command("FLUSHALL")

    def do(script: Script, *arguments: Argument) -> None:
        run(client, Call(script, [NOW, *arguments]))

    def publish(*ids: str) -> None:
        for job_id in ids:
            do(scripts.PUBLISH, 100, "", 4, job_id, _LIVE, "", "1")

    for holder in ("p", "q"):
        do(scripts.RENEW, 30_000, holder)
    publish("h1", "h2", "d1", "s1", "t1")
    special: list[Argument] = []
    for job_id, due in (("x1", ""), ("x2", ""), ("x3", "d9000")):
        special += [job_id, _LIVE, due, "", "high", "K", "d9000", "d:k", job_id, "then"]
    do(scripts.CLAIM, "p", 2, 0, 1, "")
    do(scripts.CLAIM, "q", 3, 0, 1, "")
    dead: list[Argument] = ["d1", f"1,{NOW}", "dead", 0, "failed", _ERROR]
    retried: list[Argument] = ["t1", f"3,{NOW}", "retry", 60_000, "", _ERROR]
    do(scripts.FAIL, "q", 1, 86_400_000, 3_600_000, *dead, *retried)
    do(scripts.ACK, "q", 1, 10, 3_600_000, 0, 86_400_000, 1, "s1", f"2,{NOW}", "5,5")
    publish("r1", "r2", "c1")
    do(scripts.CANCEL, "c1", 3_600_000)
    do(scripts.PUBLISH, 100, "", 10, *special)
    do(scripts.CLAIM, "p", 1, 0, 3, "k1;s5/60000;r9/60000")
    do(scripts.CANCEL, "x3", 3_600_000)
    do(scripts.ARRIVE, "g", 1, 2, "S{}", "", 60_000)
    do(scripts.PUBLISH, 100, "", 4, "later", _LIVE, "d60000", "")
    do(scripts.SCHEDULE_LOOK, 30_000, "v1", "")
    do(scripts.SCHEDULE_DECLARE, "v1", "every", _SCHEDULE, NOW, "")
    do(scripts.SCHEDULE_PUT, "cron", "", b"r2\n{}", NOW + 60_000, "")
    do(scripts.SCHEDULE_PUT, "paused", "", b"r3\n{}", NOW + 60_000, "")
    do(scripts.SCHEDULE_CHANGE, "paused", "pause", "", "", 30_000)


def run(client: BlockingClient, call: Call) -> None:
    """Make one call.

    Raises:
        BrokerError: it was refused.
    """
    call.script.run_blocking(client, [queue_prefix(QUEUE)], call.arguments)


def make(random: Random) -> Call:
    """Return a call with one or two arguments changed, left out, or put in."""
    script, good = random.choice(GOOD)
    arguments = list(good)
    for _ in range(random.choice([1, 1, 2])):
        at = random.randrange(len(arguments) + 1)
        values: list[Argument] = [nonsense.number_text(random), random.choice(_WORDS)]
        value = random.choice([*values, nonsense.random_bytes(random, 6)])
        match random.randrange(5):
            case 0:
                del arguments[at:]
            case 1:
                del arguments[at : at + 1]
            case 2:
                arguments.insert(at, value)
            case _:
                arguments[at : at + 1] = [value]
    return Call(script, arguments)


class Caller:
    """Makes the calls on one store, which is filled anew when one of them wrote."""

    def __init__(self, client: BlockingClient) -> None:
        self._client = client
        self._is_filled = False
        self._before: dict[str, Raw] = {}

    def check(self, call: Call) -> None:
        """See that a call that is refused has written nothing."""
        if not self._is_filled:
            fill(self._client)
            self._before = read_raw(self._client)
            self._is_filled = True
        refusal = ""
        try:
            run(self._client, call)
        except BrokerError as error:
            refusal = str(error)
        wrote = written(self._before, read_raw(self._client), besides=frozenset())
        self._is_filled = not wrote
        if refusal:
            assert not wrote, f"{call.script.name} wrote to {wrote}, then: {refusal}"
