"""Fixtures for pytest, which finds them by itself: see `trunkline.testing`.

They are plain ones, so that they serve whatever runs the coroutines.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .testing import TestBroker

_SEED = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds `--trunkline-seed`."""
    group = parser.getgroup("trunkline")
    group.addoption(
        "--trunkline-seed",
        type=int,
        default=None,
        metavar="N",
        help="what `trunkline_seed` is; another one each time by default",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Draws the seed of this run."""
    said = config.getoption("--trunkline-seed")
    config.stash[_SEED] = random.randrange(2**32) if said is None else int(said)


@pytest.fixture
def trunkline_seed(request: pytest.FixtureRequest) -> int:
    """A seed for `trunkline.testing.Faults`: that of `--trunkline-seed`, or another each time."""
    seed = request.config.stash[_SEED]
    # Shown with a test that failed.
    request.node.user_properties.append(("trunkline_seed", seed))
    request.node.add_report_section("setup", "trunkline", f"--trunkline-seed={seed}")
    return seed


@pytest.fixture
def trunkline_broker() -> Iterator[TestBroker]:
    """A `trunkline.testing.TestBroker` without faults, for one test."""
    from .testing import TestBroker

    broker = TestBroker()
    yield broker
    broker._close_now()
