"""What a turn of the agent costs beside its model and its tools.

    python benchmarks/turn_overhead.py [--quick] [--out FILE]

The model of the first rows answers at once, in the process: everything measured is the
loop's own work (recall, prompt, record, store). The rows below go through LiteLLM to a
scripted model over HTTP, beside LiteLLM alone in the same rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import report
from results import Results, Row

from hub.agent import Agent, Event
from hub.calls import Caller, Json
from hub.clock import SystemClock
from hub.home import Home
from hub.llm import Answer, Choice, LiteLLM, ToolRequest, Usage
from hub.memory import Memory
from hub.sessions import Sessions
from hub.settings import AgentSettings, MemorySettings, ToolNames
from hub.simulation.scripted_model import Say, ScriptedModel
from hub.store import Store

CALLER = Caller(name="benchmark", face="cli", project="/home/ada/site")
EPISODES = 500
SESSIONS = 100
LATENCY_S = 0.2
WORDS = "harbour ledger compass orchard signal granite meadow lantern willow copper anchor thistle".split()


class OneTool:
    """A tool surface with one tool that takes no time."""

    def tools(self, style: ToolNames | None = None, caller: Caller | None = None) -> Sequence[Json]:
        return [{"name": "fs.read", "inputSchema": {"type": "object"}}]

    async def call_tool(self, caller: Caller, name: str, arguments: Json, **_: Any) -> Json:
        return {"content": [{"type": "text", "text": "contents of the file"}]}


class InstantModel:
    """Asks for one tool, then answers, in no time."""

    async def choice(self) -> Choice:
        return Choice("instant", "set")

    async def answer(self, messages: Sequence[Json], tools: Sequence[Json] = (), **_: Any) -> Answer:
        usage = Usage(100, 10)
        if messages[-1]["role"] == "tool":
            text = "The file says what it says, and that is the answer to what was asked just now."
            return Answer({"role": "assistant", "content": text}, text, (), "stop", usage, "instant")
        call = {"id": "c1", "type": "function", "function": {"name": "fs.read", "arguments": "{}"}}
        message = {"role": "assistant", "content": "", "tool_calls": [call]}
        return Answer(message, "", (ToolRequest("c1", "fs.read", "{}"),), "tool_calls", usage, "instant")

    async def context_tokens_max(self) -> int | None:
        return None

    async def count_tokens(self, messages: Sequence[Json], tools: Sequence[Json] = ()) -> int:
        return 0

    async def close(self) -> None:
        pass


async def times_ms(count: int, work: Callable[[int], Awaitable[object]]) -> list[float]:
    """How long each of `count` runs took."""
    found = []
    for n in range(count):
        began = time.perf_counter()
        await work(n)
        found.append((time.perf_counter() - began) * 1000)
    return found


def sentence(rng: random.Random) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(12))


async def loop_rows(folder: Path, turns: int) -> list[Row]:
    """The loop alone, with and without memory."""
    rng = random.Random(7)
    store = Store(folder / "hub.sqlite3")
    await store.open()
    memory = await Memory.open(Home.at(folder), MemorySettings(), SystemClock(), rng, store)
    await memory.ready()
    for _ in range(EPISODES):
        await memory.store(sentence(rng), intent=sentence(rng))
    rows = []
    for what, kept, limit in (("with memory", memory, 25.0), ("without memory", None, 12.0)):
        sessions = Sessions(store, SystemClock())
        agent = Agent(OneTool(), kept, sessions, InstantModel(), AgentSettings(), SystemClock())

        async def turn(n: int, agent: Agent = agent, what: str = what) -> None:
            await agent.run_turn(CALLER, f"{what} {n % 10}", f"{sentence(rng)} number {n}?")

        await times_ms(10, turn)
        found = await times_ms(turns, turn)
        rows.append(
            Row(
                f"Loop overhead of a turn with one tool call, {what}, p50",
                "ms",
                {"hub": statistics.median(found), "p95": statistics.quantiles(found, n=20)[-1]},
                "hub",
                limit=limit,
                note=f"model and tool answer at once; {EPISODES} episodes in memory",
            )
        )
    await memory.close()
    await store.close()
    return rows


async def first_token_row(folder: Path, rounds: int) -> Row:
    """How much later than through LiteLLM alone the first piece of text is heard."""
    store = Store(folder / "tokens.sqlite3")
    await store.open()
    async with ScriptedModel(lambda request: Say("a short answer in a few pieces")) as server:
        llm = LiteLLM("openai/scripted", server.url, dict)
        messages: list[Json] = [{"role": "user", "content": "hello"}]
        await llm.answer(messages, deadline_s=60)
        import litellm

        agent = Agent(OneTool(), None, Sessions(store, SystemClock()), llm, AgentSettings(), SystemClock())

        async def alone() -> float:
            began = time.perf_counter()
            stream = await litellm.acompletion(
                model="openai/scripted", messages=messages, api_base=server.url, api_key="none", stream=True
            )
            first = 0.0
            async for chunk in stream:
                if not first and chunk.choices and chunk.choices[0].delta.content:
                    first = time.perf_counter() - began
            return first * 1000

        async def through(n: int) -> float:
            marks: dict[str, float] = {}

            def heard(event: Event) -> None:
                marks.setdefault(event.type, time.perf_counter())

            await agent.run_turn(CALLER, f"session {n}", "hello", on_event=heard)
            return (marks["model.delta"] - marks["model.asked"]) * 1000

        pairs = [(await alone(), await through(n)) for n in range(rounds)]
        await llm.close()
    await store.close()
    alone_ms, hub_ms = (statistics.median(column) for column in zip(*pairs, strict=True))
    later = statistics.median(hub - alone for alone, hub in pairs)
    return Row(
        "First streamed text later than LiteLLM alone, p50",
        "ms",
        {"hub": later, "LiteLLM alone": alone_ms, "through the hub": hub_ms},
        "hub",
        limit=3.0,
        note="from the request to the first piece heard",
    )


class SlowModel(InstantModel):
    """Answers after the latency of a model, without anything in between."""

    async def answer(self, messages: Sequence[Json], tools: Sequence[Json] = (), **_: Any) -> Answer:
        await asyncio.sleep(LATENCY_S)
        text = "well, that is so"
        return Answer({"role": "assistant", "content": text}, text, (), "stop", Usage(10, 5), "slow")


async def parallel_rows(folder: Path, turns: int) -> list[Row]:
    """Many sessions at once on a slow model: the hub's own work, and LiteLLM's beside it."""
    messages: list[Json] = [{"role": "user", "content": "hello"}]
    store = Store(folder / "parallel.sqlite3")
    await store.open()
    async with ScriptedModel(lambda request: Say("well, that is so", delay_s=LATENCY_S)) as server:
        llm = LiteLLM("openai/scripted", server.url, dict)
        await llm.answer(messages, deadline_s=60)

        def session(agent: Agent, what: str) -> Callable[[int], Awaitable[None]]:
            async def work(n: int) -> None:
                for turn in range(turns):
                    await agent.run_turn(CALLER, f"{what} {n}", f"hello {turn}")

            return work

        async def alone(n: int) -> None:
            for _ in range(turns):
                await llm.answer(messages, deadline_s=60)

        async def rate(work: Callable[[int], Awaitable[None]]) -> float:
            began = time.perf_counter()
            await asyncio.gather(*(work(n) for n in range(SESSIONS)))
            return SESSIONS * turns / (time.perf_counter() - began)

        def agent(model: Any) -> Agent:
            sessions = Sessions(store, SystemClock())
            return Agent(OneTool(), None, sessions, model, AgentSettings(), SystemClock())

        await rate(alone)
        hub_rate = await rate(session(agent(SlowModel()), "slow"))
        litellm_rate, through_rate = await rate(alone), await rate(session(agent(llm), "through"))
        await llm.close()
    await store.close()
    ideal = SESSIONS / LATENCY_S
    what = f"{SESSIONS} sessions on a model with {LATENCY_S * 1000:g} ms latency"
    return [
        Row(
            f"Turns per second, {what}",
            "calls/s",
            {"hub": hub_rate, "ideal": ideal},
            "hub",
            over="ideal",
            ratio=hub_rate / ideal,
            limit=0.8,
            limits_ratio=True,
            at_least=True,
            note="the model answers in the process",
        ),
        Row(
            f"Turns per second through LiteLLM, {what}",
            "calls/s",
            {"hub": through_rate, "LiteLLM alone": litellm_rate},
            "hub",
            over="LiteLLM alone",
            ratio=through_rate / litellm_rate,
            limit=0.8,
            limits_ratio=True,
            at_least=True,
            note="everything in one process, the scripted model included; LiteLLM is bound by the processor",
        ),
    ]


async def memory_row(folder: Path, turns: int) -> Row:
    """What many turns of one session leave in memory, once the first have warmed everything up."""
    store = Store(folder / "many.sqlite3")
    await store.open()
    agent = Agent(
        OneTool(), None, Sessions(store, SystemClock()), InstantModel(), AgentSettings(), SystemClock()
    )
    process = psutil.Process()

    async def run(count: int) -> float:
        for n in range(count):
            await agent.run_turn(CALLER, "one session", f"hello {n}")
        gc.collect()
        return float(process.memory_info().rss) / 1e6

    before = await run(turns // 4)
    grown = await run(turns) - before
    await store.close()
    return Row(
        f"Memory that {turns:,} turns of one session leave behind",
        "MB",
        {"hub": grown, "process before": before},
        "hub",
        limit=5.0,
    )


async def measure(quick: bool) -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = await loop_rows(folder, 60 if quick else 300)
        rows.append(await first_token_row(folder, 20 if quick else 100))
        rows += await parallel_rows(folder, 2 if quick else 10)
        rows.append(await memory_row(folder, 400 if quick else 10_000))
        return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="What a turn of the agent costs.")
    parser.add_argument("--quick", action="store_true", help="a look, not a result")
    parser.add_argument("--out", type=Path, help="where to write the results")
    arguments = parser.parse_args()
    rows = asyncio.run(measure(arguments.quick))
    results = Results("turn_overhead", rows, {"quick": arguments.quick, "sessions": SESSIONS})
    report.show(results)
    print(results.write(arguments.out))


if __name__ == "__main__":
    main()
