"""JSON files that people and other programs write too: read with their comments, changed in place.

An edit touches one member and leaves every other character of the text alone: order,
indentation, comments, keys of other programs. So the hub can add itself to a client's
settings without anyone seeing more than that line change.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

_STRING = r'"(?:\\.|[^"\\])*"'
_COMMENT = re.compile(rf"{_STRING}|//[^\n]*|/\*.*?\*/", re.DOTALL)
_TRAILING_COMMA = re.compile(rf"{_STRING}|,(?=\s*[}}\]])", re.DOTALL)
_NOT_NEWLINE = re.compile(r"[^\n]")
_DECODER = json.JSONDecoder()


def parse_json(text: str, repeated: list[str] | None = None) -> Any:
    """The value that a JSON text says; comments and trailing commas are allowed.

    Args:
        text: The text.
        repeated: Where to add the keys that stand twice in one object; the last one counts.

    Raises:
        json.JSONDecodeError: with line and column in the text as given.
    """

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table: dict[str, Any] = {}
        for key, value in pairs:
            if key in table and repeated is not None:
                repeated.append(key)
            table[key] = value
        return table

    return json.loads(_plain(text), object_pairs_hook=members)


def set_member(text: str, path: Sequence[str], value: Any) -> str:
    """The text with the member at `path` set to `value`; objects on the way are made when absent.

    Args:
        text: A JSON object; blank stands for an empty one.
        path: The keys that lead to the member, at least one.
        value: What it becomes.

    Raises:
        ValueError: the text is not JSON, or something on the path is not an object.
    """
    assert path
    if not text.strip():
        text = "{}\n"
    plain = _plain(text)
    start = _object_start(plain, 0, path[:0])
    for depth, key in enumerate(path):
        members = _members(plain, start)
        member = next((one for one in reversed(members.found) if one.key == key), None)
        last = depth == len(path) - 1
        if member is not None and not last:
            start = _object_start(plain, member.value_start, path[: depth + 1])
            continue
        for inner in reversed(path[depth + 1 :]):
            value = {inner: value}
        unit, around = _indents(text, plain, start, members)
        # What stands on one line stays on one line.
        inline = bool(members.found) and "\n" not in text[start : members.end]
        written = json.dumps(value, indent=None if inline else unit, ensure_ascii=False)
        written = written.replace("\n", f"\n{around}{unit}")
        if member is not None:
            return text[: member.value_start] + _newlines(written, text) + text[member.value_end :]
        written = f"{json.dumps(key, ensure_ascii=False)}: {written}"
        return _insert(text, members, written, None if inline else (around, unit))
    raise ValueError("an empty path names no member")


def remove_member(text: str, path: Sequence[str]) -> str:
    """The text without the member at `path`; unchanged when there is none.

    Raises:
        ValueError: the text is not JSON, or something on the path is not an object.
    """
    plain = _plain(text)
    start = _object_start(plain, 0, path[:0])
    for depth, key in enumerate(path):
        members = _members(plain, start)
        position = next((at for at, one in enumerate(members.found) if one.key == key), None)
        if position is None:
            return text
        if depth < len(path) - 1:
            start = _object_start(plain, members.found[position].value_start, path[: depth + 1])
            continue
        return _cut(text, plain, members, position)
    raise ValueError("an empty path names no member")


def write_atomically(path: Path, text: str) -> None:
    """Replace a file's text so that a reader sees the old or the new one, never half.

    The file keeps its mode, and its place behind a symbolic link; a new one is readable
    by its owner alone, since such files hold keys.
    """
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            os.chmod(temporary, path.stat().st_mode & 0o7777)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


class _Member(NamedTuple):
    key: str
    key_start: int
    value_start: int
    value_end: int


class _Members(NamedTuple):
    found: list[_Member]
    end: int
    """Where the closing brace stands."""


def _blank(match: re.Match[str]) -> str:
    """Spaces in place of a comment or comma; a string stays as it is."""
    return match[0] if match[0].startswith('"') else _NOT_NEWLINE.sub(" ", match[0])


def _uncommented(text: str) -> str:
    """The text with comments, and a byte order mark, turned into spaces; every position kept."""
    return _COMMENT.sub(_blank, text.replace("\ufeff", " ", 1) if text.startswith("\ufeff") else text)


def _plain(text: str) -> str:
    """The text as strict JSON: without comments and trailing commas, every position kept."""
    return _TRAILING_COMMA.sub(_blank, _uncommented(text))


def _skip(plain: str, position: int) -> int:
    while position < len(plain) and plain[position] in " \t\r\n":
        position += 1
    return position


def _object_start(plain: str, position: int, path: Sequence[str]) -> int:
    """Where the object at `position` opens; the whole text is checked to be JSON on the way."""
    position = _skip(plain, position)
    _DECODER.raw_decode(plain, position)
    if plain[position] != "{":
        raise ValueError(f"{'.'.join(path) or 'the file'} is not an object")
    return position


def _members(plain: str, start: int) -> _Members:
    """The members of the object that opens at `start`, in their order."""
    found: list[_Member] = []
    position = _skip(plain, start + 1)
    while plain[position] != "}":
        key, after_key = _DECODER.raw_decode(plain, position)
        value_start = _skip(plain, _skip(plain, after_key) + 1)
        _, value_end = _DECODER.raw_decode(plain, value_start)
        found.append(_Member(key, position, value_start, value_end))
        position = _skip(plain, value_end)
        if plain[position] == ",":
            position = _skip(plain, position + 1)
    return _Members(found, position)


def _line_indent(text: str, position: int) -> str:
    line = text[text.rfind("\n", 0, position) + 1 : position]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _indents(text: str, plain: str, start: int, members: _Members) -> tuple[str, str]:
    """One step of indentation in this text, and the indentation of the object's own line."""
    around = _line_indent(text, start)
    inside = _line_indent(text, members.found[0].key_start) if members.found else ""
    if inside.startswith(around) and len(inside) > len(around):
        return inside[len(around) :], around
    first = re.search(r"\{\s*\n([ \t]+)\"", plain)
    return (first[1] if first else "  "), around


def _newlines(written: str, text: str) -> str:
    """What is put into a text, with that text's kind of line end."""
    return written.replace("\n", "\r\n") if "\r\n" in text else written


def _insert(text: str, members: _Members, member: str, indents: tuple[str, str] | None) -> str:
    """The text with one more member at the end of an object, on a line of its own where indents are given."""
    last = members.found[-1].value_end if members.found else members.end
    if indents is None:
        return f"{text[:last]}, {member}{text[last:]}"
    around, unit = indents
    # A comment behind the last value stays behind it, and a trailing comma is not doubled.
    comma = "," if members.found and not _uncommented(text)[last : members.end].strip() else ""
    line = _newlines(f"\n{around}{unit}{member}\n{around}", text)
    return (text[:last] + comma + text[last : members.end]).rstrip() + line + text[members.end :]


def _cut(text: str, plain: str, members: _Members, position: int) -> str:
    """The text without one member: its lines when it has lines of its own, and one comma."""
    uncommented = _uncommented(text)
    member = members.found[position]
    begin, end = member.key_start, member.value_end
    after = _skip(uncommented, end)
    if uncommented[after] == ",":
        end = after + 1
    line_begin = text.rfind("\n", 0, begin) + 1
    line_end = text.find("\n", end)
    comma = -1
    if position and position == len(members.found) - 1:
        comma = plain.index(",", members.found[position - 1].value_end)
    if line_end >= 0 and not (uncommented[line_begin:begin] + uncommented[end:line_end]).strip():
        begin, end = line_begin, line_end + 1
    elif comma >= 0 and not text[comma + 1 : begin].strip():
        return text[:comma] + text[end:]
    else:
        while text[end] in " \t":
            end += 1
    if comma >= 0:
        return text[:comma] + text[comma + 1 : begin] + text[end:]
    return text[:begin] + text[end:]
