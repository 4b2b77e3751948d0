"""Makes input that nobody should send, fast, and repeatable by the seed of its `Random`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random

_CHARACTERS = "\x00\n\r\t \"'\\{}[]:,%@/?#&=;*$-+._~!|<>()0123456789abzAZé√\u202e\ud800😀"
_NUMBERS = (
    "", "0", "-0", "-1", "1", "7", "1.5", "1e3", "1e308", "1e309", "-1e18", "nan", "inf", "-inf",
    "0x10", " 5 ", "9" * 13, "9" * 19, "9" * 400, "9223372036854775808", "five", "\x00", "1\x00",
)  # fmt: skip


def random_text(random: Random, longest: int = 40) -> str:
    return "".join(random.choices(_CHARACTERS, k=random.randrange(longest)))


def random_bytes(random: Random, longest: int = 80) -> bytes:
    return random.randbytes(random.randrange(longest))


def number_text(random: Random) -> str:
    return random.choice(_NUMBERS)


def encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def mutate(random: Random, data: bytes, inserts: Sequence[bytes] = ()) -> bytes:
    """Return ``data`` with one to four changes: cut, repeated, overwritten, or with more in it."""
    changed = bytearray(data)
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(changed) + 1)
        match random.randrange(6):
            case 0:
                del changed[at:]
            case 1:
                del changed[at : at + random.randrange(8)]
            case 2:
                changed[at:at] = random_bytes(random, 6)
            case 3 if inserts:
                changed[at:at] = random.choice(inserts)
            case 4:
                changed[at:at] = changed[: random.randrange(20)]
            case _:
                changed[at : at + 1] = bytes([random.randrange(256)])
    return bytes(changed)


def json_value(random: Random, depth: int = 3) -> object:
    """Return what JSON can say, and what only some parsers take."""
    match random.randrange(9 if depth else 7):
        case 0:
            return None
        case 1:
            return random.random() < 0.5
        case 2:
            return random.randrange(-(2**70), 2**70)
        case 3:
            return random.choice([float("nan"), float("inf"), 1e308, -0.0, 1.5])
        case 4 | 5:
            return random_text(random, 12)
        case 6:
            return random.randrange(10)
        case 7:
            return [json_value(random, depth - 1) for _ in range(random.randrange(4))]
        case _:
            return {
                random.choice(["v", "body", "headers", "number", random_text(random, 6)]):
                json_value(random, depth - 1)
                for _ in range(random.randrange(4))
            }  # fmt: skip


def json_bytes(random: Random) -> bytes:
    return encode(json.dumps(json_value(random), ensure_ascii=random.random() < 0.5))


def deep_json(random: Random) -> bytes:
    depth = random.choice([10, 200, 1_000, 20_000])
    opening, closing = random.choice([(b"[", b"]"), (b'{"a":', b"}")])
    return opening * depth + b"1" + closing * random.choice([0, depth, depth - 1])
