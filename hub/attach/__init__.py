"""`hub mcp`: what an MCP client launches, standard library only.

It decides on the home, connects to the hub's local socket, starts the hub when none
runs, and then moves lines between the client and the hub.

    command        the arguments, the environment, reaching the hub
    relay          the two directions, the end of a hub, the end of the client
    conversation   what another hub must be told, and what the client is owed
    envelope       what one message is
"""

from __future__ import annotations

from hub.attach.command import main

__all__ = ["main"]
