"""Turns what ``process_message`` returns into the JSON that Redis holds, and back."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from redispatcher_fastapi.consumer.binding import evaluate_result
from redispatcher_fastapi.consumer.encoding import describe_problem
from redispatcher_fastapi.consumer.round_trip import (
    ALL_MARKS,
    check_round_trip,
    find_loss,
    loss_marks,
)
from redispatcher_fastapi.errors import ConsumerDefinitionError, RedispatcherError
from redispatcher_fastapi.message import summarize_problems

if TYPE_CHECKING:
    from redispatcher_fastapi.consumer.base import BaseConsumer


class ResultEncodingError(RedispatcherError, ValueError):
    """Raised when what ``process_message`` returned cannot be stored as JSON."""


class ResultDecodingError(RedispatcherError, ValueError):
    """Raised by ``Job.result()`` when the result is not of the type the consumer declares now."""


class ResultCodec:
    """Encodes and decodes the results of one consumer by its return annotation.

    Where that says nothing, or cannot be used, results are anything that JSON can hold.

    Raises:
        ConsumerDefinitionError: no result of the declared type could be kept or read.
    """

    def __init__(self, consumer: type[BaseConsumer], annotation: Any) -> None:
        self._consumer = consumer
        self._where = f"{consumer.__qualname__}.{consumer.__redispatcher_method__}"
        self.annotation = annotation
        self._loss_marks: tuple[bytes, ...] = ALL_MARKS
        #: Whether it is declared to return ``None`` and nothing else.
        self.returns_nothing = annotation in (None, type(None))
        # None: to be made when it is first needed, for a name is not defined yet.
        self._adapter = self._make_adapter()

    def encode(self, value: Any) -> bytes | None:
        """Return the JSON to keep of a result; ``None`` for nothing.

        Raises:
            ResultEncodingError: it cannot be turned into JSON.
        """
        if value is None or self.returns_nothing:
            return None
        serializer = (self._adapter or self._usable_adapter()).serializer
        try:
            written = serializer.to_json(value, by_alias=True, round_trip=True, warnings=False)
        except Exception as error:
            raise ResultEncodingError(
                f"{self._where} returned a value of type {type(value).__qualname__} that cannot be "
                f"stored as JSON{describe_problem(error)}. Return JSON types, models or "
                "dataclasses, or nothing."
            ) from error
        for mark in self._loss_marks:
            if mark in written:
                plain = serializer.to_python(value, by_alias=True, round_trip=True, warnings=False)
                self._refuse_loss(plain, written)
                break
        return written

    def decode(self, raw: bytes | None) -> Any:
        """Return the result that was kept.

        Raises:
            ResultDecodingError: it is not of the declared type.
        """
        if raw is None:
            return None
        try:
            return self._usable_adapter().validator.validate_json(raw)
        except ValidationError as error:
            raise ResultDecodingError(
                f"The stored result is not what {self._where} is declared to return: "
                f"{summarize_problems(error)}"
            ) from None

    def _usable_adapter(self) -> TypeAdapter[Any]:
        if self._adapter is None:
            self._adapter = self._make_adapter() or TypeAdapter(Any)
        return self._adapter

    def _make_adapter(self) -> TypeAdapter[Any] | None:
        annotation = self.annotation
        if isinstance(annotation, str):
            # Defined after the class, or imported for type checkers only.
            annotation = evaluate_result(annotation, self._consumer)
        if isinstance(annotation, str):
            return None
        if annotation is inspect.Signature.empty:
            return TypeAdapter(Any)
        try:
            adapter = TypeAdapter[Any](annotation)
        except NameError:
            return None
        except PydanticUserError as error:
            # Not a type that pydantic knows, such as a Protocol: it only describes.
            return None if error.code == "class-not-fully-defined" else TypeAdapter(Any)
        except Exception as error:
            raise ConsumerDefinitionError(
                f"{self._where} is declared to return {annotation!r}, of which pydantic can make "
                f"nothing ({type(error).__name__}: {error}): correct the annotation, or return "
                "something else."
            ) from error
        check_round_trip(annotation, self._where)
        self._loss_marks = loss_marks(annotation)
        return adapter

    def _refuse_loss(self, plain: Any, written: bytes) -> None:
        loss = find_loss(plain, written)
        if loss is None:
            return
        place = f", at {loss.place!r}," if loss.place else ""
        if loss.kind == "secret":
            raise ResultEncodingError(
                f"{self._where} returned a secret{place} that would be stored as asterisks. "
                "Return a reference to it instead, or give it a serializer that reveals it."
            )
        raise ResultEncodingError(
            f"{self._where} returned a number{place} that is not finite and would be stored as "
            "null. Return None or a text instead."
        )
