"""What can be set about the drop-in broker."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import InvalidError

_RANGES: dict[str, tuple[float, float]] = {
    "num_workers": (1, 10),
    "batch_size": (1, 100),
    "batch_timeout_ms": (10, 1000),
    "max_queue_size": (1, 10_000_000),
    "queue_warning_threshold": (0.0, 1.0),
    "delivery_parallelism": (1, 100),
    "retry_max_attempts": (0, 100),
    "retry_backoff_ms": (0, 3_600_000),
    "worker_health_check_interval_sec": (0.001, 86_400),
}


@dataclass
class BrokerConfiguration:
    """The settings of an `AgentMessageBroker`, which takes a copy of them when it is made.

    Raises:
        InvalidError: One is out of its range. It is a `ValueError` as well.
    """

    num_workers: int = 5
    """How many workers the pool has, which all agents share; 1 to 10."""
    enable_batching: bool = True
    """Whether a worker takes several messages at a time."""
    worker_restart_on_failure: bool = True
    """Whether a worker goes on after a handler that ended in another way than by an `Exception`,
    such as `CancelledError`. Otherwise it takes no more work."""
    worker_health_check_interval_sec: float = 30.0
    """How often workers are looked at. One that was busy for a whole interval and finished nothing
    is reported as not healthy, until it finishes something."""
    batch_size: int = 20
    """Most messages that a worker takes at a time; 1 to 100."""
    batch_timeout_ms: int = 100
    """How long a batch that is not full waits for more messages; 10 to 1000."""
    max_queue_size: int = 10_000
    """Most messages that wait to be handled, one for each recipient."""
    queue_warning_threshold: float = 0.8
    """The share of `max_queue_size` from which on a warning is logged; 0 to 1."""
    delivery_parallelism: int = 10
    """How many messages of its batches a worker handles at once; 1 to 100."""
    retry_max_attempts: int = 3
    """How often a message whose handler failed is tried again; 0 to 100."""
    retry_backoff_ms: int = 100
    """The delay before the first of these; it doubles with each."""

    def __post_init__(self) -> None:
        for name, (least, most) in _RANGES.items():
            value: object = getattr(self, name)
            whole = isinstance(least, int) and not name.endswith("_sec")
            fits = isinstance(value, int if whole else (int, float))
            if not fits or isinstance(value, bool) or not least <= value <= most:  # type: ignore[operator]
                kind = "whole number" if whole else "number"
                raise InvalidError(f"{name} is {value!r}, it is a {kind} from {least} to {most}")
        for name in ("enable_batching", "worker_restart_on_failure"):
            if not isinstance(getattr(self, name), bool):
                raise InvalidError(f"{name} is {getattr(self, name)!r}, it is True or False")

    @property
    def at_once(self) -> int:
        """How many messages one worker handles at once."""
        return min(self.delivery_parallelism, self.batch_size) if self.enable_batching else 1

    @property
    def batch(self) -> int:
        """How many messages a worker takes at a time."""
        return self.batch_size if self.enable_batching else 1
