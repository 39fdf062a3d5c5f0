"""The tools of one turn: which are shown, how calls are made, what the model reads of a result.

A call that cannot be made (unknown tool, broken arguments, a server that is away) is a
result that says so, because the model can mend it or take another way.
"""

from __future__ import annotations

import asyncio
import difflib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hub.agent import results as long_results
from hub.agent.events import Emitter, ToolFinished, ToolProgress, ToolStarted
from hub.agent.guards import LoopGuard
from hub.agent.ports import ProgressListener, ToolSurface
from hub.agent.results import LongResults
from hub.calls import Caller, Json
from hub.errors import HubError, RpcError
from hub.llm.answer import ToolRequest
from hub.toolsearch import rank_tools

_PARALLEL_MAX = 8
_PREVIEW_CHARS = 400
_SEARCH = "tools.search"
_ALWAYS_SHOWN = (_SEARCH, "memory.recall", "memory.store")
_ITSELF = "agent.run_turn"


@dataclass(frozen=True, slots=True)
class ToolOutcome:
    """One call, made or not.

    Attributes:
        request: What the model asked for.
        arguments: The arguments, when they were a JSON object.
        ok: Whether it succeeded.
        text: What the model reads.
        duration_s: How long it took.
    """

    request: ToolRequest
    arguments: Json | None
    ok: bool
    text: str
    duration_s: float

    @property
    def message(self) -> Json:
        """The result as a chat message."""
        return {"role": "tool", "tool_call_id": self.request.id, "content": self.text}

    def to_json(self) -> Json:
        return {
            "id": self.request.id,
            "name": self.request.name,
            "arguments": self.arguments if self.arguments is not None else self.request.arguments,
            "ok": self.ok,
            "duration_s": round(self.duration_s, 4),
        }


class Toolbelt:
    """The tools as one turn sees and calls them.

    Args:
        surface: Every tool of the hub.
        caller: In whose name calls are made.
        emitter: Hears of each call.
        message: What the user wants; decides which tools are shown when there are many.
        tools_max: How many are shown.
        results: Takes results that are too long to be read whole.
    """

    def __init__(
        self,
        surface: ToolSurface,
        caller: Caller,
        emitter: Emitter,
        message: str,
        *,
        tools_max: int,
        results: LongResults,
    ) -> None:
        self._surface = surface
        self._caller = caller
        self._emitter = emitter
        self._results = results
        self._guard = LoopGuard()
        self._known = self._listed()
        self._shown = _most_relevant(self._known, message, tools_max)

    @property
    def shown(self) -> Sequence[Json]:
        """The definitions that the model is shown, in an order that does not change by itself."""
        return [*self._shown, long_results.TOOL] if self._reads_results else self._shown

    @property
    def _reads_results(self) -> bool:
        return self._results.any and long_results.NAME not in self._known

    @property
    def going_in_circles(self) -> bool:
        """Whether the model keeps asking for calls that lead nowhere."""
        return self._guard.hopeless

    async def call(self, requests: Sequence[ToolRequest], deadline_s: float) -> list[ToolOutcome]:
        """Make the calls of one answer; neighbours that only read, or may be repeated, at the same time.

        Args:
            requests: What the model asked for.
            deadline_s: How long each call may take.

        Returns:
            An outcome for each request, in their order.
        """
        outcomes: list[ToolOutcome] = []
        for group in self._groups(requests):
            if len(group) == 1:
                outcomes.append(await self._call(group[0], deadline_s))
                continue
            async with asyncio.TaskGroup() as tasks:
                made = [tasks.create_task(self._call(request, deadline_s)) for request in group]
            outcomes += [task.result() for task in made]
        return outcomes

    def _groups(self, requests: Sequence[ToolRequest]) -> Iterator[list[ToolRequest]]:
        """Runs of calls that may go at the same time; every other call is alone."""
        group: list[ToolRequest] = []
        for request in requests:
            if self._harmless_together(request.name) and len(group) < _PARALLEL_MAX:
                group.append(request)
                continue
            if group:
                yield group
                group = []
            if self._harmless_together(request.name):
                group.append(request)
            else:
                yield [request]
        if group:
            yield group

    def _harmless_together(self, name: str) -> bool:
        annotations = self._known.get(name, {}).get("annotations")
        if not isinstance(annotations, dict):
            return False
        return annotations.get("readOnlyHint") is True or annotations.get("idempotentHint") is True

    async def _call(self, request: ToolRequest, deadline_s: float) -> ToolOutcome:
        loop = asyncio.get_running_loop()
        began = loop.time()
        arguments, problem = _arguments(request)
        self._emitter.emit(ToolStarted(request.id, request.name, arguments or {}))
        reads_result = self._reads_results and request.name == long_results.NAME
        if problem is None and not reads_result and not self._knows(request.name):
            problem = self._unknown(request.name)
        if problem is None and arguments is not None:
            problem = self._guard.refusal(request.name, arguments)
        if problem is not None or arguments is None:
            ok, text = False, problem or ""
        else:
            if reads_result:
                ok, text = await self._results.read(arguments)
            else:
                ok, text = await self._make(request, arguments, deadline_s)
                text = await self._results.shorten(request.name, text)
            self._guard.record(request.name, arguments, text)
        outcome = ToolOutcome(request, arguments, ok, text, loop.time() - began)
        self._emitter.emit(
            ToolFinished(request.id, request.name, ok, round(outcome.duration_s, 4), text[:_PREVIEW_CHARS])
        )
        return outcome

    async def _make(self, request: ToolRequest, arguments: Json, deadline_s: float) -> tuple[bool, str]:
        """Call the tool; whether it succeeded, and what the model reads."""
        try:
            # The router keeps the deadline by itself; this one stands behind it.
            async with asyncio.timeout(deadline_s + 1.0):
                result = await self._surface.call_tool(
                    self._caller,
                    request.name,
                    arguments,
                    deadline_s=deadline_s,
                    on_progress=self._progress(request.id),
                )
        except TimeoutError:
            return False, f"{request.name} did not answer within {deadline_s:g} s."
        except HubError as error:
            return False, f"{request.name} could not be called: {error.message}"
        except RpcError as error:
            return False, f"{request.name} was refused by its server: {error} (code {error.code})"
        if request.name == _SEARCH:
            self._show_found(result)
        failed = result.get("isError") is True
        text = readable(result)
        return not failed, f"The tool failed: {text}" if failed else text

    def _progress(self, call_id: str) -> ProgressListener:
        def heard(progress: float, total: float | None, message: str | None) -> None:
            self._emitter.emit(ToolProgress(call_id, progress, total, message))

        return heard

    def _knows(self, name: str) -> bool:
        if name not in self._known:
            # It may have come since the turn began.
            self._known |= self._listed()
        return name in self._known

    def _listed(self) -> dict[str, Json]:
        """The tools there are, under the names that this module knows, without the agent itself."""
        tools = self._surface.tools("dotted", self._caller)
        return {tool["name"]: tool for tool in tools if tool["name"] != _ITSELF}

    def _unknown(self, name: str) -> str:
        near = difflib.get_close_matches(name, self._known, n=3)
        hint = f" Did you mean {', '.join(near)}?" if near else ""
        return f"Not called: there is no tool {name!r}.{hint}"

    def _show_found(self, result: Json) -> None:
        """Show the tools that a search named from the next round on, as far as there is room."""
        found = json.dumps(result.get("structuredContent") or result.get("content"))
        shown = {tool["name"] for tool in self._shown}
        for name, tool in self._known.items():
            if name not in shown and f'"{name}"' in found.replace('\\"', '"'):
                self._shown = [*self._shown, tool]


def _most_relevant(known: dict[str, Json], message: str, count: int) -> list[Json]:
    """The tools that fit a message best, and those that always fit, in the order of their names.

    That order makes the same tools the same prompt, which providers' caches like.
    """
    if len(known) > count:
        ranked = [tool["name"] for tool in rank_tools(message, list(known.values()), count)]
        order = dict.fromkeys([*(name for name in _ALWAYS_SHOWN if name in known), *ranked, *sorted(known)])
        known = {name: known[name] for name in list(order)[:count]}
    return [known[name] for name in sorted(known)]


def readable(result: Json) -> str:
    """A `CallToolResult` as text: its text, a line for each thing that is none, else its structure."""
    parts = [_part(block) for block in result.get("content") or () if isinstance(block, dict)]
    text = "\n".join(part for part in parts if part)
    if not text and "structuredContent" in result:
        text = json.dumps(result["structuredContent"], ensure_ascii=False)
    return text or "(no output)"


def _part(block: Json) -> str:
    kind = block.get("type")
    if kind == "text":
        return str(block.get("text", ""))
    if kind in ("image", "audio"):
        size = len(str(block.get("data", ""))) * 3 // 4
        return f"[{kind}, {block.get('mimeType', 'unknown type')}, {size:,} bytes: not shown]"
    if kind == "resource_link":
        return f"[resource {block.get('uri')}: {block.get('description') or block.get('name') or ''}]"
    if kind == "resource":
        resource: Any = block.get("resource") or {}
        return str(resource.get("text") or f"[resource {resource.get('uri')}: binary, not shown]")
    return f"[{kind}: not shown]"


def _arguments(request: ToolRequest) -> tuple[Json | None, str | None]:
    """The arguments as an object, or what is wrong with them."""
    if not request.arguments.strip():
        return {}, None
    try:
        arguments = json.loads(request.arguments)
    except ValueError as error:
        return (
            None,
            f"Not called: the arguments of {request.name} are not valid JSON: {error}. Send an object.",
        )
    if not isinstance(arguments, dict):
        return None, f"Not called: the arguments of {request.name} must be a JSON object."
    return arguments, None
