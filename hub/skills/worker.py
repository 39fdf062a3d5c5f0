"""The worker: a process that serves the tools of one or more skills over MCP on stdio.

    python -P -m hub.skills.worker --skill DIR [--skill DIR ...] [--check]

It imports each skill's `tools.py` and offers its `@tool` functions as
`<skill>.<tool>`. A skill that cannot be loaded is named on stderr and the others
are served; with none left the worker ends with status 1. With `--check` it serves
nothing and prints what it found as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import logging
import os
import select
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hub.skills.discovery import TOOLS_FILE, Skill, read_skill

if TYPE_CHECKING:
    from fastmcp import FastMCP
    from fastmcp.tools import Tool

logger = logging.getLogger("hub.skills.worker")

EXIT_GRACE_S = 3.0
"""How long a tool may keep running once nobody is left to read its result."""


class SkillBroken(Exception):
    """A skill's tools cannot be loaded; the message says where and why."""


@dataclass(frozen=True, slots=True)
class LoadedSkill:
    """A skill and its tools under their names on the wire."""

    skill: Skill
    tools: tuple[Tool, ...]


def load(folder: Path) -> LoadedSkill:
    """Read a skill's folder and import its tools.

    Raises:
        SkillBroken: The SKILL.md or the `tools.py` has a mistake; names file and line.
    """
    skill, problems = read_skill(folder)
    if skill is None:
        raise SkillBroken("\n".join(str(problem) for problem in problems if problem.severity == "error"))
    if not skill.has_tools:
        raise SkillBroken(f"{skill.folder}: has no {TOOLS_FILE}, so there is nothing to serve")
    tools = tuple(_tools(skill, _import(skill)))
    if not tools:
        raise SkillBroken(f"{skill.folder / TOOLS_FILE}: has no function with fastmcp's @tool")
    return LoadedSkill(skill, tools)


def _import(skill: Skill) -> dict[str, Any]:
    """The names of a skill's `tools.py`, imported as a module of its own."""
    file = skill.folder / TOOLS_FILE
    # At the end of the path: a skill may import its own files, and replace nobody's.
    sys.path.append(str(skill.folder))
    name = "hub_skill_" + skill.name.replace("-", "_")
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and annotations look their module up there
    try:
        spec.loader.exec_module(module)
    # A stranger's code may raise anything, SystemExit included, and the other skills go on.
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        logger.debug("skill %s", skill.name, exc_info=True)
        raise SkillBroken(f"{_where(error, file)}: {type(error).__name__}: {error}") from error
    return vars(module)


def _where(error: BaseException, file: Path) -> str:
    """The last line of the skill's own file that led to the error."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(file)]
    return f"{file}:{lines[-1]}" if lines else str(file)


def _tools(skill: Skill, names: dict[str, Any]) -> Iterator[Tool]:
    from fastmcp.decorators import get_fastmcp_meta
    from fastmcp.tools import Tool
    from fastmcp.tools.function_tool import ToolMeta

    file = skill.folder / TOOLS_FILE
    taken: set[str] = set()
    for name, value in names.items():
        if name.startswith("_"):
            continue
        if isinstance(value, Tool):
            tool = value
        elif isinstance(get_fastmcp_meta(value), ToolMeta):
            try:
                tool = Tool.from_function(value)
            # Whatever is wrong with a signature or a schema, it is this skill's mistake.
            except Exception as error:
                raise SkillBroken(f"{file}: tool {name!r}: {type(error).__name__}: {error}") from error
        else:
            continue
        if tool.name in taken:
            raise SkillBroken(f"{file}: two tools are named {tool.name!r}")
        taken.add(tool.name)
        title = tool.title or tool.name.replace("_", " ").replace("-", " ").capitalize()
        yield tool.model_copy(update={"name": skill.tool_prefix + tool.name, "title": title})


def build(loaded: list[LoadedSkill]) -> FastMCP:
    """The MCP server for these skills."""
    from fastmcp import FastMCP

    from hub import __version__

    lines = [f"{entry.skill.name}: {entry.skill.description}" for entry in loaded]
    return FastMCP(
        "skills",
        version=__version__,
        instructions="\n".join(lines),
        tools=[tool for entry in loaded for tool in entry.tools],
        on_duplicate="error",
    )


def main(argv: list[str] | None = None) -> int:
    """Serve until stdin ends.

    Returns:
        0; or 1 when no skill could be loaded, or with `--check` any could not.
    """
    parser = argparse.ArgumentParser(prog="hub.skills.worker")
    parser.add_argument("--skill", action="append", type=Path, required=True, metavar="DIR")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args(argv)

    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s: %(message)s")
    os.environ["FASTMCP_LOG_ENABLED"] = "false"  # its rich handler wraps lines; ours does not
    os.environ.setdefault("FASTMCP_CHECK_FOR_UPDATES", "off")
    _end_with_the_client()
    loaded: list[LoadedSkill] = []
    broken: dict[str, str] = {}
    with _stdout_diverted():
        for folder in options.skill:
            try:
                loaded.append(load(folder))
            except SkillBroken as error:
                broken[str(folder)] = str(error)
                logger.error("skill %s is not served: %s", folder.name, error)
    if options.check:
        tools = [tool.to_mcp_tool() for entry in loaded for tool in entry.tools]
        definitions = [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools]
        sys.stdout.write(json.dumps({"tools": definitions, "broken": broken}) + "\n")
        return 1 if broken else 0
    if not loaded:
        return 1
    asyncio.run(build(loaded).run_stdio_async(show_banner=False))
    return 0


@contextmanager
def _stdout_diverted() -> Iterator[None]:
    """Send what skills print while they are imported to stderr: stdout is the protocol's."""
    sys.stdout.flush()
    wire = os.dup(1)
    try:
        os.dup2(2, 1)
        yield
        sys.stdout.flush()
    finally:
        os.dup2(wire, 1)
        os.close(wire)


def _end_with_the_client() -> None:
    """End the process once its input is closed, even while a tool is stuck in a thread.

    Without it a worker whose hub was killed could outlive it for as long as a
    blocking call lasts. Where there is no `poll`, the supervisor alone sees to it.
    """
    if not hasattr(select, "poll"):
        return
    own_stdin = os.dup(0)  # the server moves descriptor 0 elsewhere

    def watch() -> None:
        hangup = select.poll()
        hangup.register(own_stdin, 0)  # no event but the hangup, which is always told
        hangup.poll()
        time.sleep(EXIT_GRACE_S)
        os._exit(0)

    threading.Thread(target=watch, name="end-with-the-client", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
