"""What a play came to: counts that must agree, and figures only where they do."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


class DisagreementError(Exception):
    """Counts do not agree, so that there is no figure."""


@dataclass(frozen=True)
class Counts:
    """What was counted in one play."""

    sent: int
    accepted: int
    """What the side took. NATS, the plain broker and AutoGen's events say nothing more of it."""
    handled: int
    """Different payloads that a handler had."""
    wrong: int
    """Payloads that were damaged, came twice, or came from nowhere."""
    answered: int | None = None
    """Answers that were what was asked; `None` where nothing is answered."""
    settled: int | None = None
    """What the broker itself counts as settled; `None` where it does not count it."""
    left: int = 0
    """What the broker still has afterwards."""

    def check(self) -> None:
        """Does nothing if they agree.

        Raises:
            DisagreementError: They do not; it says which.
        """
        good = self.sent > 0 and self.accepted == self.handled == self.sent
        good = good and self.wrong == 0 and self.left == 0
        good = good and self.answered in (None, self.sent) and self.settled in (None, self.sent)
        if not good:
            said = ", ".join(f"{name} {n}" for name, n in asdict(self).items() if n is not None)
            raise DisagreementError(f"counts do not agree: {said}")


@dataclass(frozen=True)
class Turn:
    """One play of one side.

    Raises:
        DisagreementError: Its counts do not agree.
    """

    counts: Counts
    seconds: float
    """From the first message sent to the last one handled and acknowledged."""
    cpu: float
    """Seconds of the processor that the process of load and handler took, user and system."""
    cpu_others: float
    """The same of the other processes: a server, and a worker where it is one of its own."""
    p50: float | None = None
    """The median time from a request to its answer, in seconds; `None` for what has no answer."""
    p99: float | None = None

    def __post_init__(self) -> None:
        self.counts.check()

    @property
    def rate(self) -> float:
        """Messages or requests a second."""
        return self.counts.sent / self.seconds

    @property
    def cpu_each(self) -> tuple[float, float]:
        """Seconds of the processor for each message: of load and handler, and of the others."""
        return self.cpu / self.counts.sent, self.cpu_others / self.counts.sent

    def told(self) -> dict[str, Any]:
        """It as JSON has it."""
        return asdict(self)

    @classmethod
    def from_told(cls, told: dict[str, Any]) -> Turn:
        """It from what JSON has.

        Raises:
            DisagreementError: Its counts do not agree.
        """
        figures = {name: value for name, value in told.items() if name != "counts"}
        return cls(Counts(**told["counts"]), **figures)


def quantile(ordered: list[float], share: float) -> float:
    """The value below which this share of ordered values is."""
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def median(values: list[float]) -> float:
    """The middle one; of two in the middle their mean."""
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(values) % 2 else (ordered[half - 1] + ordered[half]) / 2
