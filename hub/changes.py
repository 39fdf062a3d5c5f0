"""What changed behind the hub: a tool, a prompt or instructions that no longer say what they said.

A model obeys descriptions, and a server can change its own at any time. So what each
server's definitions said is kept: as they were first seen, which is trusted, or as a
person last approved them. What differs from that is marked; where `hold_changed` is
set, it is held back until somebody has looked at the difference.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Protocol, runtime_checkable

from hub.calls import Call, Json
from hub.catalog import ServerRecord
from hub.errors import InvalidArguments, NotAllowed
from hub.jsonrpc import decode, encode
from hub.router import Server

log = logging.getLogger(__name__)

Kind = Literal["tool", "prompt", "instructions"]

COMPARED: Final[Mapping[str, tuple[Kind, tuple[str, ...]]]] = {
    "tools/list": ("tool", ("title", "description", "inputSchema", "outputSchema", "annotations")),
    "prompts/list": ("prompt", ("title", "description", "arguments")),
}
"""The lists that are watched: what an item is called, and which of its members a model acts on."""

NAMES_MAX: Final = 10_000
"""How many names of one list are remembered; those that are listed no longer go first."""
SERVERS_MAX: Final = 500
"""How many servers are remembered; those that are configured no longer go first."""

_CALLS = {"tools/call": "tool", "prompts/get": "prompt"}
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Change:
    """One definition that is another now.

    Attributes:
        kind: What it is of.
        name: The server's own name for it; empty for instructions.
        before: What it said when it was first seen or last approved.
        after: What it says now.
    """

    kind: Kind
    name: str
    before: Any
    after: Any


class Definitions:
    """What all servers' definitions said, in one file.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._servers: dict[str, Json] = {}
        self._saved = True
        self._load()

    def _load(self) -> None:
        try:
            content = decode(self._path.read_bytes())
            if content["format"] == _FORMAT:
                self._servers = {name: dict(known) for name, known in content["servers"].items()}
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            log.error(
                "what servers' tools said before cannot be read; what they say now will be trusted",
                extra={"file": str(self._path), "why": str(error)},
            )

    def of(self, server: str) -> Json:
        """What a server's definitions said: by list and name, and `instructions`. To be changed in place."""
        return self._servers.setdefault(server, {})

    def touch(self) -> None:
        """Take note that something was changed."""
        self._saved = False

    def save(self, configured: set[str]) -> None:
        """Write the file if anything changed; whole or not at all.

        Args:
            configured: The servers there are.

        Raises:
            OSError: It cannot be written.
        """
        if self._saved:
            return
        gone = [name for name in self._servers if name not in configured]
        for name in gone[: max(0, len(self._servers) - SERVERS_MAX)]:
            del self._servers[name]
        fd, draft = tempfile.mkstemp(dir=self._path.parent, prefix=".definitions-")
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(encode({"format": _FORMAT, "servers": self._servers}))
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, self._path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(draft)
            raise
        self._saved = True


class Recorded(Server, Protocol):
    """A server that is known from a record."""

    @property
    def record(self) -> ServerRecord:
        """What is known of it."""
        ...


@runtime_checkable
class Marked(Protocol):
    """A server of which some tools are not what they were."""

    @property
    def changed(self) -> frozenset[str]:
        """Their names, as the server lists them."""
        ...


class ReviewedServer:
    """A server whose changed definitions are marked, and held back if need be.

    Args:
        server: The server.
        definitions: What all servers' definitions said.
        hold: Whether what changed is held back.
    """

    def __init__(self, server: Recorded, definitions: Definitions, *, hold: bool) -> None:
        self.name = server.name
        self.settled: asyncio.Event = server.settled
        self.server = server
        self.changes: tuple[Change, ...] = ()
        """What differs from what is trusted."""
        self._definitions = definitions
        self._hold = hold
        self._reviewed: dict[str, Sequence[Json]] = {}
        self._names: dict[str, frozenset[str]] = {"tool": frozenset(), "prompt": frozenset()}
        self.review()

    # -- noticing

    def review(self) -> None:
        """Compare the definitions as known now with those that are trusted; what is new is trusted."""
        known = self._definitions.of(self.name)
        changes: list[Change] = []
        for method, (kind, members) in COMPARED.items():
            items = self.server.items(method)
            if items is self._reviewed.get(method):
                changes += [change for change in self.changes if change.kind == kind]
                continue
            self._reviewed[method] = items
            changes += self._compare(known.setdefault(method, {}), kind, members, items)
        changes += self._compare_instructions(known)
        for change in changes:
            if change not in self.changes:
                what = {"server": self.name, "kind": change.kind, "item": change.name, "held": self._hold}
                log.warning("a definition is not what it was", extra=what)
        self.changes = tuple(changes)
        self._names = {
            kind: frozenset(change.name for change in changes if change.kind == kind)
            for kind in ("tool", "prompt")
        }

    def _compare(
        self, known: Json, kind: Kind, members: tuple[str, ...], items: Sequence[Json]
    ) -> list[Change]:
        changes: list[Change] = []
        for item in items:
            name = item["name"]
            shape = {member: item[member] for member in members if item.get(member) is not None}
            if name not in known:
                known[name] = shape
                self._definitions.touch()
            elif known[name] != shape and all(change.name != name for change in changes):
                changes.append(Change(kind, name, known[name], shape))
        if len(known) > NAMES_MAX:
            listed = {item["name"] for item in items}
            for name in [name for name in known if name not in listed][: len(known) - NAMES_MAX]:
                del known[name]
        return changes

    def _compare_instructions(self, known: Json) -> list[Change]:
        record = self.server.record
        if record.version is None:
            return []  # it was never connected
        said = record.instructions or ""
        if "instructions" not in known:
            known["instructions"] = said
            self._definitions.touch()
        if known["instructions"] == said:
            return []
        return [Change("instructions", "", known["instructions"], said)]

    @property
    def digest(self) -> str:
        """16 hex digits that stand for exactly these changes."""
        content = [[change.kind, change.name, change.before, change.after] for change in self.changes]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def approve(self, digest: str) -> frozenset[str]:
        """Trust what changed from now on; returns the lists that now give something else.

        Args:
            digest: Of the changes that somebody has looked at.

        Raises:
            InvalidArguments: The changes are others by now.
        """
        if digest != self.digest:
            raise InvalidArguments(
                f"{self.name!r} has changed again since its changes were shown: look again"
            )
        known = self._definitions.of(self.name)
        lists = {kind: method for method, (kind, _) in COMPARED.items()}
        for change in self.changes:
            if change.kind == "instructions":
                known["instructions"] = change.after
            else:
                known[lists[change.kind]][change.name] = change.after
        changed = frozenset(lists[change.kind] for change in self.changes if change.kind in lists)
        self._definitions.touch()
        self._reviewed.clear()
        self.review()
        return changed

    # -- what is shown of it

    @property
    def changed(self) -> frozenset[str]:
        """The names of the tools that changed."""
        return self._names["tool"]

    @property
    def instructions(self) -> str | None:
        """Its instructions for models; as they were, where a change is held back."""
        if self._hold:
            for change in self.changes:
                if change.kind == "instructions":
                    return change.before or None
        return self.server.record.instructions

    @property
    def absence(self) -> str | None:
        if (absence := self.server.absence) is not None or not self._hold:
            return absence
        held = sorted(self._names["tool"] | self._names["prompt"])
        return f"{_held_words(held)}: {self._advice}" if held else None

    @property
    def _advice(self) -> str:
        return f"`hub servers approve {self.name}` shows how, and lets them through"

    @property
    def capabilities(self) -> Mapping[str, Any]:
        return self.server.capabilities

    def items(self, method: str) -> Sequence[Json]:
        items = self.server.items(method)
        held = self._names[COMPARED[method][0]] if self._hold and method in COMPARED else frozenset()
        return [item for item in items if item["name"] not in held] if held else items

    async def request(self, call: Call, method: str, params: Json) -> Json:
        kind = _CALLS.get(method)
        if self._hold and kind is not None and params["name"] in self._names[kind]:
            raise NotAllowed(f"server {self.name!r} {_held_words([params['name']])}: {self._advice}")
        return await self.server.request(call, method, params)

    async def subscribe(self, uri: str) -> None:
        await self.server.subscribe(uri)

    async def unsubscribe(self, uri: str) -> None:
        await self.server.unsubscribe(uri)


def _held_words(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"holds back {shown}, changed since it was approved"
