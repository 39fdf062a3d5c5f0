"""The command line: what a person types, and how the answer looks.

Nothing here opens the store. A command talks JSON-RPC to the hub that owns the
home, through the local socket, and starts one when none runs. typer, rich and the
hub's own parts are imported when the command that needs them runs.

    root             the tree of commands; where an error becomes a line and an exit code
    exits            which exit code
    invocation       one invocation: where its hub is, how to reach it, how to print
    connection       the conversation with the hub
    tool_arguments   `key=value` against a tool's input schema
    keyboard         what is piped in
    repl             a conversation at a terminal
    checks           what `hub doctor` looks at
    views            how answers look on a terminal
    others           one module for each group of commands
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code (see `hub.cli.exits`).

    Args:
        arguments: What stood after `hub`; the process's own arguments when None.
    """
    from hub.cli.root import run

    return run(arguments)
