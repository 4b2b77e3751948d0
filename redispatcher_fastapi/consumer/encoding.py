"""Turns messages, headers and results into the JSON that Redis holds, and results back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast, get_args

from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    Secret,
    SecretBytes,
    SecretStr,
    ValidationError,
)
from pydantic_core import PydanticSerializationError

from redispatcher_fastapi.errors import ConsumerDefinitionError, PublishError, RedispatcherError
from redispatcher_fastapi.message import summarize_problems

if TYPE_CHECKING:
    from pydantic import TypeAdapter
    from pydantic.fields import FieldInfo

_MASKED = b'"**********"'


class MessageEncodingError(PublishError, ValueError):
    """Raised when a message or its headers have no JSON that the consumer could read back."""


class ResultEncodingError(RedispatcherError, ValueError):
    """Raised when what ``process_message`` returned cannot be stored as JSON."""


class ResultDecodingError(RedispatcherError, ValueError):
    """Raised by ``Job.result()`` when the result is not of the type the consumer declares now."""


def encode_message(message: BaseModel, consumer: str, *, holds_secrets: bool) -> bytes:
    """Return the JSON of a message.

    A field that was given a value of another type after validation makes pydantic warn.
    """
    try:
        body = _dump(message)
    except Exception as error:
        raise MessageEncodingError(
            f"The message for {consumer} cannot be turned into JSON{_detail(error)}."
        ) from error
    if holds_secrets and _MASKED in body:
        raise MessageEncodingError(
            f"A secret field in the message for {consumer} would be published as asterisks. "
            "Publish a reference to the secret instead, or give the field a @field_serializer that "
            "reveals it."
        )
    return body


def encode_headers(
    headers_type: type[BaseModel],
    made: BaseModel | Mapping[str, Any] | None,
    given: BaseModel | Mapping[str, Any] | None,
    consumer: str,
) -> bytes:
    """Return the JSON of the headers: ``given`` wins over ``made``, key by key.

    Of a ``given`` model, only fields that were set count.
    """
    only = given if made is None else made if given is None else None
    if type(only) is headers_type:
        headers: Any = only
    else:
        merged = {**_as_mapping(made, consumer), **_as_mapping(given, consumer)}
        try:
            headers = headers_type.model_validate(merged)
        except ValidationError as error:
            raise MessageEncodingError(
                f"The headers for {consumer} do not fit its {headers_type.__qualname__}: "
                f"{summarize_problems(error)}"
            ) from None
    try:
        return _dump(headers)
    except Exception as error:
        raise MessageEncodingError(
            f"The headers for {consumer} cannot be turned into JSON{_detail(error)}."
        ) from error


def encode_result(adapter: TypeAdapter[Any], value: Any, consumer: str) -> bytes:
    """Return the JSON of a result."""
    try:
        return adapter.serializer.to_json(value, by_alias=True, round_trip=True, warnings=False)
    except Exception as error:
        raise ResultEncodingError(
            f"{consumer}.process_message returned a {type(value).__qualname__} that cannot be "
            f"stored as JSON{_detail(error)}. Return JSON types, models or dataclasses, or nothing."
        ) from error


def decode_result(adapter: TypeAdapter[Any], raw: bytes, consumer: str) -> Any:
    """Return a result of the declared type."""
    try:
        return adapter.validator.validate_json(raw)
    except ValidationError as error:
        raise ResultDecodingError(
            f"The stored result is not what {consumer}.process_message is declared to return: "
            f"{summarize_problems(error)}"
        ) from None


def has_generated_fields(model: type[BaseModel]) -> bool:
    """Whether an empty mapping is not the same now as when the message is read."""
    return any(
        field.is_required() or field.default_factory is not None
        for field in model.model_fields.values()
    )


def holds_secrets(model: type[BaseModel]) -> bool:
    """Whether a field is, somewhere inside, a type that JSON shows as asterisks."""
    return any(_is_secret(field.annotation, seen={model}) for field in model.model_fields.values())


def check_round_trip(model: type[BaseModel], consumer: str) -> None:
    """Refuse a message with fields that would be written in a way that is not read.

    Raises:
        ConsumerDefinitionError: naming the field.
    """
    config = model.model_config
    takes_names = config.get("populate_by_name", False) or config.get("validate_by_name", False)
    for name, field in model.model_fields.items():
        written = field.serialization_alias or name
        accepted = _aliases(field) or {name}
        if takes_names:
            accepted.add(name)
        if written not in accepted:
            raise ConsumerDefinitionError(
                f"{consumer}: the field {name!r} of {model.__qualname__} is written as {written!r} "
                f"but read as {' or '.join(map(repr, sorted(accepted)))}; give it one `alias` for "
                "both."
            )
        if field.exclude and field.is_required():
            raise ConsumerDefinitionError(
                f"{consumer}: the field {name!r} of {model.__qualname__} is required but excluded "
                "from what is published; give it a default or include it."
            )


def _dump(model: BaseModel) -> bytes:
    # round_trip leaves computed fields out, which a model that forbids extra fields would refuse.
    # warnings="error" would double the cost of a publish.
    return model.__pydantic_serializer__.to_json(model, by_alias=True, round_trip=True)


def _as_mapping(headers: Any, consumer: str) -> Mapping[str, Any]:
    match headers:
        case None:
            return {}
        case BaseModel():
            return headers.model_dump(by_alias=True, exclude_unset=True)
        case Mapping():
            return cast("Mapping[str, Any]", headers)
        case _:
            raise MessageEncodingError(
                f"The headers for {consumer} must be its Headers or a mapping, not "
                f"{type(headers).__qualname__}."
            )


def _aliases(field: FieldInfo) -> set[str]:
    alias = field.validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    names = (
        choice.path[0] if isinstance(choice, AliasPath) and len(choice.path) == 1 else choice
        for choice in choices
    )
    return {name for name in names if isinstance(name, str)}


def _is_secret(annotation: Any, *, seen: set[type]) -> bool:
    if isinstance(annotation, type):
        if issubclass(annotation, (SecretStr, SecretBytes, Secret)):
            return True
        if issubclass(annotation, BaseModel) and annotation not in seen:
            seen.add(annotation)
            return any(
                _is_secret(field.annotation, seen=seen)
                for field in annotation.model_fields.values()
            )
    return any(_is_secret(part, seen=seen) for part in get_args(annotation))


def _detail(error: Exception) -> str:
    """Return pydantic's own words, which name types and functions; the rest may repeat values."""
    text = str(error)
    if not isinstance(error, PydanticSerializationError):
        text = type(error).__name__
    elif not text.startswith("Unable to serialize"):
        text = text.partition(":")[0]
    return f" ({text})"
