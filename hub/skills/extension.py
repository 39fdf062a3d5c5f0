"""Skills over MCP: what `skills/list`, `skills/get` and `skill://` resources answer (SEP-2640).

Pure functions from skills to the members of results, read from disk at each call, so
that a digest always fits the bytes that a read returns. Whoever speaks the protocol
adds what belongs to its era (`resultType`, `ttlMs`, `cacheScope`).

A skill is published with every file of its folder but hidden and generated ones. One
that holds a link, is larger than the standard allows, or has since been broken is
left out of the list, and asking for it by name says why.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import math
import mimetypes
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from hub.calls import Json
from hub.errors import TooLarge, UnknownName
from hub.skills.discovery import SKILL_FILE, Skill
from hub.skills.frontmatter import read

EXTENSION_ID = "io.modelcontextprotocol/skills"
"""Under this name a server declares the extension in `capabilities.extensions`."""
FILES_MAX = 512
BYTES_MAX = 16 * 1024 * 1024
"""How many files, and bytes in all, the standard lets one skill have."""
PAGE_SKILLS = 50
"""How many skills stand on one page of the list."""

_SCHEME = "skill://"
_TEXT_TYPES = frozenset({"application/json", "application/xml", "application/yaml", "application/toml"})
_MARKDOWN = "text/markdown"

logger = logging.getLogger(__name__)


def list_skills(skills: Iterable[Skill], cursor: str | None = None) -> Json:
    """The members of a `skills/list` result: `skills`, by URI, and `nextCursor` while there are more.

    Args:
        cursor: `nextCursor` of the page before.

    Raises:
        UnknownName: The cursor is not one of this list.
    """
    ordered = sorted(skills, key=_uri)
    start = 0
    if cursor is not None:
        # The cursor is the last skill's URI, so that a list that changes between two
        # pages loses and repeats none.
        if not cursor.startswith(_SCHEME):
            raise UnknownName(f"{cursor!r} is no cursor of this list")
        start = sum(_uri(skill) <= cursor for skill in ordered)
    page = ordered[start : start + PAGE_SKILLS]
    entries = []
    for skill in page:
        try:
            entries.append(_entry(skill))
        except (TooLarge, UnknownName) as error:
            logger.warning("skill left out of skills/list", extra={"skill": skill.name, "why": error.message})
    result: Json = {"skills": entries}
    if start + PAGE_SKILLS < len(ordered):
        result["nextCursor"] = _uri(page[-1])
    return result


def get_skill(skills: Iterable[Skill], uri: str) -> Json:
    """The members of a `skills/get` result.

    Raises:
        UnknownName: No skill has this URI, or it cannot be published any more; says why.
        TooLarge: The skill is over the standard's limits.
    """
    for skill in skills:
        if _uri(skill) == uri:
            return {"skill": _entry(skill)}
    raise UnknownName(f"there is no skill {uri!r}", uri=uri)


def list_resources(skills: Iterable[Skill]) -> list[Json]:
    """One definition for the SKILL.md of each skill; the other files are found through its manifest."""
    return [
        {
            "uri": _uri(skill),
            "name": f"{skill.name}/{SKILL_FILE}",
            "title": skill.name,
            "description": skill.description,
            "mimeType": _MARKDOWN,
        }
        for skill in sorted(skills, key=_uri)
    ]


def read_resource(skills: Iterable[Skill], uri: str) -> Json:
    """The members of a `resources/read` result for a file of a skill.

    Raises:
        UnknownName: The URI names no published file of these skills.
        TooLarge: The skill is over the standard's limits.
    """
    for skill in skills:
        prefix = _prefix(skill)
        if not uri.startswith(prefix):
            continue
        relative = unquote(uri[len(prefix) :])
        # Looked up in what is published, never joined to a path: nothing else can be reached.
        for file in _files(skill):
            if file.relative_to(skill.folder).as_posix() == relative:
                return {"contents": [_content(uri, file)]}
    raise UnknownName(f"there is no resource {uri!r}", uri=uri)


def _prefix(skill: Skill) -> str:
    return f"{_SCHEME}{skill.name}/"


def _uri(skill: Skill) -> str:
    return _prefix(skill) + SKILL_FILE


def _entry(skill: Skill) -> Json:
    frontmatter, problems = read(skill.folder / SKILL_FILE)
    if frontmatter is None:
        raise UnknownName(f"skill {skill.name!r} is broken: {problems[0]}", uri=_uri(skill))
    resources = []
    total = 0
    for file in _files(skill):
        content = _bytes(file)
        total += len(content)
        if total > BYTES_MAX:
            raise TooLarge(f"skill {skill.name!r}: has more than {BYTES_MAX} bytes in {skill.folder}")
        resources.append(
            {
                "uri": _prefix(skill) + quote(file.relative_to(skill.folder).as_posix(), safe="/"),
                "digest": f"sha256:{hashlib.sha256(content).hexdigest()}",
                "size": len(content),
            }
        )
    return {"uri": _uri(skill), "frontmatter": _as_json(frontmatter.raw), "resources": resources}


def _as_json(value: Any) -> Any:
    """YAML's values as JSON's: what JSON does not have, like a date, becomes its text."""
    if isinstance(value, dict):
        return {str(key): _as_json(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_as_json(member) for member in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    return str(value)


def _files(skill: Skill) -> list[Path]:
    """The published files of a skill, by path.

    Raises:
        UnknownName: It holds a link or something that is no regular file.
        TooLarge: It has too many files.
    """
    found: list[Path] = []
    waiting = [skill.folder]
    while waiting:
        folder = waiting.pop()
        try:
            entries = list(os.scandir(folder))
        except OSError as error:
            raise UnknownName(f"skill {skill.name!r}: {folder}: {error.strerror}") from None
        for entry in entries:
            if entry.name.startswith(".") or entry.name == "__pycache__":
                continue
            if entry.is_dir(follow_symlinks=False):
                waiting.append(Path(entry.path))
            elif entry.is_file(follow_symlinks=False):
                found.append(Path(entry.path))
            else:
                raise UnknownName(f"skill {skill.name!r}: {entry.path} is a link, which cannot be published")
            if len(found) > FILES_MAX:
                raise TooLarge(f"skill {skill.name!r}: has more than {FILES_MAX} files in {skill.folder}")
    return sorted(found)


def _bytes(file: Path) -> bytes:
    """A published file's content; a link put in its place since is not followed.

    Raises:
        UnknownName: It is gone, or no regular file any more.
        TooLarge: It is larger than a whole skill may be.
    """
    careful = ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY", "O_CLOEXEC")
    flags = os.O_RDONLY | sum(getattr(os, flag, 0) for flag in careful)
    try:
        with open(os.open(file, flags), "rb") as opened:
            if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
                raise UnknownName(f"{file}: is no regular file")
            content = opened.read(BYTES_MAX + 1)
    except OSError as error:
        raise UnknownName(f"{file}: cannot be read: {error.strerror}") from None
    if len(content) > BYTES_MAX:
        raise TooLarge(f"{file}: has more than {BYTES_MAX} bytes")
    return content


def _content(uri: str, file: Path) -> Json:
    guessed = mimetypes.guess_type(file.name)[0]
    # Not every platform knows Markdown.
    mime_type = _MARKDOWN if file.suffix == ".md" else guessed or "application/octet-stream"
    content = _bytes(file)
    if mime_type.startswith("text/") or mime_type in _TEXT_TYPES:
        try:
            return {"uri": uri, "mimeType": mime_type, "text": content.decode("utf-8")}
        except UnicodeDecodeError:
            pass  # it is sent as the bytes that it is
    return {"uri": uri, "mimeType": mime_type, "blob": base64.b64encode(content).decode("ascii")}
