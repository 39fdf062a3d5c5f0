"""Which worker processes serve which skills, and what each of them is told.

The shipped skills share one process; each of the user's has its own, so that one
that hangs or crashes takes nobody along. A worker is an ordinary MCP server on
stdio. It learns no more than its skills need: the shipped ones their settings,
under the settings' own variable names, the user's the variables they ask for.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hub.skills.discovery import Skill, shipped_folder

if TYPE_CHECKING:
    from hub.settings import SkillsSettings

_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""Where a company keeps its own certificate authorities; `web.fetch` needs to know."""
SHIPPED_WORKER = "shipped-skills"
"""The name of the worker that serves the skills that come with the hub."""


@dataclass(frozen=True, slots=True)
class WorkerEntry:
    """How to run one worker, in the words of a stdio entry of `mcp.json`.

    Attributes:
        name: Of the worker: the skill's own, or `SHIPPED_WORKER`.
        prefixes: For each skill it serves, what stands before that skill's tools on
            the wire: `{"fs": "fs."}` for `fs.read`.
        env: What the worker needs beside the base environment of every child.
        timeout_s: How long one of its tools may take.
        idle_stop_s: After how many idle seconds it ends.
    """

    name: str
    prefixes: Mapping[str, str]
    command: str
    args: tuple[str, ...]
    cwd: Path
    timeout_s: float
    idle_stop_s: float
    env: Mapping[str, str] = field(default_factory=dict, repr=False)


def worker_entries(
    skills: Iterable[Skill], settings: SkillsSettings, environment: Mapping[str, str]
) -> list[WorkerEntry]:
    """The workers for a set of skills; skills without tools need none.

    Args:
        environment: Where the variables that a user's skill asks for are looked up:
            the hub's own environment and the home's `.env`. A missing one is left
            out; the skill says so when it needs it.
    """
    with_tools = [skill for skill in skills if skill.has_tools]
    shipped = [skill for skill in with_tools if skill.shipped]
    entries = []
    if shipped:
        env = _settings(settings) | _taken(_CERTIFICATES, environment)
        entries.append(_entry(SHIPPED_WORKER, shipped, shipped_folder(), env, settings))
    for skill in with_tools:
        if not skill.shipped:
            env = _taken(skill.environment, environment)
            entries.append(_entry(skill.name, [skill], skill.folder, env, settings))
    return entries


def _taken(names: Iterable[str], environment: Mapping[str, str]) -> dict[str, str]:
    return {name: environment[name] for name in names if name in environment}


def _entry(
    name: str, skills: list[Skill], cwd: Path, env: Mapping[str, str], settings: SkillsSettings
) -> WorkerEntry:
    # -P keeps the working folder off the module path: a skill's files must not
    # take the place of the standard library's.
    args = ["-P", "-m", "hub.skills.worker"]
    for skill in skills:
        args += ["--skill", str(skill.folder)]
    return WorkerEntry(
        name=name,
        prefixes={skill.name: skill.tool_prefix for skill in skills},
        command=sys.executable,
        args=tuple(args),
        cwd=cwd,
        timeout_s=settings.tool_deadline_s,
        idle_stop_s=settings.idle_stop_s,
        env=env,
    )


def _settings(settings: SkillsSettings) -> dict[str, str]:
    """The shipped skills' settings, each under the variable that could have set it."""
    roots = [str(root.expanduser().absolute()) for root in settings.fs_roots]
    return {
        "HUB_SKILLS__FS_ROOTS": json.dumps(roots),
        "HUB_SKILLS__FS_BYTES_MAX": str(settings.fs_bytes_max),
        "HUB_SKILLS__FS_SEARCH_DEADLINE_S": str(settings.fs_search_deadline_s),
        "HUB_SKILLS__WEB_PRIVATE_ADDRESSES": json.dumps(settings.web_private_addresses),
        "HUB_SKILLS__WEB_PRIVATE_HOSTS": json.dumps(settings.web_private_hosts),
        "HUB_SKILLS__WEB_BYTES_MAX": str(settings.web_bytes_max),
        "HUB_SKILLS__WEB_DEADLINE_S": str(settings.web_deadline_s),
    }
