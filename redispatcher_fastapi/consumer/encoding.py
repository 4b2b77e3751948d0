"""Turns messages and headers into the JSON that Redis holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError

from redispatcher_fastapi.consumer.round_trip import ALL_MARKS, find_loss
from redispatcher_fastapi.errors import PublishError
from redispatcher_fastapi.message import summarize_problems


class MessageEncodingError(PublishError, ValueError):
    """Raised when a message or its headers have no JSON that the consumer could read back."""


def encode_model(
    model: BaseModel, what: str, consumer: str, loss_marks: tuple[bytes, ...]
) -> bytes:
    """Return the JSON of a message or of headers; without one of ``loss_marks`` it has no loss.

    A field that was given a value of another type after validation makes pydantic warn.
    """
    serializer = model.__pydantic_serializer__
    try:
        # round_trip leaves computed fields out, which a model that forbids extra fields would
        # refuse. warnings="error" would double the cost of a publish.
        written = serializer.to_json(model, by_alias=True, round_trip=True)
    except Exception as error:
        raise MessageEncodingError(
            f"The {what} for {consumer} cannot be turned into JSON{describe_problem(error)}."
        ) from error
    for mark in loss_marks:
        if mark in written:
            plain = serializer.to_python(model, by_alias=True, round_trip=True, warnings=False)
            _refuse_loss(plain, written, f"{what} for {consumer}")
            break
    return written


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
        merged = {**as_mapping(made, consumer), **as_mapping(given, consumer)}
        try:
            headers = headers_type.model_validate(merged)
        except ValidationError as error:
            raise MessageEncodingError(
                f"The headers for {consumer} do not fit its {headers_type.__qualname__}: "
                f"{summarize_problems(error)}"
            ) from None
    return encode_model(headers, "headers", consumer, ALL_MARKS)


def has_generated_fields(model: type[BaseModel]) -> bool:
    """Whether an empty mapping is not the same now as when the message is read."""
    return any(
        field.is_required() or field.default_factory is not None
        for field in model.model_fields.values()
    )


def _refuse_loss(plain: Any, written: bytes, what: str) -> None:
    loss = find_loss(plain, written)
    if loss is None:
        return
    if loss.kind == "secret":
        raise MessageEncodingError(
            f"The secret field {loss.place!r} in the {what} would be published as asterisks. "
            "Publish a reference to the secret instead, or give the field a @field_serializer that "
            "reveals it."
        )
    raise MessageEncodingError(
        f"The field {loss.place!r} in the {what} is not a finite number and would be published as "
        "null. Publish another value, or give its model `model_config = "
        'ConfigDict(ser_json_inf_nan="constants")`.'
    )


def as_mapping(headers: Any, consumer: str) -> Mapping[str, Any]:
    """Return headers by the names under which they are published; of a model, those that were set.

    Raises:
        MessageEncodingError: they are neither a model nor a mapping.
    """
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


def describe_problem(error: Exception) -> str:
    """Return pydantic's own words, which name types and functions; the rest may repeat values."""
    text = str(error)
    if not isinstance(error, PydanticSerializationError):
        text = type(error).__name__
    elif not text.startswith("Unable to serialize"):
        text = text.partition(":")[0]
    return f" ({text})"
