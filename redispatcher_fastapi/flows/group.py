"""What the consumer gets that runs when all jobs of a group have ended, or one failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar

from pydantic import BaseModel

from redispatcher_fastapi.consumer import BaseConsumer
from redispatcher_fastapi.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from redispatcher_fastapi.consumer import ConsumerDefinition

T = TypeVar("T")
R_co = TypeVar("R_co", covariant=True)

#: When the job that follows a group is published.
When = Literal["all_done", "first_failure"]
#: What is kept of more, and the message that is made of it, would be too large for Redis.
MOST_MEMBERS = 10_000


class FailedMember(BaseModel):
    """A job of a group that did not succeed.

    ``number`` is the place of its message, from 0; ``reason`` is that of its death, ``cancelled``,
    ``expired`` or ``deleted``.
    """

    number: int
    job_id: str
    reason: str


class GroupResult(BaseConsumer.Message, Generic[T]):
    """What the jobs of a group returned; the message of the consumer that follows inherits it.

    ``results`` are in the order of the messages, ``None`` for what did not succeed, or has not
    ended yet where the first failure ended the group; ``failed`` counts members from 0.
    """

    results: list[T | None]
    failed: list[FailedMember]


class Joins(Protocol[T, R_co]):
    """A consumer whose message is the :class:`GroupResult` of members that return ``T``."""

    @property
    def Message(self) -> type[GroupResult[T]]: ...  # the name of the nested class

    @property
    def process_message(self) -> Callable[..., Coroutine[Any, Any, R_co]]: ...


class JoinsSync(Protocol[T, R_co]):
    """The same with a synchronous ``process_message``."""

    @property
    def Message(self) -> type[GroupResult[T]]: ...  # the name of the nested class

    @property
    def process_message(self) -> Callable[..., R_co]: ...


def check_join(definition: ConsumerDefinition, when: object) -> None:
    """Refuse what cannot follow a group.

    Raises:
        ConfigurationError: its message is no ``GroupResult`` or needs more than that, its jobs are
            unique, or ``when`` is unknown.
    """
    fields = definition.message_type.model_fields
    if not issubclass(definition.message_type, GroupResult):
        raise ConfigurationError(
            f"{definition.name} cannot follow a group: its Message must inherit from "
            "GroupResult[...], of what the members return."
        )
    needed = [
        name
        for name, field in fields.items()
        if field.is_required() and name not in GroupResult.model_fields
    ]
    if needed:
        raise ConfigurationError(
            f"{definition.name} cannot follow a group: nobody would give its Message a value for "
            f"{needed[0]!r}. Give that field a default, or put the value into the headers."
        )
    if definition.unique is not None:
        raise ConfigurationError(
            f"{definition.name} cannot follow a group: its jobs are UNIQUE, and where one is there "
            "already, the ends of this group would be lost. Give its work to a consumer without."
        )
    if when not in {"all_done", "first_failure"}:
        raise ConfigurationError(
            f'`when` of a group is "all_done" or "first_failure", not {when!r:.80}.'
        )
