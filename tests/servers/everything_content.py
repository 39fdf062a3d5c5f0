"""What `everything.py` has to offer: its definitions and contents, as JSON."""

from __future__ import annotations

import base64
from typing import Any

Json = dict[str, Any]

PAGE = 4
"""How many items of a list stand on a page."""

COMPLETIONS = ("apple", "apricot", "banana")

FORM: Json = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "title": "Name", "minLength": 1, "default": "Ada"},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "size": {"type": "string", "oneOf": [{"const": "s", "title": "Small"}, {"const": "l", "title": "L"}]},
        "tags": {"type": "array", "items": {"type": "string", "enum": ["a", "b"]}, "maxItems": 2},
        "sure": {"type": "boolean", "default": False},
    },
    "required": ["name"],
}

PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n not really a picture").decode()
SOUND = base64.b64encode(b"RIFF not really a sound").decode()
ICON: Json = {"src": "https://example.org/icon.svg", "mimeType": "image/svg+xml", "sizes": ["48x48"]}
ANNOTATIONS: Json = {"audience": ["user"], "priority": 0.25, "lastModified": "2026-01-02T03:04:05Z"}


def _tool(name: str, properties: Json, **more: Any) -> Json:
    schema: Json = {"type": "object", "properties": properties, "required": sorted(properties)}
    return {"name": name, "description": f"The tool {name}.", "inputSchema": schema, **more}


def tools() -> list[Json]:
    """The tools, in order."""
    text = {"type": "string"}
    return [
        _tool(
            "echo",
            {"text": text},
            title="Echo",
            icons=[ICON],
            annotations={"title": "Echo", "readOnlyHint": True, "openWorldHint": False},
            outputSchema={"type": "object", "properties": {"text": text}, "required": ["text"]},
            _meta={"x-cost": {"per": "call"}},
        ),
        _tool("progress", {"steps": {"type": "integer", "minimum": 1}}),
        _tool("log", {}),
        {
            "name": "ask",
            "description": "Ask the client.",
            "inputSchema": {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "type": "object",
                "properties": {"what": {"$ref": "#/$defs/kinds"}, "message": text},
                "required": ["what"],
                "$defs": {"kinds": {"type": "array", "items": {"type": "string"}}},
            },
        },
        _tool("structured", {"value": {}}),
        _tool("media", {}),
        _tool("raw", {}),
        _tool("fail", {}, annotations={"destructiveHint": True, "idempotentHint": False}),
        _tool("error", {"code": {"type": "integer"}}),
        _tool("meta", {}),
        _tool("declared", {}),
        _tool("header", {"region": {"type": "string", "x-mcp-header": "Region"}}),
        _tool("touch", {"uri": text}),
        _tool("grow", {"list": text}),
    ]


def added(key: str, name: str, number: str) -> Json:
    """One more item of a list."""
    if key == "tools":
        return _tool(f"added_{number}", {})
    if key == "prompts":
        return {"name": f"added_{number}"}
    if key == "resources":
        return {"uri": f"everything://{name}/added/{number}", "name": f"added_{number}"}
    return {"uriTemplate": f"everything://{name}/added_{number}/{{id}}", "name": f"added_{number}"}


def resources(name: str) -> list[Json]:
    """The resources, in order."""
    first: Json = {
        "uri": f"everything://{name}/text",
        "name": "text",
        "title": "A text",
        "description": "Some text.",
        "mimeType": "text/plain",
        "size": 4,
        "icons": [ICON],
        "annotations": ANNOTATIONS,
        "_meta": {"x-owner": {"since": 1}},
    }
    more = ["blob", "two", "asked", "watched", "last page"]
    return [
        first,
        *({"uri": f"everything://{name}/{each.replace(' ', '%20')}", "name": each} for each in more),
    ]


def templates(name: str) -> list[Json]:
    """The resource templates, in order."""
    return [
        {
            "uriTemplate": f"everything://{name}/item/{{id}}",
            "name": "item",
            "title": "An item",
            "description": "One of many.",
            "mimeType": "application/json",
            "annotations": ANNOTATIONS,
        },
        *(
            {"uriTemplate": f"everything://{name}/more{number}/{{+path}}{{?page,size}}", "name": f"m{number}"}
            for number in range(PAGE)
        ),
    ]


def contents(name: str, uri: str) -> list[Json] | None:
    """What a resource holds; None when there is none of this URI."""
    root = f"everything://{name}/"
    own = uri.removeprefix(root)
    if not uri.startswith(root) or own == "item/missing":
        return None
    if own in ("text", "watched", "last%20page"):
        return [{"uri": uri, "mimeType": "text/plain", "text": "té\u2028xt", "_meta": {"x-part": 1}}]
    if own == "blob":
        return [{"uri": uri, "mimeType": "image/png", "blob": PIXEL}]
    if own == "two":
        return [{"uri": f"{uri}/1", "text": "one"}, {"uri": f"{uri}/2", "text": "two"}]
    if own.startswith(("item/", "more")):
        return [{"uri": uri, "mimeType": "application/json", "text": f'{{"own": "{own}"}}'}]
    return None


def prompts() -> list[Json]:
    """The prompts, in order."""
    topic = {"name": "topic", "title": "Topic", "description": "Of what.", "required": True}
    return [
        {"name": "plain", "title": "Plain", "description": "No arguments.", "icons": [ICON]},
        {
            "name": "rich",
            "description": "Everything in it.",
            "arguments": [topic, {"name": "style"}],
            "_meta": {"x-p": 1},
        },
        {"name": "asking", "description": "Asks the client first."},
        {"name": "fourth"},
        {"name": "fifth"},
    ]


def prompt_messages(name: str, prompt: str, arguments: Json) -> list[Json] | None:
    """The messages of a prompt; None when there is none of this name."""
    if prompt == "plain":
        return [{"role": "user", "content": {"type": "text", "text": "plain", "annotations": ANNOTATIONS}}]
    if prompt == "rich":
        said = {"type": "text", "text": f"{arguments.get('topic')} in {arguments.get('style')}"}
        return [
            {"role": "user", "content": said},
            *({"role": "assistant", "content": block} for block in media(name)),
        ]
    if prompt == "asking":
        return [{"role": "user", "content": {"type": "text", "text": arguments["said"]}}]
    if any(each["name"] == prompt for each in prompts()):
        return []
    return None


def media(name: str) -> list[Json]:
    """One block of every kind of content."""
    uri = f"everything://{name}/text"
    return [
        {"type": "text", "text": "tëxt \U0001f30d", "annotations": ANNOTATIONS, "_meta": {"x-block": 1}},
        {"type": "image", "data": PIXEL, "mimeType": "image/png", "_meta": {"x-block": 2}},
        {"type": "audio", "data": SOUND, "mimeType": "audio/wav", "annotations": {"priority": 1.0}},
        {"type": "resource", "resource": {"uri": uri, "mimeType": "text/plain", "text": "inside"}},
        {"type": "resource", "resource": {"uri": f"{uri}?b", "blob": PIXEL}, "annotations": ANNOTATIONS},
        {"type": "resource_link", "uri": uri, "name": "text", "title": "A text", "size": 4, "icons": [ICON]},
    ]


def raw_result() -> Json:
    """A result that no version of the protocol describes yet."""
    block = {"type": "x-hologram", "rays": [1.5, None, {"deep": True}], "_meta": {"x-h": 1}}
    return {
        "content": [block, {"type": "text", "text": "known", "x-more": 12345678901234567890}],
        "x-top": {"kept": [True]},
        "_meta": {"x-vendor/trace": "00-abc"},
    }


def capabilities_in_words(capabilities: Any) -> str:
    """The names of what a client declared."""
    declared = {} if capabilities is None else capabilities.model_dump(by_alias=True, exclude_none=True)
    return " ".join(sorted(declared)) or "nothing"
