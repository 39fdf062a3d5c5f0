"""Starting a hub for a home, or reaching the one that somebody else starts.

A hub started from here depends on nothing of the process that started it: it has
its own session, no living parent, the home as its working folder, a clean
environment, and its standard error in the log. Its standard output is a pipe until
it has said, in one line, how the start went (`announce`).

Standard library only, because `hub mcp` runs this before anything else.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from hub.environment import clean_environment
from hub.errors import ConfigError
from hub.rendezvous import Connection, Hello, HelloError, HubUnreachable, NotRunning, connect, hub_member

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hub.home import Home

Verdict = Literal["ready", "in use", "failed"]

READY_DEADLINE_S = 25.0
"""How long a hub that was started may take until it listens: clients give up after 30 s, unexplained."""
POLL_S = 0.02
"""How often to look for a hub that somebody else is starting."""
RELAUNCH_S = 0.5
"""How long to wait for somebody else's hub before trying to start one again."""
QUOTE_LINES = 8
QUOTE_CHARS_MAX = 2000
"""How much of the log is quoted when a start fails."""


def hub_command(home: Home, servers_file: Path | None) -> list[str]:
    """The command that runs a hub for a home (see `hub.detached`).

    Args:
        home: The home.
        servers_file: What it serves; None for the home's own file.
    """
    # -P: the home is the working folder, and nothing in it is a module.
    command = [sys.executable, "-P", "-m", "hub", "_hub", "--home", str(home.root)]
    return command if servers_file is None else [*command, "--mcp-config", str(servers_file)]


def reach(
    home: Home,
    hello: Hello,
    command: Sequence[str] | None,
    *,
    deadline_s: float = READY_DEADLINE_S,
    given_up: threading.Event | None = None,
) -> Connection:
    """Connect to the hub of a home, and start one if none runs.

    Whoever else starts one at the same moment: one hub comes of it, and all reach it.

    Args:
        home: The home.
        hello: What to say first.
        command: What starts a hub, from `hub_command`; None to start none.
        deadline_s: How long a start may take until the hub listens.
        given_up: Ends the wait from another thread.

    Raises:
        NotRunning: None runs, and there is no `command`.
        HubUnreachable: None could be started, or the one that runs refuses or hangs.
        ConfigError: The home cannot be used.
    """
    until = time.monotonic() + deadline_s
    launch: Launch | None = None
    while True:
        try:
            return connect(home, hello)
        except NotRunning:
            if command is None:
                raise
        if launch is not None and (launch.verdict == "failed" or time.monotonic() > until):
            raise HubUnreachable(launch.explanation())
        if given_up is not None and given_up.is_set():
            raise HubUnreachable("the wait for the hub was given up")
        if launch is None or launch.stale():
            launch = Launch(home, command)
            # Whatever version this starts is the one that is installed now.
            hello = replace(hello, replaces=False)
        launch.wait(POLL_S)


class Launch:
    """A hub that was started a moment ago, until it has said how that went.

    Attributes:
        verdict: What it said; None until then. A hub that ended without a word has failed.
        message: Why it failed, in its own words.

    Raises:
        ConfigError: The home cannot be created or written.
        HubUnreachable: The machine starts no process.
    """

    def __init__(self, home: Home, command: Sequence[str]) -> None:
        self.verdict: Verdict | None = None
        self.message = ""
        self._home = home
        self._spoken = threading.Event()
        self._since = time.monotonic()
        try:
            home.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            home.log_file.parent.mkdir(mode=0o700, exist_ok=True)
            log = os.open(home.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise ConfigError(
                f"the home {home.root} cannot be written: {error.strerror}; "
                "choose another with --home or HUB_HOME"
            ) from None
        try:
            self._log_start = os.fstat(log).st_size
            self._stdout = _spawn(command, home.root, log)
        except OSError as error:
            raise HubUnreachable(f"the hub could not be started: {error}") from None
        finally:
            os.close(log)
        threading.Thread(target=self._listen, daemon=True, name="hub-start").start()

    def _listen(self) -> None:
        verdict: Verdict = "failed"
        with contextlib.suppress(OSError, ValueError), open(self._stdout, "rb") as stdout:
            for line in stdout:
                try:
                    said = hub_member(line)
                except HelloError:
                    continue  # a library printed something
                if said.get("start") in ("ready", "in use", "failed"):
                    verdict, self.message = said["start"], str(said.get("message", ""))
                    break
        self.verdict = verdict
        self._spoken.set()

    def wait(self, deadline_s: float) -> None:
        """Wait until the hub says how its start went; once it has, until the deadline."""
        if self._spoken.is_set():
            time.sleep(deadline_s)
        else:
            self._spoken.wait(deadline_s)

    def stale(self) -> bool:
        """Whether a hub should listen by now and none does, so that another start may be tried."""
        waited = time.monotonic() - self._since > RELAUNCH_S
        return waited and self.verdict in ("ready", "in use")

    def explanation(self) -> str:
        """Why there is no hub yet, for whoever must mend it."""
        if self.message:
            return f"the hub could not start: {self.message}"
        what = "ended while it started" if self.verdict == "failed" else "started and does not listen"
        return f"the hub {what}{self._last_words()}; its log: {self._home.log_file}"

    def _last_words(self) -> str:
        """The last lines that this start left in the log, introduced; empty when there are none."""
        try:
            with open(self._home.log_file, "rb") as log:
                size = log.seek(0, os.SEEK_END)
                # A log that is shorter now has been rotated.
                log.seek(max(self._log_start if self._log_start <= size else 0, size - QUOTE_CHARS_MAX))
                text = log.read(QUOTE_CHARS_MAX).decode(errors="replace")
        except OSError:
            return ""
        lines = [line.rstrip() for line in text.split("\n") if line.strip()]
        return ", saying:\n" + "\n".join(lines[-QUOTE_LINES:]) + "\n" if lines else ""


def _spawn(command: Sequence[str], folder: Path, log: int) -> int:
    """Start a process that belongs to nobody; returns the reading end of its standard output."""
    import subprocess  # costs more than connecting to a hub that runs

    environment = clean_environment(os.environ)
    if sys.platform == "win32":
        flags = subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=folder,
            env=environment,
            creationflags=flags,
        )
        assert process.stdout is not None
        return os.dup(process.stdout.fileno())
    reading, writing = os.pipe()
    try:
        # The shell leaves at once and the hub has no parent: clients end what they
        # started with all its descendants, and others use the hub too.
        subprocess.run(
            ["/bin/sh", "-c", '"$@" &', "sh", *command],
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=log,
            cwd=folder,
            env=environment,
            start_new_session=True,
            check=True,
        )
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    return reading


def announce(verdict: Verdict, message: str = "") -> None:
    """Tell whoever started this process how the start went; then standard output is the log.

    Called once, by a hub that was started from here.
    """
    line = json.dumps({"hub": {"start": verdict, "message": message}}).encode() + b"\n"
    with contextlib.suppress(OSError):  # it may have given up and gone
        os.write(1, line)
    os.dup2(2, 1)
