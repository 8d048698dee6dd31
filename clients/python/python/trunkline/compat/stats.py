"""The figures of a broker, under the names that its users know."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .pool import Worker


@dataclass(slots=True)
class Counters:
    """What has happened since the broker was made."""

    messages_sent: int = 0
    """Messages that were accepted."""
    messages_delivered: int = 0
    """Handlers that ended well, and answers that were awaited."""
    messages_failed: int = 0
    """Messages that became dead letters for another reason than their time to live."""
    messages_expired: int = 0
    messages_retried: int = 0
    requests_timeout: int = 0

    def figures(self) -> dict[str, Any]:
        """Each by its name."""
        return asdict(self)


def batches(workers: Sequence[Worker], messages: int) -> dict[str, Any]:
    """How many batches there were, and of what size."""
    number = sum(worker.batches for worker in workers)
    return {"batches_processed": number, "avg_batch_size": messages / number if number else 0.0}


def worker_pool(workers: Sequence[Worker]) -> dict[str, Any]:
    """The figures of all workers together, and of each."""
    messages = sum(worker.messages for worker in workers)
    healthy = sum(worker.healthy for worker in workers)
    return {
        "total_workers": len(workers),
        "healthy_workers": healthy,
        "unhealthy_workers": len(workers) - healthy,
        "total_messages_processed": messages,
        "total_batches_processed": sum(worker.batches for worker in workers),
        "total_worker_errors": sum(worker.errors for worker in workers),
        "avg_messages_per_worker": messages / len(workers) if workers else 0.0,
        "worker_details": [worker.figures() for worker in workers],
    }
