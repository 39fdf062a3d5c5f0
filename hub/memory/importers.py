"""Notes that other programs keep, as texts to store.

Understood are Markdown files like `MEMORY.md` (each list item or paragraph is a note
under its heading), the knowledge graph of the official MCP memory server (each
observation is a note about its entity), and memories exported from mem0.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hub.errors import InvalidArguments

_HEADING = re.compile(r"#{1,6}\s+(.*?)\s*#*$")
_ITEM = re.compile(r"(?:[-*+]|\d+[.)])\s+(?:\[[ xX]\]\s+)?(.*)$")


@dataclass(frozen=True, slots=True)
class Note:
    """One text to store.

    Attributes:
        about: What it is about; becomes the intent.
        at: When it was written, seconds since the epoch, if that is known.
    """

    text: str
    about: str | None = None
    at: float | None = None


def notes(content: str, name: str) -> list[Note]:
    """The notes in a file.

    Args:
        content: The file's text.
        name: The file's name, for its ending and for errors.

    Raises:
        InvalidArguments: It is in no format that is understood.
    """
    if name.lower().endswith((".md", ".markdown", ".txt")):
        return list(_markdown(content))
    lines = [line for line in content.splitlines() if line.strip()]
    entries = [entry for line in lines if (entry := _json(line)) is not None]
    if lines and len(entries) == len(lines) and all(entry.get("type") in _GRAPH for entry in entries):
        return [note for entry in entries for note in _graph(entry)]
    whole = _json(content)
    if isinstance(whole, dict) and isinstance(whole.get("entities"), list):
        relations = [{"type": "relation", **entry} for entry in whole.get("relations", [])]
        return [
            note
            for entry in [{"type": "entity", **entry} for entry in whole["entities"]] + relations
            for note in _graph(entry)
        ]
    memories = whole.get("results", whole.get("memories")) if isinstance(whole, dict) else whole
    if isinstance(memories, list) and all(
        isinstance(entry, dict) and "memory" in entry for entry in memories
    ):
        return [Note(str(entry["memory"]), at=_moment(entry.get("created_at"))) for entry in memories]
    raise InvalidArguments(
        f"{name}: neither an export of this hub, nor Markdown, nor the MCP memory server's graph, "
        "nor an export of mem0"
    )


_GRAPH = ("entity", "relation")


def _graph(entry: dict[str, Any]) -> Iterator[Note]:
    """What a node or edge of the MCP memory server says, in sentences."""
    if entry["type"] == "entity":
        name, kind = str(entry.get("name", "")), str(entry.get("entityType", ""))
        about = f"{name} ({kind})" if kind else name
        for observation in entry.get("observations", []):
            yield Note(f"{name}: {observation}", about)
    else:
        relation = str(entry.get("relationType", "")).replace("_", " ")
        yield Note(f"{entry.get('from', '')} {relation} {entry.get('to', '')}", str(entry.get("from", "")))


def _markdown(content: str) -> Iterator[Note]:
    """Items and paragraphs, each under the headings above it."""
    headings: dict[int, str] = {}
    gathered: list[str] = []

    def gathered_note() -> Iterator[Note]:
        if gathered:
            yield Note(" ".join(gathered), " / ".join(headings.values()) or None)
            gathered.clear()

    fenced = False
    for raw in content.splitlines():
        line = raw.strip()
        if line.startswith("```"):
            fenced = not fenced
            continue
        heading = None if fenced else _HEADING.match(line)
        item = None if fenced else _ITEM.match(line)
        if heading or item or not line:
            yield from gathered_note()
        if heading:
            level = len(line) - len(line.lstrip("#"))
            headings = {depth: title for depth, title in headings.items() if depth < level}
            headings[level] = heading[1]
        elif item:
            gathered.append(item[1])
        elif line:
            gathered.append(line)
    yield from gathered_note()


def _moment(written: object) -> float | None:
    try:
        return datetime.fromisoformat(str(written)).timestamp()
    except ValueError:
        return None


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
