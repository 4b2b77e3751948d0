"""``Publisher[MyConsumer]`` at run time: what FastAPI is given as the dependency."""
# No `from __future__ import annotations` here: FastAPI < 0.128 cannot resolve string
# annotations on a callable object, which PublisherAlias is.

import inspect
from dataclasses import dataclass
from typing import Any, Never, Protocol

from fastapi.requests import HTTPConnection

from redispatcher_fastapi.consumer import BaseConsumer
from redispatcher_fastapi.errors import ConsumerDefinitionError, NotRunningError

#: The name under which a dispatcher is found in the lifespan's state and on ``app.state``.
STATE_KEY = "redispatcher"


class PublisherSource(Protocol):
    """What is found there."""

    def publisher(self, consumer: type[Any], /) -> Any: ...


def not_running() -> NotRunningError:
    """Return the error for using a dispatcher that is not there, with what usually causes it."""
    return NotRunningError(
        "No dispatcher is running here. The usual causes: the app does not include the router "
        "(`app.include_router(dispatcher.router)`); the app's lifespan has not run (in tests: "
        "`with TestClient(app) as client:`, or `RedispatcherTester(dispatcher, app)`); or the "
        "router is included in a mounted sub-app, whose lifespan no server runs (include it in "
        "the outermost app). In a script, use it inside of `async with dispatcher.lifespan():`."
    )


@dataclass(frozen=True)
class PublisherAlias:
    """``Publisher[MyConsumer]`` at run time: a dependency, equal for equal consumers.

    Not a class, which FastAPI would call in a thread, and not a generic alias, whose parameters
    FastAPI would look for in the query.
    """

    consumer: type[BaseConsumer]

    async def __call__(self, connection: HTTPConnection) -> Any:
        scope = connection.scope
        # The innermost app's own: the state is the outermost's, and is lost where a test runs the
        # lifespan by itself, next to its client.
        app_state = getattr(scope.get("app"), "state", None)
        source: PublisherSource | None = getattr(app_state, STATE_KEY, None)
        if source is None:
            # Of the app this one is mounted in, or of a pool that has no app.
            source = scope.get("state", {}).get(STATE_KEY)
        if source is None:
            raise not_running()
        return source.publisher(self.consumer)

    def __get_pydantic_core_schema__(self, source: object, handler: object) -> Never:
        raise ConsumerDefinitionError(
            f"{self} is a dependency and needs Depends(): write "
            f"`publisher: Annotated[{self}, Depends()]`."
        )

    def __or__(self, other: Any) -> "PublisherUnion":
        return PublisherUnion((self, *_members(other)))

    def __ror__(self, other: Any) -> "PublisherUnion":
        return PublisherUnion((*_members(other), self))

    def __repr__(self) -> str:
        return f"Publisher[{self.consumer.__qualname__}]"


@dataclass(frozen=True)
class PublisherUnion:
    """``Publisher[MyConsumer] | None`` at run time: an annotation, and nothing to depend on."""

    __args__: tuple[Any, ...]

    @property
    def __signature__(self) -> inspect.Signature:
        # What FastAPI and the pool ask of everything they are to call.
        raise self._not_a_dependency()

    def __call__(self) -> Never:
        raise self._not_a_dependency()

    def __get_pydantic_core_schema__(self, source: object, handler: object) -> Never:
        raise self._not_a_dependency()

    def __or__(self, other: Any) -> "PublisherUnion":
        return PublisherUnion((*self.__args__, *_members(other)))

    def __ror__(self, other: Any) -> "PublisherUnion":
        return PublisherUnion((*_members(other), *self.__args__))

    def __repr__(self) -> str:
        return " | ".join("None" if each is None else repr(each) for each in self.__args__)

    def _not_a_dependency(self) -> ConsumerDefinitionError:
        publisher = next(each for each in self.__args__ if isinstance(each, PublisherAlias))
        return ConsumerDefinitionError(
            f"`{self}` cannot be a dependency, for a publisher is never anything else: write "
            f"`publisher: Annotated[{publisher}, Depends()]`."
        )


class RefusesDepends:
    """In the annotation of a parameter, it explains itself to who depends on ``Publisher``."""

    def __get_pydantic_core_schema__(self, source: object, handler: object) -> Never:
        raise ConsumerDefinitionError(
            "Publisher alone is not a dependency, for it has to know its consumer: write "
            "`publisher: Annotated[Publisher[MyConsumer], Depends()]`."
        )


def _members(annotation: Any) -> tuple[Any, ...]:
    return annotation.__args__ if isinstance(annotation, PublisherUnion) else (annotation,)
