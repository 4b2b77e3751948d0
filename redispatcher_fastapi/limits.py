"""Limits: how many jobs run or start, of a queue or of each partition of it, and in which order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Any, cast

from redispatcher_fastapi.clock import LONGEST_DELAY, to_milliseconds
from redispatcher_fastapi.errors import ConfigurationError

Key = str | tuple[str, ...]
"""The field of the Message, or the fields, of which each value has a limit of its own."""

ANY_KEY = "*"
_MOST = 1_000_000_000
_MILLISECOND = timedelta(milliseconds=1)
_RULE = re.compile(r"([a-z])([0-9/,]*)")
_RATE = re.compile(r"([0-9]{1,15})/([0-9]{1,15})")


@dataclass(frozen=True, slots=True)
class Concurrency:
    """Lets at most ``limit`` jobs of a queue run at once, in all processes together.

    With a ``key``, as many of each partition.
    """

    limit: int
    _: KW_ONLY
    key: Key | None = None

    def __post_init__(self) -> None:
        _check_count("Concurrency", self.limit)
        _check_key("Concurrency", self.key)


@dataclass(frozen=True, slots=True)
class RateLimit:
    """Lets at most ``limit`` jobs of a queue start within any stretch of ``per``.

    With a ``key``, as many of each partition. Every attempt is a start.
    """

    limit: int
    per: timedelta
    _: KW_ONLY
    key: Key | None = None

    def __post_init__(self) -> None:
        _check_count("RateLimit", self.limit)
        per: Any = self.per
        if not isinstance(per, timedelta) or not _MILLISECOND <= per <= LONGEST_DELAY:
            raise ConfigurationError(
                "RateLimit.per must be a timedelta of a millisecond to 100 years, as in "
                f"RateLimit(100, per=timedelta(minutes=1)), not {per!r:.80}."
            )
        _check_key("RateLimit", self.key)


@dataclass(frozen=True, slots=True)
class Ordered:
    """Lets the jobs of each partition run one after the other, in the order of their publishes.

    One that is to be retried, or has snoozed, keeps the others waiting until it is finished.
    """

    _: KW_ONLY
    key: Key

    def __post_init__(self) -> None:
        _check_key("Ordered", self.key, is_needed=True)


@dataclass(frozen=True, slots=True)
class Fair:
    """Lets the partitions of a queue start their jobs in turn, however many each of them has."""

    _: KW_ONLY
    key: Key

    def __post_init__(self) -> None:
        _check_key("Fair", self.key, is_needed=True)


Limit = Concurrency | RateLimit | Ordered | Fair


@dataclass(frozen=True, slots=True)
class LimitRules:
    """What some limits mean together: as the scripts read it, and the fields of their key."""

    text: str = ""
    fields: tuple[str, ...] = ()
    is_ordered: bool = False


NO_LIMITS = LimitRules()


def read_limits(limits: Any, where: str) -> LimitRules:
    """Return what limits mean together.

    Raises:
        ConfigurationError: they contradict each other, or are no limits; ``where`` names them.
    """
    given = _listed(limits, where)
    fields = _shared_key(given, where)
    for kind in (Concurrency, Ordered, Fair):
        for is_keyed in (False, True):
            same = [each for each in given if isinstance(each, kind) and is_keyed == _has_key(each)]
            if len(same) > 1:
                raise ConfigurationError(
                    f"{where} has two {kind.__name__}{' with a key' if is_keyed else ''}: one of "
                    "them would do nothing; keep the stricter."
                )
    ordered = any(isinstance(each, Ordered) for each in given)
    parts: list[str] = []
    for each in given:
        match each:
            case Concurrency(limit=limit, key=None):
                parts.append(f"c{limit}")
            case Concurrency(limit=limit):
                if ordered and limit != 1:
                    raise ConfigurationError(
                        f"{where} is Ordered, which lets one job of each partition run at a time, "
                        f"and has a Concurrency of {limit} for it: leave the Concurrency out."
                    )
                parts.append(f"k{limit}")
            case Ordered():
                parts.append("o")
            case _:
                pass
    for letter, is_keyed in (("r", False), ("s", True)):
        rates = [
            each for each in given if isinstance(each, RateLimit) and _has_key(each) == is_keyed
        ]
        parts += _write_rates(letter, rates, where)
    return LimitRules(";".join(parts), fields, ordered)


def parse_rules(text: str) -> tuple[Limit, ...]:
    """Return the limits that a text of the scripts means; with a key, it is ``"*"``."""
    limits: list[Limit] = []
    for kind, value in _RULE.findall(text):
        rates = [(int(count), int(span)) for count, span in _RATE.findall(value)]
        match kind:
            case "c" | "k" if value.isdigit():
                limits.append(Concurrency(int(value), key=ANY_KEY if kind == "k" else None))
            case "o":
                limits.append(Ordered(key=ANY_KEY))
            case "r" | "s":
                key = ANY_KEY if kind == "s" else None
                limits += (
                    RateLimit(count, timedelta(milliseconds=span), key=key) for count, span in rates
                )
            case _:
                pass  # somebody wrote it by hand
    return tuple(limits)


def _listed(limits: Any, where: str) -> list[Limit]:
    if isinstance(limits, (str, bytes)) or not isinstance(limits, Iterable):
        raise ConfigurationError(
            f"{where} must be a list of limits, as in [Concurrency(10)], not "
            f"{type(limits).__name__}."
        )
    given: list[Limit] = []
    for each in cast("Iterable[object]", limits):
        if not isinstance(each, (Concurrency, RateLimit, Ordered, Fair)):
            name = each.__name__ if isinstance(each, type) else repr(each)
            raise ConfigurationError(
                f"{where} has {name:.80}, which is no limit: there are Concurrency(...), "
                "RateLimit(...), Ordered(...) and Fair(...)."
            )
        given.append(each)
    return given


def _shared_key(limits: Sequence[Limit], where: str) -> tuple[str, ...]:
    """Return the fields of the one key that all limits with a key have."""
    keys = {_fields_of(each.key): each for each in limits if each.key is not None}
    if len(keys) > 1:
        shown = " and ".join(f"{type(each).__name__}(key={each.key!r})" for each in keys.values())
        raise ConfigurationError(
            f"{where} has limits with different keys, {shown}: all of a consumer need the same "
            "one, as its jobs wait in one line for each value of it."
        )
    return next(iter(keys), ())


def _write_rates(letter: str, rates: Sequence[RateLimit], where: str) -> list[str]:
    spans = sorted((to_milliseconds(each.per), each.limit) for each in rates)
    for (shorter, fewer), (longer, more) in pairwise(spans):
        if shorter == longer or fewer >= more:
            raise ConfigurationError(
                f"{where} has a RateLimit of {fewer} in {timedelta(milliseconds=shorter)} and one "
                f"of {more} in {timedelta(milliseconds=longer)}, of which one does nothing: a "
                "longer time needs a higher limit."
            )
    text = ",".join(f"{limit}/{span}" for span, limit in spans)
    return [letter + text] if text else []


def _has_key(limit: Limit) -> bool:
    return limit.key is not None


def _fields_of(key: Key) -> tuple[str, ...]:
    return (key,) if isinstance(key, str) else key


def _check_count(name: str, limit: Any) -> None:
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= _MOST:
        raise ConfigurationError(
            f"{name}.limit must be a whole number from 1 on, not {limit!r:.80}; to let nothing "
            "start, pause the queue: dispatcher.inspector.pause(...)."
        )


def _check_key(name: str, key: Any, *, is_needed: bool = False) -> None:
    if key is None and not is_needed:
        return
    fields: Any = (key,) if isinstance(key, str) else key
    names = cast("tuple[object, ...]", fields) if isinstance(fields, tuple) else ()
    is_named = all(isinstance(each, str) and each for each in names)
    if not names or not is_named or len(set(names)) < len(names):
        raise ConfigurationError(
            f'{name}.key must be the name of a field, as in key="tenant_id", or a tuple of '
            f"several names, not {key!r:.80}."
        )
