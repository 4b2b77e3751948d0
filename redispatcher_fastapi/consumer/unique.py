"""``Unique``: which messages count as the same, for how long, and what a second one brings."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from redispatcher_fastapi.clock import LONGEST_DELAY
from redispatcher_fastapi.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Collection

_MILLISECOND = timedelta(milliseconds=1)


class UniqueScope(StrEnum):
    """For how long a job keeps others like it out."""

    #: Until its first attempt starts.
    WAITING = "waiting"
    #: Until it has succeeded, is dead, was cancelled or has expired.
    DONE = "done"


class OnConflict(StrEnum):
    """What becomes of a message when there is a job for one like it already."""

    #: The job stays as it is.
    KEEP = "keep"
    #: The job, unless it runs, gets the new message, and starts when it would have.
    REPLACE = "replace"
    #: The job, unless it runs, gets the new message and starts when the new one would have.
    DEBOUNCE = "debounce"
    #: ``DuplicateJobError`` is raised.
    RAISE = "raise"


@dataclass(frozen=True, slots=True)
class Unique:
    """Lets there be one job at a time for messages that are the same.

    They are the same where these ``fields`` are, or all of them for ``None``. A duration as the
    ``scope`` counts from the publish of the job, whether or not it is done by then.

    Raises:
        ConfigurationError: one of these cannot be used.
    """

    fields: tuple[str, ...] | None = None
    scope: UniqueScope | timedelta = UniqueScope.DONE
    on_conflict: OnConflict = OnConflict.KEEP

    def __post_init__(self) -> None:
        _check_fields(self.fields)
        scope: Any = self.scope
        if isinstance(scope, timedelta):
            if not _MILLISECOND <= scope <= LONGEST_DELAY:
                raise ConfigurationError(
                    f"Unique.scope must be a millisecond to 100 years long, not {scope}."
                )
        elif not isinstance(scope, UniqueScope):
            raise ConfigurationError(
                f"Unique.scope must be UniqueScope.WAITING, UniqueScope.DONE or a timedelta, not "
                f"{scope!r:.80}."
            )
        action: Any = self.on_conflict
        if not isinstance(action, OnConflict):
            raise ConfigurationError(
                "Unique.on_conflict must be one of "
                f"{', '.join(f'OnConflict.{each.name}' for each in OnConflict)}, not "
                f"{action!r:.80}."
            )

    @property
    def changes_jobs(self) -> bool:
        """Whether a second message changes the job of the first."""
        return self.on_conflict in (OnConflict.REPLACE, OnConflict.DEBOUNCE)

    def covers(self, fields: Collection[str]) -> bool:
        """Whether messages that are the same are so in all these fields."""
        return self.fields is None or set(fields) <= set(self.fields)


def _check_fields(fields: Any) -> None:
    if fields is None:
        return
    names: Any = fields
    if not isinstance(fields, tuple) or not all(isinstance(name, str) for name in names):
        raise ConfigurationError(
            f'Unique.fields must be a tuple of names, as in fields=("order_id",), not '
            f"{fields!r:.80}."
        )
    if not names or len(set(names)) < len(names):
        raise ConfigurationError(
            "Unique.fields must name one field or several, each of them once; leave it out to "
            "compare whole messages."
        )
