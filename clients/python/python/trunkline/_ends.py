"""How a handler ends its work when it does not complete it: raise one of these."""

from __future__ import annotations

from typing import Any

from ._payload import to_payload
from ._spans import Span, maybe


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
