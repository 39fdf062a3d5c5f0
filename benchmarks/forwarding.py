"""What forwarding costs: the hub beside the bare server and other hubs, in one run.

    python benchmarks/forwarding.py [--quick] [--only WORD ...] [--no-peers] [--out FILE]

Every number is a median over rounds, and in each round all systems take their turn, in an order that rotates;
every ratio is the median of the rounds' own ratios. So a machine that is busy for a while disturbs all alike.
The client is the same few lines everywhere (`wire.py`), the called server is the official SDK's.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import report
from results import Results, Row, machine
from systems import (
    HUB,
    PYTHON,
    READY_S,
    SDK_SERVER,
    SERVERS,
    Field,
    System,
    check_hub,
    cpu_s,
    discard,
    entry,
    rss_mb,
    servers_file,
)
from wire import StdioClient

TEXT = "x" * 1000
CONCURRENT = 32
BIG_BYTES = 10_000_000
MANY_TOOLS = 1000


@dataclass(frozen=True)
class Effort:
    """How long to measure."""

    rounds: int
    calls: int
    concurrent_calls: int
    heavy_rounds: int


FULL = Effort(rounds=15, calls=100, concurrent_calls=10, heavy_rounds=5)
QUICK = Effort(rounds=4, calls=40, concurrent_calls=5, heavy_rounds=2)

Measure = Callable[[System], Awaitable[float]]
Series = dict[str, list[float]]
"""The value of each round, by system."""


async def rounds(systems: Sequence[System], count: int, measure: Measure) -> Series:
    """Measure every system once a round; a system that fails is left out from then on, and said so."""
    series: Series = {system.name: [] for system in systems}
    alive = list(systems)
    for number in range(count):
        turn = number % len(alive)
        for system in alive[turn:] + alive[:turn]:
            try:
                async with asyncio.timeout(120):
                    series[system.name].append(await measure(system))
            except Exception as error:  # a broken peer must not end the run of all the others
                print(f"  {system.name}: {type(error).__name__}: {error}", file=sys.stderr)
                alive.remove(system)
                del series[system.name]
    return series


def medians(series: Series) -> dict[str, float]:
    """The median of each system's rounds."""
    return {name: statistics.median(values) for name, values in series.items() if values}


def ratio(series: Series, name: str, over: str) -> float | None:
    """The median of the rounds' ratios, or None when one of them was not measured."""
    if not series.get(name) or not series.get(over):
        return None
    return statistics.median(a / b for a, b in zip(series[name], series[over], strict=False))


async def p50_ms(call: Callable[[], Awaitable[Any]], calls: int) -> float:
    """The median time of one call, one after another."""
    times = []
    for _ in range(calls):
        started = time.perf_counter()
        await call()
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1e3


class Forwarding:
    """The systems that live through the run, and what is measured on them."""

    def __init__(self, field: Field, effort: Effort, *, peers: bool) -> None:
        self.field = field
        self.effort = effort
        self.peers = peers
        self.systems: dict[str, System] = {}

    async def start(self) -> None:
        """Start the systems that most rows share."""
        field = self.field
        five = await field.five_servers()
        starting: list[tuple[str, Awaitable[System | list[System]]]] = [
            ("direct stdio", field.direct_stdio()),
            ("direct stdio modern", field.direct_stdio(modern=True)),
            ("direct HTTP", field.direct_http()),
            ("direct HTTP modern", field.direct_http(modern=True)),
            ("raw forwarder", field.forwarder()),
            ("hub embedded", field.hub_embedded(five)),
            ("hub embedded modern", field.hub_embedded(five, "embedded-modern", modern=True)),
            ("hub attached", field.hub_attached(five)),
            ("hub serve", field.hub_http(five)),
        ]
        if self.peers:
            starting += [
                ("fastmcp stdio", field.fastmcp_stdio(five)),
                ("fastmcp HTTP", field.fastmcp_http(five)),
            ]
        for name, start in starting:
            try:
                started = await start
            except Exception as error:  # what cannot start is missing from the table, with its reason
                print(f"  {name} does not start: {type(error).__name__}: {error}", file=sys.stderr)
                continue
            for system in started if isinstance(started, list) else [started]:
                self.systems[system.name] = system
                await p50_ms(lambda: system.echo(TEXT), 30)  # noqa: B023 (awaited at once)

    def named(self, *names: str) -> list[System]:
        """Those of these systems that run."""
        return [self.systems[name] for name in names if name in self.systems]

    async def echo(self) -> list[Row]:
        """1 KB echo, one after another: latency, and the CPU of the process between."""
        spent: Series = {}

        async def measure(system: System) -> float:
            before = cpu_s(system.pid) if system.pid else 0.0
            latency_ms = await p50_ms(lambda: system.echo(TEXT), self.effort.calls)
            if system.pid:
                used_ms = (cpu_s(system.pid) - before) * 1e3 / self.effort.calls
                spent.setdefault(system.name, []).append(used_ms)
            return latency_ms

        series = await rounds(list(self.systems.values()), self.effort.rounds, measure)
        values = medians(series)
        cpu = {name: used for name, used in medians(spent).items() if not name.startswith("direct")}

        def row(front: str, subject: str, direct: str, peers: Sequence[str], limit: float) -> Row:
            shown = {name: values[name] for name in (direct, subject, *peers) if name in values}
            return Row(
                f"1 KB echo, p50, {front}", "ms", shown, subject, direct,
                ratio(series, subject, direct), limit, limits_ratio=True,
            )  # fmt: skip

        rows = [
            row(
                "embedded stdio, 2025-06-18",
                "hub embedded",
                "direct stdio",
                ("fastmcp stdio", "raw forwarder"),
                1.7,
            ),
            row("embedded stdio, 2026-07-28", "hub embedded modern", "direct stdio modern", (), 1.7),
            row("attached stdio, 2025-06-18", "hub attached", "direct stdio", (), 2.2),
            row("HTTP, 2025-06-18", "hub HTTP", "direct HTTP", ("fastmcp HTTP",), 1.7),
            row("HTTP, 2026-07-28", "hub HTTP modern", "direct HTTP modern", (), 1.7),
        ]
        peers = {name: used for name, used in cpu.items() if not name.startswith("hub")}
        faces = {name for name in cpu if name.startswith("hub")}
        rows += [
            Row(
                f"hub CPU per forwarded call, {face.removeprefix('hub ')}", "ms",
                {face: cpu[face], **peers}, face, limit=0.40,
                note="CPU time of all threads of the hub's process; the attachment is another process",
            )
            for face in sorted(faces)
        ]  # fmt: skip
        return rows

    async def concurrent(self) -> list[Row]:
        """Calls a second with 32 callers at once."""
        each = self.effort.concurrent_calls

        async def measure(system: System) -> float:
            async def caller() -> None:
                for _ in range(each):
                    await system.echo(TEXT)

            started = time.perf_counter()
            async with asyncio.TaskGroup() as group:
                for _ in range(CONCURRENT):
                    group.create_task(caller())
            return CONCURRENT * each / (time.perf_counter() - started)

        series = await rounds(list(self.systems.values()), self.effort.rounds, measure)
        values = medians(series)

        def row(front: str, subject: str, direct: str, peers: Sequence[str], limit: float | None) -> Row:
            shown = {name: values[name] for name in (direct, subject, *peers) if name in values}
            return Row(
                f"calls per second, {CONCURRENT} at once, {front}", "calls/s", shown, subject, direct,
                ratio(series, subject, direct), limit, limits_ratio=True, at_least=True,
            )  # fmt: skip

        return [
            row(
                "embedded stdio, 2025-06-18",
                "hub embedded",
                "direct stdio",
                ("fastmcp stdio", "raw forwarder"),
                0.9,
            ),
            row("embedded stdio, 2026-07-28", "hub embedded modern", "direct stdio modern", (), 0.9),
            row("attached stdio, 2025-06-18", "hub attached", "direct stdio", (), 0.9),
            row("HTTP, 2025-06-18", "hub HTTP", "direct HTTP", ("fastmcp HTTP",), 1.15),
            # The called server, on stdio, is slower than the SDK's modern HTTP server alone.
            row("HTTP, 2026-07-28", "hub HTTP modern", "direct HTTP modern", (), None),
        ]

    async def remote(self) -> list[Row]:
        """1 KB echo of a downstream server behind HTTP, called over stdio."""
        hubs = [system for system in self.named("hub embedded", "fastmcp stdio") if system.remote_tool]
        direct = self.named("direct stdio", "direct HTTP")

        async def measure(system: System) -> float:
            call = system.echo_remote if system in hubs else system.echo
            return await p50_ms(lambda: call(TEXT), self.effort.calls // 2)

        for system in hubs:
            await p50_ms(lambda: system.echo_remote(TEXT), 10)  # noqa: B023 (awaited at once)
        series = await rounds([*direct, *hubs], max(3, self.effort.rounds // 2), measure)
        return [
            Row(
                "1 KB echo, p50, HTTP downstream, embedded stdio front", "ms", medians(series),
                "hub embedded", "direct stdio", ratio(series, "hub embedded", "direct stdio"),
                2.5, limits_ratio=True,
                note="over direct stdio, though the server behind the hub speaks HTTP",
            )
        ]  # fmt: skip

    async def big(self) -> list[Row]:
        """One result of 10 MB."""

        async def measure(system: System) -> float:
            tool = system.tool.removesuffix("echo") + "big"
            started = time.perf_counter()
            result = await system.client.request(
                "tools/call", {"name": tool, "arguments": {"bytes": BIG_BYTES}}
            )
            assert len(result["content"][0]["text"]) == BIG_BYTES
            return time.perf_counter() - started

        names = ("direct stdio", "hub embedded", "hub attached", "hub HTTP", "raw forwarder", "fastmcp stdio")
        series = await rounds(self.named(*names), self.effort.heavy_rounds, measure)
        values = medians(series)
        return [
            Row(
                f"10 MB result, {face.removeprefix('hub ')}", "s",
                {name: value for name, value in values.items() if not name.startswith("hub") or name == face},
                face, "direct stdio", ratio(series, face, "direct stdio"), 0.6,
            )
            for face in ("hub embedded", "hub attached", "hub HTTP")
        ]  # fmt: skip

    async def many_tools(self) -> list[Row]:
        """`tools/list` of a server with 1,000 tools."""
        folder = self.field.folder / "many"
        servers = servers_file(folder, {"called": entry((*SDK_SERVER, "--tools", str(MANY_TOOLS)))})
        async with AsyncExitStack() as stack:
            field = Field(self.field.folder, stack)
            systems = [await field.direct_stdio("--tools", str(MANY_TOOLS))]
            systems.append(await field.hub_embedded(servers, "many-home"))
            if self.peers:
                systems.append(await field.fastmcp_stdio(servers))

            async def measure(system: System) -> float:
                return await p50_ms(system.list_tools, 5)

            for system in systems:
                assert len(await system.list_tools()) >= MANY_TOOLS
            series = await rounds(systems, self.effort.heavy_rounds, measure)
        return [
            Row(
                f"`tools/list` of {MANY_TOOLS:,} tools", "ms", medians(series),
                "hub embedded", "direct stdio",
                ratio(series, "hub embedded", "direct stdio"), 12.0,
            )
        ]  # fmt: skip

    async def idle_memory(self) -> list[Row]:
        """Memory of fresh hubs after their lists, before any memory or model use."""
        servers = self.field.folder / "five" / "mcp.json"
        values: dict[str, float] = {}
        async with AsyncExitStack() as stack:
            field = Field(self.field.folder, stack)
            starting = [
                field.hub_embedded(servers, "idle-embedded"),
                field.hub_attached(servers, "idle-attached"),
            ]
            if self.peers:
                starting.append(field.fastmcp_stdio(servers))
            for start in starting:
                system = await start
                await system.list_tools()
                assert system.pid is not None
                values[system.name] = rss_mb(system.pid)
        note = "resident memory (RSS) of the hub's own process; downstream servers are other processes"
        return [
            Row("memory of the idle hub, embedded", "MB", values, "hub embedded", limit=110.0, note=note),
            Row("memory of the idle hub, attached", "MB", {"hub attached": values["hub attached"]},
                "hub attached", limit=110.0, note=note),
        ]  # fmt: skip

    async def bad_neighbours(self) -> list[Row]:
        """Launch to healthy tools listed, beside one dead and one hanging server: first start, and later."""
        bad = str(SERVERS / "bad.py")
        entries = {
            "hanging": entry((PYTHON, bad, "hangs")),
            "dead": entry((PYTHON, bad, "exits_at_once")),
            "called": entry(SDK_SERVER),
        }
        servers = servers_file(self.field.folder / "bad", entries)
        first: list[float] = []
        later: list[float] = []
        for number in range(self.effort.heavy_rounds):
            home = self.field.folder / f"bad-home-{number}"
            command = (*HUB, "mcp", "--embedded", "--home", str(home), "--mcp-config", str(servers))
            for times in (first, later):
                client = StdioClient(command)
                started = time.perf_counter()
                try:
                    async with asyncio.timeout(READY_S):
                        await client.open()
                        await System("hub embedded", client).until_listed("called.echo")
                    times.append(time.perf_counter() - started)
                finally:
                    await client.close()
        return [
            Row(
                f"launch to healthy tools listed, one dead and one hanging server, {which}", "s",
                {"hub embedded": statistics.median(times)}, "hub embedded", limit=limit,
            )
            for which, times, limit in (("first start ever", first, 2.0), ("later start", later, 1.0))
        ]  # fmt: skip


async def run(effort: Effort, *, only: Sequence[str], peers: bool, folder: Path) -> list[Row]:
    """Measure everything, or what `only` names; rows that cannot be measured are reported and left out."""
    rows: list[Row] = []
    async with AsyncExitStack() as stack:
        bench = Forwarding(Field(folder, stack), effort, peers=peers)
        print("starting the systems", file=sys.stderr)
        await bench.start()
        for name in ("echo", "concurrent", "remote", "big", "many_tools", "idle_memory", "bad_neighbours"):
            if only and name not in only:
                continue
            print(f"measuring {name}", file=sys.stderr)
            try:
                rows += await getattr(bench, name)()
            except Exception as error:  # one row that cannot be measured must not lose the others
                print(f"  {name}: {type(error).__name__}: {error}", file=sys.stderr)
    return [row for row in rows if row.subject in row.values]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds: a look, not a result")
    parser.add_argument("--only", nargs="*", default=(), help="echo concurrent remote big many_tools ...")
    parser.add_argument("--no-peers", action="store_true", help="without the other hubs")
    parser.add_argument("--out", type=Path, help="where to keep the results (default: benchmarks/results/)")
    options = parser.parse_args()
    effort = QUICK if options.quick else FULL
    check_hub()
    on = machine()
    folder = Path(tempfile.mkdtemp(prefix="hub-bench-"))
    try:
        rows = asyncio.run(run(effort, only=options.only, peers=not options.no_peers, folder=folder))
    finally:
        discard(folder)
    settings = {"effort": "quick" if options.quick else "full"}
    results = Results("forwarding", rows, settings, machine=on)
    report.show(results)
    if options.out or not (options.quick or options.only):
        print(f"kept in {results.write(options.out)}", file=sys.stderr)


if __name__ == "__main__":
    main()
