"""Time of the processor: of this process by itself, of others by what the system says of them."""

from __future__ import annotations

import os
import resource
from pathlib import Path


class Meter:
    """Counts from when it is made."""

    def __init__(self, others: list[int]) -> None:
        """Begins to count.

        Args:
            others: The ids of other processes, which must live until it is read.
        """
        self._others = others
        self._own, self._other = _own(), _of(others)

    def read(self) -> tuple[float, float]:
        """Seconds since then, user and system: of this process, and of the others."""
        return _own() - self._own, _of(self._others) - self._other


def _own() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _of(others: list[int]) -> float:
    """In ticks, which are 10 ms on most machines; none where there is no /proc."""
    ticks = 0
    for process in others:
        try:
            stat = Path(f"/proc/{process}/stat").read_text()
        except FileNotFoundError:
            continue
        # The name of the program, in brackets, may have spaces in it.
        fields = stat.rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
