"""A client of the official SDK whose whole conversation is written down, so that two can be compared.

What is compared is what came over the wire, not what the SDK made of it: the SDK's types drop what they do
not know. Everything that must differ between two conversations (ids, tokens, names) is taken out; whether a
server asks in the middle of a request or with `input_required` is the protocol's choice, so both count as
being asked.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import mcp_types as types
from mcp import Client, MCPError
from pydantic import ValidationError

Json = dict[str, Any]
Era = Literal["legacy", "modern"]

DEADLINE_S = 30.0
SERVER_INFO = "io.modelcontextprotocol/serverInfo"
SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
CHANGES = ("list_changed", "notifications/resources/updated")


@dataclass(eq=False)
class Wire:
    """A transport that writes down what comes in.

    Attributes:
        received: Every message, as JSON, in order.
    """

    transport: Any
    received: list[Json] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def __aenter__(self) -> tuple[Any, Any]:
        read, write = await self.transport.__aenter__()
        return _Reader(read, self), write

    async def __aexit__(self, *error: Any) -> Any:
        return await self.transport.__aexit__(*error)

    def note(self, item: Any) -> None:
        message = getattr(item, "message", None)
        if message is not None:
            self.received.append(message.model_dump(by_alias=True, mode="json", exclude_unset=True))
            self.news.set()


@dataclass
class _Reader:
    """A read stream that tells its wire of what it reads."""

    stream: Any
    wire: Wire

    async def receive(self) -> Any:
        item = await self.stream.receive()
        self.wire.note(item)
        return item

    async def aclose(self) -> None:
        await self.stream.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        item = await self.stream.__anext__()
        self.wire.note(item)
        return item

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self.stream.aclose()


@dataclass(frozen=True)
class Observed:
    """What one step of a script brought.

    Attributes:
        asked: What the client was asked, as method and params.
        told: The notifications that belong to the step, in order.
        answers: The results and errors of its requests, in order.
    """

    asked: list[Any]
    told: list[Any]
    answers: list[Any]


class Talker:
    """One client in one conversation.

    Args:
        client: The SDK's client, entered.
        wire: What it writes down.
        era: The era it speaks.
        server: The name of the server in its URIs.
        prefix: What stands before the names of tools and prompts.
    """

    def __init__(self, client: Client, wire: Wire, era: Era, server: str, prefix: str) -> None:
        self.client = client
        self.era = era
        self.server = server
        self.prefix = prefix
        self._wire = wire

    def name(self, own: str) -> str:
        """The name of a tool or prompt here."""
        return self.prefix + own

    def uri(self, own: str) -> str:
        """The URI of a resource here."""
        return f"everything://{self.server}/{own}"

    async def call(self, tool: str, **arguments: Any) -> types.CallToolResult:
        """Call a tool."""
        return await self.client.call_tool(self.name(tool), arguments)

    async def observe(self, doing: Awaitable[Any]) -> Observed:
        """What an action brings, be it a result, an error, or a result that the SDK cannot read."""
        since = len(self._wire.received)
        try:
            async with asyncio.timeout(DEADLINE_S):
                await doing
        except (MCPError, ValidationError):
            pass  # what came over the wire is what counts
        return self._observed(self._wire.received[since:])

    def _observed(self, messages: list[Json]) -> Observed:
        asked: list[Any] = []
        told: list[Any] = []
        answers: list[Any] = []
        for message in messages:
            method = message.get("method")
            if method is not None and "id" in message:
                asked.append(_question(method, message.get("params")))
            elif method is not None:
                if not any(change in method for change in CHANGES) and "subscriptions/" not in method:
                    told.append({"method": method, "params": _without(message["params"], "progressToken")})
            elif "error" in message:
                answers.append({"error": message["error"]})
            elif message["result"].get("resultType") == "input_required":
                questions = message["result"].get("inputRequests", {}).values()
                asked += [_question(each["method"], each.get("params")) for each in questions]
            else:
                answers.append({"result": self._result(message["result"])})
        everything = json.dumps([asked, told, answers], ensure_ascii=False)
        asked, told, answers = json.loads(everything.replace(f"//{self.server}/", "//SERVER/"))
        return Observed(asked, told, _one_page(answers))

    def _result(self, result: Json) -> Json:
        """A result without what belongs to one conversation."""
        result = _without(result, "resultType")
        if isinstance(meta := result.get("_meta"), dict):
            result["_meta"] = _without(meta, SERVER_INFO, SUBSCRIPTION)
            if not result["_meta"]:
                del result["_meta"]
        for key in ("tools", "prompts"):
            if isinstance(items := result.get(key), list):
                mine = [item for item in items if item["name"].startswith(self.prefix)]
                result[key] = [{**item, "name": item["name"].removeprefix(self.prefix)} for item in mine]
        for key, id_ in (("resources", "uri"), ("resourceTemplates", "uriTemplate")):
            if isinstance(items := result.get(key), list):
                result[key] = [item for item in items if f"//{self.server}/" in item[id_]]
        return result

    def changes(self, *, since: int = 0) -> set[str]:
        """The changes announced so far: methods, and URIs of updated resources."""
        found = set()
        for message in self._wire.received[since:]:
            method = message.get("method", "")
            if any(change in method for change in CHANGES):
                found.add((message.get("params") or {}).get("uri") or method)
        return found

    @property
    def mark(self) -> int:
        """Where the conversation stands."""
        return len(self._wire.received)

    async def wait_for_change(self, what: str, *, since: int) -> None:
        """Wait until a change has been announced."""
        async with asyncio.timeout(DEADLINE_S):
            while what not in self.changes(since=since):
                self._wire.news.clear()
                await self._wire.news.wait()


LISTS = ("tools", "prompts", "resources", "resourceTemplates")


def _one_page(answers: list[Any]) -> list[Any]:
    """The pages of a list as one page: how long a page is, is the server's own affair."""
    for key in LISTS:
        if answers and all(key in answer.get("result", ()) for answer in answers):
            items = [item for answer in answers for item in answer["result"][key]]
            rest = _without(answers[-1]["result"], "nextCursor", "ttlMs", "cacheScope")
            return [{"result": {**rest, key: items}}]
    return answers


def _question(method: str, params: Any) -> Json:
    # Legacy clients tell url elicitations apart by an id; both eras may say which mode is the default.
    known = _without(params or {}, "elicitationId", "_meta")
    if method == "elicitation/create":
        known.setdefault("mode", "form")
    return {"method": method, "params": known}


def _without(mapping: Json, *keys: str) -> Json:
    return {key: value for key, value in mapping.items() if key not in keys}


class Person:
    """Answers what a server asks, always in the same way."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def elicit(self, context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        self.asked.append(params.message)
        if params.message in ("decline", "cancel"):
            return types.ElicitResult(action=params.message)
        if isinstance(params, types.ElicitRequestURLParams):
            return types.ElicitResult(action="accept")
        return types.ElicitResult(action="accept", content={"name": params.message, "age": 7, "tags": ["a"]})

    async def sample(
        self, context: Any, params: types.CreateMessageRequestParams
    ) -> types.CreateMessageResult | types.CreateMessageResultWithTools:
        said = params.messages[0].content
        assert isinstance(said, types.TextContent)
        self.asked.append(said.text)
        if params.tools:
            use = types.ToolUseContent(type="tool_use", id="u1", name=params.tools[0].name, input={"n": 1})
            return types.CreateMessageResultWithTools(
                role="assistant", content=[use], model="m", stop_reason="toolUse"
            )
        text = types.TextContent(type="text", text=f"re: {said.text}")
        return types.CreateMessageResult(role="assistant", content=text, model="m", stop_reason="endTurn")

    async def roots(self, context: Any) -> types.ListRootsResult:
        self.asked.append("roots")
        return types.ListRootsResult(roots=[types.Root.model_validate({"uri": "file:///home", "name": "h"})])


@asynccontextmanager
async def talking(
    transport: Any, era: Era, server: str, prefix: str, person: Person | None
) -> AsyncIterator[Talker]:
    """A conversation, opened.

    Args:
        transport: Where to.
        era: The era to speak.
        server: The name of the server in its URIs.
        prefix: What stands before the names of tools and prompts.
        person: Answers questions; when None, the client declares no capability.
    """
    wire = Wire(transport)
    callbacks: Json = {}
    if person is not None:
        callbacks = {
            "elicitation_callback": person.elicit,
            "sampling_callback": person.sample,
            "sampling_capabilities": types.SamplingCapability(
                tools=types.SamplingToolsCapability(), context=types.SamplingContextCapability()
            ),
            "list_roots_callback": person.roots,
        }
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(
            Client(
                wire,
                mode="legacy" if era == "legacy" else "auto",
                cache=None,
                log_level="info",
                logging_callback=_ignore,
                **callbacks,
            )
        )
        yield Talker(client, wire, era, server, prefix)


async def _ignore(params: Any) -> None:
    """What the wire writes down needs no handler."""


Step = Callable[[Talker], Awaitable[Any]]
