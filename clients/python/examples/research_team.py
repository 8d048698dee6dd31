"""A research team over the text files of a folder: no model, no network.

A planner splits a question into words, searchers look for each of them in the files at the same
time, and a writer puts together what they found, after a person has approved the plan. Notes are
streamed while the work goes on.

    python examples/research_team.py "leases and tokens" ../../docs
    python examples/research_team.py --yes "leases and tokens" ../../docs
    python examples/research_team.py --broker localhost:7420 "leases and tokens" ../../docs
"""

from __future__ import annotations

import argparse
import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypedDict

import trunkline

SKIPPED = {"and", "the", "of", "a", "an", "or", "to", "in", "is"}
MOST_HITS = 3


class Question(TypedDict):
    """What is to be found out, and where."""

    question: str
    folder: str


class Find(TypedDict):
    """A line that has the word in it."""

    word: str
    file: str
    line: int
    text: str


planner = trunkline.Agent("planner", description="Plans the search and has it approved")
searcher = trunkline.Agent("searcher", description="Looks for a word in the files of a folder")
writer = trunkline.Agent("writer", description="Leads the research and writes the report")


@planner.task("plan")
async def plan(task: trunkline.Task) -> list[str]:
    """The words to look for; a person may leave some out."""
    question: Question = task.json
    words = [word for word in question["question"].lower().split() if word not in SKIPPED]
    if not words:
        raise trunkline.Reject(f"there is nothing to look for in {question['question']!r}")
    if not task.messages:
        # The task waits, without holding anything, until somebody answers.
        raise trunkline.InputRequired({"plan": words})
    approved: list[str] = task.messages[-1].json
    if not approved:
        raise trunkline.Reject("the plan was declined")
    return [word for word in words if word in approved]


@searcher.task("search", concurrency=4)
def search(task: trunkline.Task) -> list[Find]:
    """The first lines with the word. A plain function: reading files holds up nobody else."""
    word, folder = task.json["word"], Path(task.json["folder"])
    finds: list[Find] = []
    for file in sorted(folder.glob("*.md")) + sorted(folder.glob("*.txt")):
        for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1):
            if task.cancelled or len(finds) == MOST_HITS:
                return finds
            if word in line.lower():
                finds.append(Find(word=word, file=file.name, line=number, text=line.strip()[:90]))
    return finds


@writer.task("research")
async def research(task: trunkline.Task) -> str:
    """The report. Its pieces are there for whoever watches before it is complete."""
    question: Question = task.json
    try:
        words: list[str] = (await writer.send_and_wait("skill:plan", question)).json
    except trunkline.errors.RejectedError as error:
        # Another attempt would have another plan made, and a person asked again.
        raise trunkline.Reject(str(error).removeprefix("rejected: ")) from None

    async def look(word: str) -> list[Find]:
        asked = {"word": word, "folder": question["folder"]}
        finds: list[Find] = (await writer.request("skill:search", asked)).json
        await task.artifact("notes", f"{word}: {len(finds)} found\n")
        return finds

    found = [find for finds in await asyncio.gather(*map(look, words)) for find in finds]
    lines = [f"{it['word']}: {it['file']}:{it['line']}: {it['text']}" for it in found]
    return "\n".join([f"# {question['question']}", *lines, f"{len(found)} places."])


async def approve(client: trunkline.Client, root: str, yes: bool) -> None:
    """Waits for the plan of a research, asks a person, and tells the planner."""
    async for update in client.watch(root):
        if isinstance(update, trunkline.StatusUpdate) and update.state == "working":
            break
    while True:
        waiting = client.tasks(root=root, states=["input-required"])
        async for task in waiting:
            async for update in client.watch(task.id):
                if isinstance(update, trunkline.MessageUpdate) and update.source == "planner":
                    words: list[str] = update.payload.json["plan"]
                    await client.continue_task(task.id, words if yes else await ask(words))
                    return
        await asyncio.sleep(0.05)


async def ask(words: list[str]) -> list[str]:
    """Which words a person approves; none of them if there is nobody to ask."""
    print("The plan is to look for:", ", ".join(words))
    prompt = "Enter to approve, the words to leave out, or `no` to decline: "
    try:
        answer = (await asyncio.to_thread(input, prompt)).lower().split()
    except EOFError:
        return []
    return [] if answer == ["no"] else [word for word in words if word not in answer]


async def follow(client: trunkline.Client, root: str) -> None:
    """Tells the notes of a research, and then its report."""
    async for update in client.watch(root):
        if isinstance(update, trunkline.ArtifactUpdate):
            print("note:", update.payload.text, end="")
    print((await client.wait(root)).text)


def a_folder(text: str) -> str:
    """The path of a folder; one that is not there would have nothing found in it."""
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {text!r}")
    return text


async def main() -> None:
    """Runs the team on one question."""
    parser = argparse.ArgumentParser(description="A research team over a local folder")
    parser.add_argument("question")
    parser.add_argument("folder", type=a_folder)
    parser.add_argument("--broker", help="the address of a broker; without it, one in this process")
    parser.add_argument("--yes", action="store_true", help="approve the plan as it is")
    asked = parser.parse_args()
    async with AsyncExitStack() as stack:
        client = trunkline.connect(asked.broker) if asked.broker else trunkline.Broker()
        await stack.enter_async_context(client)
        for agent in (planner, searcher, writer):
            await agent.start(client)
            await stack.enter_async_context(agent)
        question = Question(question=asked.question, folder=asked.folder)
        sent = await client.send("skill:research", question)
        approving = asyncio.ensure_future(approve(client, sent.id, asked.yes))
        following = asyncio.ensure_future(follow(client, sent.id))
        try:
            await asyncio.wait({approving, following}, return_when=asyncio.FIRST_COMPLETED)
            if approving.done():
                # Without an approval there would be nothing to wait for.
                approving.result()
            await following
        except trunkline.errors.Unanswered as error:
            raise SystemExit(f"no report: {error}") from None
        except BaseException:
            # The team would finish it before it stops, and nobody approves its plan any longer.
            await client.cancel(sent.id, descendants=True)
            raise
        finally:
            approving.cancel()
            following.cancel()


if __name__ == "__main__":
    asyncio.run(main())
