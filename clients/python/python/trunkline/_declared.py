"""What a handler declares of its input and output, and the checks that come of it.

A parameter after the task that is annotated with a pydantic model gets what was sent, parsed; what
is returned has to fit the model that is annotated for it. Schemas do the same for handlers without
models. What does not fit going in is rejected, coming out it fails: another attempt would not help.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial, wraps
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from ._ends import Fail, Reject
from ._fitting import JsonSchema, Model, read
from .errors import PayloadError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ._fitting import Schema
    from ._processes import Message
    from ._task import Task


_NOTHING = (inspect.Signature.empty, type(None), object, Any)
"""Annotations that leave room for `None`."""


@dataclass(slots=True)
class Declared:
    """What a handler declares; `None` for what it does not."""

    parameter: str | None = None
    """The name of the parameter that gets the input."""
    takes: Model | JsonSchema | None = None
    gives: Model | JsonSchema | None = None
    answers: bool = False
    """Whether the return annotation leaves no room for `None`."""
    answers_each: bool = False
    """Whether that of a handler of batches leaves none in its list."""

    @property
    def anything(self) -> bool:
        """Whether there is something to check."""
        return self.takes is not None or self.gives is not None

    def published(self) -> tuple[str | None, str | None]:
        """The JSON Schemas of input and output, as texts, for the agent's card."""
        takes, gives = self.takes, self.gives
        return (
            None if takes is None else takes.published("validation"),
            None if gives is None else gives.published("serialization"),
        )

    def taken(self, task: Task | Message) -> dict[str, Any]:
        """What the handler gets besides its task.

        Raises:
            Reject: The input does not fit.
        """
        if self.takes is None:
            return {}
        try:
            value = self.takes.parsed(read(task.data, task.content_type))
        except PayloadError as error:
            raise Reject(f"the input {error}") from None
        return {} if self.parameter is None else {self.parameter: value}

    def given(self, result: Any) -> Any:
        """The answer.

        Raises:
            Fail: It does not fit.
        """
        if self.gives is None:
            return result
        try:
            return self.gives.sent(result)
        except PayloadError as error:
            raise Fail(f"the output {error}") from None


class Checked:
    """A plain handler and what it declares, which a process can have as well."""

    def __init__(self, function: Callable[..., Any], *schemas: Schema | None) -> None:
        """Called in a process, where the function stands at the top of a module."""
        self._function, self._schemas = function, schemas
        self._declared = declared(function, {}, *schemas)

    @classmethod
    def of(cls, function: Callable[..., Any], known: Declared, *schemas: Schema | None) -> Checked:
        """A handler whose declarations are known."""
        checked = cls.__new__(cls)
        checked._function, checked._schemas, checked._declared = function, schemas, known
        return checked

    def __reduce__(self) -> tuple[Any, ...]:
        return Checked, (self._function, *self._schemas)

    def __repr__(self) -> str:
        return repr(self._function)

    def __call__(self, task: Any) -> Any:
        known = self._declared
        return known.given(self._function(task, **known.taken(task)))


def checked(
    function: Callable[..., Any],
    is_async: bool,
    names: Mapping[str, Any],
    *schemas: Schema | None,
) -> tuple[Callable[..., Any], Declared]:
    """The handler with the checks that it declares, itself if it declares none; and what it does.

    Args:
        function: The handler.
        is_async: Whether it is a coroutine function.
        names: What is defined where the handler is, besides the names of its module.
        *schemas: The JSON Schemas of its input and its output.

    Raises:
        UsageError: The declarations contradict each other, or cannot be read.
        InvalidError: A schema is none.
        MissingPackageError: What they need is not installed.
    """
    known = declared(function, names, *schemas)
    if not known.anything:
        return function, known
    if not is_async:
        return Checked.of(function, known, *schemas), known

    @wraps(function)
    async def call(task: Task) -> Any:
        return known.given(await function(task, **known.taken(task)))

    return call, known


def yields(function: Callable[..., Any]) -> bool:
    """Whether calling it runs nothing of it, because it is a generator."""
    known = (function, getattr(function, "__call__", None))  # noqa: B004
    return any(inspect.isasyncgenfunction(it) or inspect.isgeneratorfunction(it) for it in known)


def of_batches(function: Callable[..., Any], names: Mapping[str, Any]) -> Declared:
    """What a handler of batches declares: whether it answers. It wants nothing but its tasks.

    Raises:
        UsageError: It has a parameter that declares its input.
    """
    known = declared(function, names)
    if known.takes is not None:
        raise UsageError(
            f"{function!r} declares its input, which is for handlers of one task; a handler of "
            "batches reads each of its tasks by itself"
        )
    return Declared(answers=known.answers, answers_each=known.answers_each)


def declared(
    function: Callable[..., Any],
    names: Mapping[str, Any],
    input_schema: Schema | None = None,
    output_schema: Schema | None = None,
) -> Declared:
    """What a handler declares; see `checked`."""
    if yields(function):
        raise UsageError(
            f"{function!r} yields, so that calling it runs nothing of it; return the answer "
            "instead, and send pieces of it by `task.artifact(...)`"
        )
    known = Declared()
    if input_schema is not None:
        known.takes = JsonSchema("input_schema", input_schema)
    if output_schema is not None:
        known.gives = JsonSchema("output_schema", output_schema)
    try:
        signature = _signature(function)
    except (TypeError, ValueError):
        # Some that are written in C have none.
        return known
    parameters = list(signature.parameters.values())
    named_only = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD)
    if not parameters or parameters[0].kind in named_only:
        raise UsageError(
            f"{function!r} takes nothing, and a handler is called with what it is to handle; give "
            "it a parameter for that, such as `task`"
        )
    for parameter in parameters[1:]:
        named = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        annotation = _evaluated(parameter.annotation, function, names)
        if named and _has_model(annotation):
            if known.takes is not None:
                what = "input_schema" if known.parameter is None else f"'{known.parameter}'"
                raise UsageError(
                    f"the input of {function!r} is declared by {what} and by "
                    f"'{parameter.name}'; declare it once"
                )
            known.parameter, known.takes = parameter.name, Model(annotation)
        elif parameter.default is parameter.empty and parameter.kind not in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        ):
            raise UsageError(
                f"nothing is known to give {function!r} for '{parameter.name}'; annotate it with "
                "a pydantic model that is defined before the handler and not only for type "
                "checkers, or give it a default"
            )
    returned = _evaluated(signature.return_annotation, function, names)
    known.answers = not _may_be_none(returned)
    known.answers_each = not _each_may_be_none(returned)
    if _has_model(returned):
        if known.gives is not None:
            raise UsageError(
                f"the output of {function!r} is declared by output_schema and by its annotation; "
                "declare it once"
            )
        known.gives = Model(returned)
    return known


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    if sys.version_info >= (3, 14):
        from annotationlib import Format

        # Names that only type checkers see are no declarations.
        return inspect.signature(function, annotation_format=Format.FORWARDREF)
    return inspect.signature(function)


def _evaluated(annotation: Any, function: Callable[..., Any], names: Mapping[str, Any]) -> Any:
    """An annotation that may be written as text; `None` for one that cannot be read."""
    if not isinstance(annotation, str):
        return annotation
    inner = inspect.unwrap(function)
    while isinstance(inner, partial):
        inner = inspect.unwrap(inner.func)
    inner = getattr(inner, "__func__", inner)
    known = getattr(inner, "__globals__", None) or getattr(type(inner).__call__, "__globals__", {})
    try:
        return eval(annotation, dict(known), dict(names))
    except Exception:
        return None


def _may_be_none(annotation: Any) -> bool:
    """Whether an annotation leaves room for `None`, as one does that cannot be read."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _may_be_none(get_args(annotation)[0])
    if origin is Union or origin is UnionType:
        return any(_may_be_none(part) for part in get_args(annotation))
    if origin is Literal:
        return None in get_args(annotation)
    if hasattr(annotation, "__value__"):
        # A `type` statement's.
        return _may_be_none(annotation.__value__)
    known = annotation if origin is None else origin
    return not isinstance(known, type) or known in _NOTHING


def _each_may_be_none(annotation: Any) -> bool:
    """Whether the annotation of a list leaves room for `None` in it."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _each_may_be_none(parts[0])
    if origin is Union or origin is UnionType:
        return any(_each_may_be_none(part) for part in parts if part is not type(None))
    return origin not in (list, Sequence) or _may_be_none(parts[0])


def _has_model(annotation: Any) -> bool:
    """Whether an annotation is a pydantic model or made of one, such as `Verdict | None`."""
    pydantic = sys.modules.get("pydantic")
    if pydantic is None:
        return False
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return True
    return any(_has_model(part) for part in get_args(annotation))
