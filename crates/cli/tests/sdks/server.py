"""An agent on the official SDK's own server, on a free port that it prints.

With a binding and a version as arguments its card names only that interface. It does what it is
told by the first word: `write` makes an artifact of two pieces, `ask` asks once, `long` goes on
when a line comes on stdin, `hold` never ends; anything else is answered with itself.
"""

import asyncio
import socket
import sys

import grpc
import uvicorn
from a2a.server.agent_execution import AgentExecutor
from a2a.server.request_handlers import DefaultRequestHandler, GrpcHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes, create_rest_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types.a2a_pb2 import (
    AgentCapabilities,
    AgentCard,
    AgentInterface,
    AgentSkill,
    Part,
    Task,
    TaskState,
    TaskStatus,
)
from a2a.types.a2a_pb2_grpc import add_A2AServiceServicer_to_server
from starlette.applications import Starlette

runs = 0


class Agent(AgentExecutor):
    async def execute(self, context, event_queue):
        global runs
        runs += 1
        print(f"RUN {runs} {context.get_user_input()}", flush=True)
        if context.current_task is None:
            status = TaskStatus(state=TaskState.TASK_STATE_SUBMITTED)
            await event_queue.enqueue_event(
                Task(id=context.task_id, context_id=context.context_id, status=status)
            )
        task = TaskUpdater(event_queue, context.task_id, context.context_id)
        say = lambda text: task.new_agent_message([Part(text=text)])
        await task.start_work()
        text = context.get_user_input()
        if text in ("write", "long"):
            await task.add_artifact([Part(text="one")], artifact_id="out", append=False)
            if text == "long":
                await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
            await task.add_artifact([Part(text="two")], artifact_id="out", append=True, last_chunk=True)
            await task.complete(say("written"))
        elif text == "ask":
            await task.requires_input(say("which?"))
        elif text == "fail":
            await task.failed(say("no luck"))
        elif text == "hold":
            await asyncio.Event().wait()
        else:
            await task.complete(say(text))

    async def cancel(self, context, event_queue):
        print("CANCELED", flush=True)
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()


async def main():
    binding, version = sys.argv[1:3]
    calls = grpc.aio.server()
    port = calls.add_insecure_port("127.0.0.1:0")
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    at = {"JSONRPC": f"{url}/rpc", "HTTP+JSON": f"{url}/rest", "GRPC": f"127.0.0.1:{port}"}
    card = AgentCard(
        name="Python Agent",
        description="An agent on the official SDK.",
        version="1",
        capabilities=AgentCapabilities(streaming=len(sys.argv) < 4),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[AgentSkill(id="talk", name="Talk", description="Talks.", tags=["talk"])],
        supported_interfaces=[
            AgentInterface(
                url=at[binding], protocol_binding=binding, protocol_version=version
            )
        ],
    )
    handler = DefaultRequestHandler(
        agent_executor=Agent(), task_store=InMemoryTaskStore(), agent_card=card
    )
    routes = create_agent_card_routes(card)
    routes += create_jsonrpc_routes(handler, "/rpc", enable_v0_3_compat=True)
    routes += create_rest_routes(handler, path_prefix="/rest", enable_v0_3_compat=True)
    add_A2AServiceServicer_to_server(GrpcHandler(handler), calls)
    await calls.start()
    server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), log_level="error"))
    print(f"READY {url}", flush=True)
    await server.serve(sockets=[listener])


asyncio.run(main())
