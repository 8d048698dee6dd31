"""What becomes of drop-in brokers in the child of a fork."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from ..errors import ForkError

if TYPE_CHECKING:
    from .waiting import Waiting

known: WeakSet[Waiting] = WeakSet()
"""Every broker there is."""


class _Parents:
    """Stands for an event loop that only the parent has."""

    def is_closed(self) -> bool:
        """Whoever uses a broker anywhere else than on its loop asks this first."""
        raise ForkError(
            "this process was forked after the broker had started on an event loop, which is not "
            "here; start the process with multiprocessing's 'spawn' method, or make the broker in "
            "it"
        )


def _forked() -> None:
    parents: Any = _Parents()
    for broker in list(known):
        if broker._loop is not None:
            broker._loop = parents


os.register_at_fork(after_in_child=_forked)
