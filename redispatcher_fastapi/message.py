"""The payload, its headers, and the envelope that carries both through Redis.

The envelope is JSON that a person can read and another language can write:
``{"v":1,"headers":{...},"body":{...}}``; ``headers`` is left out when there are none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired

from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from redispatcher_fastapi.errors import RedispatcherError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

ENVELOPE_VERSION = 1
_LISTED_PROBLEMS = 20
_MAX_ERROR_LENGTH = 4096
_LONGEST_PART = 100
_UNKNOWN_TAG = "Input has a tag that is none of the expected ones"
_BEFORE_BODY = b'{"v":1,"body":'

# Not Literal[1], which takes true and 1.0 as well.
_Version = Annotated[int, Field(strict=True, ge=ENVELOPE_VERSION, le=ENVELOPE_VERSION)]

DecodeReason = Literal["message_too_large", "undecodable", "unknown_version", "invalid_message"]


class EnvelopeError(RedispatcherError):
    """Raised when what Redis holds is not a message this consumer can take.

    Its text names fields and rules, never the values that were found.
    """

    def __init__(self, message: str, *, reason: DecodeReason) -> None:
        super().__init__(message)
        self.reason: DecodeReason = reason


@dataclass(frozen=True, slots=True)
class Envelope:
    """A decoded message with its headers."""

    message: BaseModel
    headers: Any


def encode_envelope(body: bytes, headers: bytes = b"") -> bytes:
    """Return the envelope around an encoded body and, unless empty, encoded headers."""
    if headers and headers != b"{}":
        return b'{"v":1,"headers":%b,"body":%b}' % (headers, body)
    return b"%b%b}" % (_BEFORE_BODY, body)


class EnvelopeDecoder:
    """Validates envelope, headers and body of one consumer in a single pass."""

    def __init__(self, message_type: type[BaseModel], headers_type: Any) -> None:
        # Made at run time, as the types belong to one consumer.
        make_typed_dict: Any = TypedDict
        fields = {"v": _Version, "body": message_type, "headers": NotRequired[headers_type]}
        wire: Any = make_typed_dict("Envelope", fields)
        self._validate = TypeAdapter[Any](wire).validator.validate_json
        self._validate_body = TypeAdapter[Any](message_type).validator.validate_json
        self._default_headers = TypeAdapter[Any](headers_type).validator

    def decode(self, raw: bytes) -> Envelope:
        """Return the message and its headers.

        Raises:
            EnvelopeError: with the reason for parking the job.
        """
        try:
            wire = self._validate(raw)
            headers = (
                wire["headers"] if "headers" in wire else self._default_headers.validate_python({})
            )
        except ValidationError as error:
            raise describe_decode_failure(error) from None
        return Envelope(wire["body"], headers)

    def decode_message(self, raw: bytes) -> Any:
        """Return the message alone, for a consumer that takes no headers: in half the time.

        Raises:
            EnvelopeError: with the reason for parking the job.
        """
        if raw.startswith(_BEFORE_BODY) and raw.endswith(b"}"):
            # What stands between is the body and nothing else, or it is not valid JSON.
            try:
                return self._validate_body(raw[len(_BEFORE_BODY) : -1])
            except ValidationError:
                pass  # described below, as part of the whole
        return self.decode(raw).message


def describe_decode_failure(error: ValidationError) -> EnvelopeError:
    """Return the parking reason for a validation failure, without any input value."""
    problems = error.errors(include_input=False, include_url=False, include_context=False)
    if any(problem["type"] == "json_invalid" for problem in problems):
        return EnvelopeError("The stored message is not valid JSON.", reason="undecodable")
    fields = {problem["loc"][0] if problem["loc"] else "" for problem in problems}
    if "v" in fields and "" not in fields:
        return EnvelopeError(
            f"The stored message has no version this release knows (it knows {ENVELOPE_VERSION}).",
            reason="unknown_version",
        )
    return EnvelopeError(summarize_problems(error), reason="invalid_message")


def summarize_problems(error: ValidationError) -> str:
    """Return where a validation failed and which rules were broken, without any input value."""
    problems = error.errors(include_input=False, include_url=False, include_context=False)
    listed = "; ".join(
        ": ".join(filter(None, (".".join(map(_shown_part, problem["loc"])), _shown_rule(problem))))
        for problem in problems[:_LISTED_PROBLEMS]
    )
    return on_one_line(f"{len(problems)} problem(s): {listed}"[:_MAX_ERROR_LENGTH])


def on_one_line(text: str) -> str:
    """Return a text with its control characters shown, so that it cannot pass for another line."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def _shown_part(part: int | str) -> str:
    text = str(part)  # the key of a mapping may be anything
    return text if len(text) <= _LONGEST_PART else f"{text[:_LONGEST_PART]}..."


def _shown_rule(problem: ErrorDetails) -> str:
    # Of pydantic's own texts, the only one that repeats a value.
    return _UNKNOWN_TAG if problem["type"] == "union_tag_invalid" else problem["msg"]
