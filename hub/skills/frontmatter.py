"""The head of a SKILL.md: reading it, and saying exactly what is wrong with it.

The format is the Agent Skills standard: YAML between two `---` lines at the top,
with `name`, `description`, `license`, `compatibility`, `metadata` and
`allowed-tools`. Other programs read the same files and put keys of their own
there, so an unknown key is a warning, never an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

NAME_CHARS_MAX = 64
DESCRIPTION_CHARS_MAX = 1024
COMPATIBILITY_CHARS_MAX = 500
SKILL_FILE_BYTES_MAX = 1024 * 1024
"""The longest SKILL.md that is read."""

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_BLOCK = re.compile(r"\A---[ \t]*\r?\n(?P<yaml>.*?)^---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
_KNOWN = ("name", "description", "license", "compatibility", "metadata", "allowed-tools")
_ALLOWED_TOOL = re.compile(r"[^\s,(]+(?:\([^)]*\))?")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with one skill.

    Attributes:
        path: The file or folder it stands in.
        message: What is wrong and what to do about it.
        key: The key of the frontmatter, where it is one.
        severity: An error keeps the skill from being offered, a warning does not.
    """

    path: Path
    message: str
    key: str | None = None
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        where = f"{self.path}: {self.key}" if self.key else str(self.path)
        return f"{where}: {self.message}"


@dataclass(frozen=True, slots=True)
class Frontmatter:
    """What a SKILL.md says of its skill, once it is known to be right.

    Attributes:
        allowed_tools: The tools that the skill's instructions may use without asking.
        raw: Every key as it stands in the file, for those who pass it on.
        body: The instructions: what follows the frontmatter.
    """

    name: str
    description: str
    license: str | None
    compatibility: str | None
    metadata: Mapping[str, str]
    allowed_tools: tuple[str, ...]
    raw: Mapping[str, Any] = field(repr=False)
    body: str = field(repr=False)


def is_name(name: str) -> bool:
    """Whether the standard allows a name for a skill."""
    return len(name) <= NAME_CHARS_MAX and _NAME.fullmatch(name) is not None


def read(path: Path) -> tuple[Frontmatter | None, list[Problem]]:
    """Read a SKILL.md.

    Returns:
        The frontmatter, None when there is an error among the problems; and the
        problems, each with the file and the key.
    """
    try:
        if path.stat().st_size > SKILL_FILE_BYTES_MAX:
            return None, [Problem(path, f"is longer than {SKILL_FILE_BYTES_MAX} bytes")]
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return None, [Problem(path, "is missing: a skill is a folder with a SKILL.md in it")]
    except OSError as error:
        return None, [Problem(path, f"cannot be read: {error.strerror}")]
    except UnicodeDecodeError as error:
        return None, [Problem(path, f"is not UTF-8 (byte {error.start})")]
    return parse(text, path)


def parse(text: str, path: Path) -> tuple[Frontmatter | None, list[Problem]]:
    """Parse the text of a SKILL.md; `path` is what the problems name."""
    block = _BLOCK.match(text)
    if block is None:
        hint = "must begin with a line '---', then the keys name and description, then a line '---'"
        return None, [Problem(path, hint)]
    try:
        raw = _mapping(block["yaml"])
    except ValueError as error:
        return None, [Problem(path, str(error))]
    problems = list(_problems(raw, path))
    if any(problem.severity == "error" for problem in problems):
        return None, problems
    frontmatter = Frontmatter(
        name=raw["name"],
        description=raw["description"].strip(),
        license=raw.get("license"),
        compatibility=raw.get("compatibility"),
        metadata=dict(raw.get("metadata") or {}),
        allowed_tools=_allowed_tools(raw.get("allowed-tools")),
        raw=raw,
        body=text[block.end() :].strip(),
    )
    return frontmatter, problems


def _mapping(source: str) -> dict[str, Any]:
    """The YAML as a mapping.

    Raises:
        ValueError: It is not YAML, not a mapping, or says a key twice; names the line.
    """
    import yaml

    first_line = 2  # the file's first line is the ---
    try:
        # An alias lets a few bytes of YAML stand for gigabytes.
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(source, Loader=yaml.SafeLoader)):
            raise ValueError("YAML aliases (*name) are not allowed in a frontmatter")
        node = yaml.compose(source, Loader=yaml.SafeLoader)
        if isinstance(node, yaml.MappingNode):
            _refuse_twice(node, first_line)
        loaded = yaml.safe_load(source)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + first_line}: " if error.problem_mark else ""
        quote = "; put a value that holds ': ' or ' #' in quotes" if "mapping values" in str(error) else ""
        raise ValueError(f"{line}not valid YAML: {error.problem}{quote}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"not valid YAML: {error}") from None
    if not isinstance(loaded, dict):
        raise ValueError("the frontmatter must be keys with values, for example 'name: my-skill'")
    return loaded


def _refuse_twice(node: Any, first_line: int) -> None:
    seen: set[str] = set()
    for key, _ in node.value:
        name = str(key.value)
        if name in seen:
            raise ValueError(f"line {key.start_mark.line + first_line}: the key {name!r} stands there twice")
        seen.add(name)


def _problems(raw: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    yield from _text_problems(raw, path, "name", NAME_CHARS_MAX, required=True)
    name = raw.get("name")
    if isinstance(name, str) and name:
        if not _NAME.fullmatch(name):
            rule = "lowercase letters, digits and single hyphens between them"
            yield Problem(path, f"{name!r} may hold only {rule}", key="name")
        elif name != path.parent.name:
            yield Problem(path, f"{name!r} must equal the folder's name, {path.parent.name!r}", key="name")
    yield from _text_problems(raw, path, "description", DESCRIPTION_CHARS_MAX, required=True)
    yield from _text_problems(raw, path, "license", None)
    yield from _text_problems(raw, path, "compatibility", COMPATIBILITY_CHARS_MAX)
    yield from _metadata_problems(raw.get("metadata"), path)
    allowed = raw.get("allowed-tools")
    if isinstance(allowed, list) and all(isinstance(tool, str) for tool in allowed):
        message = "is a list; the standard has one string with spaces between the tools"
        yield Problem(path, message, key="allowed-tools", severity="warning")
    elif allowed is not None and not isinstance(allowed, str):
        yield Problem(path, "must be one string with spaces between the tools", key="allowed-tools")
    for key in raw:
        if key not in _KNOWN:
            message = "is not a key of the standard; it is kept and has no effect here"
            yield Problem(path, message, key=str(key), severity="warning")


def _text_problems(
    raw: Mapping[str, Any], path: Path, key: str, chars_max: int | None, *, required: bool = False
) -> Iterator[Problem]:
    value = raw.get(key)
    if value is None:
        if required:
            yield Problem(path, "is required", key=key)
    elif not isinstance(value, str):
        kind = type(value).__name__
        yield Problem(path, f"must be text, not {kind}: put it in quotes", key=key)
    elif not value.strip():
        yield Problem(path, "must not be empty", key=key)
    elif chars_max is not None and len(value) > chars_max:
        yield Problem(path, f"has {len(value)} characters, at most {chars_max} are allowed", key=key)


def _metadata_problems(metadata: Any, path: Path) -> Iterator[Problem]:
    if metadata is None:
        return
    if not isinstance(metadata, dict):
        yield Problem(path, "must be keys with text values", key="metadata")
        return
    for key, value in metadata.items():
        if not isinstance(key, str) or not isinstance(value, str):
            kind = type(value if isinstance(key, str) else key).__name__
            yield Problem(path, f"must be text, not {kind}: put it in quotes", key=f"metadata.{key}")


def _allowed_tools(value: str | list[str] | None) -> tuple[str, ...]:
    if value is None:
        return ()
    return tuple(value) if isinstance(value, list) else tuple(_ALLOWED_TOOL.findall(value))
