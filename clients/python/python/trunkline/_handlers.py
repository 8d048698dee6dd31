"""How functions become the handlers of an agent."""

from __future__ import annotations

import inspect
import os
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from ._declared import checked, of_batches
from ._processes import Message
from ._spans import Span, maybe
from ._speak import Sender
from ._task import Task
from ._work import Handler
from .errors import InvalidError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Concatenate

    from ._declared import Declared
    from ._fitting import Schema
    from ._life import Life

F = TypeVar("F", bound="Callable[Concatenate[Task, ...], Any]")
B = TypeVar("B", bound="Callable[[list[Task]], Any]")
G = TypeVar("G", bound="Callable[Concatenate[Message, ...], Any]")

_NO_FUNCTION: Any = object()
_ASYNC = 64
_PLAIN = 8
_BATCHES = 4
_LARGEST_BATCH = 1024
_MOST = 4096


class Handled(Sender):
    """What an agent does: its handlers, which it is given before it runs."""

    __slots__ = ("_handlers", "_life", "id")

    def __init__(self, id: str) -> None:  # noqa: A002
        """There are none yet."""
        self.id = id
        self._handlers: list[Handler] = []
        self._life: Life | None = None

    def _living(self) -> Life | None:
        """What there is of it while it runs; a loop that was closed without `stop` ends it."""
        life = self._life
        if life is not None and life.is_over():
            self._life = None
            life.kill()
        return self._life

    def task(
        self,
        skill: str,
        *,
        concurrency: int | None = None,
        timeout: Span | None = None,
        input_schema: Schema | None = None,
        output_schema: Schema | None = None,
    ) -> Callable[[F], F]:
        """Makes a function the handler of a skill.

        Args:
            skill: The skill. The agent competes for its work with all others that offer it.
            concurrency: How many times the handler runs at once, 1 to 4096; 64 by default, or 8
                threads of a plain function.
            timeout: How long one attempt may take; what takes longer is cancelled and tried again.
            input_schema: Reject what does not fit this JSON Schema; needs `jsonschema`.
            output_schema: Fail what the handler returns and does not fit this JSON Schema.
        """
        _check_name(skill, "a skill", '@agent.task("review")')
        return self._handler(
            "skill", skill, concurrency, timeout, schemas=(input_schema, output_schema)
        )

    def process(
        self,
        skill: str,
        *,
        processes: int | None = None,
        timeout: Span | None = None,
        input_schema: Schema | None = None,
        output_schema: Schema | None = None,
    ) -> Callable[[G], G]:
        """Makes a plain function the handler of a skill in processes, for what computes for long.

        The function stands at the top of a module, because each process imports it, and gets a
        `Message`: it can say nothing before it has finished. Nothing of it is shared with this
        process. A process that dies costs its delivery an attempt; one whose delivery is called
        off or out of time is killed. A program that runs such an agent does so under
        `if __name__ == "__main__":`.

        Args:
            skill: The skill. The agent competes for its work with all others that offer it.
            processes: How many there are at most, each with one delivery at a time; by default as
                many as there are cores.
            timeout: How long one attempt may take.
            input_schema: As for `task`.
            output_schema: As for `task`.
        """
        _check_name(skill, "a skill", '@agent.process("render")')
        most = (os.cpu_count() or 1) if processes is None else processes

        def add(function: G) -> G:
            if _is_async(function):
                raise UsageError(
                    f"{function!r} is a coroutine function; a process takes a plain one"
                )
            call, known = checked(function, False, _names_around(), input_schema, output_schema)
            self._add(call, known, "processes", "skill", skill, most, maybe(timeout))
            return function

        return add

    def on(
        self,
        pattern: str,
        *,
        concurrency: int | None = None,
        timeout: Span | None = None,
        filter: str | None = None,  # noqa: A002
        group: str | None = None,
    ) -> Callable[[F], F]:
        """Makes a function the handler of the events of some topics.

        The subscription is the agent's own and is kept while it is away.

        Args:
            pattern: Topics; `*` stands for one token, `>` for the rest.
            concurrency: As for `task`.
            timeout: As for `task`.
            filter: Only the events that this CEL expression wants.
            group: Share the events with the other members of this group.
        """
        _check_name(pattern, "topics", '@agent.on("builds.*")')
        return self._handler("event", pattern, concurrency, timeout, filter, group)

    def batch(
        self,
        skill: str | None = None,
        *,
        topics: str | None = None,
        size: int = 100,
        linger: Span | None = None,
        concurrency: int | None = None,
        timeout: Span | None = None,
        filter: str | None = None,  # noqa: A002
        group: str | None = None,
    ) -> Callable[[B], B]:
        """Makes a function the handler of a skill, of topics or of messages, several at a time.

        It gets a list of tasks and returns one result for each, in their order, or `None` if all
        of them are done without an answer. A result that is an exception ends its delivery as if
        it had been raised for it alone; what the handler raises ends all of them.

        Args:
            skill: The skill. Without it and without `topics`, what is sent to the agent itself.
            topics: Topics of which it has the events, as for `on`.
            size: How many it gets at most, 2 to 1024.
            linger: How long fewer than that wait for more; by default not at all in process and
                1 ms over the network.
            concurrency: How many times the handler runs at once, 1 to 4096; 4 by default.
            timeout: How long one attempt may take.
            filter: Only the events that this CEL expression wants.
            group: Share the events with the other members of this group.
        """
        if skill is not None:
            _check_name(
                skill, "a skill", '@agent.batch("index")` or, for messages, `@agent.batch()'
            )
        if topics is not None:
            _check_name(topics, "topics", '@agent.batch(topics="builds.*")')
        if skill is not None and topics is not None:
            raise UsageError("a handler of batches is for a skill or for topics; make two")
        if topics is None and (filter is not None or group is not None):
            raise UsageError("filter and group are for events; name their topics")
        if not isinstance(size, int) or not 2 <= size <= _LARGEST_BATCH:
            raise InvalidError(f"size is {size}, the range is 2 to {_LARGEST_BATCH}")
        kind = "event" if topics is not None else "message" if skill is None else "skill"
        most = _BATCHES if concurrency is None else concurrency
        more = (maybe(timeout), filter, group, size, maybe(linger))

        def add(function: B) -> B:
            known = of_batches(function, _names_around())
            on = "loop" if _is_async(function) else "threads"
            self._add(function, known, on, kind, skill or topics or "", most, *more)
            return function

        return add

    def message(self, function: F = _NO_FUNCTION) -> F:
        """Makes a function the handler of what is sent to the agent itself.

        It takes no settings, and stands without brackets: `@agent.message`. Without it, the handler
        of the agent's only skill is that as well.
        """
        if function is _NO_FUNCTION:
            raise InvalidError("a handler of messages is a function; write `@agent.message`")
        return self._handler("message", "", None, None)(function)

    def _handler(
        self,
        kind: Literal["skill", "event", "message"],
        name: str,
        concurrency: int | None,
        timeout: Span | None,
        *subscription: Any,
        schemas: tuple[Schema | None, Schema | None] = (None, None),
    ) -> Callable[[F], F]:
        span = maybe(timeout)

        def add(function: F) -> F:
            plain = not _is_async(function)
            most = (_PLAIN if plain else _ASYNC) if concurrency is None else concurrency
            call, known = checked(function, not plain, _names_around(), *schemas)
            on = "threads" if plain else "loop"
            self._add(call, known, on, kind, name, most, span, *subscription)
            return function

        return add

    def _add(
        self,
        function: Callable[[Any], Any],
        known: Declared,
        on: Literal["loop", "threads", "processes"],
        kind: Literal["skill", "event", "message"],
        name: str,
        most: int,
        *more: Any,
    ) -> None:
        if self._living() is not None:
            raise UsageError(f"agent '{self.id}' runs; give it its handlers before")
        if not callable(function):
            raise InvalidError(f"a handler is a function, not a {type(function).__name__}")
        if not isinstance(most, int) or not 1 <= most <= _MOST:
            what = "processes" if on == "processes" else "concurrency"
            raise InvalidError(f"{what} is {most}, the range is 1 to {_MOST}")
        self._check_new(function, kind, name)
        self._handlers.append(
            Handler(kind, name, most, *more, call=function, on=on, declared=known)
        )

    def _check_new(self, function: Callable[[Any], Any], kind: str, name: str) -> None:
        """Sees that nothing else of the agent handles the same: only one of them would be asked."""
        for known in self._handlers:
            if (known.kind, known.name) != (kind, name):
                continue
            so = (
                "put both, with their conditions, into one handler or use different patterns"
                if kind == "event"
                else "put both into one handler"
                if kind == "message"
                else "put both into one handler or give one of them another skill"
            )
            raise UsageError(
                f"agent '{self.id}' has the handler {known.call!r} of {kind} {name}".rstrip()
                + f", so that {function!r} cannot be one as well; {so}"
            )


def _check_name(name: object, what: str, so: str) -> None:
    """Sees that a decorator was told what its handler is for, and does not stand bare."""
    if not isinstance(name, str):
        kind = "the handler itself" if callable(name) else f"a {type(name).__name__}"
        raise InvalidError(f"a handler of {what} is named by a str, not by {kind}; write `{so}`")


def _is_async(function: Callable[..., Any]) -> bool:
    if inspect.iscoroutinefunction(function):
        return True
    return inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def _names_around() -> dict[str, Any]:
    """What is defined in the function or module that gives a handler to an agent."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_globals is globals():
        frame = frame.f_back
    return {} if frame is None else frame.f_locals
