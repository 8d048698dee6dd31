"""The drop-in broker."""

from __future__ import annotations

import time
from asyncio import get_running_loop
from dataclasses import asdict
from typing import Any

from .life import Life
from .messages import AgentIdentity, AgentMessage, MessagePriority, create_event_message
from .requests import Answer
from .said import check_timeout
from .stats import batches, worker_pool


class AgentMessageBroker(Life):
    """Messages between agents of one event loop, handled by a pool of workers that they share.

    Agents can be registered and messages be sent before it is started; they are handled once it
    is. It belongs to the event loop of the first message or of its start until it is stopped.
    """

    async def send_request(
        self, message: AgentMessage, timeout: float | None = 30.0
    ) -> AgentMessage | None:
        """Sends a request and waits for the answer.

        A handler that waits for one lends its place in the pool meanwhile. It has it back with the
        answer, or when the time is over, even if whoever borrowed it is still at work then.

        Args:
            message: The request. Of several recipients the first answer counts.
            timeout: How many seconds to wait; `None` for as long as it takes.

        Returns:
            The answer, or `None` if there is none in time, or will not be.

        Raises:
            InvalidError: It is no request, or one with its correlation id waits already. It is a
                `ValueError` as well.
            LoopError: The broker is at work on another event loop.
        """
        answer = await self._asked(message, timeout)
        return answer if isinstance(answer, AgentMessage) else None

    async def publish_event(
        self,
        topic: str,
        sender: AgentIdentity,
        payload: dict[str, Any],
        priority: MessagePriority = MessagePriority.NORMAL,
    ) -> None:
        """Publishes an event; subscribers find `{"topic": topic, "data": payload}` in it.

        Raises:
            InvalidError: The topic is no text, or another part is of the wrong type.
        """
        message = create_event_message(sender, topic, payload, priority)
        message.recipients = self._subscribed(topic)
        if message.recipients:
            await self.send_message(message)

    async def ask(self, message: AgentMessage, timeout: float | None = 30.0) -> Answer:
        """As `send_request`, and says why there is no answer."""
        answer = await self._asked(message, timeout)
        return Answer(answer) if isinstance(answer, AgentMessage) else answer

    def get_stats(self) -> dict[str, Any]:
        """The figures of the broker."""
        self._see_to_its_loop()
        now, since = time.monotonic(), self._since
        workers = self._pool.workers if self._pool is not None else []
        batched = self._pool.batched if self._pool is not None else 0
        return {
            **self._counters.figures(),
            **batches(workers, batched),
            "agents_registered": len(self._agents),
            "registered_agents": len(self._agents),
            "subscriptions_active": sum(len(agents) for agents in self._topics.values()),
            "topics": len(self._topics),
            "queue_size": self._mailbox.waiting,
            "queue_utilization": self._mailbox.waiting / self.config.max_queue_size,
            "pending_requests": len(self._requests),
            "dead_letters": len(self._letters),
            "dead_letter_queue_size": len(self._letters),
            "running": self._state in ("running", "stopping"),
            "broker_start_time": self._start_time,
            "broker_uptime_seconds": self._uptime if since is None else now - since,
            "worker_pool": worker_pool(workers),
            "config": asdict(self.config),
        }

    def get_dead_letters(self) -> list[tuple[AgentMessage, str]]:
        """What was not handled and why, oldest first; the latest 10,000 are kept."""
        self._see_to_its_loop()
        return list(self._letters)

    def clear_dead_letters(self) -> None:
        """Forgets the dead letters."""
        self._letters.clear()

    async def _asked(self, message: AgentMessage, timeout: float | None) -> AgentMessage | Answer:
        check_timeout(timeout)
        # Before anything is lent: a thread of a handler has its context, and a loop of its own.
        try:
            elsewhere = self._loop is not get_running_loop()
        except RuntimeError:
            elsewhere = True
        if elsewhere:
            self._here()
        asked = self._requests.begin(message)
        place = self._place()
        if place is not None:
            place.lend()
        # When to have the place back, at the latest: at once for who does not wait any longer.
        until: float | None = 0.0
        try:
            accepted = self._post(message, asked)
            if accepted is None:
                accepted = await self._wait_and_post(message, asked)
            if not accepted:
                return Answer(None, "it was not accepted")
            end = None
            if timeout is not None:
                self._requests.limit(asked, timeout)
                end = get_running_loop().time() + timeout
            answer = await asked.answer
            until = end
            if isinstance(answer, Answer) and answer.timed_out:
                self._counters.requests_timeout += 1
            return answer
        finally:
            self._requests.end(asked)
            if place is not None:
                await place.regain(until)
