"""What can go wrong, as exceptions that say what to do.

Everything that this package raises is a `TrunklineError`. The broker's refusals are `Refused`, one
class for each code; a request that was accepted and has no answer is `Unanswered`, one class for
each way in which it ended.
"""

from __future__ import annotations


class TrunklineError(Exception):
    """The base of everything that this package raises."""


# Mistakes in the use of this package.


class UsageError(TrunklineError):
    """The package is used in a way that cannot work; the text says what to do instead."""


class ClosedError(UsageError):
    """The broker, client or agent was closed. Make another to go on."""


class ForkError(UsageError):
    """The process was forked after trunkline had started; use the 'spawn' start method."""


class LoopError(UsageError):
    """There is no event loop, or it is not the one that the agent belongs to."""


class MissingPackageError(UsageError, ImportError):
    """A package is needed that is not installed; the text says how to install it."""


class PayloadError(TrunklineError):
    """A value cannot be sent, or a payload cannot be read as what was asked for."""


class OpenError(TrunklineError):
    """A broker in process cannot be opened: its data is locked, damaged, or of a newer version."""


class InternalError(TrunklineError):
    """The runtime failed within itself. Please report it."""


# Refusals: nothing of what was asked has been done.


class Refused(TrunklineError):
    """The broker refused; nothing of what was asked has been done."""

    code: str = ""
    """The class of the reason, for programs."""
    retry_after: float | None = None
    """In how many seconds it may be worth trying again, if waiting helps."""


class InvalidError(Refused, ValueError):
    """Something is malformed, contradictory or out of range. Correct it."""

    code = "invalid"


class TooLargeError(Refused):
    """Something is over its limit. Send less, or raise the broker's limit."""

    code = "too-large"


class NotFoundError(Refused, LookupError):
    """What was named does not exist. Check the id, or how long the broker keeps such things."""

    code = "not-found"


class AlreadyTakenError(Refused):
    """The agent's id belongs to another principal. Choose another, or speak as that one."""

    code = "already-taken"


class StaleTokenError(Refused):
    """The delivery is somebody else's by now, or has ended. Stop working on it."""

    code = "stale-token"


class OutOfOrderError(Refused):
    """The session has lost count. Make a new client."""

    code = "out-of-order"


class InboxFullError(Refused):
    """The inbox holds as much as it may. Try again after `retry_after`, or add agents."""

    code = "inbox-full"


class KeyReusedError(Refused):
    """The idempotency key was used for something else. Use one key for one thing."""

    code = "key-reused"


class KeyCapError(Refused):
    """The tenant has as many idempotency keys as it may. Wait until old ones end."""

    code = "key-cap"


class NobodyThereError(Refused):
    """Nobody serves the destination. Start such an agent, or let the work wait for one."""

    code = "nobody-there"


class DiskFullError(Refused):
    """The broker's disk has no room for new work. Make room; what was accepted goes on."""

    code = "disk-full"


class StoreFailedError(Refused):
    """The broker's log failed. Start the broker again, once the disk is well."""

    code = "store-failed"


class DrainingError(Refused):
    """The broker is shutting down. Try again when it is back."""

    code = "draining"


class ForbiddenError(Refused):
    """The principal may not do this. Speak as one that may."""

    code = "forbidden"


class UnavailableError(Refused, ConnectionError):
    """No broker answers, or it went away. See that it runs, and try again."""

    code = "unavailable"


class WrongStateError(Refused):
    """It exists but is in a state that does not allow this, such as a task that has ended."""

    code = "wrong-state"


class DeadlockError(Refused):
    """The request would wait for itself. Send it without the ordering key, or do not wait."""

    code = "deadlock"


# Requests that were accepted and have no answer.


class Unanswered(TrunklineError):
    """The request was accepted and ended without an answer."""

    code: str = ""
    """How it ended, for programs."""


class FailedError(Unanswered):
    """The agent did the work and it failed."""

    code = "failed"


class RejectedError(Unanswered):
    """The agent declined the work."""

    code = "rejected"


class ExpiredError(Unanswered, TimeoutError):
    """There was no answer in time. Allow more, or see who serves the destination."""

    code = "expired"


class DeadLetteredError(Unanswered):
    """It ran out of attempts, or an agent gave it up. It is kept as a dead letter."""

    code = "dead-lettered"


class CanceledError(Unanswered):
    """It was called off."""

    code = "canceled"


class LostError(Unanswered):
    """The broker went away with it, because it was ephemeral. Ask again."""

    code = "lost"


class NobodyAnsweredError(Unanswered):
    """Nobody was there to ask, and the request was not to wait."""

    code = "nobody-there"


class LeftOutError(Unanswered):
    """There was an answer, but it is larger than this side takes."""

    code = "left-out"


_REFUSED = {it.code: it for it in Refused.__subclasses__()}
_UNANSWERED = {it.code: it for it in Unanswered.__subclasses__()}


def _refused(code: str, message: str, retry_after: float | None) -> Refused:
    error = _REFUSED.get(code, Refused)(message)
    error.code = code
    error.retry_after = retry_after
    return error


def _failed(code: str, reason: str) -> Unanswered:
    error = _UNANSWERED.get(code, Unanswered)(f"{code}: {reason}" if reason else code)
    error.code = code
    return error
