"""What the tests of the drop-in broker have in common."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from conftest import PATIENCE
from trunkline.compat import (
    AgentIdentity,
    AgentMessage,
    AgentMessageBroker,
    BrokerConfiguration,
    MessageMetadata,
    MessagePriority,
    MessageType,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable


def who(agent_id: str, agent_type: str = "t", *capabilities: str) -> AgentIdentity:
    return AgentIdentity(agent_id, agent_type, agent_id.title(), list(capabilities))


ME = who("me")


def told(to: AgentIdentity | list[AgentIdentity], word: str, **metadata: Any) -> AgentMessage:
    """A one-way message of one word."""
    whom = to if isinstance(to, list) else [to]
    about = MessageMetadata(**metadata)
    return AgentMessage(ME, whom, MessageType.STATUS_UPDATE, {"word": word}, metadata=about)


def asked(to: AgentIdentity, word: str = "", **metadata: Any) -> AgentMessage:
    """A request of one word."""
    about = MessageMetadata(**metadata)
    return AgentMessage(ME, [to], MessageType.REQUEST, {"word": word}, metadata=about)


async def until(true: Callable[[], bool]) -> None:
    """Waits until something is so."""

    async def look() -> None:
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.001)

    await asyncio.wait_for(look(), PATIENCE)


def one_by_one(**settings: Any) -> BrokerConfiguration:
    """One worker with one message at a time."""
    alone: dict[str, Any] = {"num_workers": 1, "enable_batching": False}
    return BrokerConfiguration(**{**alone, **settings})


@contextlib.asynccontextmanager
async def running(config: BrokerConfiguration | None = None) -> AsyncGenerator[AgentMessageBroker]:
    broker = AgentMessageBroker(config)
    await broker.start()
    try:
        yield broker
    finally:
        await broker.stop()


class Doorman:
    """A handler that holds what comes until it is told to go on."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.inside = 0
        self.most = 0
        self.open = asyncio.Event()

    async def __call__(self, message: AgentMessage) -> dict[str, Any] | None:
        self.seen.append(message.payload["word"])
        self.inside += 1
        self.most = max(self.most, self.inside)
        await self.open.wait()
        self.inside -= 1
        return {"word": message.payload["word"]} if message.is_request() else None


__all__ = ["ME", "Doorman", "MessagePriority", "asked", "one_by_one", "running", "told", "until"]
