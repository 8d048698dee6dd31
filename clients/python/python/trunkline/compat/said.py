"""What messages and handlers say: the topic of an event, the answer to a request."""

from __future__ import annotations

from typing import Any

from ..errors import InvalidError
from .messages import (
    LARGE,
    AgentIdentity,
    AgentMessage,
    check_message,
    check_seconds,
    text_of,
)


def check_timeout(timeout: object) -> None:
    """Sees that it is a number of seconds, or `None`.

    Raises:
        InvalidError: It is something else.
    """
    if timeout is None or (isinstance(timeout, (int, float)) and -LARGE < timeout < LARGE):
        return
    # What is not equal to itself is no number.
    if not isinstance(timeout, (int, float)) or timeout != timeout:
        raise InvalidError(f"timeout is {timeout!r}, it is a number of seconds or None")
    check_seconds("timeout", timeout)


def topic_of(payload: object) -> str:
    """The topic that the payload of an event names.

    Raises:
        InvalidError: It names none, and would go to nobody knows whom.
    """
    topic: Any = payload.get("topic") if isinstance(payload, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    if topic is None:
        raise InvalidError(
            "an event without recipients names no topic; put it into the payload, as "
            "`create_event_message` does, or send a broadcast"
        )
    return text_of("the topic of an event", topic)  # pyright: ignore[reportUnknownArgumentType]


def answer_of(message: AgentMessage, agent: AgentIdentity, result: Any) -> AgentMessage | None:
    """What a handler that returned this answers; empty answers are some as well."""
    if not message.is_request() or result is None:
        return None
    if isinstance(result, AgentMessage):
        check_message(result)
        return result
    if isinstance(result, dict):
        return message.create_response(agent, result)  # pyright: ignore[reportUnknownArgumentType]
    raise InvalidError(
        f"the handler of '{agent.agent_id}' returned a {type(result).__name__}; return a dict, or "
        "None if the answer comes later"
    )
