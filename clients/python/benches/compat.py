"""The drop-in broker beside a plain asyncio broker, in the settings that such brokers had.

python benches/compat.py
python benches/compat.py --messages 50000 --seconds 1 --rounds 3
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import time
from typing import TYPE_CHECKING, Any

from plain_broker import ANSWERS, ASKS, SETTINGS, Measured, PlainBroker
from trunkline.compat import (
    AgentMessage,
    AgentMessageBroker,
    BrokerConfiguration,
    MessageType,
    create_request_message,
)

if TYPE_CHECKING:
    from collections.abc import Callable


async def one_way(broker: Measured, messages: int) -> str:
    """Sends as fast as the broker takes it, to a handler that counts."""
    seen, all_seen = 0, asyncio.Event()

    async def count(_: AgentMessage) -> None:
        nonlocal seen
        seen += 1
        if seen == messages:
            all_seen.set()

    kind = MessageType.STATUS_UPDATE
    made = [AgentMessage(ASKS, [ANSWERS], kind, {"n": n}) for n in range(messages)]
    broker.register_agent(ANSWERS, count)
    await broker.start()
    begun = time.perf_counter()
    for message in made:
        await broker.send_message(message)
    await all_seen.wait()
    elapsed = time.perf_counter() - begun
    await broker.stop()
    return f"{seen:>7,} one way delivered, {seen / elapsed:>8,.0f}/s"


async def requests(broker: Measured, in_flight: int, span: float) -> str:
    """Keeps so many requests on their way for a while."""

    async def answer(_: AgentMessage) -> dict[str, Any]:
        return {"a": 1}

    async def ignore(_: AgentMessage) -> None: ...

    broker.register_agent(ANSWERS, answer)
    broker.register_agent(ASKS, ignore)
    await broker.start()
    taken = list[float]()
    begun = time.perf_counter()
    end = begun + span

    async def caller() -> None:
        while True:
            request = create_request_message(ASKS, ANSWERS, {"q": 1})
            sent = time.perf_counter()
            if sent > end:
                return
            assert await broker.send_request(request, 30.0) is not None
            taken.append(time.perf_counter() - sent)

    await asyncio.gather(*(caller() for _ in range(in_flight)))
    elapsed = time.perf_counter() - begun
    await broker.stop()
    taken.sort()
    p50, p99 = (1e6 * taken[int(len(taken) * share)] for share in (0.5, 0.99))
    return (
        f"{len(taken):>7,} requests answered, {in_flight:>2} in flight, "
        f"{len(taken) / elapsed:>8,.0f}/s, p50 {p50:>9,.0f} us, p99 {p99:>9,.0f} us"
    )


def main() -> None:
    """Measures both brokers in turn, in each of the settings."""
    parser = argparse.ArgumentParser(description="The drop-in broker beside a plain one")
    parser.add_argument("--messages", type=int, default=50_000)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=1)
    given = parser.parse_args()
    brokers: dict[str, Callable[[BrokerConfiguration], Measured]] = {
        "plain": PlainBroker,
        "trunkline": AgentMessageBroker,
    }

    async def measured(make: Callable[[BrokerConfiguration], Measured], name: str) -> None:
        config = SETTINGS[name]
        print("  ", await one_way(make(config), given.messages))
        gc.collect()
        for in_flight in (1, 50):
            print("  ", await requests(make(config), in_flight, given.seconds))

    for number in range(given.rounds):
        for name in SETTINGS:
            for kind, make in brokers.items():
                print(f"{kind}, {name}, round {number + 1}:")
                asyncio.run(measured(make, name))


if __name__ == "__main__":
    main()
