"""A crawler of a site that this program makes and serves itself on the loopback: no network.

A lead follows the links of every page, each once; workers that share one skill fetch the pages,
each no faster than its pace. Some pages are busy at first and are tried again, some links lead
nowhere. In the end what was made, what was served and what was crawled have to agree.

    python examples/crawler.py
    python examples/crawler.py --pages 500 --workers 4 --pace 200
    python examples/crawler.py --broker localhost:7420
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import trunkline

if TYPE_CHECKING:
    from collections.abc import Generator

LINKS = 5
"""How many links there are on a page, besides the one to the next."""
LARGEST = 1 << 20
"""The most bytes of a page that are read."""


class Fetched(TypedDict):
    """What a worker says of a page."""

    there: bool
    links: list[str]


class Counts(TypedDict):
    """What there is of a site."""

    pages: int
    links: int
    nowhere: int


class Pace:
    """When each of a row of things may begin, so that there are not too many in a second."""

    def __init__(self, per_second: float) -> None:
        """The first one may begin at once."""
        self._step = 1 / per_second
        self._next = 0.0

    def wait(self, now: float) -> float:
        """How many seconds the next one has to wait, which begins after that."""
        begins = max(now, self._next)
        self._next = begins + self._step
        return begins - now


class Links(HTMLParser):
    """The links of a page."""

    def __init__(self, page: str) -> None:
        """None of the page's links are known until it is fed."""
        super().__init__()
        self._page = page
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keeps where a link leads."""
        href = dict(attrs).get("href")
        if tag == "a" and href:
            self.found.append(urllib.parse.urljoin(self._page, href))


def worker(number: int, pace: Pace) -> trunkline.Agent:
    """An agent that fetches pages at its pace."""
    agent = trunkline.Agent(f"worker-{number}", description="Fetches pages and finds their links")

    @agent.task("fetch", concurrency=4)
    async def fetch(task: trunkline.Task) -> Fetched:
        await asyncio.sleep(pace.wait(asyncio.get_running_loop().time()))
        return await asyncio.to_thread(get, task.text)

    return agent


def get(page: str) -> Fetched:
    """Fetches a page."""
    # A proxy for the world outside has no way to this site.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(page, timeout=10) as answer:
            text: str = answer.read(LARGEST).decode()
    except urllib.error.HTTPError as error:
        if error.code == 503:
            raise trunkline.Retry("the site is busy", after="10ms") from error
        if error.code == 404:
            return Fetched(there=False, links=[])
        raise
    links = Links(page)
    links.feed(text)
    return Fetched(there=True, links=links.found)


lead = trunkline.Agent("lead", description="Follows every link of a site")


@lead.task("crawl")
async def crawl(task: trunkline.Task) -> Counts:
    """Fetches a page and all that can be reached from it on the same site."""
    site = urllib.parse.urlsplit(task.text).netloc
    counts, seen = Counts(pages=0, links=0, nowhere=0), {task.text}
    # They are tasks: what is busy is tried again, by whichever worker is free.
    waiting = {asyncio.ensure_future(lead.send_and_wait("skill:fetch", task.text))}
    while waiting:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for reply in done:
            fetched: Fetched = reply.result().json
            counts["pages" if fetched["there"] else "nowhere"] += 1
            counts["links"] += len(fetched["links"])
            for link in fetched["links"]:
                if link not in seen and urllib.parse.urlsplit(link).netloc == site:
                    seen.add(link)
                    waiting.add(asyncio.ensure_future(lead.send_and_wait("skill:fetch", link)))
        await task.progress(100 * counts["pages"] // len(seen), f"{counts['pages']} pages")
    return counts


def make(folder: Path, pages: int) -> Counts:
    """Makes a site: every page can be reached from the first, one in ten has a link to nowhere."""
    chance, counts = random.Random(7), Counts(pages=pages, links=0, nowhere=0)
    for number in range(pages):
        names = [f"{chance.randrange(pages)}.html" for _ in range(LINKS)]
        if number + 1 < pages:
            names.append(f"{number + 1}.html")
        if number % 10 == 5:
            names.append(f"gone-{number}.html")
            counts["nowhere"] += 1
        counts["links"] += len(names)
        links = "".join(f'<p><a href="{name}">{name}</a>' for name in names)
        (folder / f"{number}.html").write_text(f"<!doctype html><title>{number}</title>{links}")
    return counts


class Site(SimpleHTTPRequestHandler):
    """Serves a folder, counts its answers, and is busy when some pages are first wanted."""

    def __init__(self, answers: Counter[tuple[str, int]], *request: Any, directory: str) -> None:
        """One request, whose answer is added to `answers`."""
        self._answers = answers
        super().__init__(*request, directory=directory)

    def do_GET(self) -> None:
        """Answers a request, some with that it has to come again."""
        if self.path.endswith("3.html") and not self._answers[self.path, 503]:
            self.send_error(503)
        else:
            super().do_GET()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Counts an answer."""
        self._answers[self.path, int(code)] += 1

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Says nothing."""


@contextmanager
def served(folder: Path) -> Generator[tuple[str, Counter[tuple[str, int]]]]:
    """Serves a folder on the loopback: its address, and how often each page got which answer."""
    answers: Counter[tuple[str, int]] = Counter()
    site = partial(Site, answers, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), site) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", answers
        finally:
            server.shutdown()
            thread.join()


async def main() -> None:
    """Makes a site, crawls it, and compares."""
    parser = argparse.ArgumentParser(description="A crawler of a local site")
    parser.add_argument("--broker", help="the address of a broker; without it, one in this process")
    parser.add_argument("--pages", type=int, choices=range(1, 5001), default=60, metavar="1..5000")
    parser.add_argument("--workers", type=int, choices=range(1, 17), default=2, metavar="1..16")
    parser.add_argument("--pace", type=float, default=100.0, help="pages of a worker in a second")
    asked = parser.parse_args()
    if asked.pace <= 0:
        parser.error("--pace has to be above 0")
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trunkline-site-")))
        made = make(folder, asked.pages)
        site, answers = stack.enter_context(served(folder))
        client = trunkline.connect(asked.broker) if asked.broker else trunkline.Broker()
        await stack.enter_async_context(client)
        for agent in (lead, *(worker(n, Pace(asked.pace)) for n in range(asked.workers))):
            await agent.start(client)
            await stack.enter_async_context(agent)
        sent = await client.send("skill:crawl", f"{site}/0.html")
        crawled: Counts = (await client.wait(sent.id)).json
        fetches = [it async for it in client.tasks(root=sent.id) if it.id != sent.id]
    by_code = {code: {path for path, got in answers if got == code} for code in (200, 404, 503)}
    attempts = sum(fetch.attempts for fetch in fetches)
    print(f"made:    {made['pages']} pages, {made['links']} links, {made['nowhere']} to nowhere")
    print(
        f"crawled: {crawled['pages']} pages, {crawled['links']} links, "
        f"{crawled['nowhere']} to nowhere"
    )
    print(
        f"served:  {len(by_code[200])} pages, {len(by_code[404])} not there, "
        f"{len(by_code[503])} busy at first"
    )
    print(f"asked:   {len(fetches)} fetches in {attempts} attempts, {answers.total()} requests")
    agree = (
        made == crawled
        and (made["pages"], made["nowhere"]) == (len(by_code[200]), len(by_code[404]))
        and len(fetches) == made["pages"] + made["nowhere"]
        and attempts == answers.total() == len(fetches) + len(by_code[503])
    )
    if not agree:
        raise SystemExit("the counts do not agree")
    print("the counts agree")


if __name__ == "__main__":
    asyncio.run(main())
