"""Walking folders and choosing files by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import regex
from fastmcp.exceptions import ToolError
from fs_roots import is_allowed

SKIPPED_FOLDERS = frozenset({"node_modules", "__pycache__", "venv", "site-packages"})
"""Left out of walks, as are names that begin with a dot, unless hidden ones are asked for."""
GLOB_CHARS_MAX = 500
GLOB_DEADLINE_S = 1.0


def visible(name: str) -> bool:
    """Whether a name is part of a walk that leaves out what is hidden or generated."""
    return not name.startswith(".") and name not in SKIPPED_FOLDERS


def scan(folder: Path) -> list[os.DirEntry[str]]:
    """The entries of one folder by name; none when it cannot be opened."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return []


def walk_files(folder: Path, hidden: bool) -> Iterator[Path]:
    """Every regular file below a folder, by name, folder by folder.

    Linked folders are not entered, so a walk ends; linked files are included when
    they lead to an allowed place.
    """
    waiting = [folder]
    while waiting:
        folders = []
        for entry in scan(waiting.pop()):
            if not hidden and not visible(entry.name):
                continue
            try:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(Path(entry.path))
                elif entry.is_file() and _leads_inside(entry):
                    yield Path(entry.path)
            except OSError:
                continue
        waiting.extend(reversed(folders))


def _leads_inside(entry: os.DirEntry[str]) -> bool:
    return not entry.is_symlink() or is_allowed(Path(os.path.realpath(entry.path)))


def glob_matcher(glob: str) -> Callable[[str], bool]:
    """A test for paths relative to the searched folder, with `/` between the parts.

    `*` and `?` stay within one part, `**` spans any number of them, `[...]` and
    `{a,b}` are alternatives. A glob without `/` tests the file's name alone.

    Raises:
        ToolError: The glob is malformed or too long.
    """
    if len(glob) > GLOB_CHARS_MAX:
        raise ToolError(f"The glob has {len(glob)} characters, at most {GLOB_CHARS_MAX} are allowed.")
    name_only = "/" not in glob
    try:
        compiled = regex.compile(_as_regex(glob.removeprefix("./").lstrip("/")))
    except regex.error as error:
        raise ToolError(f"The glob {glob!r} is malformed: {error}.") from None

    def matches(path: str) -> bool:
        subject = path.rpartition("/")[2] if name_only else path
        try:
            return compiled.fullmatch(subject, timeout=GLOB_DEADLINE_S) is not None
        except TimeoutError:
            raise ToolError(f"The glob {glob!r} takes too long to test: use fewer stars.") from None

    return matches


def _as_regex(glob: str) -> str:
    parts: list[str] = []
    depth = 0
    at = 0
    while at < len(glob):
        char = glob[at]
        if glob.startswith("**/", at):
            parts.append("(?:.*/)?")
            at += 3
            continue
        if glob.startswith("**", at):
            parts.append(".*")
            at += 2
            continue
        if char == "*":
            parts.append("[^/]*")
        elif char == "?":
            parts.append("[^/]")
        elif char == "[" and (end := glob.find("]", at + 2)) > 0:
            chosen = glob[at + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            negated = chosen.startswith("!")
            parts.append(f"(?!/)[{'^' if negated else ''}{chosen.removeprefix('!')}]")
            at = end
        elif char == "{":
            depth += 1
            parts.append("(?:")
        elif char == "}" and depth:
            depth -= 1
            parts.append(")")
        elif char == "," and depth:
            parts.append("|")
        else:
            parts.append(regex.escape(char))
        at += 1
    return "(?s)" + "".join(parts)
