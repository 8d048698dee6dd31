"""Whole programs: signals, forks, the end of the interpreter, and another event loop."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import complaints

if TYPE_CHECKING:
    from collections.abc import Callable


def python(program: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-X", "dev", "-c", textwrap.dedent(program), *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )


def ran(program: str, *arguments: str) -> str:
    """Runs a program to its end and tells what it said."""
    with python(program, *arguments) as child:
        try:
            said, errors = child.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            child.kill()
            raise
    assert child.returncode == 0, errors
    assert complaints(errors) == ""
    return said


AGENT = """
    import asyncio, sys, trunkline

    agent = trunkline.Agent("worker")

    @agent.task("work")
    async def work(task):
        print("begun", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        return "done"

    agent.run(sys.argv[1])
    print("ended", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_has_an_agent_finish_what_it_holds(
    serve: Callable[..., str], number: signal.Signals
) -> None:
    import trunkline

    address = serve()
    async with trunkline.connect(address) as client:
        with python(AGENT, address) as child:
            sent = await client.send("skill:work")
            assert child.stdout is not None
            assert child.stdin is not None
            assert child.stdout.readline() == "begun\n"
            child.send_signal(number)
            async for agent in client.agents(skill="work"):
                while agent.presence != "draining":
                    (agent,) = [it async for it in client.agents()]
            child.stdin.write("go on\n")
            child.stdin.flush()
            assert (await client.wait(sent.id)).text == "done"
            said, errors = child.communicate(timeout=30)
        assert (child.returncode, said, errors) == (0, "ended\n", "")
        assert (await client.task(sent.id)).attempts == 1


def test_a_child_of_a_fork_is_told_and_does_not_hang() -> None:
    said = ran(
        """
        import asyncio, os, sys, warnings, trunkline
        from trunkline import errors

        warnings.simplefilter("ignore", DeprecationWarning)
        broker = trunkline.Broker()
        agent = trunkline.Agent("a")

        @agent.task("a")
        async def a(task):
            return "x"

        async def ask():
            await broker.request("skill:a")

        async def main():
            await agent.start(broker)
            await ask()
            child = os.fork()
            if child == 0:
                return
            _, status = os.waitpid(child, 0)
            assert status == 0, status
            assert (await broker.request("skill:a")).text == "x"
            await agent.stop()
            print("parent is well")

        parent = os.getpid()
        try:
            asyncio.run(main())
        except errors.ForkError:
            pass
        if os.getpid() != parent:
            for what in (
                lambda: asyncio.run(ask()),
                lambda: trunkline.Broker(),
                lambda: trunkline.connect(),
            ):
                try:
                    what()
                except errors.ForkError as error:
                    assert "spawn" in str(error)
                else:
                    raise AssertionError("nothing was raised")
            del broker, agent
            sys.stdout.flush()
            os._exit(0)
        """
    )
    assert said == "parent is well\n"


def test_a_child_of_a_fork_is_told_that_its_drop_in_broker_is_not_there() -> None:
    said = ran(
        """
        import asyncio, os, sys, warnings
        from trunkline import errors
        from trunkline.compat import *

        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", ResourceWarning)
        broker, me = AgentMessageBroker(), AgentIdentity("a", "t", "A")
        broker.register_agent(me, lambda message: {"pid": os.getpid()})

        async def ask(one):
            return (await one.send_request(create_request_message(me, me, {}))).payload["pid"]

        def refused(call):
            try:
                call()
            except errors.ForkError as error:
                assert "spawn" in str(error)
            else:
                raise AssertionError("nothing was raised")

        async def main():
            await broker.start()
            child = os.fork()
            if child == 0:
                return
            _, status = os.waitpid(child, 0)
            assert status == 0, status
            assert await ask(broker) == os.getpid()
            await broker.stop()
            print("parent is well")

        async def anew():
            other = AgentMessageBroker()
            other.register_agent(me, lambda message: {"pid": os.getpid()})
            await other.start()
            assert await ask(other) == os.getpid()
            await other.stop()

        parent, loop = os.getpid(), asyncio.new_event_loop()
        loop.run_until_complete(main())
        if os.getpid() != parent:
            for one in (asyncio.run, loop.run_until_complete):
                for call in (lambda: ask(broker), broker.start, broker.stop):
                    refused(lambda: one(call()))
            refused(broker.get_stats)
            asyncio.run(anew())
            sys.stdout.flush()
            os._exit(0)
        """
    )
    assert said == "parent is well\n"


def test_a_fork_before_anything_was_made_is_fine() -> None:
    said = ran(
        """
        import asyncio, os, trunkline

        async def main():
            async with trunkline.Broker() as broker:
                assert (await broker.publish("a")).targets == 0

        child = os.fork()
        asyncio.run(main())
        if child:
            assert os.waitpid(child, 0)[1] == 0
            print("both are well")
        """
    )
    assert said == "both are well\n"


def test_a_broker_that_nobody_closed_is_closed_at_the_end(folder: Path) -> None:
    program = """
        import asyncio, atexit, sys

        # What is registered first runs last.
        atexit.register(lambda: print("closed" if broker.closed else "open"))

        import trunkline

        broker = trunkline.Broker(sys.argv[1])

        async def main():
            print((await broker.send("skill:later", key="k")).duplicate)

        asyncio.run(main())
        """
    assert ran(program, str(folder / "data")) == "False\nclosed\n"
    assert ran(program, str(folder / "data")) == "True\nclosed\n"


def test_an_interpreter_ends_with_everything_at_work() -> None:
    said = ran(
        """
        import asyncio, trunkline

        async def main():
            global broker, agent, events, waiting
            broker = trunkline.Broker()
            agent = trunkline.Agent("a")

            @agent.task("a")
            async def a(task):
                await asyncio.Event().wait()

            await agent.start(broker)
            events = await broker.subscribe("a")
            waiting = asyncio.ensure_future(broker.request("skill:a", timeout=None))
            await asyncio.sleep(0.05)
            print("leaving")

        asyncio.run(main())
        """
    )
    assert said == "leaving\n"


def test_it_works_under_uvloop(serve: Callable[..., str]) -> None:
    pytest.importorskip("uvloop")
    program = """
        import asyncio, sys, trunkline, uvloop

        agent = trunkline.Agent("a")

        @agent.task("a")
        async def a(task):
            return type(asyncio.get_running_loop()).__module__ + task.text

        async def main(client):
            async with client:
                await agent.start(client)
                async with agent:
                    replies = await asyncio.gather(
                        *(client.request("skill:a", str(n)) for n in range(300))
                    )
                    assert [reply.text for reply in replies] == [f"uvloop{n}" for n in range(300)]
                    async with client.subscribe(">") as events:
                        await client.publish("x", "y")
                        print((await anext(events)).text)

        target = sys.argv[1]
        uvloop.run(main(trunkline.connect(target) if target else trunkline.Broker()))
        """
    assert ran(program, serve()) == "y\n"
    assert ran(program, "") == "y\n"


def test_a_signal_stops_every_agent_of_a_loop_and_what_was_before_is_back() -> None:
    program = """
        import asyncio, os, signal, trunkline

        async def main():
            first, second = trunkline.Agent("a"), trunkline.Agent("b")
            for agent in (first, second):
                agent.message(lambda task: None)
            before = signal.getsignal(signal.SIGINT)
            async with trunkline.Broker() as broker:
                running = [asyncio.ensure_future(it.serve(broker)) for it in (first, second)]
                while len([it async for it in broker.agents()]) < 2:
                    await asyncio.sleep(0)
                os.kill(os.getpid(), signal.SIGTERM)
                await asyncio.gather(*running)
            assert signal.getsignal(signal.SIGINT) is before
            print("both left")

        asyncio.run(main())
        """
    assert ran(program) == "both left\n"


def test_a_handler_that_exits_ends_the_program() -> None:
    program = """
        import asyncio, sys, trunkline

        agent, broker = trunkline.Agent("a"), trunkline.Broker()

        @agent.task("leave", concurrency=1)
        async def leave(task):
            print("attempt", task.attempt, flush=True)
            sys.exit(7)

        async def main():
            await agent.start(broker)
            await broker.request("skill:leave")

        asyncio.run(main())
        """
    with python(program) as child:
        said, _ = child.communicate(timeout=30)
    # asyncio complains of a task that ended so, and ends the program as it was told.
    assert (child.returncode, said) == (7, "attempt 1\n")


def test_a_signal_ends_an_agent_that_is_still_starting() -> None:
    program = """
        import asyncio, os, signal, socket, trunkline

        agent = trunkline.Agent("a")

        @agent.task("a")
        async def a(task): ...

        async def main():
            with socket.create_server(("127.0.0.1", 0)) as silent:
                port = silent.getsockname()[1]
                asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)
                await agent.serve(f"127.0.0.1:{port}")
            print("left")

        asyncio.run(main())
        """
    assert ran(program) == "left\n"


def test_an_agent_and_its_broker_in_one_process_end_together(folder: Path) -> None:
    program = """
        import asyncio, os, signal, sys, trunkline

        agent = trunkline.Agent("a")

        @agent.task("a")
        def a(task):
            os.kill(os.getpid(), signal.SIGTERM)
            return "last words"

        broker = trunkline.Broker(sys.argv[1])

        async def ask():
            print((await broker.send_and_wait("skill:a")).text)

        async def main():
            asking = asyncio.ensure_future(ask())
            await agent.serve(broker)
            await asking

        asyncio.run(main())
        """
    assert ran(program, str(folder / "data")) == "last words\n"


def test_the_version_is_told() -> None:
    assert ran("import trunkline; print(trunkline.__version__)").count(".") == 2


EXAMPLE = Path(__file__).parents[1] / "examples/research_team.py"


@pytest.mark.parametrize("place", ["in process", "over the network"])
def test_the_research_team_reports_what_it_finds(
    place: str, folder: Path, serve: Callable[..., str]
) -> None:
    texts = folder / "texts"
    texts.mkdir()
    (texts / "a.md").write_text("Nothing\nA lease ends.\n")
    (texts / "b.txt").write_text("tokens and a LEASE\n")
    (texts / "c.py").write_text("lease\n")
    where = [] if place == "in process" else ["--broker", serve()]

    def report(question: str, answer: str, *more: str) -> tuple[int, str, str]:
        command = [sys.executable, "-X", "dev", str(EXAMPLE), *where, *more, question, str(texts)]
        done = subprocess.run(
            command, input=answer, capture_output=True, text=True, timeout=60, check=False
        )
        return done.returncode, done.stdout, complaints(done.stderr)

    code, said, errors = report("a lease and tokens", "", "--yes")
    assert (code, errors) == (0, "")
    notes = {line for line in said.splitlines() if line.startswith("note: ")}
    assert notes == {"note: lease: 2 found", "note: tokens: 1 found"}
    assert said.split("# ")[1].splitlines() == [
        "a lease and tokens",
        "lease: a.md:2: A lease ends.",
        "lease: b.txt:1: tokens and a LEASE",
        "tokens: b.txt:1: tokens and a LEASE",
        "3 places.",
    ]
    # A person leaves a word out.
    code, said, errors = report("a lease and tokens", "lease\n")
    assert (code, errors) == (0, "")
    assert "The plan is to look for: lease, tokens" in said
    assert said.endswith("tokens: b.txt:1: tokens and a LEASE\n1 places.\n")
    # A person declines, leaves all of it out, or is not there.
    for answer in ("no\n", "tokens lease\n", ""):
        code, said, errors = report("a lease and tokens", answer)
        assert code == 1
        assert errors == "no report: rejected: the plan was declined\n"
        assert "note:" not in said
    # Who cannot be asked at all ends it too, and the research with it.
    lost = ["sh", "-c", 'exec "$@" <&-', "sh", sys.executable, str(EXAMPLE), *where, "a lease"]
    done = subprocess.run([*lost, str(texts)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "lost sys.stdin" in done.stderr
    # There is nothing to look for.
    code, said, errors = report("the of", "", "--yes")
    assert code == 1
    assert "there is nothing to look for in 'the of'" in errors
    # There is nowhere to look.
    texts = folder / "elsewhere"
    code, said, errors = report("a lease and tokens", "", "--yes")
    assert (code, said) == (2, "")
    assert f"there is no folder {str(texts)!r}" in errors
