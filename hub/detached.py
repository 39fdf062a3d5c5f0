"""The hub that an attachment or a command starts: `hub _hub --home DIR [--mcp-config FILE]`.

It takes the lock before it imports anything heavy, so that of several started at the
same moment all but one leave at once. How the start went is said on standard output,
to whoever waits there; errors go to standard error too, which is the log.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from hub.errors import HomeInUse, HubError
from hub.home import Home
from hub.lock import HomeLock
from hub.starting import announce

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str]) -> NoReturn:
    """Run a hub until it is stopped or has been idle for long enough, and end the process."""
    code = _run(arguments)
    logging.shutdown()
    sys.stderr.flush()
    # Everything is closed. Taking all that was imported apart would only take another second.
    os._exit(code)


def _run(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="hub _hub", add_help=False)
    parser.add_argument("--home", required=True, type=Home.at)
    parser.add_argument("--mcp-config", type=Path)
    options = parser.parse_args(arguments)
    # A shell starts its background jobs deaf to this, and children would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with HomeLock(options.home) as lock:
            from hub.running import run_detached

            run_detached(options.home, options.mcp_config, lock=lock, on_ready=lambda: announce("ready"))
    except HomeInUse as error:
        # One that listens will serve whoever waits; an embedded one never will.
        announce("in use" if error.details.get("listens") else "failed", error.message)
        return 1
    except HubError as error:
        announce("failed", error.message)
        sys.stderr.write(f"the hub could not start: {error.message}\n")
        return 1
    return 0
