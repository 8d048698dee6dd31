"""An agent: its card, its handlers, and its life."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import logging
import os
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from . import _native
from ._client import Client, connect
from ._declared import Declared, check_takes_tasks_only, checked
from ._loop import begun, current
from ._processes import Message, check_not_importing
from ._signals import signals
from ._spans import Span, maybe
from ._speak import Sender, Speaks
from ._stats import AgentStats, to_agent_stats
from ._task import Task, at_work
from ._texts import pairs, texts
from ._watching import Watched
from ._work import Handler, Work
from .errors import ClosedError, DrainingError, InvalidError, LoopError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType
    from typing import Concatenate

    from typing_extensions import Self

    from ._fitting import Schema
    from ._loop import Loop

log = logging.getLogger("trunkline")

F = TypeVar("F", bound="Callable[Concatenate[Task, ...], Any]")
B = TypeVar("B", bound="Callable[[list[Task]], Any]")
G = TypeVar("G", bound="Callable[Concatenate[Message, ...], Any]")

_numbers = itertools.count(1)


def next_number() -> int:
    """A number for an agent, under which its deliveries come."""
    return next(_numbers)


_ASYNC = 64
_PLAIN = 8
_BATCHES = 4
_LARGEST_BATCH = 1024
_MOST = 4096


class Agent(Sender):
    """An agent: say what it does with `task`, `on` and `message`, then `run` it.

    Handlers are `async def` or plain `def` functions of one `Task`; a plain one runs on a thread.
    One with another parameter that is annotated with a pydantic model gets the input, parsed.
    What a handler returns is the answer. What it raises says how its work ends otherwise: `Retry`,
    `Reject`, `Fail`, `DeadLetter`, `InputRequired`, `AuthRequired`, and every other exception asks
    for another attempt. When its work is called off, an `async def` handler is cancelled.

    The leases of what it holds are kept alive outside of Python: a handler that blocks the event
    loop keeps its work, though nothing else runs on the loop meanwhile, which is told in the log.
    """

    __slots__ = ("_card", "_handlers", "_life", "_skills", "id")

    def __init__(
        self,
        id: str,  # noqa: A002
        *,
        skills: Iterable[str] = (),
        name: str = "",
        description: str = "",
        types: Iterable[str] = (),
        capabilities: Iterable[str] = (),
        labels: Mapping[str, str] | None = None,
        region: str = "",
        version: str = "",
    ) -> None:
        """Describes an agent.

        Args:
            id: Its id, unique within its tenant.
            skills: The skills that it offers; each needs a handler, made by `task`. May be left
                out: the handlers say it as well.
            name: A name for people.
            description: What it does, for people.
            types: What kinds of agent it is.
            capabilities: What it can do besides, for lookup.
            labels: Free pairs for lookup.
            region: Where it runs.
            version: The version of its code.
        """
        self.id = id
        self._skills = texts("skills", skills)
        self._card: dict[str, Any] = {
            "name": name,
            "description": description,
            "types": texts("types", types),
            "capabilities": texts("capabilities", capabilities),
            "labels": pairs("labels", labels or {}),
            "region": region,
            "version": version,
        }
        self._handlers: list[Handler] = []
        self._life: _Life | None = None

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
            check_takes_tasks_only(function, _names_around())
            on = "loop" if _is_async(function) else "threads"
            self._add(function, Declared(), on, kind, skill or topics or "", most, *more)
            return function

        return add

    def message(self, function: F) -> F:
        """Makes a function the handler of what is sent to the agent itself.

        Without it, the handler of the agent's only skill is that as well.
        """
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
        if self._life is not None:
            raise UsageError(f"agent '{self.id}' runs; give it its handlers before")
        if not callable(function):
            raise InvalidError(f"a handler is a function, not a {type(function).__name__}")
        if not isinstance(name, str):
            raise InvalidError(f"what it handles is named by a str, not a {type(name).__name__}")
        if not isinstance(most, int) or not 1 <= most <= _MOST:
            what = "processes" if on == "processes" else "concurrency"
            raise InvalidError(f"{what} is {most}, the range is 1 to {_MOST}")
        self._handlers.append(
            Handler(kind, name, most, *more, call=function, on=on, declared=known)
        )

    def _speaks(self) -> Speaks:
        task = at_work.get()
        life = self._life
        if life is None:
            raise ClosedError(
                f"agent '{self.id}' does not run; `await agent.start(...)` before it sends"
            )
        if task is not None and life.is_handling(task):
            return task._speaks()
        return life.native

    def stats(self) -> AgentStats:
        """What the agent has done since it was started, and is doing.

        Raises:
            ClosedError: It does not run.
        """
        if self._life is None:
            raise ClosedError(f"agent '{self.id}' does not run, so that it has no figures")
        return self._life.stats()

    async def start(self, target: str | Client) -> None:
        """Registers the agent and takes up work on the event loop that runs.

        Args:
            target: A `Broker`, a `Client`, or the address of a broker for `connect`.

        Raises:
            Refused: The broker declines, or something of the description is out of range.
            UsageError: It runs already.
        """
        check_not_importing()
        if not isinstance(target, (str, Client)):
            raise InvalidError(
                f"an agent starts at a Broker, a Client or an address, not at {target!r}"
            )
        if self._life is not None:
            raise UsageError(f"agent '{self.id}' runs already; stop it first")
        handled = {handler.name for handler in self._handlers if handler.kind == "skill"}
        missing = [skill for skill in self._skills if skill not in handled]
        if missing:
            raise UsageError(
                f"agent '{self.id}' has no handler for its skill '{missing[0]}'; give it one with "
                f"`@agent.task({missing[0]!r})`"
            )
        life = _Life(self.id, self._handlers, target)
        self._life = life
        try:
            await life.start(self.id, {**self._card, "schemas": self._schemas()})
        except BaseException:
            self._life = None
            raise

    def _schemas(self) -> list[tuple[str, str | None, str | None]]:
        """What its card says that the handlers of skills take and give."""
        skills = [handler for handler in self._handlers if handler.kind == "skill"]
        known = [(handler.name, *handler.declared.published()) for handler in skills]
        return [(name, takes, gives) for name, takes, gives in known if takes or gives]

    async def stop(self) -> None:
        """Takes no new work, finishes what it holds, sees it settled, and leaves.

        Cancelled, it ends the agent at once, and what it holds goes back. Stopping an agent that
        does not run does no harm.

        Raises:
            LoopError: It runs on another event loop.
            UsageError: One of its own handlers calls it, and would wait for itself.
        """
        life = self._life
        if life is not None:
            await life.stop()
            if self._life is life:
                self._life = None

    async def __aenter__(self) -> Self:
        if self._life is None:
            raise UsageError("start the agent first: `await agent.start(...)`, then `async with`")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    async def serve(self, target: str | Client) -> None:
        """Runs the agent until SIGTERM, SIGINT or the end of its session, then stops it in order.

        A second signal ends it at once. Off the main thread there are no signals.

        Args:
            target: As for `start`.

        Raises:
            Refused: As for `start`, or the session ended for another reason than that the broker
                or an operator told the agent to leave.
        """
        told = asyncio.Event()

        def tell() -> None:
            if told.is_set() and self._life is not None:
                self._life.kill()
            told.set()

        # Before it starts: its first delivery may come with the welcome.
        watched = signals()
        watched.add(tell)
        waiting = asyncio.ensure_future(told.wait())
        starting = asyncio.ensure_future(self.start(target))
        try:
            await asyncio.wait({waiting, starting}, return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                starting.cancel()
                await asyncio.wait({starting})
                return
            starting.result()
            await self._serve(waiting)
        finally:
            waiting.cancel()
            starting.cancel()
            watched.remove(tell)

    async def _serve(self, told: asyncio.Future[Any]) -> None:
        life = self._life
        assert life is not None
        try:
            await asyncio.wait({told, life.over}, return_when=asyncio.FIRST_COMPLETED)
            await self.stop()
            how = await life.over
        finally:
            if self._life is life:
                life.kill()
                self._life = None
        if how is not None and not isinstance(how, DrainingError):
            raise how

    def run(self, target: str | Client) -> None:
        """Runs the agent in an event loop of its own, as `serve` does.

        For another loop: `uvloop.run(agent.serve(target))`.
        """
        asyncio.run(self.serve(target))


class _Life:
    """What there is of an agent while it runs."""

    def __init__(self, id: str, handlers: list[Handler], target: str | Client) -> None:  # noqa: A002
        self._loop: Loop = current()
        self._number = next_number()
        self.client = connect(target) if isinstance(target, str) else target
        self._owned = isinstance(target, str)
        self._handlers = self.client._faulty(list(handlers))
        self._work = Work(id, self._handlers)
        self._watched = Watched(self._work)
        self._agent: _native.Agent | None = None
        self._said: tuple[str, dict[str, Any]]
        # Until there is another session in the place of one that was lost.
        self._again: asyncio.Future[None] | None = None
        self.over: asyncio.Future[BaseException | None]

    @property
    def native(self) -> _native.Agent:
        if self._agent is None:
            raise ClosedError("the agent has not started yet")
        return self._agent

    def stats(self) -> AgentStats:
        return to_agent_stats(self.native.stats(), self._watched.blocked)

    def is_handling(self, task: Task) -> bool:
        return task.is_of(self._work)

    async def start(self, id: str, card: dict[str, Any]) -> None:  # noqa: A002
        self._said = (id, card)
        try:
            await self._begin()
        except BaseException:
            await self._leave()
            raise
        self.over = asyncio.ensure_future(self._watch())

    async def _begin(self) -> None:
        loop = self._loop
        host = self.client._speaks()
        # Deliveries may come before the runtime has said that it has started.
        loop.agents[self._number] = self._work
        self._agent = await loop.wait(
            begun(_native.Agent.start, loop.native, host, self._number, *self._said, self._handlers)
        )

    async def lose(self) -> None:
        """Goes on with another session, as if the one there was had been lost.

        What it held comes again; its handlers go on, and what they come to counts no longer.
        """
        lost = self.native
        # That their work is no longer theirs is not told to them.
        self._loop.agents.pop(self._number, None)
        self._number = next_number()
        again = self._again = asyncio.get_running_loop().create_future()
        lost.kill()
        try:
            await self._begin()
        finally:
            self._again = None
            again.set_result(None)

    async def _watch(self) -> BaseException | None:
        """Waits for the end of the session; the loop's own end is one."""
        try:
            while True:
                native = self.native
                ended = await self._loop.call(native.ended)
                if self._again is not None:
                    await self._again
                if native is self.native:
                    return ended
        except asyncio.CancelledError:
            self.kill()
            raise

    async def stop(self) -> None:
        if current() is not self._loop:
            raise LoopError("the agent runs on another event loop; stop it there")
        if self._work.is_handler(asyncio.current_task()):
            raise UsageError(
                "a handler that waits for its own agent to stop would wait for itself; begin it "
                "elsewhere: `asyncio.create_task(agent.stop())`"
            )
        try:
            await self._loop.call(self.native.stop)
        except asyncio.CancelledError:
            self.kill()
            raise
        finally:
            await self._leave()

    def kill(self) -> None:
        """Ends it at once: what it holds goes back."""
        self._watched.close()
        self._work.close()
        if self._agent is not None:
            self._agent.kill()
        self._loop.agents.pop(self._number, None)

    async def _leave(self) -> None:
        self._watched.close()
        self._work.close()
        self._loop.agents.pop(self._number, None)
        if self._owned:
            await self.client.close()


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
