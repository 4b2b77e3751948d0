"""Compares what was published with what a test expects, and tells the difference field by field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeGuard

from pydantic import BaseModel, RootModel

from redispatcher_fastapi.errors import RedispatcherError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from redispatcher_fastapi.consumer import ConsumerDefinition
    from redispatcher_fastapi.job import Priority
    from redispatcher_fastapi.testing.published import PublishedJob

#: An ``at`` that the application computed from its own clock is a moment off the test's.
_TOLERANCE = timedelta(seconds=1)
_SHOWN_JOBS = 5
_MAX_VALUE = 300
_OPTIONS = ("count", "delay", "headers", "priority", "expires")
_MISSING = object()


class InvalidExpectationError(RedispatcherError, TypeError):
    """Raised when an expectation names a field that is not there, or could mean two things."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a test looks for among the jobs of one consumer."""

    definition: ConsumerDefinition
    fields: Mapping[str, object]
    where: Callable[[Any], bool] | None = None
    delay: timedelta | None = None
    headers: Mapping[str, object] | None = None
    count: int | None = None
    priority: Priority | None = None
    expires: timedelta | None = None

    def __post_init__(self) -> None:
        known = self.definition.message_type.model_fields
        message = f"{self.definition.name}.Message"
        if self.count is not None and self.count < 1:
            raise InvalidExpectationError(
                f"count={self.count} is not a number of jobs: that there is none is what "
                "assert_not_published() says."
            )
        unknown = [name for name in self.fields if name not in known]
        if unknown:
            raise InvalidExpectationError(
                f"{message} has no field {unknown[0]!r}; it has: {', '.join(known) or 'none'}."
            )
        for name in _OPTIONS:
            if name in known and getattr(self, name) is not None:
                raise InvalidExpectationError(
                    f"{name!r} is an option here, and a field of {message}: to compare the field, "
                    f"pass a function, as in `lambda message: message.{name} == ...`."
                )

    def differences(self, job: PublishedJob[Any]) -> list[str]:
        """Return one line per difference; empty for a job that is what was looked for."""
        written = job.message.model_dump(mode="json", by_alias=False)
        is_root = issubclass(self.definition.message_type, RootModel)
        as_json: dict[str, Any] = {"root": written} if is_root else written
        found: list[str] = []
        for name, expected in self.fields.items():
            found += _compare(
                name, expected, getattr(job.message, name), as_json.get(name, _MISSING)
            )
        if self.headers is not None:
            headers = job.headers.model_dump()
            for name, expected in self.headers.items():
                value = headers.get(name, _MISSING)
                found += _compare(f"headers[{name!r}]", expected, value, value)
        if self.delay is not None and not _is_about(job.delay, self.delay):
            found.append(f"delay: expected {self.delay}, was {job.delay}")
        if self.priority not in {None, job.priority}:
            found.append(f"priority: expected {self.priority}, was {job.priority}")
        if self.expires is not None and not _is_about(job.expires, self.expires):
            found.append(f"expires: expected {self.expires}, was {job.expires}")
        if self.where is not None and not self.where(job.message):
            found.append(f"the function returned false for {_show(job.message)}")
        return found

    def describe(self) -> str:
        """Return what is looked for, as it reads after "a job of X with"."""
        parts = [f"{name}={_show(value)}" for name, value in self.fields.items()]
        if self.headers is not None:
            parts.append(f"headers={_show(dict(self.headers))}")
        if self.delay is not None:
            parts.append(f"delay={self.delay}")
        if self.priority is not None:
            parts.append(f"priority={self.priority}")
        if self.expires is not None:
            parts.append(f"expires={self.expires}")
        if self.where is not None:
            parts.append(f"{getattr(self.where, '__qualname__', 'the function')}(message)")
        return f" with {', '.join(parts)}" if parts else ""

    def explain(self, jobs: Sequence[PublishedJob[Any]], others: Mapping[str, int]) -> str:
        """Return what was published instead, the nearest first, and what other queues got."""
        queue = self.definition.queue
        elsewhere = ", ".join(
            f"{name} ({count})" for name, count in others.items() if name != queue
        )
        lines: list[str] = []
        if jobs:
            lines.append(f"Published to {queue} were {len(jobs)}, the nearest first:")
            compared = sorted(((self.differences(job), job) for job in jobs), key=_by_distance)
            for differences, job in compared[:_SHOWN_JOBS]:
                lines.append(f"  {job.id} ({job.state or 'no record'})")
                lines += [f"    {line}" for line in differences or ["as expected"]]
            if len(jobs) > _SHOWN_JOBS:
                lines.append(f"  and {len(jobs) - _SHOWN_JOBS} more")
        else:
            lines.append(f"Nothing was published to {queue}.")
        lines.append(f"Other queues: {elsewhere or 'nothing'}.")
        return "\n".join(lines)


def _is_about(duration: timedelta | None, expected: timedelta) -> bool:
    return duration is not None and abs(duration - expected) <= _TOLERANCE


def _by_distance(compared: tuple[list[str], PublishedJob[Any]]) -> int:
    return len(compared[0])


def _compare(path: str, expected: Any, actual: Any, as_json: Any) -> Iterator[str]:
    """Tell values apart; one that equals the JSON form of what was published is equal too."""
    # Asks the expected one whether it is equal: it may be like mock.ANY or pytest.approx.
    if any(expected == value for value in (actual, as_json)):
        return
    if isinstance(expected, BaseModel):
        expected = expected.model_dump(mode="json", by_alias=False)
    if isinstance(actual, BaseModel):
        actual = as_json
    if _is_mapping(expected) and _is_mapping(actual):
        yield from _compare_mappings(path, expected, actual, as_json)
    else:
        yield f"{path}: expected {_show(expected)}, was {_show(actual)}"


def _compare_mappings(
    path: str, expected: Mapping[Any, Any], actual: Mapping[Any, Any], as_json: Any
) -> Iterator[str]:
    for key in {**expected, **actual}:
        place = f"{path}.{key}"
        value = actual.get(key, _MISSING)
        if key not in expected:
            yield f"{place}: not expected, was {_show(value)}"
        else:
            encoded = as_json.get(key, _MISSING) if _is_mapping(as_json) else value
            yield from _compare(place, expected[key], value, encoded)


def _is_mapping(value: object) -> TypeGuard[Mapping[Any, Any]]:
    return isinstance(value, Mapping)


def _show(value: object) -> str:
    if value is _MISSING:
        return "missing"
    text = repr(value)
    return text if len(text) <= _MAX_VALUE else f"{text[:_MAX_VALUE]}..."
