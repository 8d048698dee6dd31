"""What becomes of the messages of a drop-in broker once a handler had them."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from .._ends import reason_of
from ..errors import InvalidError
from .belonging import STOPPED
from .posting import Posting
from .said import answer_of

if TYPE_CHECKING:
    from .._native import Letter
    from .messages import AgentIdentity, AgentMessage
    from .requests import Asked

_MARGIN = 0.002
"""How many seconds of its time to live have to remain after the delay of what is tried again."""
_AT_ONCE = 1e-9
"""The delay of what is tried again without one, in seconds."""


class Outcomes(Posting):
    """Answers who asked, tries again what failed, and gives up the rest."""

    def answered(self, letter: Letter, agent: AgentIdentity, result: Any) -> AgentMessage | None:
        """The handler of a request returned this. Returns what is to be sent for that."""
        answer = answer_of(letter.message, agent, result)
        waits: Asked | None = None
        if answer is not None:
            waits = self._requests.of(answer.metadata.correlation_id)
            if waits is None and letter.asked is not None and answer.is_response():
                # The handler has changed that id, or passes on what another has answered.
                waits = self._requests.of(letter.asked.correlation)
            if waits is None and not answer.recipients:
                raise InvalidError(
                    f"the handler of '{agent.agent_id}' returned a response without recipients for "
                    "a request that nobody waits for; make it by `message.create_response`"
                )
        self._counters.messages_delivered += 1
        if waits is not None and answer is not None:
            waits.tell(answer)
            return None
        known = answer is not None and any(
            one.agent_id in self._agents for one in answer.recipients
        )
        return answer if known else None

    def failed(self, letter: Letter, error: BaseException) -> None:
        """A handler failed: it is tried again, or given up."""
        try:
            self._give_up_or_send_later(letter, error)
        except BaseException as other:
            # A handler may have left anything in a message, and an exception of a user may fail
            # to say what it is. Neither is to cost the message.
            self._dead(letter.message, letter.asked, type(error).__name__)
            if not isinstance(other, Exception):
                raise

    def unknown(self, letter: Letter) -> None:
        """It is for nobody who is registered."""
        self._dead(letter.message, letter.asked, f"agent '{letter.to}' is not registered")

    def _give_up_or_send_later(self, letter: Letter, error: BaseException) -> None:
        message, config = letter.message, self.config
        about = message.metadata
        tried = about.retry_count
        if self._state not in ("running", "stopping"):
            self._dead(message, letter.asked, STOPPED)
            return
        if isinstance(error, InvalidError) or tried >= config.retry_max_attempts:
            self._dead(message, letter.asked, reason_of(error))
            return
        remaining, delay = about.remaining(), config.retry_backoff_ms / 1000 * 2**tried
        if remaining <= delay + _MARGIN:
            # It would be too late then.
            self._dead(message, letter.asked, "expired", expired=True)
            return
        # Made anew, a message of a class with a constructor of its own could not be.
        again, again.metadata = copy.copy(message), copy.copy(about)
        again.metadata.retry_count = tried + 1
        self._send_later(again, letter, remaining, delay)
        self._counters.messages_retried += 1

    def _send_later(
        self, message: AgentMessage, letter: Letter, remaining: float, delay: float
    ) -> None:
        """Sends a message again to one recipient, who has it after so many seconds."""
        urgency = message.metadata.priority.value
        delay = max(delay, _AT_ONCE)
        self._noted(
            self._mailbox.offer(message, letter.to, letter.asked, urgency, remaining, delay)
        )
