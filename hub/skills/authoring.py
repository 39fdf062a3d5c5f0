"""For whoever writes a skill: a first version to start from, and a check of the result."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from hub.calls import Json
from hub.errors import ConfigError, InvalidArguments
from hub.skills.discovery import RESERVED_NAMES, SKILL_FILE, TOOLS_FILE, Skill, read_skill
from hub.skills.frontmatter import DESCRIPTION_CHARS_MAX, NAME_CHARS_MAX, Problem, is_name

CHECK_DEADLINE_S = 30.0
TOOL_NAME_CHARS_MAX = 50
"""Longer names, skill and dot included, are cut for the sake of clients."""
_TOOL_NAME = re.compile(r"[A-Za-z0-9_.-]+")

_SKILL_TEMPLATE = """\
---
name: {name}
description: {description}
---

# {title}

Say here when to use this skill and how, in the words you would use to a colleague.
A model reads this page when the description above fits its task.

- `{name}.greet` greets somebody. Replace it by what your skill does.
"""

_TOOLS_TEMPLATE = '''\
"""The tools of the skill {name}."""

from fastmcp.tools import tool


@tool(annotations={{"readOnlyHint": True, "openWorldHint": False}})
def greet(name: str) -> str:
    """Greet somebody by name."""
    return f"Hello, {{name}}!"
'''


def new(folder: Path, name: str, description: str | None = None) -> Path:
    """Write a small skill that works, to be changed.

    Args:
        folder: The folder of skills; the skill gets a folder of its own in it.
        description: What the skill does and when to use it.

    Returns:
        The skill's folder.

    Raises:
        InvalidArguments: The name or the description does not fit the standard.
        ConfigError: The folder exists already or cannot be written.
    """
    if not is_name(name):
        rule = "lowercase letters, digits and single hyphens between them"
        raise InvalidArguments(f"{name!r} is no name for a skill: at most {NAME_CHARS_MAX} {rule}")
    if name in RESERVED_NAMES:
        raise InvalidArguments(f"{name!r} is taken by the hub itself: choose another name")
    text = " ".join((description or f"Say what {name} does, and when to use it.").split())
    if len(text) > DESCRIPTION_CHARS_MAX:
        message = f"the description has {len(text)} characters, at most {DESCRIPTION_CHARS_MAX} are allowed"
        raise InvalidArguments(message)
    skill = folder / name
    # JSON's strings are YAML's: whatever the description holds, it stays one text.
    fields = {
        "name": name,
        "title": name.replace("-", " ").capitalize(),
        "description": json.dumps(text, ensure_ascii=False),
    }
    try:
        skill.mkdir(parents=True)
        (skill / SKILL_FILE).write_text(_SKILL_TEMPLATE.format(**fields), encoding="utf-8")
        (skill / TOOLS_FILE).write_text(_TOOLS_TEMPLATE.format(**fields), encoding="utf-8")
    except FileExistsError:
        raise ConfigError(f"{skill}: exists already") from None
    except OSError as error:
        raise ConfigError(f"{skill}: cannot be written: {error.strerror}") from None
    return skill


def check(folder: Path, *, deadline_s: float = CHECK_DEADLINE_S) -> list[Problem]:
    """Find what is wrong with a skill: its SKILL.md, and its tools by importing them.

    The tools are imported in a process of their own, so that code which hangs or
    ends the process becomes a problem in the list.

    Args:
        folder: The skill's folder.
        deadline_s: How long the import may take.
    """
    skill, problems = read_skill(folder)
    if skill is None or not skill.has_tools:
        return problems
    return [*problems, *_tool_problems(skill, deadline_s)]


def _tool_problems(skill: Skill, deadline_s: float) -> Iterator[Problem]:
    file = skill.folder / TOOLS_FILE
    report = _import_in_child(skill, deadline_s)
    if isinstance(report, str):
        yield Problem(file, report)
        return
    for message in report["broken"].values():
        # The worker names the file, and so does a problem.
        yield Problem(file, str(message).removeprefix(str(file)).removeprefix(":").strip())
    for tool in report["tools"]:
        yield from _problems_of(tool, skill, file)


def _import_in_child(skill: Skill, deadline_s: float) -> Json | str:
    """The worker's report on a skill, or why there is none."""
    command = [sys.executable, "-P", "-m", "hub.skills.worker", "--check", "--skill", str(skill.folder)]
    # stderr into a file: a child of the child may hold a pipe open beyond the deadline.
    with tempfile.TemporaryFile() as errors, tempfile.TemporaryFile() as output:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            cwd=skill.folder,
            start_new_session=True,
        )
        try:
            child.wait(deadline_s)
        except subprocess.TimeoutExpired:
            return f"importing it took longer than {deadline_s:g} s: do the work in the tools, not at import"
        finally:
            _kill(child)
        output.seek(0)
        errors.seek(0)
        try:
            report: Any = json.loads(output.read())
        except json.JSONDecodeError:
            said = errors.read().decode(errors="replace").strip().splitlines()
            return f"importing it ended the process: {said[-1] if said else 'it said nothing'}"
        assert isinstance(report, dict)
        return report


def _kill(child: subprocess.Popen[bytes]) -> None:
    """End a child, and on POSIX whatever it has started."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
    else:
        child.kill()
    child.wait()


def _problems_of(tool: Json, skill: Skill, file: Path) -> Iterator[Problem]:
    name = str(tool["name"])
    own = name.removeprefix(skill.tool_prefix)
    if not _TOOL_NAME.fullmatch(own):
        yield Problem(file, f"tool {own!r}: a name may hold only letters, digits, '_', '-' and '.'")
    if len(name) > TOOL_NAME_CHARS_MAX:
        message = f"tool {own!r}: {name!r} has {len(name)} characters, and over {TOOL_NAME_CHARS_MAX} are cut"
        yield Problem(file, message, severity="warning")
    if not tool.get("description"):
        message = f"tool {own!r}: has no docstring, so no model will know when to call it"
        yield Problem(file, message, severity="warning")
    annotations = tool.get("annotations") or {}
    if "readOnlyHint" not in annotations:
        message = (
            f"tool {own!r}: says nothing of its effects; some clients call only tools with "
            "annotations={'readOnlyHint': True} unasked"
        )
        yield Problem(file, message, severity="warning")
