"""The benchmarks beside others: whole rows as far as they need no rival, and wrong counts."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import conftest
import pytest
from versus import drive, report
from versus.counts import Counts, DisagreementError, Turn
from versus.load import Load
from versus.rounds import Outcome
from versus.rows import ROWS, chosen
from versus.sides.side import AsyncSide
from versus.work import ONE_WAY, Work

if TYPE_CHECKING:
    from collections.abc import Callable

RUN = Path(__file__).parents[3] / "benchmarks/python/run.py"
FEW = Work(requests=True, in_flight=3)


class Hands(AsyncSide):
    """Hands every payload to something in the place of a handler."""

    def __init__(self, handles: Callable[[Load, bytes], bytes]) -> None:
        super().__init__()
        self._handles = handles

    async def begin(self, work: Work, load: Load) -> None:
        self._load = load

    async def tell(self, message: Any) -> None:
        # Later, so that the window fills.
        asyncio.get_running_loop().call_soon(self._handles, self._load, message)

    async def request(self, message: Any) -> bytes:
        await asyncio.sleep(0)
        return self._handles(self._load, message)


def honest(load: Load, payload: bytes) -> bytes:
    load.see(payload)
    return payload


def twice(load: Load, payload: bytes) -> bytes:
    load.see(payload)
    return honest(load, payload)


def damaged(load: Load, payload: bytes) -> bytes:
    return honest(load, payload[:-1] + b"~")


def lost(load: Load, payload: bytes) -> bytes:
    return payload if payload == load.payloads[1] else honest(load, payload)


def answers_another(load: Load, payload: bytes) -> bytes:
    load.see(payload)
    return load.payloads[0]


def play(handles: Callable[[Load, bytes], bytes], work: Work) -> Turn:
    driven = drive.Driven(Hands(handles))
    try:
        return driven.play(work, Load(run=7, count=20, window=4))
    finally:
        driven.close()


@pytest.mark.parametrize("work", [ONE_WAY, FEW])
def test_counts_that_agree_give_a_rate(work: Work) -> None:
    turn = play(honest, work)
    assert turn.counts.sent == turn.counts.handled == 20
    assert turn.rate == 20 / turn.seconds
    assert (turn.p50 is not None) == work.requests


@pytest.mark.parametrize("handles", [twice, damaged, lost])
def test_a_wrong_count_gives_none(
    handles: Callable[[Load, bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is lost never comes, however long it is waited for.
    monkeypatch.setattr(drive, "PATIENCE", 0.2)
    for work in (ONE_WAY, FEW):
        with pytest.raises(DisagreementError, match="counts do not agree: sent"):
            play(handles, work)


def test_a_wrong_answer_gives_none() -> None:
    with pytest.raises(DisagreementError, match="answered 1"):
        play(answers_another, FEW)


@pytest.mark.parametrize(
    "wrong",
    [
        {"sent": 0, "accepted": 0, "handled": 0, "answered": 0, "settled": 0},
        {"accepted": 4},
        {"handled": 4},
        {"wrong": 1},
        {"answered": 4},
        {"settled": 6},
        {"left": 1},
    ],
)
def test_every_count_counts(wrong: dict[str, int]) -> None:
    good = {"sent": 5, "accepted": 5, "handled": 5, "wrong": 0, "answered": 5, "settled": 5}
    told = Turn(Counts(**good), seconds=1.0, cpu=0.5, cpu_others=0.0).told()
    assert Turn.from_told(told).rate == 5.0
    told["counts"].update(wrong)
    with pytest.raises(DisagreementError):
        Turn.from_told(told)


def test_batches_are_counted_like_single_messages() -> None:
    load = Load(run=1, count=4, window=4)
    load.sent = 4
    load.see_all(load.payloads[:3])
    load.see_all([load.payloads[0], b"from nowhere", load.payloads[3]])
    assert (load.handled, load.wrong) == (4, 2)


def test_a_row_that_failed_has_no_figure() -> None:
    row = ROWS["oneway/plain"]
    turn = Turn(Counts(sent=9, accepted=9, handled=9, wrong=0), 1.0, 0.1, 0.0)
    outcome = Outcome(row, ours=[turn, turn], rival=[turn], failed="counts do not agree: sent 9")
    for table in (report.text, report.markdown):
        said = table([outcome])
        assert "failed: counts do not agree: sent 9" in said
        assert "9/s" not in said
    assert report.as_json([outcome], "")["rows"][0]["ratios"] == []


def test_rows_are_chosen_by_either_half() -> None:
    assert [row.name for row in chosen(["oneway/plain"])] == ["oneway/plain"]
    assert {row.rival for row in chosen(["nats"])} == {"nats"}
    assert len(chosen(["durable", "nats"])) == 7
    assert len(chosen([])) == len(ROWS)
    with pytest.raises(ValueError, match="no row 'kafka'"):
        chosen(["oneway", "kafka"])


def test_rows_that_need_no_rival_are_played_whole(folder: Path) -> None:
    rows = [
        "oneway/plain",
        "oneway-lists/plain",
        "oneway-batches/plain",
        "request-50/plain",
        "drop-in-oneway/1-worker-10",
        "net-request-64/nats",
        "net-request-1/autogen",
        "net-oneway-batches/nats",
        "durable/jetstream",
        "durable-batches/jetstream",
    ]
    # No environment lies there, and this one has no rivals.
    nowhere = ["--venv", str(folder / "none"), "--dir", str(folder), "--json", str(folder / "told")]
    command = [sys.executable, str(RUN), *rows, "--seconds", "0.05", "--rounds", "1", *nowhere]
    done = subprocess.run(
        [*command, "--broker", conftest.program],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads((folder / "told").read_text())["rows"]
    assert [row["row"] for row in told] == [name for name in ROWS if name in rows]
    for row in told:
        turns = [Turn.from_told(turn) for turn in row["turns_ours"] + row["turns_rival"]]
        with_rival = row["rival"].startswith("plain")
        assert len(turns) == len(row["ratios"]) + 1 == 1 + with_rival, row
        assert all(turn.rate > 0 for turn in turns)
        if not with_rival:
            assert "--install" in row["without_rival"]
            assert turns[0].counts.settled == turns[0].counts.sent
    assert "skipped: nats-py is not there" in done.stdout
