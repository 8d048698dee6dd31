"""What is done: one kind of work, with so much of it on its way at once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Work:
    """A kind of work."""

    requests: bool
    """Whether each message is answered, or goes one way."""
    in_flight: int
    """Requests on their way at once, or messages that may be sent and not handled."""

    @property
    def title(self) -> str:
        """What it is, for people."""
        return f"requests, {self.in_flight} in flight" if self.requests else "one way"

    @property
    def by_latency(self) -> bool:
        """Whether the figure is the median time rather than how many a second."""
        return self.requests and self.in_flight == 1


ONE_WAY = Work(requests=False, in_flight=2048)
REQUEST_1 = Work(requests=True, in_flight=1)
REQUEST_50 = Work(requests=True, in_flight=50)
REQUEST_64 = Work(requests=True, in_flight=64)

WORKS = {
    "oneway": ONE_WAY,
    "request-1": REQUEST_1,
    "request-50": REQUEST_50,
    "request-64": REQUEST_64,
}
