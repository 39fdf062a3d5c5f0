"""Tool names on their way to a model and back.

The hub's names hold dots; model APIs accept `[A-Za-z0-9_-]`, at most 64 characters.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from hub.calls import Json

_NAME_CHARS_MAX = 64
_REFUSED = re.compile(r"[^A-Za-z0-9_-]")


class NameMap:
    """A reversible mapping between public tool names and those a model may see.

    `fs.read` becomes `fs_read`. Where that would be too long or mean two tools, the
    name ends in a hash of the public name, so it stays the same from turn to turn.
    """

    def __init__(self, public_names: Iterable[str]) -> None:
        self._wire: dict[str, str] = {}
        self._public: dict[str, str] = {}
        for name in sorted(set(public_names)):
            wire = _REFUSED.sub("_", name) or "_"
            if len(wire) > _NAME_CHARS_MAX or wire in self._public:
                digest = hashlib.sha256(name.encode()).hexdigest()[:8]
                wire = f"{wire[: _NAME_CHARS_MAX - 9]}_{digest}"
            self._wire[name] = wire
            self._public[wire] = name

    def wire(self, public: str) -> str:
        """The name a model sees; a name outside the map is only made acceptable."""
        return self._wire.get(public) or _REFUSED.sub("_", public)[:_NAME_CHARS_MAX] or "_"

    def public(self, wire: str) -> str:
        """The public name behind what a model wrote; what it wrote when there is none."""
        return self._public.get(wire, wire)

    def to_wire(self, message: Json) -> Json:
        """A message with its tool calls under the names a model sees; the message itself stays."""
        calls = message.get("tool_calls")
        if not calls:
            return message
        return {**message, "tool_calls": [self._renamed(call, self.wire) for call in calls]}

    def to_public(self, message: Json) -> Json:
        """A message with its tool calls under public names; the message itself stays."""
        calls = message.get("tool_calls")
        if not calls:
            return message
        return {**message, "tool_calls": [self._renamed(call, self.public) for call in calls]}

    @staticmethod
    def _renamed(call: Json, rename: object) -> Json:
        assert callable(rename)
        function = call["function"]
        return {**call, "function": {**function, "name": rename(function["name"])}}
