"""Records that are not ours: what somebody wrote into Redis by hand is shown, and hides nothing."""

from __future__ import annotations

from random import Random

from redispatcher_fastapi.broker.records import parse_faults, parse_record, split_live_record
from redispatcher_fastapi.job import JobRecord, JobState
from tests.fuzz import nonsense

_RECORDS = (
    b'1767268800000{"v":1,"body":{"a":1}}',
    b'1767268800000!{"v":1,"headers":{"t":"x"},"body":{"a":1}}',
    b"S1767268805120,85,35",
    b"s1767268805120,85,35,2,1,r",
    b"C1767268805120,0,35,0,0",
    b'D1767268805120,85,35,1,0,failed\n1767268800000{"v":1,"body":{"a":1}}',
)
_HISTORY = b'1767268800000,1767268805120,{"outcome":"failed","error":"E: no","traceback":"x"}'
_PIECES = (b",", b"\n", b"9" * 30, b"9" * 5000, b"-", b"!", b"\xff", b"{", b"\x00", b"[" * 3000)


def make(random: Random) -> list[object]:
    """Return a reply as of `record.lua`, of a job that was changed by hand."""
    record = random.choice(_RECORDS)
    history = [_HISTORY] * random.randrange(3)
    faults, due, delivery = b"1,0,0", b"", b""
    match random.randrange(6):
        case 0:
            faults = nonsense.encode(nonsense.number_text(random) + ",1," + random.choice("0x"))
        case 1:
            delivery = random.choice([b"1,1767268800000", b"1,1767268800000*", b""])
            delivery = nonsense.mutate(random, delivery, _PIECES)
        case 2:
            history.append(nonsense.mutate(random, _HISTORY, _PIECES))
        case 3:
            history.append(b"1,2," + nonsense.json_bytes(random))
        case _:
            record = nonsense.mutate(random, record, _PIECES)
    if random.random() < 0.1:
        due = str(random.randrange(-(2**62), 2**62)).encode()
    state = random.choice(list(JobState)).encode()
    level = random.choice([b"normal", b"high", b"low", b"", b"\xff"])
    partition = nonsense.random_bytes(random, 4)
    expiry = nonsense.encode(nonsense.number_text(random))
    flags = random.choices([b"", b"1"], k=2)
    return [state, record, faults, due, delivery, history, level, partition, expiry, *flags]


def check(reply: list[object]) -> None:
    """Whatever the reply says, it is read as a record, and its faults are numbers from 0 on."""
    record = reply[1]
    assert isinstance(record, bytes)
    published, _, envelope = split_live_record(record)
    assert published is not None or envelope == record
    assert isinstance(parse_record("letters", "a", reply), JobRecord)
    faults = reply[2]
    assert isinstance(faults, bytes)
    assert min(parse_faults(faults)) >= 0
