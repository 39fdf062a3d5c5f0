"""Finding out which protocol era a server speaks, and opening a conversation in it.

A modern server answers `server/discover`; a legacy one answers `initialize`. Some
servers ignore what they do not know, and some exit on it. So `server/discover`
goes first, `initialize` follows when it is refused or stays unanswered for a
moment, and the first of the two to succeed decides. What was found is kept with
the catalog, so that a server is probed once and not at every start.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Literal

from hub import __version__
from hub.calls import Json
from hub.errors import RpcError
from hub.jsonrpc import Peer
from hub.protocol import (
    CLIENT_CAPABILITIES_META_KEY,
    CLIENT_INFO_META_KEY,
    HANDSHAKE_VERSIONS,
    LATEST_HANDSHAKE_VERSION,
    LATEST_MODERN_VERSION,
    MODERN_VERSIONS,
    PROTOCOL_VERSION_META_KEY,
    SERVER_INFO_META_KEY,
    UNSUPPORTED_PROTOCOL_VERSION,
)

Era = Literal["modern", "legacy"]

CLIENT_INFO: Json = {"name": "omni-hub", "version": __version__}

LEGACY_CAPABILITIES: Json = {
    "sampling": {"tools": {}, "context": {}},
    "elicitation": {"form": {}, "url": {}},
    "roots": {"listChanged": True},
}
"""What a legacy server may ask for on its connection, which many callers share. A
request for a caller who cannot answer it is refused when it comes."""

DISCOVER_PATIENCE_S = 1.0
"""How long `server/discover` may stay unanswered before `initialize` is tried beside it."""


@dataclass(frozen=True, slots=True)
class Handshake:
    """What a server said about itself.

    Attributes:
        version: The protocol revision of the conversation.
        capabilities: The server's capabilities, as sent.
        server_info: Its name and version, as sent; empty when it gave none.
        instructions: Its instructions for models.
    """

    version: str
    capabilities: Json = field(default_factory=dict)
    server_info: Json = field(default_factory=dict)
    instructions: str | None = None

    @property
    def modern(self) -> bool:
        """Whether every request carries its own envelope."""
        return self.version in MODERN_VERSIONS

    @property
    def era(self) -> Era:
        """The era, by name."""
        return "modern" if self.modern else "legacy"


class NoCommonVersion(Exception):
    """The server speaks no protocol revision that the hub knows."""


def envelope(capabilities: Json) -> Json:
    """The `_meta` members that every modern request carries.

    Args:
        capabilities: What the caller of this request declared.
    """
    return {
        PROTOCOL_VERSION_META_KEY: LATEST_MODERN_VERSION,
        CLIENT_INFO_META_KEY: CLIENT_INFO,
        CLIENT_CAPABILITIES_META_KEY: capabilities,
    }


async def shake_hands(peer: Peer, era: Era | None, *, deadline_s: float) -> Handshake:
    """Open the conversation.

    Args:
        peer: A fresh conversation.
        era: The era the server is known to speak; None to find out.
        deadline_s: How long the server may take in all.

    Raises:
        RpcError: The server refused every opening.
        PeerTimeout, PeerClosed: It did not answer, or went away.
        NoCommonVersion: It answered with a revision the hub does not know.
    """
    if era == "legacy":
        return await _initialize(peer, deadline_s)
    discovering = asyncio.ensure_future(_discover(peer, deadline_s))
    try:
        # Not `asyncio.wait_for`: on Python 3.11 it loses a cancellation that meets the answer, and the
        # supervisor that is to end goes on for ever.
        await asyncio.wait({discovering}, timeout=DISCOVER_PATIENCE_S)
        if discovering.done():
            return discovering.result() or await _initialize(peer, deadline_s)
        initializing = asyncio.ensure_future(_initialize(peer, deadline_s))
        try:
            return await _first_success(discovering, initializing)
        finally:
            initializing.cancel()
    finally:
        discovering.cancel()


async def _first_success(
    discovering: asyncio.Task[Handshake | None], initializing: asyncio.Task[Handshake]
) -> Handshake:
    """The handshake that succeeds first; when both fail, the error of `initialize`."""
    await asyncio.wait({discovering, initializing}, return_when=asyncio.FIRST_COMPLETED)
    if discovering.done() and discovering.exception() is None and (found := discovering.result()) is not None:
        return found
    await asyncio.wait({initializing})
    if initializing.exception() is not None and not discovering.done():
        # A slow modern server refuses `initialize` because it already took the probe.
        await asyncio.wait({discovering})
        if discovering.exception() is None and (found := discovering.result()) is not None:
            return found
    return initializing.result()


async def _discover(peer: Peer, deadline_s: float) -> Handshake | None:
    """Ask a modern server about itself; None when the answer shows it is not modern."""
    for last in (False, True):
        try:
            result = await peer.request(
                "server/discover",
                {"_meta": envelope({})},
                idle_deadline_s=deadline_s,
                headers={"mcp-protocol-version": LATEST_MODERN_VERSION, "mcp-method": "server/discover"},
            )
            break
        except RpcError as error:
            if last or not _would_take(error, LATEST_MODERN_VERSION):
                return None
    supported = result.get("supportedVersions")
    if not isinstance(supported, list) or LATEST_MODERN_VERSION not in supported:
        return None
    meta = result.get("_meta")
    info = meta.get(SERVER_INFO_META_KEY) if isinstance(meta, dict) else None
    return _handshake(LATEST_MODERN_VERSION, result, info)


def _would_take(error: RpcError, version: str) -> bool:
    """Whether a server refused a request for its version, and names this one among those it takes."""
    named = error.error.get("data")
    supported = named.get("supported") if isinstance(named, dict) else None
    return error.code == UNSUPPORTED_PROTOCOL_VERSION and isinstance(supported, list) and version in supported


async def _initialize(peer: Peer, deadline_s: float) -> Handshake:
    result = await peer.request(
        "initialize",
        {
            "protocolVersion": LATEST_HANDSHAKE_VERSION,
            "capabilities": LEGACY_CAPABILITIES,
            "clientInfo": CLIENT_INFO,
        },
        idle_deadline_s=deadline_s,
    )
    version = result.get("protocolVersion")
    if version not in HANDSHAKE_VERSIONS:
        raise NoCommonVersion(f"it answered `initialize` with protocol version {version!r}")
    assert isinstance(version, str)
    peer.notify("notifications/initialized")
    return _handshake(version, result, result.get("serverInfo"))


def _handshake(version: str, result: Json, info: object) -> Handshake:
    capabilities = result.get("capabilities")
    instructions = result.get("instructions")
    return Handshake(
        version=version,
        capabilities=capabilities if isinstance(capabilities, dict) else {},
        server_info=info if isinstance(info, dict) else {},
        instructions=instructions if isinstance(instructions, str) else None,
    )
