"""The envelopes of the two protocol eras: what a request says of its client, what a result carries.

A modern request (2026-07-28) brings its client's version and capabilities in its
`_meta`, and a modern result says what kind it is and who gave it. The legacy era
knows none of that, and accepts less of what a tool may say of itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hub import __version__
from hub.calls import Json
from hub.errors import INVALID_PARAMS, RpcError
from hub.protocol import (
    CLIENT_CAPABILITIES_META_KEY,
    CLIENT_INFO_META_KEY,
    MODERN_VERSIONS,
    PROTOCOL_VERSION_META_KEY,
    SERVER_INFO_META_KEY,
    UNSUPPORTED_PROTOCOL_VERSION,
)

SERVER_INFO: Json = {"name": "omni-hub", "title": "Omni Hub", "version": __version__}


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a modern request says about its client.

    Attributes:
        version: The protocol revision.
        capabilities: What the client declared.
        client: Its name and version, in words.
    """

    version: str
    capabilities: Mapping[str, Any]
    client: str


def read_envelope(params: Json) -> Envelope | None:
    """The envelope of a modern request; None when there is none, as in the legacy era.

    Raises:
        RpcError: There is one, and it is wrong or of a revision the hub does not speak.
    """
    meta = params.get("_meta")
    if not isinstance(meta, dict) or PROTOCOL_VERSION_META_KEY not in meta:
        return None
    version = meta[PROTOCOL_VERSION_META_KEY]
    if not isinstance(version, str):
        raise RpcError({"code": INVALID_PARAMS, "message": "the protocol version in _meta must be a string"})
    if version not in MODERN_VERSIONS:
        raise RpcError(
            {
                "code": UNSUPPORTED_PROTOCOL_VERSION,
                "message": f"Unsupported protocol version: {version}",
                "data": {"supported": list(MODERN_VERSIONS), "requested": version},
            }
        )
    capabilities = meta.get(CLIENT_CAPABILITIES_META_KEY)
    if not isinstance(capabilities, dict):
        raise RpcError(
            {
                "code": INVALID_PARAMS,
                "message": f"_meta must carry an object {CLIENT_CAPABILITIES_META_KEY!r}",
            }
        )
    return Envelope(version, capabilities, in_words(meta.get(CLIENT_INFO_META_KEY)))


def in_words(client_info: object) -> str:
    """A client's `name version`, or `unknown`."""
    if not isinstance(client_info, dict) or not isinstance(client_info.get("name"), str):
        return "unknown"
    return f"{client_info['name']} {client_info.get('version', '')}".strip()[:100]


def modern_result(result: Json, *, cacheable: bool) -> Json:
    """A result in the envelope of the modern era.

    Args:
        result: As the router gave it; not changed.
        cacheable: Whether the method's result carries cache hints.
    """
    meta = result.get("_meta")
    wrapped = {
        **result,
        "resultType": result.get("resultType") or "complete",
        "_meta": {**(meta if isinstance(meta, dict) else {}), SERVER_INFO_META_KEY: SERVER_INFO},
    }
    if cacheable:
        wrapped.setdefault("ttlMs", 0)
        wrapped.setdefault("cacheScope", "private")
    return wrapped


_MODERN_KEYS = frozenset({"resultType", "ttlMs", "cacheScope"})


def legacy_result(result: Json) -> Json:
    """A result without what only the modern era knows."""
    structured = result.get("structuredContent")
    if structured is not None and not isinstance(structured, dict):
        result = {**result, "structuredContent": {"result": structured}}
    meta = result.get("_meta")
    if isinstance(meta, dict) and SERVER_INFO_META_KEY in meta:
        rest = {key: value for key, value in meta.items() if key != SERVER_INFO_META_KEY}
        result = {key: value for key, value in result.items() if key != "_meta"}
        if rest:
            result["_meta"] = rest
    if not _MODERN_KEYS.isdisjoint(result):
        result = {key: value for key, value in result.items() if key not in _MODERN_KEYS}
    return result


def legacy_tool(tool: Json) -> Json:
    """A tool as legacy clients accept it: its output schema describes an object, or is left out."""
    schema = tool.get("outputSchema")
    if schema is None or (isinstance(schema, dict) and schema.get("type", "object") == "object"):
        return tool
    return {key: value for key, value in tool.items() if key != "outputSchema"}
