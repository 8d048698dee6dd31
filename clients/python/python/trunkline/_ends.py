"""How a handler ends its work when it does not complete it: raise one of these."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from ._payload import to_payload
from ._spans import Span, maybe
from .errors import DeadlockError, PayloadError

Said: TypeAlias = (
    tuple[Literal["complete"], tuple[bytes, str] | None]
    | tuple[Literal["pause"], bool, tuple[bytes, str]]
    | tuple[Literal["give up"], str, str, float | None]
)
"""How a delivery ends, as it is told to the runtime, and carried between processes."""


class HandlerEnd(Exception):  # noqa: N818
    """The base of what a handler raises to say how its work ends.

    Any other exception asks for another attempt, with its type and text as the reason.
    """


class Retry(HandlerEnd):
    """This attempt failed; try again."""

    def __init__(self, reason: str = "", *, after: Span | None = None) -> None:
        """This attempt failed; try again.

        Args:
            reason: Why it failed.
            after: When to try again; `None` for the broker's own backoff.
        """
        super().__init__(reason)
        self.reason = reason
        self.after = maybe(after)


class Reject(HandlerEnd):
    """The agent declines the work."""

    def __init__(self, reason: str = "") -> None:
        """The agent declines the work, for this reason."""
        super().__init__(reason)
        self.reason = reason


class Fail(HandlerEnd):
    """The work was done and failed; trying again would not help."""

    def __init__(self, reason: str = "") -> None:
        """The work was done and failed, for this reason."""
        super().__init__(reason)
        self.reason = reason


class DeadLetter(HandlerEnd):
    """Never again without a person."""

    def __init__(self, reason: str = "") -> None:
        """Never again without a person, for this reason."""
        super().__init__(reason)
        self.reason = reason


class InputRequired(HandlerEnd):
    """The task waits for its caller, who answers it by `continue_task`; see `Task.messages`."""

    def __init__(self, question: Any = None) -> None:
        """The task waits for its caller, who is told `question`."""
        super().__init__(question)
        self.question = to_payload(question)


class AuthRequired(InputRequired):
    """The task waits for credentials from its caller."""


def said_of(error: BaseException) -> Said:
    """How a delivery ends whose handler raised this."""
    try:
        return _said_of(error)
    except Exception:
        # Unsettled, it would come back at once, again and again.
        return "give up", "retry", "how the handler ended cannot be told", None


def _said_of(error: BaseException) -> Said:
    if isinstance(error, Retry):
        return "give up", "retry", _sayable(error.reason), error.after
    if isinstance(error, Reject):
        return "give up", "reject", _sayable(error.reason), None
    if isinstance(error, Fail):
        return "give up", "fail", _sayable(error.reason), None
    if isinstance(error, DeadLetter):
        return "give up", "dead-letter", _sayable(error.reason), None
    if isinstance(error, InputRequired):
        return "pause", isinstance(error, AuthRequired), error.question
    # The same would be said, or refused, again and again.
    hopeless = isinstance(error, (PayloadError, DeadlockError))
    return "give up", "fail" if hopeless else "retry", reason_of(error), None


def reason_of(error: BaseException) -> str:
    """The reason that an exception is: its type and its text."""
    text = str(error)
    return _sayable(f"{type(error).__name__}: {text}" if text else type(error).__name__)


def _sayable(text: object) -> str:
    """A text without what is no character."""
    return str(text).encode(errors="replace").decode()
