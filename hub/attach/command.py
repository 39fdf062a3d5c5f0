"""The command `hub mcp`: arguments and environment in, a running relay out."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hub import __version__
from hub.attach.relay import Client, Relay, say
from hub.environment import DEPTH_VARIABLE
from hub.errors import HubError
from hub.place import HOME_VARIABLE, resolve
from hub.rendezvous import Connection, Hello, is_newer
from hub.starting import hub_command, reach

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hub.place import Place

TOOL_NAMES = ("dotted", "qualified", "bare")
TOOL_NAMES_VARIABLE = "HUB_TOOL_NAMES"

_TAKEN = frozenset({HOME_VARIABLE, TOOL_NAMES_VARIABLE, DEPTH_VARIABLE})
"""The `HUB_*` variables that an attachment itself goes by."""


def main(arguments: Sequence[str]) -> int:
    """Attach a client until it closes its end; returns the exit code."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if os.environ.get(DEPTH_VARIABLE, "0") != "0":
        say("a hub started this as one of its servers and would call itself; remove it from its servers file")
        return 2
    folder = _folder()
    try:
        place = resolve(options.home, options.mcp_config, folder=folder or Path("/"), environ=os.environ)
    except HubError as error:
        say(error.message)
        return 2
    if place.unapproved is not None:
        say(
            f"{place.unapproved} is not used: it may start programs and has not been approved as it is now; "
            "run `hub servers list` in its folder to look at it and approve it, or name it with --mcp-config"
        )
    if sys.stdin.isatty():
        say("this speaks MCP with a client, on standard input; `hub --help` shows the commands for people")
    tool_names = options.tool_names or os.environ.get(TOOL_NAMES_VARIABLE) or None
    if tool_names not in (None, *TOOL_NAMES):
        say(f"{TOOL_NAMES_VARIABLE}={tool_names} is none of {', '.join(TOOL_NAMES)}")
        return 2
    if options.embedded:
        from hub.running import run_embedded

        return run_embedded(place, profile=options.profile, tool_names=tool_names)
    vain = vain_variables(os.environ)
    if vain:
        say(
            f"not passed on: {', '.join(vain)}; all clients share the hub, "
            f"so keys belong in {place.home.env_file} and settings in {place.home.settings_file}"
        )
    hello = Hello(
        "mcp",
        cwd=str(folder) if folder else None,
        profile=options.profile,
        tool_names=tool_names,
        replaces=True,
    )
    Relay(Client(), _Reach(place, hello)).run()
    return 0


class _Reach:
    """Reaches the hub of a place, and says what a person should know about it, once."""

    def __init__(self, place: Place, hello: Hello) -> None:
        self._place = place
        self._hello = hello
        self._said: set[str] = set()

    def __call__(self) -> Connection:
        place = self._place
        connection = reach(place.home, self._hello, hub_command(place.home, place.servers_file))
        version = str(connection.greeting.get("version", "0"))
        if is_newer(__version__, version):
            self._say_once(
                f"the running hub is {version} and this is {__version__}; others are attached to it, "
                "so it stays until they leave or `hub stop`"
            )
        served = connection.greeting.get("servers_file")
        wanted = str(place.servers_file or place.home.servers_file)
        if isinstance(served, str) and served != wanted:
            self._say_once(
                f"the running hub of {place.home.root} serves {served}, not {wanted}; `hub stop` ends it"
            )
        return connection

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            say(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hub mcp",
        description="Attach an MCP client on standard input and output to the hub; start it if none runs.",
    )
    parser.add_argument(
        "--home", metavar="DIR", help="the hub's folder (else HUB_HOME, else the user data folder)"
    )
    parser.add_argument("--mcp-config", metavar="FILE", help="the servers file to use")
    parser.add_argument("--profile", metavar="NAME", help="show only the tools of this profile")
    parser.add_argument("--tool-names", choices=TOOL_NAMES, help="how tools are named")
    parser.add_argument(
        "--embedded", action="store_true", help="run the hub in this process, for this client alone"
    )
    return parser


def _folder() -> Path | None:
    """The folder the client works in; None when it has been removed."""
    try:
        return Path.cwd()
    except OSError:
        return None


def vain_variables(environ: Mapping[str, str]) -> list[str]:
    """The settings and provider keys that a client passed, which a shared hub does not take from a client."""
    return sorted(
        name
        for name in environ
        if (name.startswith("HUB_") and name not in _TAKEN)
        or name.endswith("_API_KEY")
        or name == "LITELLM_PROXY_URL"
    )
