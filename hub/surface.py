"""Which tools a client sees: all of them, those of a profile, or a way to search for the rest.

Too many definitions fill a model's context before it has done anything. In the mode
`search` a client sees the hub's own tools and the pinned ones; `tools.search` finds
the others, with their full definitions, and `tools.call` calls one. `auto` does so
when the definitions are over a budget. A profile is a named subset of the tools with
an endpoint of its own, because a list may not differ between two connections to the
same one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Final

from hub.calls import Json
from hub.errors import UnknownName
from hub.jsonrpc import encode
from hub.server_names import RESERVED_NAMES
from hub.settings import ProfileSettings, SurfaceMode, SurfaceSettings, ToolNames

BYTES_PER_TOKEN: Final = 4
"""How many bytes of a JSON definition a token holds, roughly, over the tokenizers in use."""

CALL_TOOL: Final = "tools.call"
"""The tool that calls what `tools.search` found; of no use where every tool is listed."""


class Surface:
    """What one kind of client sees.

    Patterns are matched against `server.tool`, whatever style of names is in use.

    Args:
        tool_names: The style of names.
        mode: `full`, `search` or `auto`.
        budget_tokens: Where `auto` changes from one to the other.
        pinned: Patterns of what is always listed.
        allow: Patterns of what may be seen and called at all.
        deny: Patterns of what may not, even if allowed.
    """

    def __init__(
        self,
        tool_names: ToolNames,
        mode: SurfaceMode,
        budget_tokens: int,
        pinned: Sequence[str],
        allow: Sequence[str] = ("*",),
        deny: Sequence[str] = (),
    ) -> None:
        self.tool_names = tool_names
        self._mode = mode
        self._budget_tokens = budget_tokens
        self._pinned = pinned
        self._allow = allow
        self._deny = deny
        self._everything = tuple(allow) == ("*",) and not deny
        self._seen: tuple[Sequence[Json], list[Json]] | None = None

    def with_names(self, tool_names: ToolNames) -> Surface:
        """The same under another style of names."""
        return Surface(tool_names, self._mode, self._budget_tokens, self._pinned, self._allow, self._deny)

    def permits(self, server: str, item: str) -> bool:
        """Whether an item may be seen and called, by its server's name and its own."""
        return self._everything or self._permits(f"{server}.{item}")

    def _permits(self, dotted: str) -> bool:
        return _matches(dotted, self._allow) and not _matches(dotted, self._deny)

    def permitted(self, items: Sequence[Json], dotted: Iterable[str]) -> list[Json]:
        """The items that may be seen.

        Args:
            items: Under public names.
            dotted: `server.item` for each of them.
        """
        return [
            item for item, name in zip(items, dotted, strict=True) if self._everything or self._permits(name)
        ]

    def shown(self, tools: Sequence[Json], dotted: Sequence[str]) -> list[Json]:
        """The tools that are listed.

        Args:
            tools: All tools, under public names; the same list is answered from memory.
            dotted: `server.tool` for each of them.
        """
        if self._seen is not None and self._seen[0] is tools:
            return self._seen[1]
        names = [name for name in dotted if self._everything or self._permits(name)]
        permitted = self.permitted(tools, dotted)
        if self._searches(permitted):
            shown = [
                tool
                for tool, name in zip(permitted, names, strict=True)
                if name.partition(".")[0] in RESERVED_NAMES or _matches(name, self._pinned)
            ]
        else:
            shown = [tool for tool, name in zip(permitted, names, strict=True) if name != CALL_TOOL]
        self._seen = (tools, shown)
        return shown

    def _searches(self, tools: Sequence[Json]) -> bool:
        if self._mode == "auto":
            return sum(len(encode(tool)) for tool in tools) > self._budget_tokens * BYTES_PER_TOKEN
        return self._mode == "search"


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def surfaces(
    tool_names: ToolNames, settings: SurfaceSettings, profiles: Mapping[str, ProfileSettings]
) -> dict[str | None, Surface]:
    """The surface of each profile, and under None that of clients that name none."""
    made: dict[str | None, Surface] = {
        None: Surface(tool_names, settings.mode, settings.budget_tokens, settings.pinned)
    }
    for name, profile in profiles.items():
        made[name] = Surface(
            profile.tool_names or tool_names,
            profile.mode or settings.mode,
            settings.budget_tokens,
            (*settings.pinned, *profile.pinned),
            profile.tools,
            profile.deny,
        )
    return made


def surface_of(made: Mapping[str | None, Surface], profile: str | None) -> Surface:
    """The surface of a profile.

    Raises:
        UnknownName: There is no such profile.
    """
    if profile not in made:
        known = ", ".join(sorted(name for name in made if name is not None)) or "none"
        raise UnknownName(f"no profile {profile!r} in hub.toml; there are: {known}")
    return made[profile]
