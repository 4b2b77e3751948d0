"""Reads off a callable's signature what FastAPI would pass to it."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

from fastapi import BackgroundTasks, Response, WebSocket, params
from fastapi.requests import HTTPConnection
from fastapi.security import SecurityScopes
from fastapi.security.base import SecurityBase
from pydantic.fields import FieldInfo

from redispatcher_fastapi.errors import ConsumerDefinitionError, RequestOnlyDependencyError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

_REQUEST_ONLY_TYPES = (BackgroundTasks, Response, SecurityScopes, WebSocket)


@dataclass(frozen=True, slots=True)
class Dependency:
    """One parameter with ``Depends``."""

    call: Callable[..., Any]
    use_cache: bool


@dataclass(frozen=True, slots=True)
class Needs:
    """What has to be passed to a callable; everything else has a default."""

    dependencies: Mapping[str, Dependency]
    connections: tuple[str, ...]


def read_needs(
    call: Callable[..., Any],
    *,
    where: str,
    only: Collection[str] | None = None,
    namespace: Mapping[str, Any] | None = None,
) -> Needs:
    """Return what ``call`` needs, of the parameters in ``only`` if that is given.

    ``where`` introduces error messages; ``namespace`` is where string annotations may also
    find their names.

    Raises:
        RequestOnlyDependencyError: a parameter can only come from an HTTP request.
        ConsumerDefinitionError: a ``Depends()`` has nothing to call.
    """
    if isinstance(call, SecurityBase):
        raise RequestOnlyDependencyError(
            f"{where} reads its credentials from an HTTP request, which a consumer does not have: "
            "check them in the endpoint, and publish what the consumer needs to know."
        )
    dependencies: dict[str, Dependency] = {}
    connections: list[str] = []
    for name, parameter in _signature(call, namespace).parameters.items():
        if only is not None and name not in only:
            continue
        annotation, markers = _split(parameter)
        depends = next((marker for marker in markers if isinstance(marker, params.Depends)), None)
        if depends is not None:
            dependencies[name] = _dependency(depends, annotation, f"{where}: parameter {name!r}")
        elif _is_a(annotation, HTTPConnection) and not _is_a(annotation, WebSocket):
            connections.append(name)
        elif reason := _why_request_only(parameter, annotation, markers):
            raise RequestOnlyDependencyError(
                f"{where}: parameter {name!r} {reason}, which a consumer does not have. Give it a "
                "default, make it a `Depends`, or put the value into the consumer's Message."
            )
    return Needs(dependencies, tuple(connections))


def _dependency(depends: params.Depends, annotation: Any, where: str) -> Dependency:
    if isinstance(depends, params.Security) and depends.scopes:
        raise RequestOnlyDependencyError(
            f"{where} asks for the security scopes {list(depends.scopes)} of an HTTP request, "
            "which a consumer does not have."
        )
    call = depends.dependency or annotation
    if call is inspect.Parameter.empty or not callable(call):
        raise ConsumerDefinitionError(
            f"{where} has `Depends()` with nothing to call: name the callable in `Depends(...)`, "
            "or annotate the parameter with a class that can be imported at run time."
        )
    return Dependency(call, depends.use_cache)


def _why_request_only(
    parameter: inspect.Parameter, annotation: Any, markers: tuple[Any, ...]
) -> str | None:
    """Return what the parameter needs from a request, or ``None`` when nothing."""
    for kind in _REQUEST_ONLY_TYPES:
        if _is_a(annotation, kind):
            return f"is the {kind.__name__} of an HTTP request"
    # Also when it has a default: the author asked for the request's value by name, and a
    # consumer that silently went on without it would surprise.
    for marker in markers:
        return f"is a {type(marker).__name__} of an HTTP request"
    is_variadic = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    if is_variadic or parameter.default is not parameter.empty:
        return None
    return "has no `Depends` and no default, so FastAPI takes it from an HTTP request"


def _split(parameter: inspect.Parameter) -> tuple[Any, tuple[Any, ...]]:
    """Return the bare annotation, and FastAPI's markers in the order in which they count."""
    annotation = parameter.annotation
    while hasattr(annotation, "__value__"):  # an alias made with `type X = ...`
        annotation = annotation.__value__
    metadata: tuple[Any, ...] = ()
    if get_origin(annotation) is Annotated:
        annotation, *rest = get_args(annotation)
        metadata = tuple(rest)
    markers: list[Any] = [
        marker
        for marker in reversed(metadata)
        if isinstance(marker, params.Depends | params.Param | params.Body)
    ]
    if isinstance(parameter.default, params.Depends | FieldInfo):
        markers.insert(0, parameter.default)
    return annotation, tuple(markers)


def _is_a(annotation: Any, kind: type) -> bool:
    annotation = get_origin(annotation) or annotation  # Request[...] is generic in new Starlettes
    return inspect.isclass(annotation) and issubclass(annotation, kind)


def has_signature(call: Callable[..., Any]) -> bool:
    """Return whether it can be known what to pass to ``call``; built-in types do not tell."""
    try:
        inspect.signature(call)
    except ValueError:
        return False
    return True


def _signature(call: Callable[..., Any], namespace: Mapping[str, Any] | None) -> inspect.Signature:
    """Return the signature with string annotations evaluated, as far as they can be."""
    names = dict(namespace or {})
    try:
        return inspect.signature(call, eval_str=True, locals=names)
    except NameError:
        # A name imported under TYPE_CHECKING only: what does not mention it still counts.
        signature = inspect.signature(call)
    known = getattr(inspect.unwrap(call), "__globals__", {})
    return signature.replace(
        parameters=[
            parameter.replace(annotation=_evaluate(parameter.annotation, known, names))
            for parameter in signature.parameters.values()
        ]
    )


def _evaluate(annotation: Any, known: dict[str, Any], names: dict[str, Any]) -> Any:
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, known, names)  # what inspect.signature does
    except NameError:
        return annotation
