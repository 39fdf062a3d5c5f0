"""One invocation of a command: where its hub is, how to reach it, how to print.

`command` registers a function as a command and gives it, beside its own options,
those that every command has. The function gets an `Invocation` first.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hub import place
from hub.cli import exits
from hub.place import Place

if TYPE_CHECKING:
    from rich.console import Console

    from hub.cli.connection import HubConnection

PIPE_COLUMNS = 4096
"""How wide a table may grow where nobody looks: one line for each row, nothing cut."""
TRACEBACK_VARIABLE = "HUB_TRACEBACK"
"""Set it to see where an internal error comes from."""
PAGE_COLUMNS_MAX = 110
"""Wider lines than this are hard to read, however wide the terminal."""

HOME = typer.Option("--home", metavar="DIR", help="The hub's folder.", rich_help_panel="Common options")
MCP_CONFIG = typer.Option(
    "--mcp-config", metavar="FILE", help="The servers file to use.", rich_help_panel="Common options"
)
JSON = typer.Option("--json", help="Print JSON, for programs.", rich_help_panel="Common options")


@dataclass(slots=True)
class Invocation:
    """What every command is given.

    Attributes:
        home_option: `--home` as typed; None when the default rules apply.
        servers_file_option: `--mcp-config` as typed.
        json: Whether stdout is for a program: one JSON document, or JSON Lines for a stream.
    """

    home_option: Path | None = None
    servers_file_option: Path | None = None
    json: bool = False
    _console: Console | None = None

    @property
    def place(self) -> Place:
        """Which home and servers file this command means; never asks."""
        return place.resolve(
            self.home_option, self.servers_file_option, folder=Path.cwd(), environ=os.environ
        )

    @property
    def console(self) -> Console:
        """Where people read the answer: stdout, coloured on a terminal, never cut in a pipe."""
        if self._console is None:
            self._console = make_console(sys.stdout)
        return self._console

    def show(self, answer: Any, view: Callable[[Console, Any], None]) -> None:
        """Print an answer: as JSON for programs, or by its view for people."""
        if self.json:
            self.write(json.dumps(answer, ensure_ascii=False, indent=2))
        else:
            view(self.console, answer)

    def show_line(self, item: Any) -> None:
        """Print one item of a stream as a line of JSON, at once."""
        self.write(json.dumps(item, ensure_ascii=False))

    def write(self, text: str) -> None:
        """Print a text as it is, at once."""
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def say(self, text: str) -> None:
        """A remark that is not the answer, on stderr."""
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

    @asynccontextmanager
    async def hub(self, *, start: bool = True) -> AsyncIterator[HubConnection]:
        """A connection to the hub of this home.

        Args:
            start: Whether to start a hub when none runs.

        Raises:
            HubUnreachable: None runs, and none was or could be started.
        """
        from hub.cli.connection import connect

        if start:
            self._warn_of_vain_variables()
        async with connect(self.approved_place(), start=start) as connection:
            yield connection

    def _warn_of_vain_variables(self) -> None:
        """Name the settings that stand in this shell, which a hub in the background never sees."""
        from hub.attach.command import vain_variables

        vain = [name for name in vain_variables(os.environ) if name.startswith("HUB_")]
        vain = [name for name in vain if name != TRACEBACK_VARIABLE]
        if vain:
            home = self.place.home
            self.say(
                f"hub: not passed on: {', '.join(vain)}; all clients share the hub, so settings belong in "
                f"{home.settings_file} or {home.env_file}"
            )

    def approved_place(self) -> Place:
        """Which home and servers file this command means.

        Asks, where there is somebody to ask, whether an unapproved `.mcp.json` of the
        current folder may start programs; else passes it over and says so.
        """
        found = self.place
        if found.unapproved is None:
            return found
        if self.json or not (sys.stdin.isatty() and sys.stderr.isatty()):
            self.say(f"hub: {found.unapproved} is not used: approve it with a command at a terminal")
            return found
        self.say(f"{found.unapproved} names programs that the hub would start:")
        for line in _programs(found.unapproved):
            self.say(f"  {line}")
        if not typer.confirm("Use it here from now on?", default=False, err=True):
            return found
        place.approve(place.base_home(os.environ), found.unapproved)
        return self.place


def make_console(stream: Any, *, stderr: bool = False) -> Console:
    """A rich console on a stream: as wide as its terminal, within reason; unbounded in a pipe."""
    from rich.console import Console

    console = Console(file=stream, stderr=stderr, highlight=False, soft_wrap=False)
    if "COLUMNS" in os.environ:
        return console
    if console.is_terminal:
        console.width = min(console.width, PAGE_COLUMNS_MAX)
    else:
        console.width = PIPE_COLUMNS
    return console


def command(
    app: typer.Typer, name: str, **settings: Any
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function, async or not, as a command with the common options.

    Args:
        app: The group it belongs to.
        name: What is typed.
        settings: Passed to `typer.Typer.command`.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(function, eval_str=True)
        own = list(signature.parameters.values())[1:]

        @functools.wraps(function)
        def invoke(**values: Any) -> None:
            context = values.pop("context")
            common = context.find_root().obj or Invocation()
            invocation = Invocation(
                home_option=values.pop("home") or common.home_option,
                servers_file_option=values.pop("mcp_config") or common.servers_file_option,
                json=values.pop("as_json") or common.json,
            )
            # The error handler prints JSON where JSON was asked for, whatever failed.
            context.find_root().obj = invocation
            outcome = function(invocation, **values)
            if inspect.iscoroutine(outcome):
                asyncio.run(outcome)

        parameters = [
            inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context),
            *(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own),
            *COMMON_PARAMETERS,
        ]
        invoke.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        invoke.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return app.command(name, **settings)(invoke)

    return register


def _common(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


COMMON_PARAMETERS = (
    _common("home", Annotated[Path | None, HOME], None),
    _common("mcp_config", Annotated[Path | None, MCP_CONFIG], None),
    _common("as_json", Annotated[bool, JSON], False),
)


def fail(code: int = exits.FAILED) -> None:
    """End the command with an exit code; everything has been printed."""
    raise exits.Quit(code)


def _programs(servers_file: Path) -> list[str]:
    """What a servers file would start or connect to, a line each, values left out."""
    from hub import mcp_json

    found = mcp_json.load(servers_file, {})
    lines = [
        f"{entry.name}: {entry.url if entry.transport != 'stdio' else ' '.join((entry.command, *entry.args))}"
        for entry in found.entries
    ]
    return lines or [str(problem) for problem in found.problems]
