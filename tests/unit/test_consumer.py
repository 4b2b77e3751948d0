"""Consumer classes: what is read off them, and what is refused when they are created."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, TypeVar

import pytest
from fastapi import Depends, Security
from pydantic import BaseModel, ConfigDict, Field

from redispatcher_fastapi.backoff import RetryPolicy
from redispatcher_fastapi.consumer import BaseConsumer, ConsumerDefinition, definition_of
from redispatcher_fastapi.errors import ConsumerDefinitionError
from redispatcher_fastapi.job import JobContext

if TYPE_CHECKING:
    from fractions import Fraction

PayloadT = TypeVar("PayloadT")


_ANYTHING: Any = object()


class Database:
    pass


def get_database() -> Database:
    return Database()


class Plain(BaseConsumer):
    QUEUE = "plain"

    class Message(BaseConsumer.Message):
        text: str

    async def process_message(self, message: Message) -> int:
        return len(message.text)


class Full(BaseConsumer):
    QUEUE = "full"
    RETRY = RetryPolicy(max_attempts=3)
    TIMEOUT = timedelta(minutes=1)
    RESULT_TTL = timedelta(days=1)

    class Message(BaseConsumer.Message):
        text: str

    class Headers(BaseConsumer.Headers):
        trace: str = ""

    def process_message(
        self,
        message: Message,
        trace: Headers,
        context: JobContext,
        database: Annotated[Database, Depends(get_database)],
        other: Database = Depends(get_database),
        *,
        user: Annotated[Database, Security(get_database)],
        option: int = 3,
        **rest: Any,
    ) -> None: ...


def create(name: str = "Broken", /, **attributes: Any) -> ConsumerDefinition:
    """Create a consumer that works but for ``attributes``; ``None`` leaves one out."""
    defaults: dict[str, Any] = {
        "QUEUE": "broken",
        "Message": type("Message", (BaseConsumer.Message,), {"__module__": __name__}),
        "process_message": _process,
        "__module__": __name__,
    }
    namespace = {key: value for key, value in (defaults | attributes).items() if value is not None}
    return definition_of(type(name, (BaseConsumer,), {"__qualname__": name, **namespace}))


async def _process(self: Any, message: Any) -> None: ...
def _not_a_classmethod(self: Any) -> None: ...
def _synchronous_around(self: Any, run: Any, context: Any) -> None: ...
def _demanding_constructor(self: Any, database: Any) -> None: ...


class TestTheDefinition:
    def test_a_plain_consumer_has_the_defaults(self) -> None:
        definition = definition_of(Plain)

        assert (definition.consumer, definition.name, definition.queue) == (Plain, "Plain", "plain")
        assert definition.message_type is Plain.Message
        assert definition.headers_type is BaseConsumer.Headers
        assert definition.is_async
        assert not definition.has_around
        assert definition.retry == RetryPolicy()
        assert definition.timeout is None
        assert definition.result_ttl == timedelta(hours=1)
        assert definition.message_parameter == "message"
        assert definition.headers_parameter is None
        assert definition.context_parameter is None
        assert definition.dependency_parameters == ()

    def test_every_attribute_and_parameter_is_found(self) -> None:
        definition = definition_of(Full)

        assert not definition.is_async
        assert definition.retry.max_attempts == 3
        assert definition.timeout == timedelta(minutes=1)
        assert definition.result_ttl == timedelta(days=1)
        assert definition.headers_type is Full.Headers
        assert definition.headers_parameter == "trace"
        assert definition.context_parameter == "context"
        assert definition.dependency_parameters == ("database", "other", "user")

    def test_it_is_computed_once(self) -> None:
        assert definition_of(Plain) is definition_of(Plain)

    @pytest.mark.parametrize("thing", [int, Plain(), "Plain", None, BaseConsumer.Message])
    def test_nothing_but_a_consumer_class_has_one(self, thing: Any) -> None:
        if isinstance(thing, Plain):
            thing = thing.Message
        with pytest.raises(ConsumerDefinitionError, match="is not a consumer"):
            definition_of(thing)

    def test_an_empty_message_of_its_own_is_fine(self) -> None:
        class Tick(BaseConsumer):
            QUEUE = "tick"

            class Message(BaseConsumer.Message):
                pass

            async def process_message(self, message: Message) -> None: ...

        assert definition_of(Tick).message_type is Tick.Message


class TestBases:
    def test_a_class_without_a_queue_is_only_a_base(self) -> None:
        class Base(BaseConsumer):
            pass

        with pytest.raises(ConsumerDefinitionError, match="Base has no QUEUE"):
            definition_of(Base)

    def test_everything_is_inherited_from_a_base(self) -> None:
        class Base(BaseConsumer):
            RETRY: ClassVar[RetryPolicy] = RetryPolicy(max_attempts=2)

            class Message(BaseConsumer.Message):
                text: str

            class Headers(BaseConsumer.Headers):
                trace: str = ""

            @classmethod
            def headers(cls) -> Mapping[str, Any]:
                return {"trace": "made"}

            async def around(self, run: Callable[[], Awaitable[Any]], context: JobContext) -> Any:
                return await run()

        class Child(Base):
            QUEUE = "child"

            async def process_message(self, message: Base.Message, headers: Base.Headers) -> str:
                return headers.trace

        definition = definition_of(Child)

        assert definition.message_type is Base.Message
        assert definition.headers_type is Base.Headers
        assert definition.headers_parameter == "headers"
        assert definition.has_around
        assert definition.retry.max_attempts == 2
        assert b'"headers":{"trace":"made"}' in definition.encode(Base.Message(text="x"))

    def test_around_hooks_nest_from_the_most_derived_class(self) -> None:
        # What a run does with the hook is tested with the execution; here: that it is inherited.
        class Outer(BaseConsumer):
            async def around(self, run: Callable[[], Awaitable[Any]], context: JobContext) -> Any:
                return ["outer", await run()]

        class Inner(Outer):
            QUEUE = "inner"

            class Message(BaseConsumer.Message):
                pass

            async def around(self, run: Callable[[], Awaitable[Any]], context: JobContext) -> Any:
                return ["inner", await super().around(run, context)]

            async def process_message(self, message: Message) -> str:
                return "done"

        assert definition_of(Inner).has_around
        assert Inner.around is not Outer.around

    def test_a_subclass_with_the_same_job_may_share_the_queue(self) -> None:
        class Patient(Plain):
            TIMEOUT = timedelta(hours=1)

        class Moved(Plain):
            QUEUE = "moved"

            async def process_message(self, message: Plain.Message) -> int:
                return 0

        assert definition_of(Patient).queue == "plain"
        assert definition_of(Patient).timeout == timedelta(hours=1)
        assert definition_of(Moved).queue == "moved"

    def test_a_base_with_a_wrong_attribute_is_refused_too(self) -> None:
        with pytest.raises(ConsumerDefinitionError, match=r"Base\.TIMEOUT"):
            type("Base", (BaseConsumer,), {"__qualname__": "Base", "TIMEOUT": 5})

    def test_a_generic_base_leaves_the_message_to_its_subclasses(self) -> None:
        class Store(BaseConsumer, Generic[PayloadT]):
            async def process_message(self, message: PayloadT, context: JobContext) -> None: ...

        class StoreText(Store[Plain.Message]):
            QUEUE = "store-text"

            class Message(Plain.Message):
                pass

        assert definition_of(StoreText).context_parameter == "context"

    async def test_the_default_hook_only_runs(self) -> None:
        async def run() -> int:
            return 5

        context: Any = None

        assert await Plain().around(run, context) == 5


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("attributes", "advice"),
        [
            ({"QUEUE": "has space"}, r"Broken\.QUEUE: 'has space'"),
            ({"QUEUE": "a{b}"}, r"Broken\.QUEUE"),
            ({"QUEUE": ""}, r"Broken\.QUEUE"),
            ({"QUEUE": 5}, r"Broken\.QUEUE must be a string, not int"),
            ({"Message": None}, "no Message of its own: declare `class Message"),
            ({"Message": int}, r"Broken\.Message must be a class that inherits"),
            ({"Message": "Message"}, r"Broken\.Message must be a class"),
            ({"Headers": int}, r"Broken\.Headers must be a class that inherits"),
            ({"process_message": None}, "no process_message: add"),
            ({"RETRY": 3}, r"Broken\.RETRY must be a RetryPolicy"),
            ({"TIMEOUT": 30}, r"Broken\.TIMEOUT must be a positive timedelta, or None"),
            ({"TIMEOUT": timedelta(seconds=-1)}, r"Broken\.TIMEOUT"),
            ({"TIMEOUT": timedelta()}, r"Broken\.TIMEOUT"),
            ({"RESULT_TTL": 3600}, r"Broken\.RESULT_TTL must be a positive timedelta"),
            ({"RESULT_TTL": timedelta()}, r"Broken\.RESULT_TTL"),
            ({"headers": _not_a_classmethod}, r"Broken\.headers must be a classmethod"),
            ({"around": _synchronous_around}, r"Broken\.around must be `async def"),
            ({"__init__": _demanding_constructor}, r"Broken\.__init__ must work without"),
        ],
    )
    def test_a_wrong_attribute(self, attributes: dict[str, Any], advice: str) -> None:
        with pytest.raises(ConsumerDefinitionError, match=advice):
            create(**attributes)

    def test_a_headers_hook_that_is_asynchronous(self) -> None:
        async def headers(cls: Any) -> dict[str, str]:
            return {}

        with pytest.raises(ConsumerDefinitionError, match="classmethod that is not async"):
            create(headers=classmethod(headers))

    def test_a_process_message_that_is_no_plain_method(self) -> None:
        def plain(message: Any) -> None: ...

        for wrong in (staticmethod(plain), classmethod(plain), property(plain), "process"):
            with pytest.raises(ConsumerDefinitionError, match=r"Broken\.process_message must be"):
                create(process_message=wrong)

    def test_a_generator(self) -> None:
        def generate(self: Any, message: Any) -> Iterator[int]:
            yield 1

        async def generate_async(self: Any, message: Any) -> AsyncIterator[int]:
            yield 1

        for wrong in (generate, generate_async):
            with pytest.raises(ConsumerDefinitionError, match="is a generator"):
                create(process_message=wrong)

    def test_a_synchronous_one_that_returns_an_awaitable(self) -> None:
        def postpone(self: Any, message: Any) -> Awaitable[int]:
            raise NotImplementedError

        with pytest.raises(ConsumerDefinitionError, match="make it `async def`"):
            create(process_message=postpone)

    def test_one_that_does_not_take_the_message_first(self) -> None:
        async def nothing(self: Any) -> None: ...
        async def only_by_name(self: Any, *, message: Any) -> None: ...
        async def anything(self: Any, *args: Any, **kwargs: Any) -> None: ...

        for wrong in (nothing, only_by_name, anything):
            with pytest.raises(ConsumerDefinitionError, match="message as its first parameter"):
                create(process_message=wrong)

    def test_one_that_takes_the_message_of_another_consumer(self) -> None:
        async def mistaken(self: Any, message: Plain.Message) -> None: ...

        with pytest.raises(ConsumerDefinitionError, match=r"takes Plain\.Message as its message"):
            create(process_message=mistaken)

    def test_a_parameter_that_nothing_can_be_given_to(self) -> None:
        async def greedy(self: Any, message: Any, database: Database) -> None: ...

        with pytest.raises(ConsumerDefinitionError, match="nothing can be given to 'database'"):
            create(process_message=greedy)

    def test_two_parameters_for_the_same_thing(self) -> None:
        async def twice(
            self: Any, message: Any, headers: Any, more: BaseConsumer.Headers
        ) -> None: ...

        async def both(self: Any, message: Any, context: JobContext, more: JobContext) -> None: ...

        with pytest.raises(ConsumerDefinitionError, match="'headers' and 'more' both take"):
            create(process_message=twice)
        with pytest.raises(ConsumerDefinitionError, match="'context' and 'more' both take"):
            create(process_message=both)

    def test_headers_of_another_type(self) -> None:
        async def foreign(self: Any, message: Any, extra: Full.Headers) -> None: ...
        async def unlike(self: Any, message: Any, headers: int) -> None: ...

        with pytest.raises(ConsumerDefinitionError, match=r"Full\.Headers, but the consumer's"):
            create(process_message=foreign)
        with pytest.raises(ConsumerDefinitionError, match="annotated with int"):
            create(process_message=unlike)

    def test_a_further_parameter_that_is_positional_only(self) -> None:
        async def positional(self: Any, message: Any, context: JobContext, /) -> None: ...

        with pytest.raises(ConsumerDefinitionError, match="move the '/' before 'context'"):
            create(process_message=positional)

    def test_a_dependency_whose_annotation_cannot_be_evaluated(self) -> None:
        async def hidden(
            self: Any, message: Any, database: Annotated[Fraction, Depends(get_database)]
        ) -> None: ...

        async def defaulted(
            self: Any, message: Any, n: Annotated[Fraction, Depends(get_database)] = _ANYTHING
        ) -> None: ...

        for wrong in (hidden, defaulted):
            with pytest.raises(ConsumerDefinitionError, match=r"cannot be evaluated.*at run time"):
                create(process_message=wrong)

    @pytest.mark.parametrize(
        ("field", "advice"),
        [
            (Field(validation_alias="b"), "written as 'a' but read as 'b'"),
            (Field(serialization_alias="b"), "written as 'b' but read as 'a'"),
            (Field(exclude=True), "required but excluded"),
        ],
    )
    def test_a_message_that_would_not_be_read_as_it_is_written(
        self, field: Any, advice: str
    ) -> None:
        message = type(
            "Message",
            (BaseConsumer.Message,),
            {"__annotations__": {"a": int}, "a": field, "__module__": __name__},
        )

        with pytest.raises(ConsumerDefinitionError, match=advice):
            create(Message=message)

    def test_a_method_that_is_still_abstract(self) -> None:
        class Base(BaseConsumer):
            class Message(BaseConsumer.Message):
                pass

            @abstractmethod
            async def process_message(self, message: Message) -> None: ...

        class Steps(BaseConsumer, ABC):
            class Message(BaseConsumer.Message):
                pass

            async def process_message(self, message: Message) -> None: ...

            @abstractmethod
            async def first_step(self) -> None: ...

        for base, method in ((Base, "process_message"), (Steps, "first_step")):
            with pytest.raises(
                ConsumerDefinitionError,
                match=rf"Broken has a QUEUE, but its {method} is still abstract: implement it",
            ):
                type("Broken", (base,), {"QUEUE": "broken"})

    @pytest.mark.parametrize("name", ["Message", "process_message"])
    def test_a_job_of_its_own_in_the_queue_of_its_parent(self, name: str) -> None:
        class Message(Plain.Message):
            more: str = ""

        async def process_message(self: Any, message: Any) -> None: ...

        own: Any = {"Message": Message, "process_message": process_message}[name]

        with pytest.raises(
            ConsumerDefinitionError,
            match=rf"'plain' of Plain, but has another {name}: give it a QUEUE of its own",
        ):
            type("Urgent", (Plain,), {name: own})

    def test_the_error_is_also_a_type_error(self) -> None:
        with pytest.raises(TypeError):
            create(QUEUE=5)


class TestBinding:
    def test_headers_are_found_by_their_name_alone(self) -> None:
        async def process(self: Any, message: Any, headers: Any) -> None: ...

        assert create(process_message=process).headers_parameter == "headers"

    def test_headers_are_found_by_a_base_of_their_type(self) -> None:
        async def process(self: Any, message: Any, extra: BaseConsumer.Headers) -> None: ...

        definition = create(process_message=process, Headers=Full.Headers)

        assert definition.headers_parameter == "extra"

    def test_an_optional_context_is_still_the_context(self) -> None:
        async def process(self: Any, message: Any, context: JobContext | None = None) -> None: ...

        assert create(process_message=process).context_parameter == "context"

    def test_the_context_may_be_imported_for_type_checkers_only(self) -> None:
        definition = create(process_message=_with_context_in_text)

        assert definition.context_parameter == "context"

    def test_a_dependency_by_default_needs_no_annotation_that_can_be_evaluated(self) -> None:
        async def process(
            self: Any, message: Any, number: Fraction = Depends(get_database)
        ) -> None: ...

        assert create(process_message=process).dependency_parameters == ("number",)

    def test_what_has_a_default_is_left_alone(self) -> None:
        async def process(
            self: Any, message: Any, number: Fraction | None = None, *args: Any, **rest: Any
        ) -> None: ...

        definition = create(process_message=process)

        assert definition.headers_parameter is None
        assert definition.context_parameter is None
        assert definition.dependency_parameters == ()

    def test_a_decorated_method_is_bound_by_the_signature_beneath(self) -> None:
        def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(function)
            def call(*args: Any, **kwargs: Any) -> Any:
                return function(*args, **kwargs)

            return call

        async def process(self: Any, message: Any, context: JobContext) -> int:
            return 1

        definition = create(process_message=decorate(process))

        assert definition.is_async
        assert definition.context_parameter == "context"

    def test_the_message_may_be_annotated_with_a_base_or_not_at_all(self) -> None:
        async def process(self: Any, payload: BaseModel) -> None: ...

        assert create(process_message=process).message_parameter == "payload"
        assert create().message_parameter == "message"

    def test_a_message_with_fields_to_be_defined_later_waits_for_them(self) -> None:
        namespace: dict[str, Any] = {
            "__annotations__": {"tree": "Tree"},
            "__module__": __name__,
        }
        message: Any = type("Message", (BaseConsumer.Message,), namespace)
        definition = create(Message=message)

        class Tree(BaseModel):
            size: int

        message.model_rebuild(_types_namespace={"Tree": Tree})

        raw = definition.encode(message(tree=Tree(size=3)))
        assert definition.decoder.decode(raw).message == message(tree=Tree(size=3))

    def test_aliases_that_are_read_as_they_are_written_are_fine(self) -> None:
        class Message(BaseConsumer.Message):
            model_config = ConfigDict(populate_by_name=True)

            one: int = Field(alias="eins")
            two: int = Field(validation_alias="zwei")

        definition = create(Message=Message)
        message = Message.model_validate({"eins": 1, "zwei": 2})

        assert definition.decoder.decode(definition.encode(message)).message == message


async def _with_context_in_text(self: Any, message: Any, context: Any) -> None: ...


_with_context_in_text.__annotations__["context"] = "jobs.JobContext"
