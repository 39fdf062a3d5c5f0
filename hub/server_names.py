"""The names of servers: usable in a tool's name, unique, and never one of the hub's own.

Clients fold `.` and `-` to `_`, so two names that differ in those alone count as one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable

RESERVED_NAMES = frozenset({"agent", "memory", "hub", "tools", "results"})
"""Names of the hub's own servers, and `hub://results`; those of the skills are reserved beside them."""

_CHARS_MAX = 40


def safe_names(keys: Iterable[str]) -> dict[str, str]:
    """A usable, unique name for each key; a good key keeps its own."""
    safe: dict[str, str] = {}
    taken: set[str] = set()
    keys = list(keys)
    cleaned = {
        key: re.sub(r"[^A-Za-z0-9_.-]+", "_", key).strip("_.-")[:_CHARS_MAX] or "server" for key in keys
    }
    # Good keys first, so that adding a bad one never renames a good one.
    for key in sorted(keys, key=lambda key: cleaned[key] != key):
        name = cleaned[key]
        if _fold(name) in taken:
            name = f"{name}_{hashlib.sha256(key.encode()).hexdigest()[:4]}"
        safe[key] = name
        taken.add(_fold(name))
    return safe


def public_names(names: Iterable[str], reserved: Collection[str]) -> dict[str, str]:
    """The name each server is shown under: its own, with `_mcp` behind it when that is reserved.

    Depends only on which names there are, not on their order. Names that differ in
    `.`, `-` and `_` alone count as one, because clients fold them.

    Args:
        names: The servers' names.
        reserved: `RESERVED_NAMES` and the names of the skills.
    """
    ordered = sorted(set(names))
    reserved_folds = {_fold(name) for name in reserved}
    shown = {name: name for name in ordered if _fold(name) not in reserved_folds}
    taken = reserved_folds | {_fold(name) for name in shown}
    for name in ordered:
        if name in shown:
            continue
        candidate, number = f"{name}_mcp", 2
        while _fold(candidate) in taken:
            candidate, number = f"{name}_mcp{number}", number + 1
        shown[name] = candidate
        taken.add(_fold(candidate))
    return shown


def _fold(name: str) -> str:
    return name.replace(".", "_").replace("-", "_").lower()
