"""Decides what each parameter of a handler is given, by its annotation or its name."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from types import MappingProxyType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from redispatcher_fastapi.consumer.batch_items import ITEM_NAMES, is_of_items, read_item_types
from redispatcher_fastapi.errors import ConsumerDefinitionError
from redispatcher_fastapi.job import JobContext

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pydantic import BaseModel

    from redispatcher_fastapi.consumer.base import BaseConsumer

_HEADERS_NAME = "headers"
_NO_NAMES: Mapping[str, Any] = MappingProxyType({})
_CONTEXT_IN_TEXT = re.compile(rf"(\w+\.)*{JobContext.__name__}")

# Since Python 3.11, Any is a class.
_SAYING_NOTHING: tuple[Any, ...] = (Any, object, type(None), inspect.Parameter.empty)


@dataclass(frozen=True, slots=True)
class Binding:
    """Which parameter takes what; whatever is not named here keeps its default."""

    message: str
    headers: str | None
    context: str | None
    dependencies: tuple[str, ...]
    #: The annotation of the result, still a string where it could not be evaluated.
    result: Any


def bind(
    consumer: type[BaseConsumer],
    *,
    message_type: type[BaseModel],
    headers_type: type[BaseModel],
    root: type[BaseConsumer],
) -> Binding:
    """Return the binding of the method of a consumer that does the work.

    Raises:
        ConsumerDefinitionError: there is a parameter that nothing can be given to.
    """
    binder = _Binder(consumer, message_type, headers_type, root)
    return binder.bind()


def evaluate_result(annotation: Any, consumer: type[BaseConsumer]) -> Any:
    """Return the type of the results that an annotation tells of, or the string that it still is.

    It is a return annotation, and for a batch consumer that of the items.
    """
    function = getattr(consumer, consumer.__redispatcher_method__)
    if not is_of_items(consumer):
        return evaluate(annotation, consumer, function)
    items = evaluate(annotation, consumer, function, ITEM_NAMES)
    types = read_item_types(items)
    return items if types is None else types.result


def evaluate(
    annotation: Any,
    consumer: type[Any],
    function: Callable[..., Any],
    names: Mapping[str, Any] = _NO_NAMES,
) -> Any:
    """Return what a string annotation means, or the string where a name is not there (yet).

    ``names`` are known even where the module of the function has them for type checkers only.
    """
    if not isinstance(annotation, str):
        return annotation
    namespace = {
        name: value for base in reversed(consumer.__mro__) for name, value in vars(base).items()
    }
    known = {**names, **getattr(inspect.unwrap(function), "__globals__", {})}
    try:
        return eval(annotation, known, namespace)  # as inspect.signature does
    except Exception:  # an annotation may be any expression; then its text decides
        return annotation


class _Binder:
    def __init__(
        self,
        consumer: type[BaseConsumer],
        message_type: type[BaseModel],
        headers_type: type[BaseModel],
        root: type[BaseConsumer],
    ) -> None:
        self._consumer = consumer
        self._message_type = message_type
        self._headers_type = headers_type
        self._root = root
        self._method = consumer.__redispatcher_method__
        self._where = f"{consumer.__qualname__}.{self._method}"
        self._is_batch = is_of_items(consumer)

    def bind(self) -> Binding:
        function = getattr(self._consumer, self._method)
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError) as error:
            raise ConsumerDefinitionError(
                f"{self._where} has no signature that can be read."
            ) from error
        parameters = [*signature.parameters.values()][1:]  # the first is self
        message = self._first(parameters)
        if self._is_batch:
            result = self._items(message)
            self._refuse_return(self._evaluate(signature.return_annotation))
        else:
            self._check_message(message)
            result = self._evaluate(signature.return_annotation)
        found: dict[str, list[str]] = {"headers": [], "context": [], "dependency": []}
        for parameter in parameters[1:]:
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            role = self._role(parameter)
            if role is None:
                continue
            if parameter.kind is parameter.POSITIONAL_ONLY:
                raise ConsumerDefinitionError(
                    f"{self._where}: only the first can be positional-only; move the '/' before "
                    f"{parameter.name!r}."
                )
            if self._is_batch and role != "dependency":
                raise ConsumerDefinitionError(
                    f"{self._where}: {parameter.name!r} would be the {role} of a single message: "
                    f"take it from each item, as in `item.{role}`."
                )
            found[role].append(parameter.name)
        for role in ("headers", "context"):
            if len(found[role]) > 1:
                raise ConsumerDefinitionError(
                    f"{self._where}: {' and '.join(map(repr, found[role]))} both take the {role}; "
                    "leave one out."
                )
        return Binding(
            message=message.name,
            headers=next(iter(found["headers"]), None),
            context=next(iter(found["context"]), None),
            dependencies=tuple(found["dependency"]),
            result=result,
        )

    def _evaluate(self, annotation: Any) -> Any:
        names = ITEM_NAMES if self._is_batch else _NO_NAMES
        return evaluate(annotation, self._consumer, getattr(self._consumer, self._method), names)

    def _first(self, parameters: Sequence[inspect.Parameter]) -> inspect.Parameter:
        positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        if parameters and parameters[0].kind in positional:
            return parameters[0]
        first, shown = (
            ("items", "items: Sequence[BatchItem[Message]]")
            if self._is_batch
            else ("message", "message: Message")
        )
        raise ConsumerDefinitionError(
            f"{self._where} must take the {first} as its first parameter after self: "
            f"`{self._method}(self, {shown}, ...)`."
        )

    def _items(self, parameter: inspect.Parameter) -> Any:
        """Return the type of the results, if the parameter says what it is given."""
        annotation = self._evaluate(parameter.annotation)
        if annotation is parameter.empty or isinstance(annotation, str):
            return annotation
        types = read_item_types(annotation)
        if types is None:
            raise ConsumerDefinitionError(
                f"{self._where} is given a sequence of items: annotate {parameter.name!r} with "
                "`Sequence[BatchItem[Message]]`, or with the type of the results as in "
                "`Sequence[BatchItem[Message, str]]`."
            )
        self._refuse_others(types.message, parameter.name, "`Sequence[BatchItem[Message]]`")
        return types.result

    def _refuse_return(self, annotation: Any) -> None:
        if annotation not in (*_SAYING_NOTHING, None) and not isinstance(annotation, str):
            raise ConsumerDefinitionError(
                f"{self._where} must return None, as each item has a result of its own: "
                "`item.succeed(result)`."
            )

    def _check_message(self, parameter: inspect.Parameter) -> None:
        annotation = self._evaluate(parameter.annotation)
        self._refuse_others(annotation, parameter.name, "`Message`")

    def _refuse_others(self, annotation: Any, name: str, right: str) -> None:
        for kind in _types_in(annotation):
            if not _is_accepted(kind, self._message_type):
                raise ConsumerDefinitionError(
                    f"{self._where} takes {kind.__qualname__} as its message, but the consumer's "
                    f"Message is {self._message_type.__qualname__}: annotate {name!r} with {right}."
                )

    def _role(self, parameter: inspect.Parameter) -> str | None:
        annotation = self._evaluate(parameter.annotation)
        if _is_dependency(parameter.default) or any(map(_is_dependency, _metadata(annotation))):
            return "dependency"
        kinds = _types_in(annotation)
        if self._takes_headers(parameter.name, kinds):
            return "headers"
        if JobContext in kinds or (
            isinstance(annotation, str) and _CONTEXT_IN_TEXT.fullmatch(annotation)
        ):
            return "context"
        if _mentions_depends(annotation) and self._consumer.__name__ in str(annotation):
            # A consumer that publishes to itself: it has a definition when the pool starts.
            return "dependency"
        if parameter.default is not parameter.empty and not _mentions_depends(annotation):
            return None
        raise ConsumerDefinitionError(f"{self._where}: {self._advice(parameter.name, annotation)}")

    def _takes_headers(self, name: str, kinds: tuple[type, ...]) -> bool:
        declared = [kind for kind in kinds if issubclass(kind, self._root.Headers)]
        if name != _HEADERS_NAME and not declared and self._headers_type not in kinds:
            return False
        candidates = declared or list(kinds)
        if candidates and not any(_is_accepted(kind, self._headers_type) for kind in candidates):
            wrong = candidates[0]
            raise ConsumerDefinitionError(
                f"{self._where}: {name!r} is annotated with {wrong.__qualname__}, but the "
                f"consumer's Headers is {self._headers_type.__qualname__}: annotate it with "
                "`Headers`, or declare the class you need as the consumer's `Headers`."
            )
        return True

    def _advice(self, name: str, annotation: Any) -> str:
        if isinstance(annotation, str):
            return (
                f"the annotation {annotation!r} of {name!r} cannot be evaluated: what it names "
                "must be defined or imported at run time, at the top of the module."
            )
        return (
            f"nothing can be given to {name!r}. Annotate it with Headers or JobContext, add a "
            f"Depends as in `{name}: Annotated[..., Depends(...)]`, give it a default, or make it "
            "a field of Message."
        )


def _types_in(annotation: Any) -> tuple[type, ...]:
    """Return the classes that an annotation allows, ``None`` and ``Any`` left out."""
    while hasattr(annotation, "__value__"):  # an alias made with `type X = ...`
        annotation = annotation.__value__
    origin = get_origin(annotation)
    if origin is Annotated:
        return _types_in(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return tuple(kind for part in get_args(annotation) for kind in _types_in(part))
    is_class = isinstance(annotation, type) and origin is None
    return (annotation,) if is_class and annotation not in _SAYING_NOTHING else ()


def _is_accepted(kind: type, model: type[BaseModel]) -> bool:
    try:
        return issubclass(model, kind)
    except TypeError:  # a protocol that cannot be checked at run time
        return True


def _metadata(annotation: Any) -> tuple[Any, ...]:
    while hasattr(annotation, "__value__"):
        annotation = annotation.__value__
    return get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()


def _is_dependency(value: Any) -> bool:
    """Whether a value is FastAPI's ``Depends``, which this layer must not import."""
    return any(kind.__name__ == "Depends" for kind in type(value).__mro__) and hasattr(
        value, "dependency"
    )


def _mentions_depends(annotation: Any) -> bool:
    return (
        isinstance(annotation, str) and re.search(r"\b(Depends|Security)\(", annotation) is not None
    )
