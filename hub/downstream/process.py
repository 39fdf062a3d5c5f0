"""Child processes: a server's pipes as a channel, and its whole process group ended with it.

Each child leads a process group of its own, so that what it starts ends with it.
It is stopped politely first: its input is closed, then the group gets SIGTERM,
then SIGKILL. `Warden` covers the case that the hub itself is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from hub.channels import LineChannel
from hub.downstream import warden as warden_script
from hub.lines import LineSplitter

log = logging.getLogger(__name__)

STDERR_LINES_KEPT = 20
STDERR_LINE_BYTES_MAX = 4096
_HAS_GROUPS = hasattr(os, "killpg")
_POLL_S = 0.02
_LAST_WORDS_S = 0.2
"""How long after a child's end what it wrote before may still be in its pipes."""


class Warden:
    """The hub's end of the warden process; started with the first child, POSIX only."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._groups: set[int] = set()
        self.spawning = asyncio.Lock()
        """Held from before a child's start until it is watched: one start must not delay another's watch."""

    def prepare(self) -> None:
        """Start the warden if need be, so that the next child is watched the moment there is one."""
        if _HAS_GROUPS:
            self._tell("")

    def watch(self, group: int) -> None:
        """Have a process group ended if the hub dies."""
        if _HAS_GROUPS:
            self._groups.add(group)
            self._tell(f"+{group}\n")

    def release(self, group: int) -> None:
        """A process group has ended."""
        if group in self._groups:
            self._groups.discard(group)
            self._tell(f"-{group}\n")

    def close(self) -> None:
        """End the warden, and whatever it still watches."""
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
            try:
                process.wait(2 * warden_script.GRACE_S + 1)
            except subprocess.TimeoutExpired:
                process.kill()

    def _tell(self, line: str) -> None:
        if self._process is None or self._process.poll() is not None:
            self._start()
            line = "".join(f"+{group}\n" for group in self._groups)
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()
        except OSError:
            log.warning("the warden process ended; it is started again with the next child")

    def _start(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(warden_script.__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
            env={},
        )


class _ChildProtocol(asyncio.SubprocessProtocol):
    """Hands a child's output to its channel and keeps the end of its standard error."""

    def __init__(self, channel: LineChannel, on_stderr: Callable[[str], None]) -> None:
        self._channel = channel
        self._stderr = LineSplitter(STDERR_LINE_BYTES_MAX)
        self._on_stderr = on_stderr
        self.exited: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 1:
            self._channel.data_received(data)
            return
        for line in self._stderr.feed(data):
            if isinstance(line, bytes):
                self._on_stderr(line.decode(errors="replace").rstrip())

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd == 1:
            self._channel.connection_lost(None)
        elif fd == 2 and (rest := self._stderr.rest()):
            self._on_stderr(rest.decode(errors="replace").rstrip())

    def pause_writing(self) -> None:
        self._channel.pause_writing()

    def resume_writing(self) -> None:
        self._channel.resume_writing()

    def process_exited(self) -> None:
        if not self.exited.done():
            self.exited.set_result(None)
        # Whatever the child started may hold its pipes open, which then never tell of its end.
        asyncio.get_running_loop().call_later(_LAST_WORDS_S, self._channel.connection_lost, None)


class ChildProcess:
    """A running child.

    Attributes:
        pid: Its process id, which is also its group's.
        stderr_tail: The last lines of its standard error.
    """

    def __init__(
        self, transport: asyncio.SubprocessTransport, protocol: _ChildProtocol, warden: Warden
    ) -> None:
        self._transport = transport
        self._protocol = protocol
        self._warden = warden
        self.pid = transport.get_pid()
        self.stderr_tail: deque[str] = deque(maxlen=STDERR_LINES_KEPT)

    @classmethod
    async def start(
        cls,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: str | None,
        channel: LineChannel,
        warden: Warden,
    ) -> ChildProcess:
        """Start a program whose standard streams carry the channel.

        Raises:
            OSError: It cannot be started.
        """
        lines: deque[str] = deque(maxlen=STDERR_LINES_KEPT)
        options: dict[str, Any] = {"start_new_session": True} if _HAS_GROUPS else {}
        async with warden.spawning:
            warden.prepare()
            transport, protocol = await asyncio.get_running_loop().subprocess_exec(
                lambda: _ChildProtocol(channel, lines.append),
                *argv,
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                **options,
            )
            child = cls(transport, protocol, warden)
            warden.watch(child.pid)
        child.stderr_tail = lines
        channel.use_writer(cast("asyncio.WriteTransport", transport.get_pipe_transport(0)))
        return child

    @property
    def exit_code(self) -> int | None:
        """How it ended; negative for a signal, None while it runs."""
        return self._transport.get_returncode()

    async def wait(self, timeout_s: float) -> bool:
        """Wait for it to end; returns whether it has."""
        await asyncio.wait([self._protocol.exited], timeout=timeout_s)
        return self._protocol.exited.done()

    async def stop(self, grace_s: float) -> None:
        """End it and everything in its group: politely, then firmly.

        Args:
            grace_s: How long to wait after closing its input, and again after SIGTERM.
        """
        try:
            if (stdin := self._transport.get_pipe_transport(0)) is not None:
                stdin.close()
            if not await self.wait(grace_s) and not _HAS_GROUPS:
                self._transport.terminate()
                if not await self.wait(grace_s):
                    self._transport.kill()
            if _HAS_GROUPS:
                await self._end_group(grace_s)
        finally:
            if _HAS_GROUPS:
                # Also when stopping was cut short: nothing is left behind.
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.pid, signal.SIGKILL)
            self._warden.release(self.pid)
            self._transport.close()

    async def _end_group(self, grace_s: float) -> None:
        """Ask the group to end and wait until no member is left, or the grace is over."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace_s
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGTERM)
            while loop.time() < deadline:
                # The kernel tells nobody when a group's last member ends.
                await asyncio.sleep(_POLL_S)
                os.killpg(self.pid, 0)
