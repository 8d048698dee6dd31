"""A client of Agent2Agent with the official Python SDK, which knows nothing of Trunkline.

    trunkline serve &
    cargo run -p trunkline-agent --example a2a_agent &
    pip install a2a-sdk && python examples/a2a/client.py http://127.0.0.1:7420/agents/writer
"""

from __future__ import annotations

import asyncio
import sys
import uuid

from a2a.client import ClientConfig, ClientFactory
from a2a.types.a2a_pb2 import Message, Part, Role, SendMessageRequest, Task, TaskState


async def said(client, text: str, task: Task | None = None) -> Task:
    """Says something, shows what comes of it, and returns the task."""
    message = Message(message_id=str(uuid.uuid4()), role=Role.ROLE_USER, parts=[Part(text=text)])
    if task:
        message.task_id, message.context_id = task.id, task.context_id
    async for event in client.send_message(SendMessageRequest(message=message)):
        match event.WhichOneof("payload"):
            case "task":
                task = event.task
            case "artifact_update":
                print("".join(part.text for part in event.artifact_update.artifact.parts), end="")
            case "status_update":
                task.status.CopyFrom(event.status_update.status)
                words = "".join(part.text for part in task.status.message.parts)
                print(f"[{TaskState.Name(task.status.state)}] {words}")
    return task


async def main(url: str) -> None:
    client = await ClientFactory(ClientConfig()).create_from_url(url)
    task = await said(client, "Write a book.")
    assert task.status.state == TaskState.TASK_STATE_INPUT_REQUIRED, task
    task = await said(client, "Rust", task)
    assert task.status.state == TaskState.TASK_STATE_COMPLETED, task


asyncio.run(main(sys.argv[1]))
