"""What of a server is shown, and under which words: the `tools` of its entry.

    "tools": {
      "allow": ["get_*", "list_*"],
      "deny": ["get_secret"],
      "rename": {"get_issue": "issue"},
      "describe": {"get_issue": "Read one issue with its comments."}
    }

Names are the server's own. What is denied, or not allowed, can neither be seen nor
called.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hub.calls import Call, Json
from hub.changes import Marked
from hub.errors import ConfigError, UnknownName
from hub.router import Server


class ToolRules(BaseModel):
    """The `tools` key of an entry of `mcp.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    allow: tuple[str, ...] = Field(("*",), description="Patterns of the tools that are offered.")
    deny: tuple[str, ...] = Field((), description="Patterns of the tools that are not, even if allowed.")
    rename: dict[str, str] = Field(default={}, description="New names, by the tools' own.")
    describe: dict[str, str] = Field(default={}, description="New descriptions, by the tools' own names.")

    def shows(self, name: str) -> bool:
        """Whether a tool is offered, by its own name."""
        allowed = any(fnmatchcase(name, pattern) for pattern in self.allow)
        return allowed and not any(fnmatchcase(name, pattern) for pattern in self.deny)


def tool_rules(entry: str, extra: Mapping[str, Any]) -> ToolRules | None:
    """The rules of an entry; None when it has none.

    Args:
        entry: The entry's name, for messages.
        extra: Its further keys.

    Raises:
        ConfigError: They are wrong; names the key.
    """
    if "tools" not in extra:
        return None
    rules = extra["tools"]
    try:
        # Some clients write a bare list of what is allowed.
        return ToolRules.model_validate({"allow": rules} if isinstance(rules, list) else rules)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in ("tools", *problem["loc"]))
        raise ConfigError(f"mcp.json: {entry}: {where}: {problem['msg']}") from None


class CuratedServer:
    """A server of which some is hidden, or goes by other words.

    Args:
        server: The server.
        rules: What is shown of it.
    """

    def __init__(self, server: Server, rules: ToolRules) -> None:
        self.name = server.name
        self.settled: asyncio.Event = server.settled
        self._server = server
        self._rules = rules
        self._own = {new: own for own, new in rules.rename.items()}

    @property
    def absence(self) -> str | None:
        return self._server.absence

    @property
    def capabilities(self) -> Mapping[str, Any]:
        return self._server.capabilities

    @property
    def changed(self) -> frozenset[str]:
        """The names, as shown, of the tools that are not what they were."""
        changed = self._server.changed if isinstance(self._server, Marked) else frozenset()
        return frozenset(self._rules.rename.get(own, own) for own in changed)

    def items(self, method: str) -> Sequence[Json]:
        items = self._server.items(method)
        if method != "tools/list":
            return items
        return [self._shown(tool) for tool in items if self._rules.shows(tool["name"])]

    def _shown(self, tool: Json) -> Json:
        own = tool["name"]
        shown = {**tool, "name": self._rules.rename.get(own, own)}
        if own in self._rules.describe:
            shown["description"] = self._rules.describe[own]
        return shown

    async def request(self, call: Call, method: str, params: Json) -> Json:
        if method == "tools/call":
            name: str = params["name"]
            own = self._own.get(name, name)
            if not self._rules.shows(own):
                raise UnknownName(f"Unknown tool: {name} is not offered by mcp.json")
            params = {**params, "name": own}
        return await self._server.request(call, method, params)

    async def subscribe(self, uri: str) -> None:
        await self._server.subscribe(uri)

    async def unsubscribe(self, uri: str) -> None:
        await self._server.unsubscribe(uri)
