"""The example that crawls a site."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import complaints

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLE = Path(__file__).parents[1] / "examples/crawler.py"


def example() -> Any:
    known = importlib.util.spec_from_file_location("crawler", EXAMPLE)
    assert known is not None
    assert known.loader is not None
    module = importlib.util.module_from_spec(known)
    known.loader.exec_module(module)
    return module


@pytest.mark.parametrize("place", ["in process", "over the network"])
def test_the_crawler_finds_all_that_there_is(place: str, serve: Callable[..., str]) -> None:
    where = [] if place == "in process" else ["--broker", serve()]
    done = subprocess.run(
        [sys.executable, "-X", "dev", str(EXAMPLE), "--pages", "47", "--pace", "500", *where],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, complaints(done.stderr)) == (0, "")
    # Each has 5 links and all but the last one to the next; 5 of them have one to nowhere.
    links = 47 * 5 + 46 + 5
    assert done.stdout.splitlines() == [
        f"made:    47 pages, {links} links, 5 to nowhere",
        f"crawled: 47 pages, {links} links, 5 to nowhere",
        "served:  47 pages, 5 not there, 5 busy at first",
        "asked:   52 fetches in 57 attempts, 57 requests",
        "the counts agree",
    ]


def test_a_worker_keeps_its_pace() -> None:
    pace = example().Pace(10)
    waits = [pace.wait(now) for now in (100.0, 100.0, 100.05, 100.25, 101.0, 101.0)]
    assert waits == pytest.approx([0.0, 0.1, 0.15, 0.05, 0.0, 0.1])
