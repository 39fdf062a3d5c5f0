"""Whole hubs as processes, spoken to as clients speak to them.

`Client` is a client of a program on pipes; it shows every message exactly as it came, so that a test can ask
for order, for what is unknown, and for what must not be there. `Served` is a hub with its HTTP faces.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import psutil

Json = dict[str, Any]

SERVERS = Path(__file__).parents[1] / "servers"
SKILLS = Path(__file__).parents[2] / "skills"
DEADLINE_S = 30.0
"""How long anything may take on a machine that is busy with other things."""

META = "io.modelcontextprotocol/"
MODERN = "2026-07-28"
ENVELOPE: Json = {
    f"{META}protocolVersion": MODERN,
    f"{META}clientInfo": {"name": "test", "version": "1"},
    f"{META}clientCapabilities": {},
}
INITIALIZE: Json = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}


class Refused(Exception):
    """A request was answered with an error.

    Attributes:
        error: The error as it was sent.
    """

    def __init__(self, error: Json) -> None:
        super().__init__(json.dumps(error))
        self.error = error


def until(condition: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> Any:
    """Wait until something is true; returns it."""
    end = time.monotonic() + deadline_s
    while not (value := condition()):
        assert time.monotonic() < end, f"never came true: {what}"
        time.sleep(0.01)
    return value


# -- homes and servers


def stdio(script: str, *options: object, **more: Any) -> Json:
    """An entry of `mcp.json` for a script of `tests/servers`."""
    return {"command": sys.executable, "args": [str(SERVERS / script), *map(str, options)], **more}


def write_servers(home: Path, servers: Mapping[str, Json]) -> None:
    """Put a servers file into a home, as an editor does: whole."""
    home.mkdir(parents=True, exist_ok=True)
    draft = home / "mcp.json.new"
    draft.write_text(json.dumps({"mcpServers": servers}), encoding="utf-8")
    draft.replace(home / "mcp.json")


def write_settings(home: Path, settings: str = "") -> None:
    """Put a `hub.toml` into a home: these settings, and no skills, which would start a worker each time."""
    home.mkdir(parents=True, exist_ok=True)
    shipped = sorted(path.name for path in SKILLS.iterdir() if path.is_dir())
    (home / "hub.toml").write_text(f"{settings}\n[skills]\ndisabled = {json.dumps(shipped)}\n")


def journal(file: Path) -> list[Json]:
    """What a server has written down; an unfinished last line is left for later."""
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]


def started_pid(file: Path) -> int:
    """The process of the server's latest start."""
    starts = until(
        lambda: [event for event in journal(file) if event["event"] == "started"], f"a start in {file.name}"
    )
    return int(starts[-1]["pid"])


@contextlib.contextmanager
def http_server(script: str, *options: object) -> Iterator[int]:
    """A script of `tests/servers` that listens on loopback; yields its port."""
    command = [sys.executable, str(SERVERS / script), *map(str, options)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["port"]
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


# -- processes


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be reaped does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def processes_of(home: Path) -> list[psutil.Process]:
    """Every living process whose command line or environment names a home, but this one."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            marks = [*process.cmdline(), *process.environ().values()]
            if process.pid != os.getpid() and any(str(home) in mark for mark in marks):
                found.append(process)
    return [process for process in found if is_alive(process.pid)]


def descendants(pid: int) -> list[int]:
    """What a process has started, and what that has started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return [process.pid for process in psutil.Process(pid).children(recursive=True)]
    return []


def all_end(pids: Sequence[int], deadline_s: float = DEADLINE_S) -> None:
    """Wait until none of these processes is left."""
    until(
        lambda: not any(map(is_alive, pids)),
        f"the end of {[pid for pid in pids if is_alive(pid)]}",
        deadline_s,
    )


def nothing_left(home: Path, deadline_s: float = DEADLINE_S) -> None:
    """Wait until no process is left that belongs to a home."""
    until(lambda: not processes_of(home), f"the end of {processes_of(home)}", deadline_s)


def hub_pid(home: Path) -> int:
    """The process that owns a home."""

    def owner() -> int | None:
        with contextlib.suppress(OSError, ValueError, KeyError):
            pid = int(json.loads((home / "hub.json").read_text())["pid"])
            return pid if is_alive(pid) else None
        return None

    pid: int = until(owner, "a hub that owns the home")
    return pid


def environment(home: Path) -> dict[str, str]:
    """An environment for programs of a test, in which no setting of whoever runs the tests stands."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, "HOME": str(home.parent)}


# -- a client on pipes


class Client:
    """A client of a program that speaks MCP on its standard streams.

    Args:
        command: The program.
        era: `legacy` opens with `initialize`, `modern` sends an envelope with every request.
        capabilities: What the client declares.

    Attributes:
        log: Every message that came, in order.
        last_id: The id of the latest request.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        era: str = "legacy",
        capabilities: Json | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.era = era
        self.capabilities = capabilities or {}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=None if env is None else dict(env),
            cwd=cwd,
        )
        self.log: list[Any] = []
        self.remarks: list[str] = []
        self.ended = False
        self._news = threading.Condition()
        self.last_id = 0
        self._threads = [
            threading.Thread(target=self._read, daemon=True),
            threading.Thread(target=self._read_remarks, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    def _read(self) -> None:
        for line in self.process.stdout or ():
            with self._news:
                self.log.append(json.loads(line))
                self._news.notify_all()
        with self._news:
            self.ended = True
            self._news.notify_all()

    def _read_remarks(self) -> None:
        for line in self.process.stderr or ():
            self.remarks.append(line.decode(errors="replace"))

    # -- sending

    def write(self, content: bytes) -> None:
        """Send bytes as they are."""
        assert self.process.stdin is not None
        self.process.stdin.write(content)
        self.process.stdin.flush()

    def notify(self, method: str, params: Json | None = None) -> None:
        self.write(json.dumps({"jsonrpc": "2.0", "method": method, "params": params or {}}).encode() + b"\n")

    def message(self, method: str, params: Json | None = None, *, id: object = None) -> Json:
        """A request as this client would send it."""
        self.last_id += 1
        params = dict(params or {})
        if self.era == "modern":
            envelope = ENVELOPE | {f"{META}clientCapabilities": self.capabilities}
            params["_meta"] = envelope | params.get("_meta", {})
        return {"jsonrpc": "2.0", "id": id or self.last_id, "method": method, "params": params}

    def send(self, method: str, params: Json | None = None) -> int:
        """Send a request; returns its id."""
        message = self.message(method, params)
        self.write(json.dumps(message).encode() + b"\n")
        request_id: int = message["id"]
        return request_id

    def cancel(self, request_id: int) -> None:
        self.notify("notifications/cancelled", {"requestId": request_id, "reason": "test"})

    # -- receiving

    def wait_for(
        self, matches: Callable[[Any], bool], what: str, deadline_s: float = DEADLINE_S, *, since: int = 0
    ) -> Any:
        """The first message that fits, waiting for it."""
        end = time.monotonic() + deadline_s
        seen = since
        with self._news:
            while True:
                for message in self.log[seen:]:
                    if matches(message):
                        return message
                seen = len(self.log)
                assert not self.ended, f"no {what}: the program ended; it said: {''.join(self.remarks)}"
                left_s = end - time.monotonic()
                assert left_s > 0, f"no {what} within {deadline_s:g} s"
                self._news.wait(left_s)

    def answer(self, request_id: object, deadline_s: float = DEADLINE_S) -> Json:
        """The whole answer to a request."""

        def is_answer(message: Any) -> bool:
            return isinstance(message, dict) and "method" not in message and message.get("id") == request_id

        message: Json = self.wait_for(is_answer, f"answer to {request_id!r}", deadline_s)
        return message

    def result(self, request_id: object, deadline_s: float = DEADLINE_S) -> Json:
        """The result of a request.

        Raises:
            Refused: The answer was an error.
        """
        message = self.answer(request_id, deadline_s)
        if "error" in message:
            raise Refused(message["error"])
        result: Json = message["result"]
        return result

    def request(self, method: str, params: Json | None = None, deadline_s: float = DEADLINE_S) -> Json:
        """Send a request and return its result.

        Raises:
            Refused: The answer was an error.
        """
        return self.result(self.send(method, params), deadline_s)

    def call(self, tool: str, /, **arguments: Any) -> Json:
        """Call a tool and return its result.

        Raises:
            Refused: The answer was an error.
        """
        return self.request("tools/call", {"name": tool, "arguments": arguments})

    def text(self, tool: str, /, **arguments: Any) -> str:
        """Call a tool and return its text."""
        return str(self.call(tool, **arguments)["content"][0]["text"])

    def notified(self, method: str, *, since: int = 0) -> list[Json]:
        """The params of the notifications of one kind that have come."""
        return [
            message.get("params", {})
            for message in self.log[since:]
            if isinstance(message, dict) and message.get("method") == method and "id" not in message
        ]

    # -- what every client does

    def open(self) -> Json:
        """Shake hands; returns the result of `initialize` or `server/discover`."""
        if self.era == "modern":
            return self.request("server/discover")
        result = self.request("initialize", INITIALIZE | {"capabilities": self.capabilities})
        self.notify("notifications/initialized")
        return result

    def tools(self) -> dict[str, Json]:
        """The tools by name."""
        return {tool["name"]: tool for tool in self.request("tools/list")["tools"]}

    def wait_for_tool(self, name: str, deadline_s: float = DEADLINE_S) -> Json:
        """A tool's definition, once it is listed."""
        tool: Json = until(lambda: self.tools().get(name), f"a tool {name}", deadline_s)
        return tool

    def wait_without_tool(self, name: str, deadline_s: float = DEADLINE_S) -> None:
        """Wait until a tool is listed no more."""
        until(lambda: name not in self.tools(), f"the end of tool {name}", deadline_s)

    def status(self) -> Json:
        """What `hub.status` says."""
        status: Json = self.call("hub.status")["structuredContent"]
        return status

    def server(self, name: str) -> Json:
        """What `hub.status` says of one server."""
        row: Json = next(server for server in self.status()["servers"] if server["name"] == name)
        return row

    def wait_for_state(self, name: str, *states: str) -> Json:
        """What `hub.status` says of a server, once it is in one of these states."""

        def row() -> Json | None:
            found = [server for server in self.status()["servers"] if server["name"] == name]
            return found[0] if found and found[0]["state"] in states else None

        found: Json = until(row, f"{name} {' or '.join(states)}")
        return found

    # -- the end

    def close_input(self) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()

    def kill(self) -> None:
        """End the program as a crash does."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def close(self, deadline_s: float = DEADLINE_S) -> int:
        """End the program as clients do, by closing its input; returns its exit code."""
        self.close_input()
        try:
            return self.process.wait(deadline_s)
        finally:
            self.release()

    def release(self) -> None:
        """Take back whatever the program has of this process; a program that still runs is killed."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for thread in self._threads:
            thread.join(DEADLINE_S)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


def hub_mcp(home: Path, *options: str) -> list[str]:
    """The command that a client launches."""
    return [sys.executable, "-m", "hub", "mcp", "--home", str(home), *options]


class Hubs:
    """Starts clients and hubs of one home, and ends what is left of them."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._clients: list[Client] = []
        if not (home / "hub.toml").exists():
            write_settings(home)

    def attach(self, *options: str, cwd: Path | None = None, **more: Any) -> Client:
        """A client of `hub mcp`; not opened."""
        client = Client(
            hub_mcp(self.home, *options), env=environment(self.home), cwd=cwd or self.home, **more
        )
        self._clients.append(client)
        return client

    def embed(self, *options: str, **more: Any) -> Client:
        """A client of `hub mcp --embedded`; not opened."""
        return self.attach("--embedded", *options, **more)

    def end(self) -> None:
        """Kill whatever still runs for this home."""
        for client in self._clients:
            client.release()
        left = processes_of(self.home)
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        all_end([process.pid for process in left])


# -- a hub with its HTTP faces


class Served:
    """A hub that `hub serve` runs in the foreground.

    Attributes:
        url: Where its faces are.
        key: The key it asks for; None with `--no-auth`.
        http: An HTTP client that sends the key.
    """

    def __init__(self, home: Path, *options: str) -> None:
        self.home = home
        if not (home / "hub.toml").exists():
            write_settings(home)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "hub", "serve", "--home", str(home), "--port", "0", *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(home),
            cwd=home,
        )
        assert self.process.stdout is not None
        self.said = ""
        for line in self.process.stdout:
            self.said += line.decode()
            if "Ctrl+C" in self.said:
                break
        found = re.search(r"http://\S+", self.said)
        assert found, f"`hub serve` opened nothing: {self.said}"
        self.url = found[0]
        self.key = (home / "http.key").read_text().strip() if "--no-auth" not in options else None
        headers = {"authorization": f"Bearer {self.key}"} if self.key else {}
        self.http = httpx.Client(base_url=self.url, headers=headers, timeout=DEADLINE_S, trust_env=False)

    def stop(self) -> int:
        """End it as Ctrl+C does; returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        code = self.process.wait(DEADLINE_S)
        self.release()
        return code

    def release(self) -> None:
        self.http.close()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
