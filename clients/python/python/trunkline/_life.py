"""What there is of an agent while it runs: its session, its work, and their end."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

from . import _native
from ._client import Client, connect
from ._loop import begun, current
from ._stats import AgentStats, to_agent_stats
from ._watching import Watched
from ._work import Handler, Work
from .errors import ClosedError, LoopError, UsageError

if TYPE_CHECKING:
    from ._loop import Loop
    from ._task import Task

_numbers = itertools.count(1)


def next_number() -> int:
    """A number for an agent, under which its deliveries come."""
    return next(_numbers)


class Life:
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

    def is_over(self) -> bool:
        """Whether its loop was closed without its being stopped."""
        return self._loop.is_closed()

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
                "elsewhere: `asyncio.create_task(agent.stop())`, which a plain handler does in a "
                "coroutine that it gives to `task.wait`"
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
