"""An MCP server that keeps notes in one JSON file.

    python -m hub.examples.notes [--file PATH]

The file is the only state: it is read and written under a lock for each call and
replaced in one step, so several servers may share it and a crash leaves it whole.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from filelock import FileLock, Timeout
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ResourceNotFoundError, ToolError
from mcp_types import ToolAnnotations
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

LOCK_DEADLINE_S = 5.0
TEXT_CHARS_MAX = 20_000
NOTES_MAX = 10_000

READS = ToolAnnotations(
    read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)
ADDS = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False
)
DELETES = ToolAnnotations(
    read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False
)

Text = Annotated[str, Field(min_length=1, max_length=TEXT_CHARS_MAX, description="The note, as Markdown.")]
Tag = Annotated[str, Field(pattern=r"^[\w-]{1,40}$")]
Limit = Annotated[int, Field(ge=1, le=500, description="How many notes to return at most.")]


class Note(BaseModel):
    """One note."""

    id: int
    text: str
    tags: list[str]
    created: str = Field(description="When it was added: ISO 8601, UTC.")


class Notes(BaseModel):
    """Some of the notes."""

    notes: list[Note]
    total: int = Field(description="How many notes match in all.")


class Deleted(BaseModel):
    """What a delete did."""

    id: int
    deleted: bool = Field(description="False when there was no such note.")


class Imported(BaseModel):
    """What an import did."""

    added: list[int] = Field(description="The ids of the new notes.")
    skipped: list[str] = Field(description="Files that are no text, too long, or already among the notes.")


_FILE = TypeAdapter(list[Note])


class NotesFile:
    """The notes on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock = FileLock(self.path.with_name(f".{self.path.name}.lock"), timeout=LOCK_DEADLINE_S)

    def read(self) -> list[Note]:
        """All notes, oldest first.

        Raises:
            ToolError: The file is damaged or cannot be read.
        """
        try:
            return _FILE.validate_json(self.path.read_bytes())
        except FileNotFoundError:
            return []
        except ValidationError:
            raise ToolError(f"{self.path} is not a file of notes: mend it or move it away.") from None
        except OSError as error:
            raise ToolError(f"{self.path} cannot be read: {error.strerror}.") from None

    @contextmanager
    def changing(self) -> Iterator[list[Note]]:
        """All notes, to be changed in place; what the block leaves is written when it ends.

        Raises:
            ToolError: The file is locked, damaged, full, or cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._lock:
                notes = self.read()
                yield notes
                if len(notes) > NOTES_MAX:
                    raise ToolError(f"{self.path} is full: at most {NOTES_MAX} notes. Delete some first.")
                self._write(notes)
        except Timeout:
            raise ToolError(f"{self.path} is locked by another program. Try again.") from None
        except OSError as error:
            raise ToolError(f"{self.path} cannot be written: {error.strerror}.") from None

    def _write(self, notes: list[Note]) -> None:
        draft = self.path.with_name(f".{self.path.name}.new")
        with draft.open("w", encoding="utf-8") as file:
            json.dump([note.model_dump() for note in notes], file, ensure_ascii=False, indent=1)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.path)


def _new(notes: list[Note], text: str, tags: list[str]) -> Note:
    number = max((note.id for note in notes), default=0) + 1
    created = datetime.now(UTC).isoformat(timespec="seconds")
    note = Note(id=number, text=text.strip(), tags=sorted(set(tags)), created=created)
    notes.append(note)
    return note


def _texts_in(folder: Path) -> list[Path]:
    try:
        entries = sorted(folder.expanduser().iterdir())
    except OSError as error:
        raise ToolError(f"{folder} cannot be listed: {error.strerror}.") from None
    return [path for path in entries if path.suffix in (".md", ".txt") and path.is_file()]


def _text_of(path: Path) -> str:
    """A file's text, empty when it cannot be a note."""
    try:
        if path.stat().st_size > 4 * TEXT_CHARS_MAX:  # no character of UTF-8 is longer than four bytes
            return ""
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _import(notes: list[Note], texts: dict[str, str], tags: list[str]) -> Imported:
    known = {note.text for note in notes}
    result = Imported(added=[], skipped=[])
    for name, text in texts.items():
        if not text or len(text) > TEXT_CHARS_MAX or text in known:
            result.skipped.append(name)
            continue
        known.add(text)
        result.added.append(_new(notes, text, tags).id)
    return result


def _rank(note: Note, words: list[str]) -> int:
    """How many of the words stand in a note; a tag counts like three."""
    text = note.text.casefold()
    tags = {tag.casefold() for tag in note.tags}
    return sum((word in text) + 3 * (word in tags) for word in words)


def build(path: Path) -> MCPServer:
    """The server for one file of notes; the file is created by the first note."""
    file = NotesFile(path)
    server = MCPServer(
        "notes",
        title="Notes",
        instructions="Keeps short notes for the user. Search before you add, so that nothing is noted twice.",
        log_level="WARNING",
    )

    @server.tool(title="Add a note", annotations=ADDS)
    def add(text: Text, tags: Annotated[list[Tag], Field(max_length=20)] | None = None) -> Note:
        """Add a note. Tags are single words that help to find it again."""
        with file.changing() as notes:
            return _new(notes, text, tags or [])

    @server.tool(title="Search notes", annotations=READS)
    def search(
        query: Annotated[str, Field(min_length=1, description="Words to find in the text and the tags.")],
        limit: Limit = 10,
    ) -> Notes:
        """Find notes by words, those with the most of them first."""
        words = query.casefold().split()
        ranked = [(_rank(note, words), note) for note in file.read()]
        found = sorted((pair for pair in ranked if pair[0]), key=lambda pair: (-pair[0], -pair[1].id))
        return Notes(notes=[note for _, note in found[:limit]], total=len(found))

    @server.tool(name="list", title="List notes", annotations=READS)
    def list_notes(
        tag: Annotated[Tag | None, Field(description="Only notes with this tag.")] = None,
        limit: Limit = 50,
        offset: Annotated[int, Field(ge=0, description="How many of the newest to skip.")] = 0,
    ) -> Notes:
        """List notes, newest first."""
        notes = [note for note in reversed(file.read()) if tag is None or tag in note.tags]
        return Notes(notes=notes[offset : offset + limit], total=len(notes))

    @server.tool(title="Delete a note", annotations=DELETES)
    def delete(id: Annotated[int, Field(description="The note's id.")]) -> Deleted:
        """Delete one note for good."""
        with file.changing() as notes:
            kept = [note for note in notes if note.id != id]
            deleted = len(kept) < len(notes)
            notes[:] = kept
        return Deleted(id=id, deleted=deleted)

    @server.tool(title="Import a folder of texts", annotations=ADDS)
    async def import_folder(
        folder: Annotated[str, Field(description="A folder; its .md and .txt files become notes.")],
        ctx: Context,
        tags: Annotated[list[Tag], Field(max_length=20)] | None = None,
    ) -> Imported:
        """Add every Markdown and text file of a folder as a note, and report progress on the way."""
        files = await asyncio.to_thread(_texts_in, Path(folder))
        texts: dict[str, str] = {}
        for done, path in enumerate(files):
            await ctx.report_progress(done, len(files), path.name)
            texts[path.name] = await asyncio.to_thread(_text_of, path)
        with file.changing() as notes:
            result = _import(notes, texts, tags or [])
        await ctx.report_progress(len(files), len(files), "done")
        return result

    @server.resource("notes://{id}", title="One note", mime_type="text/markdown")
    def note(id: str) -> str:
        """The text of one note."""
        for found in file.read():
            if str(found.id) == id:
                return found.text
        raise ResourceNotFoundError(f"There is no note {id}.")

    @server.prompt(title="Review the notes")
    def review(tag: str = "") -> str:
        """Ask a model to go through the notes and say what is done, open or outdated."""
        which = f"the notes tagged {tag!r}" if tag else "all notes"
        return f"List {which}, then say for each whether it is done, still open, or outdated, and why."

    return server


def main() -> None:
    """Serve on stdio until the client leaves."""
    parser = argparse.ArgumentParser(
        prog="python -m hub.examples.notes", description="An MCP server for notes."
    )
    parser.add_argument("--file", type=Path, default=Path("notes.json"), help="where the notes are kept")
    build(parser.parse_args().file).run("stdio")


if __name__ == "__main__":
    main()
