"""What stands in for the request when a dependency of a consumer asks for one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import Request
from fastapi.datastructures import State

from redispatcher_fastapi.errors import RequestOnlyDependencyError

if TYPE_CHECKING:
    from fastapi import FastAPI

_AVAILABLE = frozenset({"app", "get", "items", "keys", "scope", "state", "values"})


class RunConnection(Request):
    """A connection with an ``app`` and a ``state``; whatever needs a client is refused.

    ``reader`` is the dependency that was given it, for the error's sake.
    """

    def __init__(self, app: FastAPI | None, state: dict[str, Any], *, reader: str) -> None:
        self.scope = _Scope({"type": "http", "state": state}, reader=reader)
        if app is not None:
            self.scope["app"] = app

    @property
    def state(self) -> RunState:
        return RunState(self.scope["state"])


class RunState(State):
    """``request.state`` of a run: a copy per run of what the lifespan yielded."""

    def __getattr__(self, key: Any) -> Any:
        try:
            return super().__getattr__(key)
        except AttributeError:
            raise AttributeError(
                f"request.state has no {key!r} in a consumer. What a middleware sets belongs to "
                "a request, and a pool inside the app cannot see what the app's own lifespan "
                f"yields: put it on `app.state` and read `request.app.state.{key}`."
            ) from None


class _Scope(dict[str, Any]):
    """An ASGI scope that knows why a key is missing."""

    def __init__(self, content: dict[str, Any], *, reader: str) -> None:
        super().__init__(content)
        self.reader = reader

    def __missing__(self, key: str) -> Any:
        raise _request_only(self.reader, f"scope[{key!r}]")


def _request_only(reader: str, attribute: str) -> RequestOnlyDependencyError:
    return RequestOnlyDependencyError(
        f"{reader} reads `{attribute}` of its connection, which only an HTTP request has; "
        "in a consumer it may use `app` and `state`."
    )


def _refuse(attribute: str) -> property:
    def refuse(connection: RunConnection) -> Any:
        raise _request_only(getattr(connection.scope, "reader", "A dependency"), attribute)

    return property(refuse)


# By name and not one by one, so that what a later Starlette adds is refused as well.
for _name in dir(Request):
    if not _name.startswith("_") and _name not in _AVAILABLE:
        setattr(RunConnection, _name, _refuse(_name))
