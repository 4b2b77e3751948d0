"""What JSON would lose on the way through Redis is refused, at the latest when it is published."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar

import pytest
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    Secret,
    SecretStr,
    TypeAdapter,
    field_serializer,
    model_validator,
)
from pydantic.dataclasses import dataclass as validated_dataclass
from typing_extensions import TypeAliasType, TypedDict

from redispatcher_fastapi.consumer import (
    BaseConsumer,
    MessageEncodingError,
    ResultEncodingError,
    definition_of,
)
from redispatcher_fastapi.consumer.round_trip import ALL_MARKS, loss_marks
from redispatcher_fastapi.errors import ConsumerDefinitionError

NAN, SECRET = math.nan, SecretStr("hunter2")
T = TypeVar("T")


@dataclass
class Login:
    password: SecretStr


class LoginDict(TypedDict):
    password: SecretStr


class LoginTuple(NamedTuple):
    password: SecretStr


class Point(BaseModel):
    x: float
    label: str | None = None


class Sample(BaseModel):
    model_config = ConfigDict(ser_json_inf_nan="constants")

    x: float


class Revealed(BaseModel):
    password: SecretStr
    note: str = "*" * 10

    @field_serializer("password", when_used="json")
    def reveal(self, value: SecretStr) -> str:
        return value.get_secret_value()


class Color(StrEnum):
    RED = "red"


Passwords = TypeAliasType("Passwords", list[SecretStr])
Tree = TypeAliasType("Tree", "dict[str, Tree] | float")


def consumer(**attributes: Any) -> Any:
    """Return a consumer whose process_message returns what ``returns`` says."""
    returns = attributes.pop("returns", None)

    async def process_message(self: Any, message: Any) -> Any: ...

    process_message.__annotations__["return"] = returns
    content = {
        "QUEUE": "round-trip",
        "Message": type("Message", (BaseConsumer.Message,), {}),
        "process_message": process_message,
        "__module__": __name__,
    }
    return type("Some", (BaseConsumer,), {**content, **attributes})


def with_field(annotation: Any) -> Any:
    root: Any = RootModel
    return consumer(Message=type("Message", (root[annotation],), {"__module__": __name__}))


def encode(some: Any, value: Any) -> Any:
    return json.loads(definition_of(some).encode(some.Message(value)))["body"]


class TestNumbers:
    @pytest.mark.parametrize(
        ("annotation", "value", "place"),
        [
            (Point, Point(x=NAN), "x"),
            (Point, Point(x=math.inf), "x"),
            (Point, Point(x=-math.inf), "x"),
            (float | None, NAN, ""),
            (dict[str, list[Point]], {"a": [Point(x=1), Point(x=NAN)]}, "a.1.x"),
            (Any, {"a": NAN}, "a"),
            (Tree, {"a": {"b": NAN}}, "a.b"),
        ],
    )
    def test_one_that_json_has_not_is_refused(
        self, annotation: Any, value: Any, place: str
    ) -> None:
        with pytest.raises(MessageEncodingError, match=f"field '{place}' in the message for Some"):
            encode(with_field(annotation), value)

    def test_finite_ones_beside_nulls_are_published(self) -> None:
        assert encode(with_field(list[Point]), [Point(x=1.5)]) == [{"x": 1.5, "label": None}]

    def test_other_values_beside_nulls_are_published(self) -> None:
        value = {"a": [Color.RED, b"x", None, 1, {"b": "c"}]}

        assert encode(with_field(Any), value) == {"a": ["red", "x", None, 1, {"b": "c"}]}
        assert encode(with_field(tuple[Literal["a"], Color, None]), ("a", Color.RED, None)) == [
            "a",
            "red",
            None,
        ]

    def test_a_type_of_which_not_everything_is_known_may_hold_one(self) -> None:
        @dataclass
        class Late:
            x: Unknown  # type: ignore[name-defined]  # noqa: F821  # pyright: ignore[reportUndefinedVariable]  # not yet

        assert loss_marks(Late) == loss_marks(list["Unknown"]) == ALL_MARKS  # type: ignore[name-defined]  # noqa: F821  # pyright: ignore[reportUndefinedVariable]
        assert loss_marks(tuple[Literal["a"], Color, int]) == ()

    def test_a_model_may_say_how_they_are_written(self) -> None:
        some = with_field(list[Sample | None])
        definition = definition_of(some)
        raw = definition.encode(some.Message([None, Sample(x=math.inf)]))

        assert definition.decoder.decode(raw).message == some.Message([None, Sample(x=math.inf)])

    def test_those_in_headers_are_refused_too(self) -> None:
        some = consumer()

        with pytest.raises(MessageEncodingError, match="field 'rate' in the headers for Some"):
            definition_of(some).encode(some.Message(), {"rate": NAN})

    @pytest.mark.parametrize(
        ("returns", "value"),
        [
            (float, NAN),
            (dict[str, float | None], {"a": NAN}),
            (Any, {"a": [NAN]}),
            (list[Point], [Point(x=NAN)]),
        ],
    )
    def test_those_in_results_are_refused_too(self, returns: Any, value: Any) -> None:
        with pytest.raises(ResultEncodingError, match=r"Some\.process_message .* not finite"):
            definition_of(consumer(returns=returns)).encode_result(value)


#: What pydantic < 2.8 says of a secret where the annotation does not tell of it.
UNKNOWN = "unknown type: .*Secret"


class TestSecrets:
    @pytest.mark.parametrize(
        ("annotation", "value", "place"),
        [
            (Login, Login(SECRET), "password"),
            (LoginDict, {"password": SECRET}, "password"),
            (LoginTuple, LoginTuple(SECRET), "0"),
            (Passwords, [SECRET], "0"),
            (Any, {"password": SECRET}, "password"),
            (list[Secret[str] | None], [None, Secret("hunter2")], "1"),
        ],
    )
    def test_they_are_refused_wherever_they_are(
        self, annotation: Any, value: Any, place: str
    ) -> None:
        refusal = f"secret field '{place}' .* asterisks|{UNKNOWN}"

        with pytest.raises(MessageEncodingError, match=refusal):
            encode(with_field(annotation), value)
        with pytest.raises(ResultEncodingError, match=f"asterisks|{UNKNOWN}"):
            definition_of(consumer(returns=annotation)).encode_result(value)

    def test_they_are_refused_in_headers(self) -> None:
        some = consumer()

        refusal = f"secret field 'token' in the headers|{UNKNOWN}"

        with pytest.raises(MessageEncodingError, match=refusal):
            definition_of(some).encode(some.Message(), {"token": SECRET})

    def test_one_that_a_serializer_reveals_is_published(self) -> None:
        written = encode(with_field(Revealed), Revealed(password=SECRET))

        assert written == {"password": "hunter2", "note": "*" * 10}


class Crossed(BaseModel):
    a: int = Field(validation_alias="in", serialization_alias="out")


@validated_dataclass
class CrossedDataclass:
    a: int = Field(validation_alias="in", serialization_alias="out")


CrossedByName = TypeAliasType("CrossedByName", dict[str, Crossed])


class Mended(Crossed):
    @model_validator(mode="before")
    @classmethod
    def mend(cls, value: dict[str, Any]) -> dict[str, Any]:
        return {"in": value.get("in", value.get("out"))}


class Box(BaseModel, Generic[T]):
    content: T
    parent: Box[T] | None = None


class OnlyByName(BaseModel):
    model_config = ConfigDict(validate_by_alias=False, validate_by_name=True)

    a: int = Field(alias="A")


class TestAliases:
    @pytest.mark.parametrize(
        "annotation",
        [
            Crossed,
            CrossedDataclass,
            Box[Crossed],
            list[Annotated[Crossed | None, Field()]],
            CrossedByName,
        ],
    )
    def test_a_nested_model_must_read_what_it_writes(self, annotation: Any) -> None:
        with pytest.raises(ConsumerDefinitionError, match=r"'a' of Crossed.* as 'out' but"):
            with_field(annotation)
        with pytest.raises(ConsumerDefinitionError, match=r"Some\.process_message: .* 'out' but"):
            consumer(returns=annotation)

    def test_a_nested_model_may_have_its_own_ways(self) -> None:
        some = with_field(list[Mended])
        definition = definition_of(some)
        message = some.Message.model_validate([{"in": 1}])

        assert definition.decoder.decode(definition.encode(message)).message == message

    def test_a_model_that_reads_no_aliases_must_write_none(self) -> None:
        with pytest.raises(ConsumerDefinitionError, match="leave validate_by_alias=False out"):
            with_field(OnlyByName)

    def test_headers_must_be_read_as_they_are_written(self) -> None:
        class Headers(BaseConsumer.Headers):
            trace: str = Field(serialization_alias="trace-id")

        with pytest.raises(ConsumerDefinitionError, match=r"'trace' of .*Headers is written as"):
            consumer(Headers=Headers)

    def test_a_model_to_be_defined_later_is_looked_at_when_it_is_published(self) -> None:
        content = {"__annotations__": {"late": "Late"}, "__module__": __name__}
        message: Any = type("Message", (BaseConsumer.Message,), content)
        some = consumer(Message=message)

        message.model_rebuild(_types_namespace={"Late": Crossed})

        with pytest.raises(ConsumerDefinitionError, match="'out' but read as 'in'"):
            definition_of(some).encode(message(late={"in": 1}))


class Unbuildable:
    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        raise RuntimeError("no schema")


@pytest.mark.parametrize("returns", [Annotated[str, Field(pattern="[")], Unbuildable])
def test_a_result_type_that_could_never_be_kept_is_refused_with_the_class(returns: Any) -> None:
    with pytest.raises(
        ConsumerDefinitionError, match=r"Some\.process_message is declared to return"
    ):
        consumer(returns=returns)


def test_a_name_that_is_not_defined_yet_is_left_for_later() -> None:
    some = consumer(returns="list[_Late]")
    globals()["_Late"] = Point
    try:
        raw = definition_of(some).encode_result([Point(x=1)])
    finally:
        del globals()["_Late"]

    assert TypeAdapter(list[Point]).validate_json(raw or b"") == [Point(x=1)]
    assert definition_of(some).decode_result(raw) == [Point(x=1)]
