"""The drop-in broker, and a plain asyncio broker of the kind that it takes the place of."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from trunkline.compat import AgentMessage, AgentMessageBroker, MessageType, create_request_message

from ..places import BENCHES
from .side import AsyncSide

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline.compat import BrokerConfiguration

    from ..load import Load
    from ..work import Work

sys.path.append(str(BENCHES))

from plain_broker import ANSWERS, ASKS, SETTINGS, Measured, PlainBroker


class _Compat(AsyncSide):
    """Broker, sender and handler on one event loop."""

    def __init__(self, make: Callable[[BrokerConfiguration], Measured], setting: str) -> None:
        super().__init__()
        self._make, self._config = make, SETTINGS[setting]

    async def begin(self, work: Work, load: Load) -> None:
        """Starts a broker."""
        see = load.see

        async def handle(message: AgentMessage) -> None:
            see(message.payload["data"])

        async def answer(message: AgentMessage) -> dict[str, Any]:
            data = message.payload["data"]
            see(data)
            return {"data": data}

        async def ignore(_: AgentMessage) -> None: ...

        self._broker = self._make(self._config)
        self._broker.register_agent(ASKS, ignore)
        self._broker.register_agent(ANSWERS, answer if work.requests else handle)
        await self._broker.start()

    def messages(self, work: Work, load: Load) -> list[Any]:
        """Makes the envelopes."""
        if work.requests:
            return [create_request_message(ASKS, ANSWERS, {"data": p}) for p in load.payloads]
        kind = MessageType.STATUS_UPDATE
        return [AgentMessage(ASKS, [ANSWERS], kind, {"data": p}) for p in load.payloads]

    async def tell(self, message: Any) -> None:
        """Puts a message into the queue."""
        if not await self._broker.send_message(message):
            raise RuntimeError("the broker did not take a message")

    async def request(self, message: Any) -> bytes:
        """Asks."""
        answer = await self._broker.send_request(message, 30.0)
        return b"" if answer is None else answer.payload["data"]

    async def end(self) -> tuple[int | None, int]:
        """Stops the broker."""
        await self._broker.stop()
        return None, 0


class Plain(_Compat):
    """A plain broker in one of its settings."""

    def __init__(self, setting: str) -> None:
        """Says in which."""
        super().__init__(PlainBroker, setting)


class DropIn(_Compat):
    """The drop-in in one of its settings."""

    def __init__(self, setting: str) -> None:
        """Says in which."""
        super().__init__(AgentMessageBroker, setting)
