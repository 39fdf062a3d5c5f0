"""Opening a link to the server that an entry of `mcp.json` describes."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urlsplit

from hub.auth import Logins
from hub.downstream.links import Link, StdioLink
from hub.downstream.process import Warden
from hub.jsonrpc import Handler
from hub.server_entry import ServerEntry, child_environment
from hub.settings import DownstreamSettings

OpenLink = Callable[[ServerEntry, Handler], Awaitable[Link]]
"""Opens a link to an entry's server; the seam at which a simulation puts its own."""


def link_opener(
    settings: DownstreamSettings,
    environ: Mapping[str, str],
    warden: Warden,
    logins: Logins,
    *,
    message_bytes_max: int,
) -> OpenLink:
    """The opener of real links.

    Args:
        settings: Deadlines and bounds.
        environ: What children's environments are made from.
        warden: Ends children if the hub is killed.
        logins: Who is logged in at which server.
        message_bytes_max: The longest message accepted from a server.
    """

    async def open_link(entry: ServerEntry, handler: Handler) -> Link:
        if entry.transport == "stdio":
            return await StdioLink.open(
                [entry.command, *entry.args],
                child_environment(entry, environ),
                entry.cwd,
                handler,
                warden,
                message_bytes_max=message_bytes_max,
                stop_grace_s=settings.stop_grace_s,
            )
        # aiohttp takes a while to import: only where it is needed, and beside the event loop.
        await asyncio.to_thread(_import_remote)
        from hub.downstream.legacy_sse import SseLink
        from hub.downstream.streamable import StreamableHttpLink

        kind = SseLink if entry.transport == "sse" else StreamableHttpLink
        return kind(
            entry.url,
            entry.headers,
            handler,
            authorizer=logins.authorizer(entry),
            message_bytes_max=message_bytes_max,
            connect_deadline_s=settings.connect_deadline_s,
            # One for each call, and some for the standing stream and what goes beside calls.
            connections_max=settings.calls_max + 8,
        )

    return open_link


def _import_remote() -> None:
    importlib.import_module("hub.downstream.streamable")
    importlib.import_module("hub.downstream.legacy_sse")


def describe(entry: ServerEntry) -> str:
    """What an entry starts or reaches, without arguments or anything that could be a secret."""
    if entry.transport == "stdio":
        return entry.command
    parts = urlsplit(entry.url)
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}"
