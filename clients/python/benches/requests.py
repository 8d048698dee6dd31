"""Requests a second from asyncio to a handler that does nothing, and how long one takes.

python benches/requests.py
python benches/requests.py --broker localhost:7420 --in-flight 1 64 --loop uvloop
"""

from __future__ import annotations

import argparse
import asyncio
import time

import trunkline

agent = trunkline.Agent("echo")


@agent.task("echo", concurrency=256)
async def echo(task: trunkline.Task) -> bytes:
    """Sends back what came."""
    return task.data


async def measure(client: trunkline.Client, in_flight: int, span: float) -> None:
    """Keeps so many requests on their way for a while."""
    payload, taken = bytes(256), list[float]()
    end = time.perf_counter() + span

    async def caller() -> None:
        while (begun := time.perf_counter()) < end:
            await client.request("skill:echo", payload)
            taken.append(time.perf_counter() - begun)

    begun, used = time.perf_counter(), time.process_time()
    await asyncio.gather(*(caller() for _ in range(in_flight)))
    elapsed, used = time.perf_counter() - begun, time.process_time() - used
    taken.sort()
    p50, p99 = (1e6 * taken[int(len(taken) * share)] for share in (0.5, 0.99))
    print(
        f"{in_flight:>4} in flight: {len(taken) / elapsed:>9,.0f} requests/s, "
        f"p50 {p50:,.0f} us, p99 {p99:,.0f} us, {1e6 * used / len(taken):.1f} us of CPU each"
    )


async def main(asked: argparse.Namespace) -> None:
    """Measures each number of requests in flight in turn."""
    client = trunkline.connect(asked.broker) if asked.broker else trunkline.Broker()
    async with client:
        await agent.start(client)
        async with agent:
            await measure(client, 64, 0.5)
            print("that was to warm up")
            for in_flight in asked.in_flight:
                await measure(client, in_flight, asked.seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Requests a second from asyncio")
    parser.add_argument("--broker", help="the address of a broker; without it, one in this process")
    parser.add_argument("--in-flight", type=int, nargs="+", default=[1, 50, 64])
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio")
    given = parser.parse_args()
    if given.loop == "uvloop":
        import uvloop

        uvloop.run(main(given))
    else:
        asyncio.run(main(given))
