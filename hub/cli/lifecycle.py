"""`hub serve`, `status`, `stop`, `doctor`: the hub as a process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Annotated

import typer

from hub.calls import Json
from hub.cli import exits
from hub.cli.invocation import Invocation, command, fail
from hub.cli.views import running as views
from hub.home import Home
from hub.lock import owner
from hub.rendezvous import HubUnreachable, NotRunning

STOP_DEADLINE_S = 30.0
"""How long `hub stop` waits for the hub to let go of its home."""

POLL_S = 0.02
"""How often to look whether it has."""

HOST = Annotated[str | None, typer.Option("--host", metavar="ADDRESS", help="The address to listen on.")]
PORT = Annotated[
    int | None, typer.Option("--port", "-p", min=0, max=65535, help="The port; 0 takes a free one.")
]
NO_AUTH = Annotated[bool, typer.Option("--no-auth", help="Ask for no key. Only for loopback addresses.")]


def add_to(root: typer.Typer) -> None:
    """Add the commands to the tree."""
    command(root, "serve", rich_help_panel="For clients")(serve)
    command(root, "gateway", rich_help_panel="For clients", hidden=True)(serve)
    command(root, "status", rich_help_panel="Look after it")(status)
    command(root, "stop", rich_help_panel="Look after it")(stop)
    command(root, "doctor", rich_help_panel="Look after it")(doctor)


def serve(invocation: Invocation, host: HOST = None, port: PORT = None, no_auth: NO_AUTH = False) -> None:
    """Serve MCP and HTTP in the foreground, until Ctrl+C. Also: hub gateway."""
    from hub.running import run_serve
    from hub.serving import client_entry

    def tell(where: Json) -> None:
        invocation.show({**where, "client_entry": client_entry(where)}, views.serving)

    place = invocation.approved_place()
    run_serve(place, host=host, port=port, auth=not no_auth, tell=tell)


async def status(invocation: Invocation) -> None:
    """Say how the hub is; starts none."""
    try:
        async with invocation.hub(start=False) as hub:
            answer = {"running": True, **await hub.request("hub/status", {})}
    except NotRunning:
        answer = {"running": False, "home": str(invocation.place.home.root)}
    invocation.show(answer, views.status)
    if not answer["running"]:
        fail(exits.UNREACHABLE)


async def stop(invocation: Invocation) -> None:
    """Stop the hub; clients that are attached start it again when they need it."""
    home = invocation.place.home
    try:
        async with invocation.hub(start=False) as hub:
            answer = await hub.request("hub/stop", {})
            pid = hub.greeting.get("pid")
            await _gone(home, pid, hub.wait_closed())
    except NotRunning:
        answer = {"stopped": False}
    invocation.show(answer, views.stopped)


async def _gone(home: Home, pid: object, closed: Awaitable[object]) -> None:
    """Wait until a hub that was told to stop has let go of its home.

    Raises:
        HubUnreachable: It still holds it after the deadline.
    """
    try:
        async with asyncio.timeout(STOP_DEADLINE_S):
            await closed
            # It signs off from its home as the last thing it does.
            while (owner(home) or {}).get("pid") == pid:  # noqa: ASYNC110 - another process, told by a file
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        raise HubUnreachable(
            f"the hub, process {pid}, still runs {STOP_DEADLINE_S:g} s after it was told to stop; "
            f"its log: {home.log_file}"
        ) from None


async def doctor(invocation: Invocation) -> None:
    """Look for what could be wrong, and say what to do about it."""
    from hub.cli import checks

    found = await checks.run(invocation.place)
    invocation.show({"checks": found}, views.checks)
    if any(check["state"] == "error" for check in found):
        fail()
