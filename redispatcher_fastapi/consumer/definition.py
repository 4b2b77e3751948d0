"""Reads a consumer class once, when it is created, and refuses what could never work."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError

from redispatcher_fastapi.consumer.binding import bind
from redispatcher_fastapi.consumer.checks import (
    check_batch,
    check_constructor,
    check_is_complete,
    check_limits,
    check_method,
    check_owns_queue,
    check_returns,
    find_function,
    has_own_around,
    read_model,
    read_queue,
    read_schedules,
)
from redispatcher_fastapi.consumer.encoding import (
    as_mapping,
    encode_headers,
    encode_model,
    has_generated_fields,
)
from redispatcher_fastapi.consumer.lock_keys import check_unique, refuse_debounced
from redispatcher_fastapi.consumer.partition import partition_key
from redispatcher_fastapi.consumer.results import ResultCodec
from redispatcher_fastapi.consumer.round_trip import check_round_trip, loss_marks
from redispatcher_fastapi.errors import ConsumerDefinitionError, WrongMessageError
from redispatcher_fastapi.job import Priority
from redispatcher_fastapi.message import EnvelopeDecoder, encode_envelope

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import timedelta

    from redispatcher_fastapi.backoff import RetryPolicy
    from redispatcher_fastapi.consumer.base import BaseConsumer
    from redispatcher_fastapi.consumer.batch import Batch
    from redispatcher_fastapi.consumer.unique import Unique
    from redispatcher_fastapi.limits import LimitRules
    from redispatcher_fastapi.schedules import Schedule
    from redispatcher_fastapi.sealing import Sealing


@dataclass(frozen=True, eq=False)
class ConsumerDefinition:
    """Everything the library needs to know of one consumer class."""

    consumer: type[BaseConsumer]
    name: str
    queue: str
    message_type: type[BaseModel]
    headers_type: type[BaseModel]
    #: The name of the method that does the work, and whether it is asynchronous.
    method: str
    is_async: bool
    #: How the batches are made up; ``None`` for a consumer of single messages.
    batch: Batch | None
    retry: RetryPolicy
    timeout: timedelta | None
    result_ttl: timedelta
    priority: Priority
    #: What its ``LIMITS`` mean; a configuration may have others for its pools.
    limits: LimitRules
    unique: Unique | None
    expires: timedelta | None
    schedules: tuple[Schedule, ...]
    has_around: bool
    message_parameter: str
    headers_parameter: str | None
    context_parameter: str | None
    dependency_parameters: tuple[str, ...]
    #: Whether a run needs the headers, if only to refuse a message whose headers are not valid.
    needs_headers: bool
    _results: ResultCodec
    _make_headers: Callable[[], BaseModel | Mapping[str, Any]] | None

    @cached_property
    def decoder(self) -> EnvelopeDecoder:
        return EnvelopeDecoder(self.message_type, self.headers_type)

    @cached_property
    def has_traits(self) -> bool:
        """Whether its jobs ask for more than to run in their turn, even without any option."""
        return (
            self.priority is not Priority.NORMAL
            or (self.unique or self.expires) is not None
            or bool(self.partition_fields)
        )

    @property
    def partition_fields(self) -> tuple[str, ...]:
        """The fields of the message that its partition is made of; none without keyed limits."""
        return self.limits.fields

    def partition_of(self, message: BaseModel, sealing: Sealing | None) -> str:
        """Return the key of the partition that a message belongs to, ``""`` for none.

        Raises:
            MessageEncodingError: a field of the key has no text that is always the same.
        """
        fields = self.limits.fields
        return partition_key(message, fields, self.name, sealing) if fields else ""

    @cached_property
    def _loss_marks(self) -> tuple[bytes, ...]:
        # Again, as a field's type may have been defined after the class.
        check_round_trip(self.message_type, self.name)
        return loss_marks(self.message_type)

    @cached_property
    def _has_own_headers(self) -> bool:
        """Whether a message has headers although its publisher gave none."""
        return self._make_headers is not None or has_generated_fields(self.headers_type)

    def encode(self, message: Any, headers: BaseModel | Mapping[str, Any] | None = None) -> bytes:
        """Return the envelope of a message; its size is not checked.

        Raises:
            WrongMessageError: it is not exactly the consumer's ``Message``.
            MessageEncodingError: message or headers have no JSON that could be read back.
        """
        body = self.encode_body(message)
        if headers is None and not self._has_own_headers:
            return encode_envelope(body)
        return encode_envelope(body, self.encode_headers(headers))

    def encode_headers(self, headers: BaseModel | Mapping[str, Any] | None = None) -> bytes:
        """Return the JSON of the headers of a message alone; nothing where it has none."""
        if headers is None and not self._has_own_headers:
            return b""
        made = None if self._make_headers is None else self._make_headers()
        return encode_headers(self.headers_type, made, headers, self.name)

    def check(self, message: Any) -> None:
        """Refuse what is not exactly the consumer's ``Message``.

        Raises:
            WrongMessageError: it is something else.
        """
        if type(message) is not self.message_type:
            raise self._wrong_message(message)

    def list_headers(self, headers: BaseModel | Mapping[str, Any] | None) -> dict[str, Any]:
        """Return the headers that a caller gave as a mapping that means the same.

        Raises:
            MessageEncodingError: they are neither a model nor a mapping.
        """
        if isinstance(headers, self.headers_type) and self._make_headers is None:
            # With what it generated itself, which would be generated anew.
            return headers.model_dump(by_alias=True, round_trip=True)
        return dict(as_mapping(headers, self.name))

    def encode_body(self, message: Any) -> bytes:
        """Return the JSON of a message alone; raises as :meth:`encode` does."""
        if type(message) is not self.message_type:
            raise self._wrong_message(message)
        return encode_model(message, "message", self.name, self._loss_marks)

    def encode_result(self, value: Any) -> bytes | None:
        """Return the JSON to keep of what ``process_message`` returned; ``None`` for nothing.

        Raises:
            ResultEncodingError: it cannot be turned into JSON.
        """
        return self._results.encode(value)

    def decode_result(self, raw: bytes | None) -> Any:
        """Return the result that was kept.

        Raises:
            ResultDecodingError: it is not what ``process_message`` is declared to return.
        """
        return self._results.decode(raw)

    @property
    def result_type(self) -> Any:
        """What ``process_message`` is declared to return; a text where that was not read yet."""
        return self._results.annotation

    @property
    def returns_nothing(self) -> bool:
        """Whether ``process_message`` is declared to return ``None`` and nothing else."""
        return self._results.returns_nothing

    def _wrong_message(self, message: Any) -> WrongMessageError:
        wanted, given = self.message_type.__qualname__, type(message).__qualname__
        if isinstance(message, type):
            step = f"Publish an instance, {wanted}(...), not the class {message.__qualname__}."
        elif isinstance(message, self.message_type):
            step = f"Turn it into one with {wanted}.model_validate(message.model_dump())."
        elif isinstance(message, BaseModel):
            step = f"Publish it through its own consumer, or make a {wanted}(...)."
        else:
            step = f"Make one with {wanted}(...) or {wanted}.model_validate(...)."
        return WrongMessageError(f"{self.name} takes exactly {wanted}, not {given}. {step}")


def define(
    consumer: type[BaseConsumer], *, root: type[BaseConsumer], parent: type[BaseConsumer] | None
) -> ConsumerDefinition:
    """Return the definition of a consumer that has a ``QUEUE``, perhaps that of its ``parent``.

    Raises:
        ConsumerDefinitionError: naming the class and what to change.
    """
    name = consumer.__qualname__
    queue = read_queue(consumer)
    check_owns_queue(consumer, parent)
    message_type = read_model(consumer, "Message", root)
    if message_type is root.Message:
        raise ConsumerDefinitionError(
            f"{name} has a QUEUE but no Message of its own: declare `class "
            "Message(BaseConsumer.Message)` in it, with `pass` for a body if it needs no fields."
        )
    headers_type = read_model(consumer, "Headers", root)
    check_is_complete(consumer)
    batch = check_batch(consumer)
    is_async = check_method(consumer)
    binding = bind(consumer, message_type=message_type, headers_type=headers_type, root=root)
    check_returns(consumer, binding.result, is_async=is_async)
    check_constructor(consumer)
    has_around = has_own_around(consumer)
    has_hook = find_function(consumer, "headers") is not find_function(root, "headers")
    definition = ConsumerDefinition(
        consumer=consumer,
        name=name,
        queue=queue,
        message_type=message_type,
        headers_type=headers_type,
        method=consumer.__redispatcher_method__,
        is_async=is_async,
        batch=batch,
        retry=consumer.RETRY,
        timeout=consumer.TIMEOUT,
        result_ttl=consumer.RESULT_TTL,
        priority=consumer.PRIORITY,
        limits=check_limits(consumer, message_type),
        unique=consumer.UNIQUE,
        expires=consumer.EXPIRES,
        schedules=read_schedules(consumer, message_type),
        has_around=has_around,
        message_parameter=binding.message,
        headers_parameter=binding.headers,
        context_parameter=binding.context,
        dependency_parameters=binding.dependencies,
        needs_headers=has_around
        or batch is not None
        or headers_type is not root.Headers
        or (binding.headers or binding.context) is not None,
        _results=ResultCodec(consumer, binding.result),
        _make_headers=consumer.headers if has_hook else None,
    )
    if definition.unique is not None:
        check_unique(
            definition.unique,
            message_type,
            definition.partition_fields,
            where=f"{name}.UNIQUE",
            error=ConsumerDefinitionError,
        )
    if definition.schedules:
        refuse_debounced(definition.unique, f"{name}.SCHEDULES", ConsumerDefinitionError)
    for model in (message_type, headers_type):
        check_round_trip(model, name)
    try:
        definition.decoder  # noqa: B018  # made here unless a field's type is still to be defined
    except PydanticUndefinedAnnotation:
        pass
    except PydanticUserError as error:
        if error.code != "class-not-fully-defined":
            raise
    return definition
