"""The reference server over stdio: `python echo.py [--era legacy|modern|both] [--tools N] ...`

Standard library only. What it offers is in `reference.py`. It ends when its stdin does, and writes nothing
to stdout but messages.

    --era ERA       which clients it serves (default legacy)
    --name NAME     its name in `serverInfo` (default reference)
    --tools N       lists N further tools, extra_0000 and on
    --page N        lists N tools a page
    --journal FILE  appends what happens, as JSON lines
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TypeVar

from reference import Era, Json, Reference, Send

Kind = TypeVar("Kind", bound=Reference)


def write_line(message: Json) -> None:
    """Send one message on stdout, whatever its size."""
    try:
        line = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # a lone surrogate, which only an escape can carry
        line = json.dumps(message, separators=(",", ":")).encode()
    left = memoryview(line + b"\n")
    while left:
        left = left[os.write(1, left) :]


def serve(reference: Reference) -> None:
    """Feed stdin to a connection until it ends."""
    for line in sys.stdin.buffer:
        try:
            message = json.loads(line)
        except ValueError:
            reference.send({"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "not JSON"}})
            continue
        reference.receive(message)
    reference.note(event="ended")


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The options that every stdio script here understands."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--era", choices=("legacy", "modern", "both"), default="legacy")
    parser.add_argument("--name", default="reference")
    parser.add_argument("--tools", type=int, default=0)
    parser.add_argument("--page", type=int, default=0)
    parser.add_argument("--journal", type=Path)
    return parser


def build(options: argparse.Namespace, kind: type[Kind], send: Send, era: Era | None = None) -> Kind:
    """The connection that the options describe."""
    return kind(
        send,
        name=options.name,
        era=era or options.era,
        extra_tools=options.tools,
        page=options.page,
        journal=options.journal,
    )


if __name__ == "__main__":
    serve(build(arguments(__doc__).parse_args(), Reference, write_line))
