"""A server built on the official SDK's lowlevel `Server`: both eras, three transports.

    python sdk.py                        stdio
    python sdk.py --http PORT            Streamable HTTP at /mcp and SSE at /sse, on 127.0.0.1
    python sdk.py --http 0               the same on a free port

Over HTTP it prints one line `{"port": N}` to stdout once it listens. Its tools are `echo(text)` (text
content and `structuredContent`, as the reference does), `big(bytes)`, `slow(seconds)` with progress,
`headers()` (over HTTP: the request's headers, as structured content) and, with `--tools N`, N further ones.
`--json` answers Streamable HTTP with JSON bodies instead of event streams.

It is the yardstick of the benchmarks: what a client sees without a hub between.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
from typing import Any

import mcp_types as types
from mcp.server.lowlevel import Server
from reference import extra_tool, tool

Context = Any
TEXT = {"type": "string"}


def build(extra_tools: int, name: str) -> Server[Any]:
    """The server with its tools."""
    definitions = [
        tool(
            "echo",
            "Return the text.",
            {"text": TEXT},
            ["text"],
            outputSchema={"type": "object", "properties": {"text": TEXT}, "required": ["text"]},
        ),
        tool("big", "Return that many bytes of text.", {"bytes": {"type": "integer"}}, ["bytes"]),
        tool("slow", "Answer later, with progress.", {"seconds": {"type": "number"}}, ["seconds"]),
        tool("headers", "Return the headers of the HTTP request.", {}, []),
        *(extra_tool(number) for number in range(extra_tools)),
    ]
    listed = types.ListToolsResult(
        tools=[types.Tool.model_validate(each, by_name=False) for each in definitions]
    )

    async def list_tools(ctx: Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return listed

    async def call_tool(ctx: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        arguments = params.arguments or {}
        structured: dict[str, Any] | None = None
        if params.name == "big":
            text = "x" * int(arguments["bytes"])
        elif params.name == "slow":
            text = "done"
            for step in range(1, 5):
                await asyncio.sleep(arguments["seconds"] / 4)
                await ctx.session.report_progress(step, 4, f"step {step}")
        elif params.name == "headers":
            request = ctx.request
            structured = {"headers": dict(request.headers) if request is not None else {}}
            text = json.dumps(structured)
        else:
            text = arguments.get("text", "")
            structured = {"text": text}
        return types.CallToolResult(
            content=[types.TextContent(type="text", text=text)], structured_content=structured
        )

    return Server(name, version="1", on_list_tools=list_tools, on_call_tool=call_tool)


async def serve_stdio(server: Server[Any]) -> None:
    """Serve stdin and stdout until stdin ends."""
    from mcp.server.stdio import stdio_server

    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


async def serve_http(server: Server[Any], port: int, *, json_response: bool) -> None:
    """Serve Streamable HTTP and SSE until a signal."""
    from asgi import run_uvicorn
    from mcp.server.sse import SseServerTransport
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Mount, Route

    sse = SseServerTransport("/messages/")

    async def open_sse(request: Request) -> Response:
        async with sse.connect_sse(request.scope, request.receive, request._send) as (read, write):
            await server.run(read, write, server.create_initialization_options())
        return Response()

    app = server.streamable_http_app(
        json_response=json_response,
        custom_starlette_routes=[
            Route("/sse", open_sse, methods=["GET"]),
            Mount("/messages/", app=sse.handle_post_message),  # type: ignore[list-item]
        ],
    )
    await run_uvicorn(app, port)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--http", type=int, metavar="PORT")
    parser.add_argument("--tools", type=int, default=0)
    parser.add_argument("--name", default="sdk")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    server = build(options.tools, options.name)
    if options.http is None:
        asyncio.run(serve_stdio(server))
    else:
        asyncio.run(serve_http(server, options.http, json_response=options.json))


if __name__ == "__main__":
    main()
