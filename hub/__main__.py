"""The command `hub`: what a client launches goes straight to the attachment, all else to the command line."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command that the process's arguments name; returns its exit code."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["mcp"]:
        from hub.attach import main as attach

        return attach(arguments[1:])
    if arguments[:1] == ["_hub"]:
        from hub.detached import main as run_detached

        run_detached(arguments[1:])
    from hub.cli import main as command_line

    return command_line(arguments)


if __name__ == "__main__":
    sys.exit(main())
