"""Clients that come, go and crash, servers that die: does every call get its answer, and does anything leak?

    python benchmarks/soak.py [--minutes 2] [--clients 8] [--seed 1] [--kill-hub] [--out FILE]

One `hub serve` with healthy, mortal, hanging and dead servers. Clients attach over stdio and HTTP of both
protocol eras, call, cancel, send garbage, and leave politely or not; meanwhile the mortal servers are killed
at random. Calls to healthy servers must succeed with the caller's own text; calls to the others must be
answered, if with an error. After a warm-up and again at the end all clients leave, and the hub's memory, open
files and threads are compared. When the hub has been stopped, nothing that it started may be left.

With `--kill-hub` the hub runs detached, as attachments start it, and is killed at random as well. Then a call
may fail, but must be answered, and a client must be served again by the same attachment.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import report
from results import Results, Row, machine
from systems import (
    HUB,
    PYTHON,
    READY_S,
    SDK_SERVER,
    SERVERS,
    check_hub,
    discard,
    entry,
    free_port,
    http_program,
)
from systems import servers_file as write_servers_file
from wire import Client, HttpClient, RequestFailed, ServerGone, StdioClient

CALL_DEADLINE_S = 20.0
SETTLE_S = 8.0
"""Longer than kept-alive connections are kept."""
BAD = str(SERVERS / "bad.py")
HEALTHY = ("plain", "sdk", "remote")
MORTAL = ("mortal1", "mortal2")
GARBAGE = (b"not json\n", b"[]\n", b'{"jsonrpc": "2.0"}\n', b'{"half": \n', b"\xff\xfe\n", b"\n" * 50)


@dataclass(frozen=True)
class Sample:
    """What the hub's process holds at one moment."""

    rss_mb: float
    files: int
    threads: int

    @classmethod
    def of(cls, process: psutil.Process) -> Sample:
        return cls(process.memory_info().rss / 1e6, process.num_fds(), process.num_threads())


class Soak:
    """One run.

    Args:
        folder: A throw-away folder.
        clients: How many clients come and go at once.
        rng: Decides everything that is decided by chance.
        kill_hub: Whether the hub is killed too, and runs detached.
    """

    def __init__(self, folder: Path, clients: int, rng: random.Random, *, kill_hub: bool) -> None:
        self.kill_hub = kill_hub
        self.folder = folder
        self.clients = clients
        self.rng = rng
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []
        self.seen: set[psutil.Process] = set()
        self.over = 0.0

    async def run(self, seconds: float) -> list[Row]:
        """Soak for that long; returns what was counted."""
        async with AsyncExitStack() as stack:
            web_port, port = free_port(), free_port()
            web = (*SDK_SERVER, "--http", str(web_port))
            await stack.enter_async_context(http_program(web, web_port, self.folder / "web.log"))
            self.servers = self.write_servers(web_port)
            self.home = self.folder / "home"
            self.url = f"http://127.0.0.1:{port}/mcp"
            place = ("--home", str(self.home), "--mcp-config", str(self.servers))
            self.attach = (*HUB, "mcp", *place)
            if self.kill_hub:
                stack.push_async_callback(self.stop_hub)
            else:
                serve = (*HUB, "serve", "--port", str(port), "--no-auth", *place)
                pid = await stack.enter_async_context(http_program(serve, port, self.folder / "serve.log"))
                self.hub = psutil.Process(pid)
            await self.until_healthy()
            before = await self.phase(seconds / 4)
            after = await self.phase(seconds * 3 / 4)
        left = await self.left()
        return self.rows(before, after, left)

    async def stop_hub(self) -> None:
        """Stop the detached hub."""
        stop = await asyncio.create_subprocess_exec(*HUB, "stop", "--home", str(self.home))
        await asyncio.wait_for(stop.wait(), 20)

    def write_servers(self, web_port: int) -> Path:
        """The servers file, with its two healthy, two mortal, and two useless programs."""
        entries = {
            "plain": entry((PYTHON, str(SERVERS / "echo.py"))),
            "sdk": entry(SDK_SERVER),
            "remote": {"type": "http", "url": f"http://127.0.0.1:{web_port}/mcp"},
            **{name: entry((PYTHON, BAD, "dies_mid_call", "--name", name)) for name in MORTAL},
            "hanging": entry((PYTHON, BAD, "hangs")),
            "dead": entry((PYTHON, BAD, "exits_at_once")),
        }
        return write_servers_file(self.folder, entries)

    async def until_healthy(self) -> None:
        """Wait for the healthy servers' tools."""
        client: Client = StdioClient(self.attach) if self.kill_hub else HttpClient(self.url)
        await client.open()
        if self.kill_hub:
            self.hub = self.running_hub() or psutil.Process()
        async with asyncio.timeout(READY_S):
            wanted = {f"{name}.echo" for name in (*HEALTHY, *MORTAL)}
            while not wanted <= {tool["name"] for tool in (await client.request("tools/list"))["tools"]}:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        await client.close()

    async def phase(self, seconds: float) -> Sample:
        """Clients and killers at work for that long; then what the hub holds once all have left."""
        self.over = time.monotonic() + seconds
        async with asyncio.TaskGroup() as group:
            for _ in range(self.clients):
                group.create_task(self.come_and_go(random.Random(self.rng.random())))
            group.create_task(self.kill_servers(random.Random(self.rng.random())))
        await asyncio.sleep(SETTLE_S)
        return Sample(0, 0, 0) if self.kill_hub else Sample.of(self.hub)

    def running_hub(self) -> psutil.Process | None:
        """The hub's process, as its home names it."""
        try:
            return psutil.Process(json.loads((self.home / "hub.json").read_text(encoding="utf-8"))["pid"])
        except (OSError, ValueError, psutil.Error):
            return None

    async def kill_servers(self, rng: random.Random) -> None:
        """Kill a mortal server now and then, and note every process the hub ever had."""
        kill_hub_at = time.monotonic() + rng.uniform(2, 6)
        while time.monotonic() < self.over:
            children = []
            with suppress(psutil.Error):
                if self.kill_hub:
                    self.hub = self.running_hub() or self.hub
                children = self.hub.children(recursive=True)
            self.seen |= set(children)
            if self.kill_hub and time.monotonic() > kill_hub_at:
                with suppress(psutil.Error):
                    self.hub.kill()
                    self.counts["hubs killed"] += 1
                kill_hub_at = time.monotonic() + rng.uniform(2, 6)
            mortals = []
            for child in children:
                with suppress(psutil.Error):
                    if "dies_mid_call" in child.cmdline():
                        mortals.append(child)
            if mortals and rng.random() < 0.3:
                with suppress(psutil.Error):
                    rng.choice(mortals).kill()
                    self.counts["servers killed"] += 1
            await asyncio.sleep(rng.uniform(0.1, 0.6))

    async def come_and_go(self, rng: random.Random) -> None:
        """One client after another, until the phase is over."""
        while time.monotonic() < self.over:
            kinds = ("attached",) if self.kill_hub else ("attached", "attached", "http", "http modern")
            kind = rng.choice(kinds)
            client: Client = (
                StdioClient(self.attach)
                if kind == "attached"
                else HttpClient(self.url, modern=kind == "http modern")
            )
            self.counts["clients"] += 1
            try:
                async with asyncio.timeout(CALL_DEADLINE_S):
                    await client.open()
                for _ in range(rng.randint(3, 60)):
                    if time.monotonic() > self.over:
                        break
                    await self.act(client, rng)
                if isinstance(client, StdioClient) and rng.random() < 0.3:
                    client.kill()
                    self.counts["clients crashed"] += 1
            except Exception as error:  # a client that cannot connect is a finding, not the end of the run
                self.problem("unserved", f"a client ({kind}) failed: {type(error).__name__}: {error}")
            finally:
                await client.close()

    async def act(self, client: Client, rng: random.Random) -> None:
        """One random thing that clients do."""
        dice = rng.random()
        if isinstance(client, StdioClient) and dice < 0.03:
            client.write_bytes(rng.choice(GARBAGE))
        elif isinstance(client, StdioClient) and dice < 0.08:
            await self.cancel(client, rng)
        elif dice < 0.12:
            await self.answered(client, "tools/list", {})
        elif dice < 0.16:
            await self.call(client, "nobody.nothing", {})
        elif dice < 0.18:
            await self.call(client, f"{rng.choice(MORTAL)}.die", {})
        elif dice < 0.35:
            await self.call(client, f"{rng.choice(MORTAL)}.echo", {"text": "x"})
        elif dice < 0.45:
            await asyncio.gather(*(self.echo(client, rng) for _ in range(rng.randint(2, 16))))
        else:
            await self.echo(client, rng)

    async def echo(self, client: Client, rng: random.Random) -> None:
        """A healthy call, which must return this caller's text."""
        server = rng.choice(HEALTHY)
        text = f"{rng.random()}" * rng.choice((1, 1, 1, 50, 5000))
        try:
            async with asyncio.timeout(CALL_DEADLINE_S):
                arguments = {"name": f"{server}.echo", "arguments": {"text": text}}
                result = await client.request("tools/call", arguments)
        except TimeoutError:
            self.problem("unanswered", f"{server}.echo had no answer in {CALL_DEADLINE_S} s")
        except RequestFailed as error:
            if self.kill_hub and not isinstance(error, ServerGone):
                self.counts["answered with an error"] += 1
            else:
                self.problem("failed", f"{server}.echo failed: {error}")
        except Exception as error:  # whatever it is, it is a failed call of a healthy server
            self.problem("failed", f"{server}.echo failed: {type(error).__name__}: {error}")
        else:
            self.counts["calls"] += 1
            if result["content"][0]["text"] != text:
                self.problem("mixed up", f"{server}.echo returned another's text")

    async def call(self, client: Client, name: str, arguments: dict[str, str]) -> None:
        """A call that may fail, but must be answered."""
        await self.answered(client, "tools/call", {"name": name, "arguments": arguments})

    async def answered(self, client: Client, method: str, params: dict[str, object]) -> None:
        what = f"{method} {params.get('name', '')}"
        try:
            async with asyncio.timeout(CALL_DEADLINE_S):
                await client.request(method, params)
            self.counts["calls"] += 1
        except TimeoutError:
            self.problem("unanswered", f"{what} had no answer in {CALL_DEADLINE_S} s")
        except (ServerGone, OSError, asyncio.IncompleteReadError) as error:
            self.problem("failed", f"{what}: {type(error).__name__}: {error}")
        except RequestFailed:
            self.counts["answered with an error"] += 1

    async def cancel(self, client: StdioClient, rng: random.Random) -> None:
        """Start a slow call and give it up."""
        slow = asyncio.create_task(
            client.request("tools/call", {"name": "plain.slow", "arguments": {"seconds": 30}})
        )
        await asyncio.sleep(rng.uniform(0, 0.05))
        client.cancel(client.last_id)
        slow.cancel()
        await asyncio.wait([slow])
        self.counts["calls cancelled"] += 1

    def problem(self, kind: str, message: str) -> None:
        self.counts[kind] += 1
        if len(self.problems) < 50:
            self.problems.append(message)

    async def left(self) -> list[str]:
        """Processes that outlived the hub."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and any(each.is_running() for each in self.seen):  # noqa: ASYNC110
            await asyncio.sleep(0.2)
        names = []
        for process in psutil.process_iter(["cmdline"]):
            words = " ".join(process.info["cmdline"] or ())
            if process in self.seen or str(self.folder) in words:
                names.append(f"{process.pid} {words}")
        return names

    def rows(self, before: Sample, after: Sample, left: list[str]) -> list[Row]:
        """What was counted, and what must hold."""
        self.problems += [f"left behind: {name}" for name in left]
        made = f"{self.counts['calls']:,} calls by {self.counts['clients']:,} clients"

        def row(what: str, value: float, limit: float, unit: str = "") -> Row:
            return Row(what, unit, {"hub": value}, "hub", limit=limit)

        grown = [
            row("memory grown after the warm-up", after.rss_mb - before.rss_mb, 10, "MB"),
            row("open files grown after the warm-up", after.files - before.files, 5),
            row("threads grown after the warm-up", after.threads - before.threads, 2),
        ]
        return [
            Row(f"soak: {made}", "", {"hub": float(self.counts["calls"])}, "hub"),
            row("calls that returned another caller's answer", self.counts["mixed up"], 0),
            row("calls without an answer", self.counts["unanswered"], 0),
            row("failed calls of healthy servers", self.counts["failed"], 0),
            row("clients that were not served", self.counts["unserved"], 0),
            *([] if self.kill_hub else grown),
            row("processes left behind", len(left), 0),
        ]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kill-hub", action="store_true", help="kill the hub too")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--keep", action="store_true", help="keep the hub's home and logs")
    options = parser.parse_args()
    check_hub()
    on = machine()
    folder = Path(tempfile.mkdtemp(prefix="hub-soak-"))
    soak = Soak(folder, options.clients, random.Random(options.seed), kill_hub=options.kill_hub)
    try:
        rows = asyncio.run(soak.run(options.minutes * 60))
    finally:
        if options.keep:
            print(f"kept {folder}", file=sys.stderr)
        else:
            discard(folder)
    name = "soak_with_killed_hubs" if options.kill_hub else "soak"
    results = Results(name, rows, {"minutes": options.minutes, "seed": options.seed}, machine=on)
    report.show(results)
    print(", ".join(f"{count:,} {what}" for what, count in sorted(soak.counts.items())), file=sys.stderr)
    for problem in soak.problems:
        print(f"  {problem}", file=sys.stderr)
    if options.out is not None:
        results.write(options.out)
    return 1 if any(row.holds is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
