"""A broker as agents of one process share it where there is no other: what the drop-in replaces."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from trunkline.compat import AgentIdentity, AgentMessage, BrokerConfiguration

if TYPE_CHECKING:
    from collections.abc import Callable

ASKS, ANSWERS = AgentIdentity("asks", "a", "Asks"), AgentIdentity("answers", "b", "Answers")

SETTINGS = {
    "1 worker, no batches": BrokerConfiguration(num_workers=1, enable_batching=False),
    "5 workers, no batches": BrokerConfiguration(num_workers=5, enable_batching=False),
    "5 workers, batches of 20": BrokerConfiguration(),
    "1 worker, batches of 10": BrokerConfiguration(
        num_workers=1, batch_size=10, batch_timeout_ms=50, delivery_parallelism=5
    ),
}


class Measured(Protocol):
    """What is measured of a broker."""

    def register_agent(
        self, identity: AgentIdentity, handler: Callable[[AgentMessage], Any]
    ) -> None:
        """Registers an agent."""
        ...

    async def start(self) -> None:
        """Starts it."""
        ...

    async def stop(self) -> None:
        """Stops it."""
        ...

    async def send_message(self, message: AgentMessage) -> bool:
        """Sends a message."""
        ...

    async def send_request(self, message: AgentMessage, timeout: float) -> AgentMessage | None:
        """Sends a request and waits for the answer."""
        ...


class PlainBroker:
    """A broker as they are written with `PriorityQueue` and worker tasks, without sleeps."""

    def __init__(self, config: BrokerConfiguration) -> None:
        self._config = config
        self._queue = asyncio.PriorityQueue[tuple[int, int, AgentMessage]](config.max_queue_size)
        self._handlers: dict[str, Callable[[AgentMessage], Any]] = {}
        self._pending: dict[str, asyncio.Future[AgentMessage]] = {}
        self._workers: list[asyncio.Task[None]] = []
        self._sent = 0

    def register_agent(
        self, identity: AgentIdentity, handler: Callable[[AgentMessage], Any]
    ) -> None:
        """Registers an agent."""
        self._handlers[identity.agent_id] = handler

    async def start(self) -> None:
        """Starts the workers."""
        work = self._batches if self._config.enable_batching else self._singly
        self._workers = [asyncio.create_task(work()) for _ in range(self._config.num_workers)]

    async def stop(self) -> None:
        """Ends the workers."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    async def send_message(self, message: AgentMessage) -> bool:
        """Puts a message into the queue."""
        self._sent += 1
        await self._queue.put((-message.metadata.priority.value, self._sent, message))
        return True

    async def send_request(self, message: AgentMessage, timeout: float) -> AgentMessage | None:
        """Waits for the answer to a request."""
        answer: asyncio.Future[AgentMessage] = asyncio.get_running_loop().create_future()
        self._pending[message.metadata.correlation_id] = answer
        await self.send_message(message)
        return await asyncio.wait_for(answer, timeout)

    async def _singly(self) -> None:
        while True:
            await self._deliver((await self._queue.get())[2])

    async def _batches(self) -> None:
        loop, config = asyncio.get_running_loop(), self._config
        while True:
            batch = [(await self._queue.get())[2]]
            end = loop.time() + config.batch_timeout_ms / 1000
            while len(batch) < config.batch_size and (left := end - loop.time()) > 0:
                try:
                    batch.append((await asyncio.wait_for(self._queue.get(), left))[2])
                except asyncio.TimeoutError:
                    break
            for first in range(0, len(batch), config.delivery_parallelism):
                some = batch[first : first + config.delivery_parallelism]
                await asyncio.gather(*(self._deliver(message) for message in some))

    async def _deliver(self, message: AgentMessage) -> None:
        if message.metadata.is_expired():
            return
        for recipient in message.recipients:
            handler = self._handlers.get(recipient.agent_id)
            if handler is None:
                continue
            answer = await handler(message)
            if message.is_request() and answer is not None:
                await self.send_message(message.create_response(recipient, answer))
            if message.is_response():
                waits = self._pending.pop(message.metadata.correlation_id, None)
                if waits is not None and not waits.done():
                    waits.set_result(message)
