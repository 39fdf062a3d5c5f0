"""Messages and tools in OpenAI's chat form, on their way to LiteLLM and back."""

from __future__ import annotations

import uuid
from typing import Any

from hub.calls import Json
from hub.llm.names import NameMap


def sendable(message: Json) -> Json:
    """A message without empty text beside its tool calls, which Anthropic refuses."""
    return {**message, "content": None} if message.get("tool_calls") and not message["content"] else message


def function(tool: Json, names: NameMap) -> Json:
    """An MCP tool as a function in OpenAI's form."""
    schema = tool.get("inputSchema") or {"type": "object"}
    if "properties" not in schema:
        # Some providers refuse an object schema without properties.
        schema = {**schema, "properties": {}}
    return {
        "type": "function",
        "function": {
            "name": names.wire(tool["name"]),
            "description": tool.get("description") or tool.get("title") or tool["name"],
            "parameters": {key: value for key, value in schema.items() if key != "$schema"},
        },
    }


def assistant_message(message: Any) -> Json:
    """LiteLLM's message as a plain one, with what its provider must see again and nothing else."""
    plain: Json = {"role": "assistant", "content": message.content or ""}
    calls = [_tool_call(call) for call in message.tool_calls or ()]
    if calls:
        plain["tool_calls"] = calls
        # Anthropic wants its thinking back, signed, beside the tool calls that came of it.
        if blocks := getattr(message, "thinking_blocks", None):
            plain["thinking_blocks"] = [dict(block) for block in blocks]
    return plain


def _tool_call(call: Any) -> Json:
    plain: Json = {
        # Some local servers send no id, which every later message needs.
        "id": call.id or f"call_{uuid.uuid4().hex[:12]}",
        "type": "function",
        "function": {"name": call.function.name or "", "arguments": call.function.arguments or ""},
    }
    # Gemini signs its calls here, and refuses them unsigned.
    if fields := getattr(call, "provider_specific_fields", None):
        plain["provider_specific_fields"] = fields
    return plain
