"""A server with everything that MCP has, built on the official SDK, for comparing what comes through the hub.

    python everything.py                       stdio
    python everything.py --http PORT           Streamable HTTP at /mcp on 127.0.0.1; 0 takes a free port
    python everything.py --era legacy|modern   refuses the other era; `both` when left out
    python everything.py --name NAME           its name, which stands in its URIs too

Over HTTP it prints one line `{"port": N}` to stdout once it listens. What it says never depends on the era
but where the protocol does, so that one script can be compared across eras: where a legacy server asks in
the middle of a request, it asks with `input_required` in the modern era, and computes the same answer.

Everything of its own that the protocol does not know yet starts with `x-`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import warnings
from collections.abc import Mapping
from typing import Any

import mcp_types as types
from everything_content import (
    COMPLETIONS,
    FORM,
    PAGE,
    added,
    capabilities_in_words,
    contents,
    media,
    prompt_messages,
    prompts,
    raw_result,
    resources,
    templates,
    tools,
)
from everything_eras import Era, refuse_over_http, refuse_over_stdio
from mcp.server.caching import CacheHint
from mcp.server.lowlevel import Server
from mcp.server.session import ServerSession
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp.shared.subscriptions import (
    PromptsListChanged,
    ResourcesListChanged,
    ResourceUpdated,
    ToolsListChanged,
)

Json = dict[str, Any]
Context = Any
MODERN = "2026-07-28"
LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
CONNECTION_META = "io.modelcontextprotocol/"


def text_result(text: str, **more: Any) -> Json:
    return {"content": [{"type": "text", "text": text}], **more}


class Everything:
    """The server's state and its answers, as JSON.

    Args:
        name: Its name.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.bus = InMemorySubscriptionBus()
        self.listening = ListenHandler(self.bus)
        self.sessions: dict[str, set[ServerSession]] = {}
        self.level: types.LoggingLevel = "debug"
        self.lists: dict[str, list[Json]] = {
            "tools": tools(),
            "resources": resources(name),
            "resourceTemplates": templates(name),
            "prompts": prompts(),
        }

    # -- lists

    def page(self, key: str, params: Any) -> Json:
        items = self.lists[key]
        start = int(params.cursor) if params is not None and params.cursor else 0
        page: Json = {key: items[start : start + PAGE]}
        if start + PAGE < len(items):
            page["nextCursor"] = str(start + PAGE)
        return page

    # -- asking the client

    async def ask(self, ctx: Context, params: Any, questions: Mapping[str, Any]) -> Json:
        """The client's answers, or the `input_required` that asks for them."""
        if ctx.protocol_version == MODERN:
            answers = params.input_responses
            if answers is None:
                asked = {
                    key: question.model_dump(by_alias=True, mode="json", exclude_none=True)
                    for key, question in questions.items()
                }
                return {
                    "resultType": "input_required",
                    "inputRequests": asked,
                    "requestState": f"asked by {self.name}",
                }
            if params.request_state != f"asked by {self.name}":
                raise MCPError(types.INVALID_PARAMS, f"not my state: {params.request_state}")
        else:
            answers = {}
            for key, question in questions.items():
                kind: Any = {
                    "sampling/createMessage": types.CreateMessageResultWithTools
                    if getattr(question.params, "tools", None)
                    else types.CreateMessageResult,
                    "elicitation/create": types.ElicitResult,
                    "roots/list": types.ListRootsResult,
                }[question.method]
                answers[key] = await ctx.session.send_request(
                    question, kind, metadata=ServerMessageMetadata(related_request_id=ctx.request_id)
                )
        said = {
            key: answer.model_dump(by_alias=True, mode="json", exclude_none=True)
            for key, answer in answers.items()
        }
        for answer in said.values():
            answer.pop("resultType", None)
        return {"answers": said}

    async def tool_ask(self, ctx: Context, params: Any, arguments: Json) -> Json:
        made = self.questions(arguments)
        result = await self.ask(ctx, params, {what: made[what] for what in arguments["what"]})
        if "answers" not in result:
            return result
        return text_result(json.dumps(result["answers"], sort_keys=True), structuredContent=result["answers"])

    def questions(self, arguments: Json) -> Json:
        message = arguments.get("message", "?")
        say = types.SamplingMessage(role="user", content=types.TextContent(type="text", text=message))
        hint = types.ModelPreferences(hints=[types.ModelHint(name="small")], cost_priority=0.5)
        tool = types.Tool(name="sum", description="Adds.", input_schema={"type": "object", "properties": {}})
        return {
            "form": types.ElicitRequest(
                params=types.ElicitRequestFormParams(message=message, requested_schema=FORM)
            ),
            "url": types.ElicitRequest(
                params=types.ElicitRequestURLParams(
                    message=message, url="https://example.org/consent", elicitation_id="e1"
                )
            ),
            "sample": types.CreateMessageRequest(
                params=types.CreateMessageRequestParams(
                    messages=[say],
                    max_tokens=100,
                    system_prompt="Be brief.",
                    temperature=0.5,
                    stop_sequences=["."],
                    model_preferences=hint,
                    metadata={"x-trace": 1},
                )
            ),
            "sample_tools": types.CreateMessageRequest(
                params=types.CreateMessageRequestParams(
                    messages=[say], max_tokens=7, tools=[tool], tool_choice=types.ToolChoice(mode="auto")
                )
            ),
            "roots": types.ListRootsRequest(),
        }

    # -- tools

    async def call(self, ctx: Context, params: Any) -> Json:
        run = getattr(self, f"tool_{params.name}", None)
        if run is None:
            raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {params.name}", {"x-tool": params.name})
        result: Json = await run(ctx, params, params.arguments or {})
        return result

    async def tool_echo(self, ctx: Context, params: Any, arguments: Json) -> Json:
        if not isinstance(arguments.get("text"), str):
            return text_result("'text' must be a string", isError=True)
        return text_result(arguments["text"], structuredContent={"text": arguments["text"]})

    async def tool_progress(self, ctx: Context, params: Any, arguments: Json) -> Json:
        steps = arguments["steps"]
        for step in range(1, steps + 1):
            await ctx.session.report_progress(step, steps, f"step {step}")
        await ctx.session.report_progress(steps + 0.5)
        return text_result("done")

    async def tool_log(self, ctx: Context, params: Any, arguments: Json) -> Json:
        for level in ("debug", "info", "warning"):
            if ctx.protocol_version != MODERN and LEVELS.index(level) < LEVELS.index(self.level):
                continue
            await ctx.session.send_log_message(
                level, {"said": level, "nested": [1, None]}, logger="all", related_request_id=ctx.request_id
            )
        return text_result("logged")

    async def tool_structured(self, ctx: Context, params: Any, arguments: Json) -> Json:
        value = arguments["value"]
        shown = value if ctx.protocol_version == MODERN or isinstance(value, dict) else {"result": value}
        return text_result(json.dumps(value), structuredContent=shown)

    async def tool_media(self, ctx: Context, params: Any, arguments: Json) -> Json:
        return {"content": media(self.name), "_meta": {"x-seen": True}}

    async def tool_fail(self, ctx: Context, params: Any, arguments: Json) -> Json:
        return text_result("it broke", isError=True, structuredContent={"why": "broke"})

    async def tool_error(self, ctx: Context, params: Any, arguments: Json) -> Json:
        raise MCPError(arguments["code"], "on purpose", {"nested": [1, {"x-deep": None}], "text": "é"})

    async def tool_meta(self, ctx: Context, params: Any, arguments: Json) -> Json:
        meta = params.meta.model_dump(by_alias=True) if hasattr(params.meta, "model_dump") else params.meta
        kept = {
            key: value
            for key, value in dict(meta or {}).items()
            if value is not None
            and not key.startswith(CONNECTION_META)
            and key not in ("progress_token", "progressToken")
        }
        return text_result(json.dumps(kept, sort_keys=True))

    async def tool_declared(self, ctx: Context, params: Any, arguments: Json) -> Json:
        return text_result(capabilities_in_words(ctx.session.client_capabilities))

    async def tool_header(self, ctx: Context, params: Any, arguments: Json) -> Json:
        sent = "" if ctx.request is None else ctx.request.headers.get("mcp-param-region", "")
        return text_result(arguments["region"], structuredContent={"header": sent})

    async def tool_touch(self, ctx: Context, params: Any, arguments: Json) -> Json:
        uri = arguments["uri"]
        for session in self.sessions.get(uri, set()):
            await session.send_resource_updated(uri)
        await self.bus.publish(ResourceUpdated(uri))
        return text_result("touched")

    async def tool_grow(self, ctx: Context, params: Any, arguments: Json) -> Json:
        """Add an item to a list, and say which; or announce the list unchanged."""
        key = arguments["list"]
        if arguments.get("really", True):
            self.lists[key].append(added(key, self.name, f"{os.getpid()}_{len(self.lists[key])}"))
        legacy = ctx.protocol_version != MODERN
        if key == "tools":
            await self.bus.publish(ToolsListChanged())
            if legacy:
                await ctx.session.send_tool_list_changed()
        elif key == "prompts":
            await self.bus.publish(PromptsListChanged())
            if legacy:
                await ctx.session.send_prompt_list_changed()
        else:
            await self.bus.publish(ResourcesListChanged())
            if legacy:
                await ctx.session.send_resource_list_changed()
        return text_result(self.lists[key][-1]["name"])

    # -- resources, prompts, completion

    async def read(self, ctx: Context, params: Any) -> Json:
        uri = str(params.uri)
        if uri == f"everything://{self.name}/asked":
            result = await self.ask(ctx, params, {"form": self.questions({"message": "may I?"})["form"]})
            if "answers" not in result:
                return result
            return {"contents": [{"uri": uri, "text": json.dumps(result["answers"], sort_keys=True)}]}
        found = contents(self.name, uri)
        if found is None:
            code = types.INVALID_PARAMS if ctx.protocol_version == MODERN else -32002
            raise MCPError(code, f"Resource not found: {uri}", {"uri": uri})
        return {"contents": found, "_meta": {"x-read": 1}}

    async def prompt(self, ctx: Context, params: Any) -> Json:
        arguments = params.arguments or {}
        if params.name == "asking":
            result = await self.ask(ctx, params, {"form": self.questions({"message": "which?"})["form"]})
            if "answers" not in result:
                return result
            arguments = {"said": json.dumps(result["answers"], sort_keys=True)}
        messages = prompt_messages(self.name, params.name, arguments)
        if messages is None:
            raise MCPError(types.INVALID_PARAMS, f"Unknown prompt: {params.name}")
        return {"description": f"The prompt {params.name}.", "messages": messages}

    async def complete(self, ctx: Context, params: Any) -> Json:
        ref = params.ref
        of = ref.name if isinstance(ref, types.PromptReference) else str(ref.uri)
        chosen = (params.context.arguments or {}) if params.context is not None else {}
        found = [value for value in COMPLETIONS if value.startswith(params.argument.value)]
        values = [f"{value} of {params.argument.name}" for value in found] + sorted(chosen.values())
        return {"completion": {"values": [*values, of], "total": 40, "hasMore": True}}

    async def subscribe(self, ctx: Context, params: Any) -> types.EmptyResult:
        self.sessions.setdefault(str(params.uri), set()).add(ctx.session)
        return types.EmptyResult()

    async def set_level(self, ctx: Context, params: Any) -> types.EmptyResult:
        self.level = params.level
        return types.EmptyResult()

    async def unsubscribe(self, ctx: Context, params: Any) -> types.EmptyResult:
        self.sessions.pop(str(params.uri), None)
        return types.EmptyResult()


def build(name: str) -> Server[Any]:
    """The server with its handlers."""
    all_ = Everything(name)

    async def empty(ctx: Context, params: Any) -> types.EmptyResult:
        return types.EmptyResult()

    def lister(key: str) -> Any:
        async def listed(ctx: Context, params: Any) -> Any:
            return {"ttlMs": 0, "cacheScope": "private", **all_.page(key, params)}

        return listed

    def finished(handler: Any) -> Any:
        async def answer(ctx: Context, params: Any) -> Any:
            return {"resultType": "complete", **await handler(ctx, params)}

        return answer

    handlers: Json = {
        "on_list_tools": finished(lister("tools")),
        "on_list_resources": finished(lister("resources")),
        "on_list_resource_templates": finished(lister("resourceTemplates")),
        "on_list_prompts": finished(lister("prompts")),
        "on_call_tool": finished(all_.call),
        "on_read_resource": finished(all_.read),
        "on_get_prompt": finished(all_.prompt),
        "on_completion": finished(all_.complete),
        "on_subscribe_resource": all_.subscribe,
        "on_unsubscribe_resource": all_.unsubscribe,
        "on_subscriptions_listen": all_.listening,
        "on_set_logging_level": all_.set_level,
        "on_roots_list_changed": empty,
    }
    server: Server[Any] = Server(
        name,
        version="1",
        title="Everything",
        instructions=f"Use {name} for everything.",
        cache_hints={"resources/read": CacheHint(ttl_ms=5000, scope="public")},
        get_tool_input_schema=lambda tool: next(
            (each["inputSchema"] for each in all_.lists["tools"] if each["name"] == tool), None
        ),
        **handlers,
    )

    async def later(ctx: Any, call_next: Any) -> Any:
        """Add what the SDK's own types do not know, and would drop."""
        result = await call_next(ctx)
        if ctx.method == "tools/call" and (ctx.params or {}).get("name") == "raw":
            return {**result, **raw_result()}
        if ctx.method in ("tools/list", "prompts/list", "resources/list", "resources/templates/list"):
            key = next(key for key in all_.lists if key in result)
            return {**result, key: [{**item, "x-later": {"is": None}} for item in result[key]]}
        return result

    async def raw(ctx: Context, params: Any, arguments: Json) -> Json:
        return text_result("replaced")

    setattr(all_, "tool_raw", raw)  # noqa: B010 (its answer is made above)
    server.middleware.append(later)
    return server


async def serve_stdio(server: Server[Any], era: Era) -> None:
    """Serve stdin and stdout until stdin ends."""
    from mcp.server.stdio import stdio_server

    async with stdio_server() as (read, write), refuse_over_stdio(read, write, era) as accepted:
        await server.run(accepted, write, server.create_initialization_options())


async def serve_http(server: Server[Any], era: Era, port: int) -> None:
    """Serve Streamable HTTP until a signal."""
    from asgi import run_uvicorn

    await run_uvicorn(refuse_over_http(server.streamable_http_app(), era), port)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--http", type=int, metavar="PORT")
    parser.add_argument("--era", choices=("legacy", "modern", "both"), default="both")
    parser.add_argument("--name", default="everything")
    options = parser.parse_args()
    logging.basicConfig(level=logging.CRITICAL)
    warnings.simplefilter("ignore", MCPDeprecationWarning)  # what is deprecated still has to pass
    server = build(options.name)
    if options.http is None:
        asyncio.run(serve_stdio(server, options.era))
    else:
        asyncio.run(serve_http(server, options.era, options.http))


if __name__ == "__main__":
    main()
