"""Public names: what each server's tools and prompts are called towards clients.

A name is made of a server's name and an item's own name, in one of three styles.
Names are looked up in a table and never taken apart again: an item may hold any
character in its own name, and a long public name is cut.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hub.settings import ToolNames

CHARS_MAX = 50
"""Clients put a prefix before a name and cut what is over 60 characters or so."""

_HASH_CHARS = 6
_FORBIDDEN = re.compile(r"[^A-Za-z0-9_.]")
STYLES: tuple[ToolNames, ...] = ("dotted", "qualified", "bare")


@dataclass(frozen=True, slots=True)
class Target:
    """What a public name stands for.

    Attributes:
        server: The server's name.
        item: The item's own name on that server.
    """

    server: str
    item: str


def fold(name: str) -> str:
    """A name as the clients that know neither dots nor dashes see it."""
    return name.replace(".", "_").replace("-", "_")


class NameTable:
    """The public names of a set of items in one style.

    Names are unique after folding. Where two would be equal, the first keeps its
    name and the others get a short hash of what they stand for, so that a new
    server never renames what was there before it.

    Args:
        targets: What needs a name, in order of precedence.
        style: `dotted`, `qualified` or `bare`.
    """

    def __init__(self, targets: Iterable[Target], style: ToolNames) -> None:
        targets = list(dict.fromkeys(targets))
        alone = len({target.server for target in targets}) == 1
        self._public: dict[Target, str] = {}
        self._targets: dict[str, Target] = {}
        taken: set[str] = set()
        for target in targets:
            name = _plain(target, style, alone)
            if len(name) > CHARS_MAX or fold(name) in taken:
                name = _hashed(name, target)
            taken.add(fold(name))
            self._public[target] = name
            self._targets[name] = target

    def public(self, target: Target) -> str:
        """The name of a target that was given to this table."""
        return self._public[target]

    def target(self, name: str) -> Target | None:
        """What a name stands for; None when it stands for nothing."""
        return self._targets.get(name)


def _plain(target: Target, style: ToolNames, alone: bool) -> str:
    item = _FORBIDDEN.sub("_", target.item) or "_"
    server = _FORBIDDEN.sub("_", target.server)
    if style == "bare" or (style == "qualified" and alone):
        return item
    return f"{server}.{item}" if style == "dotted" else f"mcp__{server}__{item}"


def _hashed(name: str, target: Target) -> str:
    digest = hashlib.sha256(f"{target.server}\0{target.item}".encode()).hexdigest()[:_HASH_CHARS]
    return f"{name[: CHARS_MAX - _HASH_CHARS - 1]}_{digest}"


class NameTables:
    """The names of the same items in every style, so that a call may use any of them.

    Args:
        targets: What needs a name, in order of precedence.
    """

    def __init__(self, targets: Iterable[Target] = ()) -> None:
        targets = list(dict.fromkeys(targets))
        self._tables: Mapping[ToolNames, NameTable] = {style: NameTable(targets, style) for style in STYLES}
        self._own: dict[str, Target | None] = {}
        for target in targets:
            self._own[target.item] = None if target.item in self._own else target

    def public(self, target: Target, style: ToolNames) -> str:
        """A target's name in a style."""
        return self._tables[style].public(target)

    def resolve(self, name: str, style: ToolNames) -> Target | None:
        """What a caller means by a name: in its own style first, else in any, while that is one thing.

        Returns:
            None when the name means nothing, or could mean several things.
        """
        if (target := self._tables[style].target(name)) is not None:
            return target
        meant = {target for table in self._tables.values() if (target := table.target(name)) is not None}
        if name in self._own:
            if (own := self._own[name]) is None:
                return None
            meant.add(own)
        return meant.pop() if len(meant) == 1 else None
