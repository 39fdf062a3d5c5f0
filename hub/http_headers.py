"""The headers that mirror a modern message on HTTP: `Mcp-Method`, `Mcp-Name`, `Mcp-Param-*`.

One codec for both sides: the gateway compares what clients send with the message's
body, and remote downstreams are sent what the specification (2026-07-28, transports,
"Custom headers") asks for.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from hub.calls import Json

PROTOCOL_VERSION: Final = "mcp-protocol-version"
METHOD: Final = "mcp-method"
NAME: Final = "mcp-name"
PARAM_PREFIX: Final = "mcp-param-"
SESSION_ID: Final = "mcp-session-id"

NAME_PARAMS: Final = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
"""Methods whose `Mcp-Name` mirrors one of their params."""

HEADER_MISMATCH: Final = -32020

Mirrored = Mapping[tuple[str, ...], tuple[str, str]]
"""Properties that are mirrored in headers: by path, the header's name after the prefix, in lower case,
and the property's type."""

_SCHEMA_KEY = "x-mcp-header"
_PLAIN = re.compile(r"[\x20-\x7e]*")
_WRAPPED = re.compile(r"=\?base64\?(.*)\?=")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_DECIMAL = re.compile(r"-?[0-9]+(?:\.0*)?")


def encode_value(value: str) -> str:
    """A header value that survives the wire: as it is, or wrapped in base64."""
    if _PLAIN.fullmatch(value) and value == value.strip() and not _WRAPPED.fullmatch(value):
        return value
    return f"=?base64?{base64.b64encode(value.encode()).decode()}?="


def decode_value(value: str) -> str | None:
    """The text a header value stands for; None when it is wrapped wrongly."""
    wrapped = _WRAPPED.fullmatch(value)
    if wrapped is None:
        return value
    try:
        raw = base64.b64decode(wrapped[1], validate=True)
        return raw.decode() if base64.b64encode(raw).decode() == wrapped[1] else None
    except (binascii.Error, UnicodeDecodeError):
        return None


def declared_params(schema: Any) -> Mirrored:
    """Which properties of a tool's input schema are mirrored in headers.

    Returns:
        Empty when any annotation breaks the specification's rules, because then no
        client sends these headers.
    """
    declared: dict[tuple[str, ...], tuple[str, str]] = {}
    names: set[str] = set()
    for path, position in _positions(schema):
        if _SCHEMA_KEY not in position:
            continue
        name, type_ = position[_SCHEMA_KEY], position.get("type")
        valid = path and isinstance(name, str) and _TOKEN.fullmatch(name)
        if not valid or type_ not in ("string", "integer", "boolean") or name.lower() in names:
            return {}
        assert path is not None
        names.add(name.lower())
        declared[path] = (name.lower(), type_)
    return declared


def _positions(root: Any) -> Iterator[tuple[tuple[str, ...] | None, Json]]:
    """Every schema in a schema, with its path of property names; None off that path."""
    stack: list[tuple[tuple[str, ...] | None, Any]] = [((), root)]
    while stack:
        path, node = stack.pop()
        if not isinstance(node, dict):
            continue
        yield path, node
        for keyword, value in node.items():
            if keyword == "properties" and isinstance(value, dict):
                stack += [((*path, name) if path is not None else None, sub) for name, sub in value.items()]
            elif keyword in _IN_ONE:
                stack.append((None, value))
            elif keyword in _IN_LIST and isinstance(value, list):
                stack += [(None, sub) for sub in value]
            elif keyword in _IN_MAP and isinstance(value, dict):
                stack += [(None, sub) for sub in value.values()]


_IN_ONE = frozenset(
    "items contains unevaluatedItems additionalProperties propertyNames unevaluatedProperties "
    "not if then else contentSchema".split()
)
_IN_LIST = frozenset(("allOf", "anyOf", "oneOf", "prefixItems"))
_IN_MAP = frozenset(("patternProperties", "dependentSchemas", "$defs", "definitions"))


def _at(arguments: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        if not isinstance(arguments, Mapping):
            return None
        arguments = arguments.get(key)
    return arguments


def _rendered(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None


def param_headers(declared: Mirrored, arguments: Any) -> dict[str, str]:
    """The `Mcp-Param-*` headers of a call."""
    headers = {}
    for path, (name, _) in declared.items():
        rendered = _rendered(_at(arguments, path))
        if rendered is not None:
            headers[f"Mcp-Param-{name}"] = encode_value(rendered)
    return headers


def mismatch(declared: Mirrored, arguments: Any, headers: Mapping[str, list[str]]) -> str | None:
    """How a call's `Mcp-Param-*` headers disagree with its arguments; None when they agree.

    Args:
        declared: Of the tool's schema.
        arguments: The call's arguments.
        headers: The request's headers by lower-case name, every value kept.
    """
    for path, (name, type_) in declared.items():
        header = f"{PARAM_PREFIX}{name}"
        sent = headers.get(header, [])
        value = _at(arguments, path)
        rendered = _rendered(value)
        if len(sent) > 1:
            return f"{header} header appears more than once"
        if rendered is None:
            if sent:
                return f"{header} header is present but argument {'.'.join(path)!r} is not"
            continue
        if not sent:
            return f"{header} header is missing but argument {'.'.join(path)!r} is present"
        decoded = decode_value(sent[0])
        same_number = (
            type_ == "integer"
            and isinstance(value, int | float)
            and decoded is not None
            and _DECIMAL.fullmatch(decoded) is not None
            and int(decoded.partition(".")[0]) == value
        )
        if decoded != rendered and not same_number:
            return f"{header} header does not match argument {'.'.join(path)!r}"
    return None
