"""Read-only tools for files: list, read, search, inside the folders that the user allowed."""

from __future__ import annotations

import mimetypes
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import regex
from fastmcp.exceptions import ToolError
from fastmcp.tools import tool
from fs_roots import allowed_roots, file_bytes_max, is_allowed, read_bytes, resolve, search_deadline_s
from fs_text import decode
from fs_walk import glob_matcher, scan, visible, walk_files
from pydantic import BaseModel, Field

READ_CHARS_MAX = 100_000
MATCH_CHARS_MAX = 400
PATTERN_CHARS_MAX = 2000
READ_ONLY = {"readOnlyHint": True, "destructiveHint": False, "idempotentHint": True, "openWorldHint": False}

Kind = Literal["file", "folder", "link", "other"]


class Entry(BaseModel):
    """One thing in a folder."""

    name: str = Field(description="Its path below the listed folder; an absolute path for an allowed folder.")
    kind: Kind = Field(description="A link is shown as what it leads to, or as 'link' if that is outside.")
    bytes: int | None = Field(default=None, description="The size of a file.")
    modified: str | None = Field(default=None, description="When it was last changed: ISO 8601, UTC.")


class Listing(BaseModel):
    """What a folder holds."""

    path: str | None = Field(description="The folder; null for the list of the allowed folders.")
    entries: list[Entry]
    truncated: bool = Field(default=False, description="Whether there are more entries than the limit.")


class FileContent(BaseModel):
    """A file, or a piece of it."""

    path: str
    kind: Literal["text", "binary"]
    mime_type: str
    bytes: int = Field(description="The size of the whole file.")
    encoding: str | None = Field(default=None, description="How the text was decoded.")
    text: str | None = Field(default=None, description="The text from the offset on; null for a binary file.")
    unit: Literal["lines", "characters"] = "lines"
    offset: int = Field(default=0, description="How many units stand before the text.")
    total: int = Field(default=0, description="How many units the whole file has.")
    next_offset: int | None = Field(default=None, description="Where to go on; null at the end.")
    line_cut: bool = Field(
        default=False, description="Whether one very long line was cut: read it with unit 'characters'."
    )


class Match(BaseModel):
    """One line that the pattern matches."""

    line: int = Field(description="Its number, from 1.")
    text: str


class FoundFile(BaseModel):
    """One file that was found."""

    path: str
    bytes: int
    matches: list[Match] = Field(description="Empty when only names were searched.")


class SearchResult(BaseModel):
    """What a search found."""

    files: list[FoundFile]
    files_searched: int
    files_skipped: int = Field(description="How many were binary, too large or unreadable, so not searched.")
    truncated: Literal["limit", "time"] | None = Field(
        default=None, description="Why the search ended early; null when it saw everything."
    )


@tool(name="list", title="List a folder", annotations=READ_ONLY)
def list_folder(
    path: Annotated[
        str | None, Field(description="A folder; left out, the allowed folders are shown.")
    ] = None,
    depth: Annotated[int, Field(ge=1, le=10, description="How many levels of folders to show.")] = 1,
    limit: Annotated[int, Field(ge=1, le=5000, description="How many entries to show at most.")] = 500,
    hidden: Annotated[
        bool, Field(description="Whether to enter hidden and generated folders (.git, node_modules).")
    ] = False,
) -> Listing:
    """List what a folder holds: names, kinds, sizes and times of change."""
    if path is None:
        return Listing(path=None, entries=[_entry(root, str(root)) for root in allowed_roots()])
    folder = resolve(path)
    if not folder.is_dir():
        raise ToolError(f"{folder} is not a folder: fs.read reads a file.")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise ToolError(f"{folder} cannot be opened: the hub has no permission to read it.")
    entries: list[Entry] = []
    for entry in _below(folder, folder, depth, hidden):
        if len(entries) == limit:
            return Listing(path=str(folder), entries=entries, truncated=True)
        entries.append(entry)
    return Listing(path=str(folder), entries=entries)


def _below(folder: Path, top: Path, depth: int, hidden: bool) -> Iterator[Entry]:
    for found in scan(folder):
        path = Path(found.path)
        yield _entry(path, path.relative_to(top).as_posix())
        if depth > 1 and (hidden or visible(found.name)) and found.is_dir(follow_symlinks=False):
            yield from _below(path, top, depth - 1, hidden)


def _entry(path: Path, name: str) -> Entry:
    real = Path(os.path.realpath(path))
    if not is_allowed(real):
        return Entry(name=name, kind="link")
    try:
        status = real.stat()
    except OSError:
        return Entry(name=name, kind="link" if path.is_symlink() else "other")
    kind: Kind = "folder" if real.is_dir() else "file" if real.is_file() else "other"
    modified = datetime.fromtimestamp(status.st_mtime, UTC).isoformat(timespec="seconds")
    return Entry(name=name, kind=kind, bytes=status.st_size if kind == "file" else None, modified=modified)


@tool(name="read", title="Read a file", annotations=READ_ONLY)
def read_file(
    path: Annotated[str, Field(description="The file: absolute, or relative to an allowed folder.")],
    offset: Annotated[
        int, Field(description="How many lines (or characters) to skip; negative counts from the end.")
    ] = 0,
    limit: Annotated[int, Field(ge=1, le=READ_CHARS_MAX, description="How many to return at most.")] = 2000,
    unit: Annotated[
        Literal["lines", "characters"], Field(description="What offset and limit count.")
    ] = "lines",
) -> FileContent:
    """Read a text file, whole or in pieces. Of a binary file only the type and the size are told."""
    file = resolve(path)
    if file.is_dir():
        raise ToolError(f"{file} is a folder: fs.list shows what it holds.")
    content = read_bytes(file, file_bytes_max())
    mime_type = mimetypes.guess_type(file.name)[0]
    decoded = decode(content)
    if decoded is None:
        return FileContent(
            path=str(file),
            kind="binary",
            mime_type=mime_type or "application/octet-stream",
            bytes=len(content),
        )
    text, encoding = decoded
    piece = _lines(text, offset, limit) if unit == "lines" else _characters(text, offset, limit)
    return FileContent(
        path=str(file),
        kind="text",
        mime_type=mime_type or "text/plain",
        bytes=len(content),
        encoding=encoding,
        unit=unit,
        **piece,
    )


class _Piece(dict[str, "str | int | bool | None"]):
    """The fields of a `FileContent` that say which part of the text it holds."""


def _characters(text: str, offset: int, limit: int) -> _Piece:
    start = _start(offset, len(text))
    end = min(start + limit, len(text))
    return _Piece(
        text=text[start:end], offset=start, total=len(text), next_offset=end if end < len(text) else None
    )


def _lines(text: str, offset: int, limit: int) -> _Piece:
    lines = text.split("\n")
    total = len(lines) - (lines[-1] == "")  # a final newline ends the last line and begins none
    start = _start(offset, total)
    end, chars = start, 0
    while end < min(start + limit, total) and (end == start or chars + len(lines[end]) < READ_CHARS_MAX):
        chars += len(lines[end]) + 1
        end += 1
    piece = "\n".join(lines[start:end])
    if start < end < len(lines):
        piece += "\n"
    return _Piece(
        text=piece[:READ_CHARS_MAX],
        offset=start,
        total=total,
        next_offset=end if end < total else None,
        line_cut=len(piece) > READ_CHARS_MAX,
    )


def _start(offset: int, total: int) -> int:
    return max(0, total + offset) if offset < 0 else min(offset, total)


@tool(name="search", title="Search files", annotations=READ_ONLY)
def search(
    pattern: Annotated[
        str | None,
        Field(
            max_length=PATTERN_CHARS_MAX,
            description="A regular expression to find in the text.",
        ),
    ] = None,
    glob: Annotated[
        str | None,
        Field(description="Which files, for example '*.py', 'src/**/*.{ts,tsx}'; all when left out."),
    ] = None,
    path: Annotated[
        str | None, Field(description="Where to search; every allowed folder when left out.")
    ] = None,
    ignore_case: Annotated[bool, Field(description="Whether 'a' also finds 'A'.")] = False,
    limit: Annotated[
        int, Field(ge=1, le=2000, description="How many lines, or files, to return at most.")
    ] = 100,
    hidden: Annotated[
        bool, Field(description="Whether to search hidden and generated folders (.git, node_modules) too.")
    ] = False,
) -> SearchResult:
    """Find files by name (`glob`), by a regular expression in their text (`pattern`), or by both."""
    if pattern is None and glob is None:
        raise ToolError("Say what to find: a pattern for the text, a glob for the names, or both.")
    deadline = time.monotonic() + search_deadline_s()
    wanted = glob_matcher(glob) if glob is not None else None
    compiled = _compile(pattern, ignore_case) if pattern is not None else None
    result = SearchResult(files=[], files_searched=0, files_skipped=0)
    left = limit
    for file, name in _files(path, hidden):
        if time.monotonic() > deadline:
            result.truncated = "time"
            break
        if wanted is not None and not wanted(name):
            continue
        if left == 0:
            result.truncated = "limit"
            break
        try:
            if compiled is None:
                found = FoundFile(path=str(file), bytes=file.stat().st_size, matches=[])
                left -= 1
            else:
                content = read_bytes(Path(os.path.realpath(file)), file_bytes_max())
                decoded = decode(content)
                if decoded is None:
                    result.files_skipped += 1
                    continue
                matches = _matches(compiled, decoded[0], left + 1, deadline)
                if len(matches) > left:
                    result.truncated = "limit"
                found = FoundFile(path=str(file), bytes=len(content), matches=matches[:left])
                left -= len(found.matches)
        except TimeoutError:
            result.truncated = "time"
            break
        except (ToolError, OSError):
            result.files_skipped += 1
            continue
        result.files_searched += 1
        if compiled is None or found.matches:
            result.files.append(found)
        if result.truncated:
            break
    return result


def _files(path: str | None, hidden: bool) -> Iterator[tuple[Path, str]]:
    """Every file to search, with its name below where the search begins."""
    roots = allowed_roots()
    outermost = [root for root in roots if not any(other in root.parents for other in roots)]
    for start in outermost if path is None else [resolve(path)]:
        if start.is_file():
            yield start, start.name
            continue
        for file in walk_files(start, hidden):
            yield file, file.relative_to(start).as_posix()


def _compile(pattern: str, ignore_case: bool) -> regex.Pattern[str]:
    try:
        return regex.compile(pattern, regex.MULTILINE | (regex.IGNORECASE if ignore_case else 0))
    except regex.error as error:
        raise ToolError(f"The pattern is not a regular expression: {error}.") from None


def _matches(pattern: regex.Pattern[str], text: str, limit: int, deadline: float) -> list[Match]:
    """The first lines that match.

    Raises:
        TimeoutError: The deadline came first: a pattern can take exponential time.
    """
    matches: list[Match] = []
    line, counted_to = 1, 0
    remaining = max(0.001, deadline - time.monotonic())
    for found in pattern.finditer(text, timeout=remaining, concurrent=True):
        number = line + text.count("\n", counted_to, found.start())
        if matches and number == matches[-1].line:
            continue
        line, counted_to = number, found.start()
        begin = text.rfind("\n", 0, found.start()) + 1
        end = text.find("\n", found.start())
        # Of a very long line, the part around the match.
        begin = max(begin, found.start() - MATCH_CHARS_MAX // 2)
        end = min(len(text) if end < 0 else end, begin + MATCH_CHARS_MAX)
        matches.append(Match(line=number, text=text[begin:end].rstrip("\r")))
        if len(matches) == limit:
            break
    return matches
