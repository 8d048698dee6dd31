"""The queue of the drop-in broker, as its Python part has it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from compat_tools import told, who
from trunkline._native import Mailbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline._native import Letter

A = who("a")
NORMAL, URGENT = 1, 3
HOUR = 3600.0


def nobody(_: Letter) -> None:
    raise AssertionError("nothing was to expire")


def offer(
    mailbox: Mailbox, word: str, urgency: int = NORMAL, *, ttl: float = HOUR, delay: float = 0.0
) -> int:
    return mailbox.offer(told(A, word), "a", None, urgency, ttl, delay)


def word(letter: Letter | None) -> str | None:
    return None if letter is None else letter.message.payload["word"]


def counts(mailbox: Mailbox) -> tuple[int, int, int]:
    return mailbox.waiting, mailbox.ready(), mailbox.open


def test_a_letter_waits_is_taken_and_ends() -> None:
    mailbox = Mailbox(10, nobody)
    message = told(A, "x")
    mailbox.offer(message, "a", None, NORMAL, HOUR, 0.0)
    offer(mailbox, "urgent", URGENT)
    # What is beyond the most urgent is as urgent.
    offer(mailbox, "beyond", 99)
    # Nothing has to be seen to before something is taken.
    assert (mailbox.waiting, mailbox.open) == (3, 3)
    first = mailbox.take()
    assert (word(first), counts(mailbox)) == ("urgent", (2, 2, 3))
    second = mailbox.take(first)
    assert (word(second), counts(mailbox)) == ("beyond", (1, 1, 2))
    assert second is not None
    mailbox.end(second)
    third = mailbox.take()
    assert third is not None
    # It is the message itself, not a copy.
    assert third.message is message
    assert (third.to, third.asked, counts(mailbox)) == ("a", None, (0, 0, 1))
    assert (mailbox.take(third), counts(mailbox), mailbox.tick()) == (None, (0, 0, 0), None)


def test_who_has_an_alarm_is_told_what_comes_before_it() -> None:
    mailbox, earlier = Mailbox(10, nobody), Mailbox.EARLIER
    # Without one, everything does.
    assert [offer(mailbox, "x"), offer(mailbox, "y")] == [earlier] * 2
    due = mailbox.tick()
    assert due is not None
    assert HOUR / 2 < due <= HOUR
    assert offer(mailbox, "later", ttl=2 * HOUR) == 0
    assert offer(mailbox, "sooner", ttl=HOUR / 4) == earlier
    assert offer(mailbox, "delayed", ttl=3 * HOUR, delay=2 * HOUR) == earlier
    due = mailbox.tick()
    assert due is not None
    assert HOUR / 8 < due <= HOUR / 4
    assert offer(mailbox, "later", ttl=HOUR) == 0


def test_it_warns_once_whenever_so_much_waits() -> None:
    mailbox, warn = Mailbox(2, nobody), Mailbox.WARN

    def warned(times: int) -> list[bool]:
        return [bool(offer(mailbox, "x") & warn) for _ in range(times)]

    assert warned(4) == [False, True, False, False]
    # What is taken waits no longer, and less than so much is told of again.
    mailbox.take()
    mailbox.take()
    assert warned(1) == [False]
    mailbox.take()
    mailbox.take()
    assert warned(3) == [True, False, False]


@pytest.mark.parametrize("how", ["ready", "take", "tick"])
def test_what_expires_is_told_of_once_and_may_be_answered(how: str) -> None:
    lost: list[tuple[str | None, int]] = []

    def gone(letter: Letter) -> None:
        # Nothing is locked meanwhile, and what is told of is not counted any longer.
        lost.append((word(letter), mailbox.waiting))
        if len(lost) == 1:
            offer(mailbox, "again")

    mailbox = Mailbox(10, gone)
    offer(mailbox, "late", ttl=0.0)
    offer(mailbox, "later", ttl=-1.0)
    # An envelope of its own.
    offer(mailbox, "delayed", URGENT, ttl=0.0, delay=HOUR)
    looks: dict[str, Callable[[], object]] = {
        "ready": mailbox.ready,
        "take": mailbox.take,
        "tick": mailbox.tick,
    }
    looks[how]()
    if how == "ready":
        # It looks at nobody's time, but the engine does at what it is told.
        assert lost == [("delayed", 2)]
        mailbox.tick()
    assert sorted(str(name) for name, _ in lost) == ["delayed", "late", "later"]
    assert word(mailbox.take()) == "again"
    assert counts(mailbox) == (0, 0, 1)


def test_what_nobody_has_taken_is_given_up_in_its_order() -> None:
    mailbox = Mailbox(10, nobody)
    for name in ("a", "b", "c"):
        offer(mailbox, name)
    taken = mailbox.take()
    offer(mailbox, "delayed", URGENT, delay=HOUR / 2)
    offer(mailbox, "d")
    assert [word(letter) for letter in mailbox.clear()] == ["b", "c", "delayed", "d"]
    assert (word(taken), counts(mailbox)) == ("a", (0, 0, 1))
    assert mailbox.take(taken) is None
    assert mailbox.open == 0


@pytest.mark.parametrize("ttl", [math.inf, 1e300, HOUR * 24 * 365 * 1000])
def test_a_time_to_live_may_be_for_ever(ttl: float) -> None:
    mailbox = Mailbox(10, nobody)
    offer(mailbox, "x", ttl=ttl)
    due = mailbox.tick()
    assert due is not None
    assert due > HOUR * 24
    assert word(mailbox.take()) == "x"
    assert mailbox.take() is None
