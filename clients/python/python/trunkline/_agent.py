"""An agent: its card, and how it starts, serves and stops."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ._client import Broker, Client
from ._handlers import Handled
from ._life import Life
from ._processes import check_not_importing
from ._signals import signals
from ._speak import Speaks
from ._stats import AgentStats
from ._task import at_work
from ._texts import pairs, texts
from .errors import (
    ClosedError,
    DrainingError,
    InvalidError,
    LoopError,
    UnavailableError,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    from typing_extensions import Self


class Agent(Handled):
    """An agent: say what it does with `task`, `on` and `message`, then `run` it.

    Handlers are `async def` or plain `def` functions of one `Task`; a plain one runs on a thread.
    One with another parameter that is annotated with a pydantic model gets the input, parsed.
    What a handler returns is the answer. What it raises says how its work ends otherwise: `Retry`,
    `Reject`, `Fail`, `DeadLetter`, `InputRequired`, `AuthRequired`, and every other exception asks
    for another attempt. When its work is called off, an `async def` handler is cancelled.

    The leases of what it holds are kept alive outside of Python: a handler that blocks the event
    loop keeps its work, though nothing else runs on the loop meanwhile, which is told in the log.
    """

    __slots__ = ("_card", "_skills")

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
        super().__init__(id)
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
        life = self._living()
        if life is None:
            raise ClosedError(f"agent '{self.id}' does not run, so that it has no figures")
        return life.stats()

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
        if self._living() is not None:
            raise UsageError(f"agent '{self.id}' runs already; stop it first")
        handled = {handler.name for handler in self._handlers if handler.kind == "skill"}
        missing = [skill for skill in self._skills if skill not in handled]
        if missing:
            raise UsageError(
                f"agent '{self.id}' has no handler for its skill '{missing[0]}'; give it one with "
                f"`@agent.task({missing[0]!r})`"
            )
        life = Life(self.id, self._handlers, target)
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
        life = self._living()
        if life is not None:
            await life.stop()
            if self._life is life:
                self._life = None

    async def __aenter__(self) -> Self:
        if self._living() is None:
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

        That its broker in process is closed is such an end. A second signal ends it at once. Off
        the main thread there are no signals.

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
        closed = isinstance(life.client, Broker) and life.client.closed
        told_to = (DrainingError, UnavailableError) if closed else DrainingError
        if how is not None and not isinstance(how, told_to):
            raise how

    def run(self, target: str | Client) -> None:
        """Runs the agent in an event loop of its own, as `serve` does.

        For another loop: `uvloop.run(agent.serve(target))`.

        Raises:
            LoopError: An event loop runs in this thread; use `await agent.serve(...)` there.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            raise LoopError(
                "an event loop runs in this thread; `await agent.serve(...)` instead of `agent.run`"
            )
        asyncio.run(self.serve(target))
