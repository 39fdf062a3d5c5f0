"""Real attachments as child processes, spoken to as a client speaks to them."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

import psutil

from hub import lock
from hub.home import Home

DEADLINE_S = 20.0


class Attachment:
    """A client's end of an attachment that runs as a child process."""

    def __init__(self, command: list[str], **options: Any) -> None:
        pipes: dict[str, Any] = {
            "stdin": subprocess.PIPE,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
        }
        self.process: subprocess.Popen[bytes] = subprocess.Popen(command, **pipes | options)
        self.remarks: list[str] = []
        self._lines: queue.Queue[bytes] = queue.Queue()
        self._threads = [
            threading.Thread(target=self._read_lines, daemon=True),
            threading.Thread(target=self._read_remarks, daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        self._last_id = 0

    def _read_lines(self) -> None:
        for line in self.process.stdout or ():
            self._lines.put(line)
        self._lines.put(b"")

    def _read_remarks(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.remarks.append(line.decode())

    def write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def send(self, method: str, params: dict[str, Any] | None = None, *, notify: bool = False) -> int:
        """Send a request or notification; returns the id."""
        message: dict[str, Any] = {"method": method, "params": params or {}, "jsonrpc": "2.0"}
        if not notify:
            self._last_id += 1
            message["id"] = self._last_id
        self.write(json.dumps(message).encode() + b"\n")
        return self._last_id

    def receive(self, deadline_s: float = DEADLINE_S) -> dict[str, Any]:
        """The next message; fails at the deadline or when the attachment has ended."""
        line = self._lines.get(timeout=deadline_s)
        assert line, f"the attachment ended; it said: {''.join(self.remarks)}"
        message: dict[str, Any] = json.loads(line)
        return message

    def call(self, name: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool of the hub and return the result."""
        request_id = self.send("tools/call", {"name": name, "arguments": arguments})
        answer = self.receive()
        assert answer["id"] == request_id, answer
        result: dict[str, Any] = answer["result"]
        return result

    def open(self) -> int:
        """The legacy handshake; returns the hub's pid."""
        self.send("initialize", {"protocolVersion": "2025-06-18", "capabilities": {}})
        answer = self.receive()
        self.send("notifications/initialized", notify=True)
        self.call("echo")  # by its answer the hub has seen what came before
        return int(answer["result"]["pid"])

    def silent(self) -> bool:
        """Whether nothing came in that was not received, up to the attachment's end."""
        return self._lines.get(timeout=DEADLINE_S) == b""

    def close_input(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def wait(self, deadline_s: float = DEADLINE_S) -> int:
        code = self.process.wait(deadline_s)
        for thread in self._threads:
            thread.join(deadline_s)
        return code

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


def until(condition: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Wait until something has come true."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"never came true: {what}"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be reaped does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def hub_pid(home: Home) -> int:
    """The process that owns a home."""
    owner = lock.owner(home)
    assert owner is not None
    return int(owner["pid"])


def kill_hub(home: Home) -> None:
    """Kill the hub that owns a home and wait for its end."""
    pid = hub_pid(home)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not is_alive(pid), "the hub's end")


def end_all(home: Home) -> None:
    """End every process that was started for a home, also those that lost the race for it."""
    ended = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if str(home.root) in process.cmdline():
                process.kill()
                ended.append(process.pid)
    until(lambda: not any(is_alive(pid) for pid in ended), "the end of what was started")
