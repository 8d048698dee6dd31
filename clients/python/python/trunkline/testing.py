"""Tools for tests of agents: a broker whose time a test puts forward, and faults by a seed.

Read `TestBroker` first. pytest has the fixtures `trunkline_broker` and `trunkline_seed` of
`trunkline.pytest_plugin`, which it finds by itself.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any, TypeVar

from ._agent import Agent
from ._client import Broker
from ._faults import Fault, Faults
from ._spans import Span, seconds
from .errors import InvalidError, UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from typing_extensions import Unpack

    from ._settings import BrokerSettings, LimitSettings
    from ._work import Handler

__all__ = ["Fault", "Faults", "TestBroker"]

T = TypeVar("T")

_CALM = 5
"""After how many looks at which nothing had changed a broker is at rest."""

_LOOK = 0.001
"""How many seconds there are between two looks."""


class TestBroker(Broker):
    """A broker in memory for tests: its clock can be put forward, and faults happen to its agents.

    Its time goes on as time does; `advance` and `hurry` put it forward from deadline to deadline,
    so that retries, delays, times to live, schedules, circuit breakers and leases come at once.
    What is measured elsewhere is not put forward: `asyncio.sleep`, the `timeout` of a handler and
    of `send_and_wait`.

    A lease is a day here unless `lease` says otherwise, because the heartbeats of a handler at
    work come in real time.
    """

    # For pytest, which takes classes of such a name for tests.
    __test__ = False

    __slots__ = ("faults",)

    def __init__(
        self,
        faults: Faults | None = None,
        *,
        limits: LimitSettings | None = None,
        **settings: Unpack[BrokerSettings],
    ) -> None:
        """Opens the broker.

        Args:
            faults: What happens to handlers of agents that are started on it; `None` for nothing.
            limits: As for `Broker`.
            **settings: As for `Broker`.
        """
        if faults is not None and not isinstance(faults, Faults):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidError(f"faults is {faults!r:.50}, give `Faults(...)` or None")
        settings.setdefault("lease", "1d")
        super().__init__(limits=limits, **settings)
        self.faults = faults

    @property
    def injected(self) -> list[Fault]:
        """The faults that happened so far."""
        return [] if self.faults is None else self.faults.injected

    async def close(self, grace: Span = 10.0) -> None:
        """As `Broker.close`; cancels handlers that go on after a fault took their session."""
        if self.faults is not None:
            self.faults.end()
        await super().close(grace)

    def _faulty(self, handlers: list[Handler]) -> list[Handler]:
        return handlers if self.faults is None else [self.faults.into(it) for it in handlers]

    async def advance(self, span: Span) -> None:
        """Puts the clock forward, from deadline to deadline.

        At each, what comes of it is awaited: handlers run until they have ended or wait for
        something, and what they lead to within the span comes as well.

        Args:
            span: How far.
        """
        left = seconds(span)
        # What is under way may yet bring a deadline.
        await self._rest()
        while left > 0:
            left -= self._step(left)
            await self._rest()

    async def hurry(self, awaitable: Awaitable[T], at_most: Span = "1d") -> T:
        """Awaits something, and puts the clock forward whenever only time can bring it.

        Args:
            awaitable: What to wait for, such as `broker.send_and_wait(...)`.
            at_most: How far the clock is put forward.

        Raises:
            TimeoutError: It did not come within that time.
        """
        if not inspect.isawaitable(awaitable):
            raise InvalidError(
                "what is hurried is awaited, such as `broker.send_and_wait(...)`, and not "
                f"{awaitable!r:.50}"
            )
        future, left = asyncio.ensure_future(awaitable), seconds(at_most)
        try:
            while not future.done():
                if not await self._rest(future) or future.done():
                    continue
                if left <= 0:
                    raise TimeoutError(f"it did not come within {at_most} of the broker's time")
                left -= self._step(left)
        finally:
            if not future.done():
                future.cancel()
        return await future

    async def lose(self, agent: Agent) -> None:
        """Has an agent lose its session, as with its connection.

        What it holds is delivered again, to itself or another, while its handlers go on and do not
        know; what they come to counts no longer.

        Raises:
            UsageError: It does not run here.
        """
        await self._life(agent).lose()

    async def kill(self, agent: Agent) -> None:
        """Ends an agent at once. Its handlers are cancelled, and what it holds goes back.

        Raises:
            UsageError: It does not run here.
        """
        self._life(agent).kill()
        agent._life = None
        await self._rest()

    def _life(self, agent: Agent) -> Any:
        if not isinstance(agent, Agent):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidError(f"this is done to an Agent, not to {agent!r:.50}")
        life = agent._life
        if life is None or life.client is not self:
            raise UsageError(f"agent '{agent.id}' does not run on this broker; start it first")
        return life

    def _step(self, most: float) -> float:
        """Puts the clock forward to the next deadline, and tells how far that was."""
        due = self._host.due_in()
        # A deadline that is over may not have been met yet.
        step = most if due is None else min(max(due, 1e-6), most)
        self._host.skip(step)
        return step

    async def _rest(self, until: asyncio.Future[Any] | None = None) -> bool:
        """Waits until nothing changes any longer, or something is done.

        Tells whether only time can go on with what there is.
        """
        before, calm = None, 0
        while calm < _CALM and not (until is not None and until.done()):
            stats = await self.stats()
            now = (stats.counters, stats.gauges, stats.messages_accepted, stats.replies_dropped)
            calm = calm + 1 if now == before else 0
            before = now
            await asyncio.sleep(_LOOK)
        gauges = None if before is None else before[1]
        return gauges is not None and (gauges.leased == 0 or gauges.delayed > 0)
