"""What a publish makes of a message and its options, before anything is sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import BaseModel, Field, Json, SecretStr, computed_field, field_serializer

from redispatcher_fastapi.broker.types import Submission
from redispatcher_fastapi.consumer import (
    BaseConsumer,
    InvalidOptionError,
    MessageEncodingError,
    definition_of,
    prepare,
)
from redispatcher_fastapi.errors import MessageTooLargeError, PublishError, WrongMessageError
from redispatcher_fastapi.keys import InvalidNameError

SECRET = "hunter2"

LINE_ISLANDS, BAKER_ISLAND = timezone(timedelta(hours=14)), timezone(timedelta(hours=-12))


class Plain(BaseConsumer):
    QUEUE = "plain"

    class Message(BaseConsumer.Message):
        text: str

    async def process_message(self, message: Message) -> None: ...


class Other(BaseConsumer):
    QUEUE = "other"

    class Message(BaseConsumer.Message):
        text: str

    async def process_message(self, message: Message) -> None: ...


class Traced(BaseConsumer):
    QUEUE = "traced"

    class Message(BaseConsumer.Message):
        text: str = ""

    class Headers(BaseConsumer.Headers):
        trace: str = "none"
        sent_at: datetime | None = Field(default=None, alias="sent-at")

    @classmethod
    def headers(cls) -> Mapping[str, Any]:
        return {"trace": "made", "tenant": "made"}

    async def process_message(self, message: Message) -> None: ...


class Stamped(BaseConsumer):
    QUEUE = "stamped"

    class Message(BaseConsumer.Message):
        pass

    class Headers(BaseConsumer.Headers):
        stamp: str = Field(default_factory=lambda: "made at publish")

    async def process_message(self, message: Message) -> None: ...


class Demanding(BaseConsumer):
    QUEUE = "demanding"

    class Message(BaseConsumer.Message):
        pass

    class Headers(BaseConsumer.Headers):
        tenant: int

    async def process_message(self, message: Message) -> None: ...


class Login(BaseConsumer):
    QUEUE = "login"

    class Message(BaseConsumer.Message):
        class Credentials(BaseModel):
            password: SecretStr

        credentials: list[Credentials] = Field(default_factory=list[Credentials])
        note: str = ""

    async def process_message(self, message: Message) -> None: ...


class Derived(BaseConsumer):
    QUEUE = "derived"

    class Message(BaseConsumer.Message, extra="forbid"):
        width: int
        raw: Json[list[int]] = []  # noqa: RUF012  # pydantic copies it

        @computed_field  # type: ignore[prop-decorator]  # pydantic documents this order
        @property
        def area(self) -> int:
            return self.width**2

    async def process_message(self, message: Message) -> None: ...


class Odd(BaseConsumer):
    QUEUE = "odd"

    class Message(BaseConsumer.Message):
        thing: Any

        @field_serializer("thing")
        def write_thing(self, value: Any) -> Any:
            if value == SECRET:
                raise RuntimeError(f"cannot write {value}")
            return value

    async def process_message(self, message: Message) -> None: ...


def submit(consumer: Any, message: Any, **options: Any) -> Submission:
    return prepare(definition_of(consumer), message, **options)


def read(submission: Submission) -> Any:
    return json.loads(submission.envelope)


class TestTheMessage:
    def test_it_is_published_with_a_new_id_at_once(self) -> None:
        first = submit(Plain, Plain.Message(text="hello"))
        second = submit(Plain, Plain.Message(text="hello"))

        assert read(first) == {"v": 1, "body": {"text": "hello"}}
        assert first.job_id != second.job_id
        assert (first.delay, first.at, first.is_chosen_id) == (None, None, False)

    @pytest.mark.parametrize(
        ("message", "advice"),
        [
            ({"text": "x"}, r"Plain\.Message, not dict\. .*model_validate"),
            (Other.Message(text="x"), r"Plain\.Message, not Other\.Message\. .*its own consumer"),
            (Plain.Message, r"an instance, Plain\.Message\(\.\.\.\), not the class"),
            (None, r"Plain\.Message, not NoneType"),
        ],
    )
    def test_only_the_consumer_s_own_type_is_taken(self, message: Any, advice: str) -> None:
        with pytest.raises(WrongMessageError, match=advice):
            submit(Plain, message)

    def test_not_even_a_subclass_is_taken(self) -> None:
        class Longer(Plain.Message):
            more: str = ""

        with pytest.raises(WrongMessageError, match=r"model_validate\(message\.model_dump\(\)\)"):
            submit(Plain, Longer(text="x"))

    def test_it_may_be_as_large_as_the_limit_and_not_one_byte_larger(self) -> None:
        message = Plain.Message(text="é" * 10)
        size = len(submit(Plain, message).envelope)

        assert submit(Plain, message, max_message_bytes=size).envelope
        with pytest.raises(MessageTooLargeError, match=f"takes {size} bytes.* {size - 1}"):
            submit(Plain, message, max_message_bytes=size - 1)

    def test_headers_count_for_the_limit(self) -> None:
        size = len(submit(Plain, Plain.Message(text="x")).envelope)

        with pytest.raises(MessageTooLargeError):
            submit(Plain, Plain.Message(text="x"), headers={"a": 1}, max_message_bytes=size)

    def test_what_is_computed_is_left_out_and_what_is_parsed_is_written_back(self) -> None:
        message = Derived.Message.model_validate({"width": 2, "raw": "[1, 2]"})
        definition = definition_of(Derived)

        assert definition.decoder.decode(definition.encode(message)).message == message

    def test_what_json_cannot_hold_is_refused(self) -> None:
        with pytest.raises(MessageEncodingError, match=r"Odd cannot be turned into JSON.*object"):
            submit(Odd, Odd.Message(thing=object()))

    def test_the_error_does_not_repeat_what_a_serializer_said_about_a_value(self) -> None:
        with pytest.raises(MessageEncodingError) as caught:
            submit(Odd, Odd.Message(thing=SECRET))

        assert SECRET not in str(caught.value)

    def test_a_secret_would_be_lost_and_is_refused(self) -> None:
        credentials = Login.Message.Credentials(password=SecretStr(SECRET))

        with pytest.raises(MessageEncodingError, match="asterisks"):
            submit(Login, Login.Message(credentials=[credentials]))

    def test_a_message_without_its_optional_secret_is_published(self) -> None:
        assert submit(Login, Login.Message(note="hi")).envelope

    def test_asterisks_in_a_message_without_secrets_are_just_text(self) -> None:
        assert submit(Plain, Plain.Message(text="*" * 10)).envelope

    def test_a_field_of_the_wrong_type_makes_pydantic_warn(self) -> None:
        message = Plain.Message(text="x")
        message.text = 5  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]  # the mistake

        with pytest.warns(UserWarning, match="serializ"):
            submit(Plain, message)


class TestHeaders:
    def test_a_message_without_headers_has_none_in_its_envelope(self) -> None:
        assert "headers" not in read(submit(Plain, Plain.Message(text="x")))
        assert "headers" not in read(submit(Plain, Plain.Message(text="x"), headers={}))

    def test_the_hook_makes_them_at_publish(self) -> None:
        assert read(submit(Traced, Traced.Message()))["headers"] == {
            "trace": "made",
            "tenant": "made",
            "sent-at": None,
        }

    def test_the_caller_s_win_key_by_key(self) -> None:
        submission = submit(Traced, Traced.Message(), headers={"trace": "given", "more": 1})

        assert read(submission)["headers"] == {
            "trace": "given",
            "tenant": "made",
            "more": 1,
            "sent-at": None,
        }

    def test_of_a_given_model_only_what_was_set_counts(self) -> None:
        given = Traced.Headers.model_validate({"sent-at": datetime(2026, 1, 2, tzinfo=UTC)})
        headers = read(submit(Traced, Traced.Message(), headers=given))["headers"]

        assert headers["trace"] == "made"
        assert headers["sent-at"] == "2026-01-02T00:00:00Z"

    def test_a_given_model_is_written_by_its_own_serializer(self) -> None:
        headers = Stamped.Headers(stamp="mine")

        assert read(submit(Stamped, Stamped.Message(), headers=headers))["headers"] == {
            "stamp": "mine"
        }

    def test_a_model_of_another_type_is_read_by_its_keys(self) -> None:
        headers = BaseConsumer.Headers.model_validate({"stamp": "theirs"})

        assert read(submit(Stamped, Stamped.Message(), headers=headers))["headers"] == {
            "stamp": "theirs"
        }

    def test_what_is_generated_is_generated_at_publish(self) -> None:
        assert read(submit(Stamped, Stamped.Message()))["headers"] == {"stamp": "made at publish"}

    def test_headers_that_do_not_fit_are_refused_without_their_values(self) -> None:
        with pytest.raises(MessageEncodingError, match=r"Demanding\.Headers: .*tenant") as caught:
            submit(Demanding, Demanding.Message(), headers={"tenant": SECRET})

        assert SECRET not in str(caught.value)
        assert caught.value.__cause__ is None

    def test_headers_that_are_missing_are_refused(self) -> None:
        with pytest.raises(MessageEncodingError, match="tenant: Field required"):
            submit(Demanding, Demanding.Message())

    @pytest.mark.parametrize("headers", [["trace"], "trace", 5])
    def test_headers_are_a_model_or_a_mapping(self, headers: Any) -> None:
        with pytest.raises(MessageEncodingError, match="must be its Headers or a mapping"):
            submit(Plain, Plain.Message(text="x"), headers=headers)

    def test_headers_that_json_cannot_hold_are_refused(self) -> None:
        with pytest.raises(MessageEncodingError, match="headers for Plain cannot be turned"):
            submit(Plain, Plain.Message(text="x"), headers={"a": object()})

    def test_what_is_written_is_read_back(self) -> None:
        definition = definition_of(Traced)
        given = {"trace": "t", "sent-at": datetime(2026, 1, 2, tzinfo=UTC)}

        headers = definition.decoder.decode(definition.encode(Traced.Message(), given)).headers

        assert headers == Traced.Headers.model_validate({**given, "tenant": "made"})


class TestOptions:
    def test_an_id_of_the_caller_s_is_marked_as_chosen(self) -> None:
        submission = submit(Plain, Plain.Message(text="x"), id="order:42")

        assert (submission.job_id, submission.is_chosen_id) == ("order:42", True)

    @pytest.mark.parametrize("job_id", ["", "a b", "a{b}", "x" * 129, "ü"])
    def test_an_id_that_cannot_identify_a_job_is_refused(self, job_id: str) -> None:
        with pytest.raises(InvalidNameError):
            submit(Plain, Plain.Message(text="x"), id=job_id)

    def test_an_id_that_is_no_text_is_refused(self) -> None:
        with pytest.raises(InvalidOptionError, match="must be a string, not int"):
            submit(Plain, Plain.Message(text="x"), id=42)

    def test_it_may_start_after_a_delay_or_at_a_time(self) -> None:
        at = datetime(2030, 1, 1, tzinfo=timezone(timedelta(hours=2)))

        assert submit(Plain, Plain.Message(text="x"), delay=timedelta(1)).delay == timedelta(1)
        assert submit(Plain, Plain.Message(text="x"), at=at).at == at
        assert submit(Plain, Plain.Message(text="x"), delay=timedelta()).delay == timedelta()

    @pytest.mark.parametrize(
        ("options", "advice"),
        [
            ({"delay": timedelta(1), "at": datetime.now(UTC)}, "give one of them"),
            ({"delay": timedelta(microseconds=-1)}, "negative or longer than 100 years"),
            ({"delay": timedelta(days=40_000)}, "negative or longer than 100 years"),
            ({"delay": 5}, "timedelta as its delay, not int"),
            ({"at": datetime(2030, 1, 1)}, r"naive datetime.*datetime\.now\(UTC\)"),
            ({"at": datetime.max.replace(tzinfo=LINE_ISLANDS)}, "more than 100 years ahead"),
            ({"at": datetime.max.replace(tzinfo=BAKER_ISLAND)}, "more than 100 years ahead"),
            ({"at": "2030-01-01"}, "aware datetime as `at`, not str"),
        ],
    )
    def test_a_start_that_makes_no_sense_is_refused(
        self, options: dict[str, Any], advice: str
    ) -> None:
        with pytest.raises(InvalidOptionError, match=f"Plain.*{advice}"):
            submit(Plain, Plain.Message(text="x"), **options)

    def test_every_refusal_is_a_publish_error(self) -> None:
        assert issubclass(InvalidOptionError, PublishError)
        assert issubclass(MessageEncodingError, PublishError)
