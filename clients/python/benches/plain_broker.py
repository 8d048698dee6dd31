"""A broker as agents of one process share it where there is no other: what the drop-in replaces."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
from collections import deque
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Protocol

from trunkline.compat import AgentIdentity, AgentMessage, BrokerConfiguration

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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

    async def send_request(
        self, message: AgentMessage, timeout: float | None
    ) -> AgentMessage | None:
        """Sends a request and waits for the answer."""
        ...

    def get_stats(self) -> dict[str, Any]:
        """Its figures."""
        ...


_COROUTINE: type[Any] = CoroutineType


class _Worker:
    """The figures of a worker."""

    __slots__ = ("batches", "errors", "messages")

    def __init__(self) -> None:
        self.messages = self.batches = self.errors = 0


_Entry = tuple[int, int, AgentMessage, "Sequence[AgentIdentity]", int]
"""Urgency, order, what, to whom, and how often it was tried."""


class PlainBroker:
    """A broker as they are written with `PriorityQueue` and worker tasks, without sleeps.

    It does what the drop-in's API promises for a message: the most urgent first, topics and
    broadcasts, a wait for room that is bounded, times to live, retries with backoff, dead letters,
    figures of the broker and of each worker, and an end that drains. An answer goes through the
    queue like any message. What the drop-in does besides, it leaves out: handlers that lend their
    worker while they ask, checks of types and of the event loop, workers that are looked after, a
    warning of a queue that fills; and what waits for another try is lost when it stops.
    """

    def __init__(self, config: BrokerConfiguration) -> None:
        self._config = config
        self._queue = asyncio.PriorityQueue[_Entry](config.max_queue_size)
        self._agents: dict[str, tuple[AgentIdentity, Callable[[AgentMessage], Any]]] = {}
        self._topics: dict[str, set[str]] = {}
        self._pending: dict[str, asyncio.Future[AgentMessage]] = {}
        self._letters = deque[tuple[AgentMessage, str]](maxlen=10_000)
        self._workers = [_Worker() for _ in range(config.num_workers)]
        self._tasks: list[asyncio.Task[None]] = []
        self._open = True
        self._since = 0.0
        self._order = 0
        self._sent = self._delivered = self._failed = 0
        self._expired = self._retried = self._late = self._batched = 0

    def register_agent(
        self, identity: AgentIdentity, handler: Callable[[AgentMessage], Any]
    ) -> None:
        """Registers an agent."""
        self._agents[identity.agent_id] = (identity, handler)

    def subscribe(self, agent_id: str, topic: str) -> None:
        """Has an agent get the events of a topic."""
        self._topics.setdefault(topic, set()).add(agent_id)

    async def start(self) -> None:
        """Starts the workers."""
        self._since = time.monotonic()
        work = self._batches if self._config.enable_batching else self._singly
        self._tasks = [asyncio.create_task(work(worker)) for worker in self._workers]

    async def stop(self) -> None:
        """Takes nothing new, sees what waits handled, and ends the workers."""
        self._open = False
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._queue.join(), 30.0)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def send_message(self, message: AgentMessage) -> bool:
        """Puts a message into the queue, and tells whether it had room within a second."""
        if not self._open and not message.is_response():
            return self._dead(message, "the broker was stopped")
        self._order += 1
        to = message.recipients or self._everybody(message)
        entry = (-message.metadata.priority.value, self._order, message, to, 0)
        try:
            self._queue.put_nowait(entry)
        except asyncio.QueueFull:
            try:
                await asyncio.wait_for(self._queue.put(entry), 1.0)
            except asyncio.TimeoutError:
                return self._dead(message, "queue_full")
        self._sent += 1
        return True

    async def send_request(
        self, message: AgentMessage, timeout: float | None
    ) -> AgentMessage | None:
        """Waits for the answer to a request."""
        correlation = message.metadata.correlation_id
        answer: asyncio.Future[AgentMessage] = asyncio.get_running_loop().create_future()
        self._pending[correlation] = answer
        try:
            if not await self.send_message(message):
                return None
            return await asyncio.wait_for(answer, timeout)
        except asyncio.TimeoutError:
            self._late += 1
            return None
        finally:
            self._pending.pop(correlation, None)

    def get_stats(self) -> dict[str, Any]:
        """The figures, under the names that they have in the drop-in."""
        batches = sum(worker.batches for worker in self._workers)
        return {
            "messages_sent": self._sent,
            "messages_delivered": self._delivered,
            "messages_failed": self._failed,
            "messages_expired": self._expired,
            "messages_retried": self._retried,
            "requests_timeout": self._late,
            "agents_registered": len(self._agents),
            "batches_processed": batches,
            "avg_batch_size": self._batched / batches if batches else 0.0,
            "queue_size": self._queue.qsize(),
            "queue_utilization": self._queue.qsize() / self._config.max_queue_size,
            "pending_requests": len(self._pending),
            "dead_letters": len(self._letters),
            "broker_uptime_seconds": time.monotonic() - self._since,
            "worker_pool": [(one.messages, one.batches, one.errors) for one in self._workers],
        }

    def get_dead_letters(self) -> list[tuple[AgentMessage, str]]:
        """What was not handled, and why."""
        return list(self._letters)

    def _everybody(self, message: AgentMessage) -> list[AgentIdentity]:
        ids = list(self._agents)
        if message.is_event() and "topic" in message.payload:
            ids = sorted(self._topics.get(message.payload["topic"], ()))
        return [self._agents[one][0] for one in ids]

    async def _singly(self, worker: _Worker) -> None:
        queue = self._queue
        while True:
            entry = await queue.get()
            await self._deliver(worker, entry)
            queue.task_done()

    async def _batches(self, worker: _Worker) -> None:
        loop, config, queue = asyncio.get_running_loop(), self._config, self._queue
        while True:
            batch = [await queue.get()]
            end = loop.time() + config.batch_timeout_ms / 1000
            while len(batch) < config.batch_size:
                try:
                    batch.append(queue.get_nowait())
                except asyncio.QueueEmpty:
                    try:
                        batch.append(await asyncio.wait_for(queue.get(), end - loop.time()))
                    except asyncio.TimeoutError:
                        break
            worker.batches += 1
            self._batched += len(batch)
            for first in range(0, len(batch), config.delivery_parallelism):
                some = batch[first : first + config.delivery_parallelism]
                await asyncio.gather(*(self._deliver(worker, entry) for entry in some))
            for _ in batch:
                queue.task_done()

    async def _deliver(self, worker: _Worker, entry: _Entry) -> None:
        message, to = entry[2], entry[3]
        worker.messages += 1
        if message.metadata.is_expired():
            self._expired += 1
            self._letters.append((message, "expired"))
            return
        if message.is_response():
            waits = self._pending.pop(message.metadata.correlation_id, None)
            if waits is not None:
                if not waits.done():
                    waits.set_result(message)
                self._delivered += 1
                return
        for recipient in to:
            known = self._agents.get(recipient.agent_id)
            if known is None:
                self._dead(message, f"agent '{recipient.agent_id}' is not registered")
                continue
            identity, handler = known
            try:
                answer = handler(message)
                if isinstance(answer, _COROUTINE) or inspect.isawaitable(answer):
                    answer = await answer
            except Exception as error:
                worker.errors += 1
                self._again(entry, identity, error)
                continue
            self._delivered += 1
            if answer is not None and message.is_request():
                await self.send_message(message.create_response(identity, answer))

    def _again(self, entry: _Entry, identity: AgentIdentity, error: Exception) -> None:
        """A handler failed: it is tried again after its backoff, or given up."""
        config, (urgency, order, message, _, tried) = self._config, entry
        if tried >= config.retry_max_attempts:
            self._dead(message, f"{type(error).__name__}: {error}")
            return
        self._retried += 1
        again = (urgency, order, message, [identity], tried + 1)
        backoff = config.retry_backoff_ms / 1000 * 2**tried
        asyncio.get_running_loop().call_later(backoff, self._requeue, again)

    def _requeue(self, entry: _Entry) -> None:
        try:
            self._queue.put_nowait(entry)
        except asyncio.QueueFull:
            self._dead(entry[2], "queue_full")

    def _dead(self, message: AgentMessage, reason: str) -> bool:
        self._failed += 1
        self._letters.append((message, reason))
        return False
