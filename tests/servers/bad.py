"""Servers that behave as badly as real ones do: `python bad.py MODE [options of echo.py] [--seconds S] ...`

Everything that a mode does not spoil works as in `echo.py`; all are stdio and, unless `--era` says otherwise,
legacy. Standard library only.

    exits_at_once       says why on stderr and exits with status 3 before it reads anything
    exits_after_start   answers `initialize`, then exits with status 4
    hangs               reads everything, never answers, ignores nothing but time
    never_lists         answers `initialize`, never `tools/list`
    list_error          answers `tools/list` with the JSON-RPC error -32603
    endless_pages       every page of `tools/list` names a next one
    prints_to_stdout    lines that are no messages before the first answer and around every one
    exits_on_discover   exits with status 5 when the first message is anything but `initialize`
    ignores_unknown     never answers a method it does not know, such as `server/discover`
    dies_mid_call       the tool `die` kills the process without an answer; other tools work
    half_answer         the tool `die` writes half an answer, then kills the process
    stops_reading       the tool `die` reads nothing from then on, and answers nothing; the process lives on
    closes_stdout       the tool `die` closes stdout; the process lives on
    answers_late        answers every `tools/call` after --seconds (default 5), cancelled or not
    ten_megabytes       every `tools/call` returns --bytes (default 10,000,000) of text
    wrong_ids           each answer to `tools/call` is preceded by answers to ids that nobody used (a number,
                        a text, null) and followed by a second, different answer to the same id
    text_ids            echoes every id as text
    half_lines          every message follows a log notification, both written in pieces of 7 bytes that
                        respect neither lines nor characters
    slow_to_start       reads nothing for --seconds (default 5)
    boolean_schema      lists tools whose property schema is a boolean, whose schema is missing or no object
    bad_tools           lists names that no client takes: spaces, unicode, 200 characters, twins, none at all
    stderr_flood        writes --bytes (default 10,000,000) to stderr at the start and 100 kB at every call
    orphan              starts a grandchild that ignores SIGHUP and SIGTERM; journals `{"event": "grandchild",
                        "pid"}`
    orphan_with_pipes   the same, and the grandchild holds stdout and stderr, which therefore never end
    ignores_sigterm     ignores SIGTERM and the end of stdin
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

from echo import arguments, build, serve, write_line
from reference import Json, Reference, RpcError, text_result, tool

GARBAGE = (
    "Starting server...",
    "WARNING: deprecated option used",
    "[1, 2",
    "[]",
    "42",
    '{"not": "a message"}',
    '{"jsonrpc": "2.0"}',
    '{"jsonrpc": "2.0", "id": {}, "result": {}}',
    "\x1b[32mcolour\x1b[0m \u2028 ü",
    "",
)

BAD_SCHEMAS: tuple[Json, ...] = (
    tool("boolean_property", "A property whose schema is true.", {"yes": True, "no": False, "text": {}}, []),
    {"name": "boolean_schema", "description": "A schema that is true.", "inputSchema": True},
    {"name": "no_schema", "description": "No schema at all."},
    {"name": "array_schema", "description": "A schema for an array.", "inputSchema": {"type": "array"}},
    tool("with_refs", "A schema with definitions.", {"node": {"$ref": "#/$defs/node"}}, [])
    | {
        "inputSchema": {
            "type": "object",
            "properties": {"node": {"$ref": "#/$defs/node"}},
            "$defs": {
                "node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}, "any": True}}
            },
        }
    },
)

BAD_TOOLS: tuple[Any, ...] = (
    tool("has spaces", "A name with spaces.", {}, []),
    tool("größe/straße", "A name beyond ASCII.", {}, []),
    tool("n" * 200, "A name of 200 characters.", {}, []),
    tool("twin.name", "Equal to the next one once punctuation becomes an underscore.", {}, []),
    tool("twin-name", "Equal to the one before.", {}, []),
    tool("same", "The first of two equal names.", {}, []),
    tool("same", "The second of two equal names.", {}, []),
    tool("", "No name.", {}, []),
    {"description": "A tool without a name.", "inputSchema": {"type": "object"}},
    "not a tool",
    None,
)


def die() -> None:
    """End as a crash does: no cleanup, no exit status of one's own."""
    os.kill(os.getpid(), signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)


class Bad(Reference):
    """A reference server that does one thing wrong."""

    mode = ""
    seconds = 5.0
    answer_bytes = 10_000_000
    first = True

    def receive(self, message: Any) -> None:
        method = message.get("method") if isinstance(message, dict) else None
        if self.mode == "hangs" or (self.mode == "never_lists" and method == "tools/list"):
            self.note(event="received", method=method)
            return
        if self.mode == "exits_on_discover" and self.first and method != "initialize":
            print(f"unexpected first message: {method}", file=sys.stderr, flush=True)
            os._exit(5)
        self.first = False
        super().receive(message)
        if self.mode == "exits_after_start" and method == "initialize":
            os._exit(4)

    def respond(self, request_id: str | int, method: str, params: Json) -> Json | None:
        if self.mode == "list_error" and method == "tools/list":
            raise RpcError(-32603, "the database is on fire", data={"since": "yesterday"})
        try:
            result = super().respond(request_id, method, params)
        except RpcError as error:
            if self.mode == "ignores_unknown" and error.error["code"] == -32601:
                return None
            raise
        if self.mode == "endless_pages" and method == "tools/list" and result is not None:
            result["nextCursor"] = str(int(params.get("cursor", 0)) + 1)
            result["tools"] = [tool(f"page_{params.get('cursor', 0)}", "One of many.", {}, [])]
        return result

    def call(self, request_id: str | int, params: Json) -> Json | None:
        if params.get("name") == "die":
            self.die(request_id)
        if self.mode == "answers_late":
            timer = threading.Timer(self.seconds, self.answer, (request_id, text_result("late")))
            timer.daemon = True
            timer.start()
            return None
        if self.mode == "ten_megabytes":
            return text_result("x" * self.answer_bytes)
        if self.mode == "stderr_flood":
            sys.stderr.write("e" * 99_999 + "\n")
        return super().call(request_id, params)

    def die(self, request_id: str | int) -> None:
        if self.mode == "half_answer":
            os.write(1, b'{"jsonrpc":"2.0","id":%d,"result":{"content":[{"ty' % int(request_id))
        if self.mode == "stops_reading":
            threading.Event().wait()
        if self.mode == "closes_stdout":
            stdout = os.fstat(1)
            for fd in range(256):  # uvloop hands a child its pipes twice
                with contextlib.suppress(OSError):
                    if os.path.samestat(os.fstat(fd), stdout):
                        os.close(fd)
            threading.Event().wait()
        die()

    def answer(self, request_id: str | int, result: Json) -> None:
        spoiled = self.mode == "wrong_ids" and "content" in result
        if spoiled:
            for wrong in (10**9, f"not {request_id}", None):
                self.send({"jsonrpc": "2.0", "id": wrong, "result": text_result("for another request")})
        super().answer(str(request_id) if self.mode == "text_ids" else request_id, result)
        if spoiled:
            super().answer(request_id, text_result("a second answer"))


def in_pieces(message: Json) -> None:
    """A log notification and the message after it, as one stream of small pieces."""
    log = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "debug", "data": "größe"}}
    whole = b"".join(json.dumps(each, ensure_ascii=False).encode() + b"\n" for each in (log, message))
    for start in range(0, len(whole), 7):
        os.write(1, whole[start : start + 7])
        time.sleep(0.0002)


def noisy(message: Json) -> None:
    """A message among lines that are none."""
    for line in GARBAGE:
        os.write(1, line.encode() + b"\n")
    write_line(message)
    os.write(1, b"done handling a request \xff\xfe\n")


def start_grandchild(reference: Reference, *, holds_pipes: bool) -> None:
    """A process that only a signal to the whole group, and not a polite one, ends."""
    program = (
        "import signal, time\n"
        "for name in ('SIGHUP', 'SIGTERM'):\n"
        "    if hasattr(signal, name): signal.signal(getattr(signal, name), signal.SIG_IGN)\n"
        "time.sleep(3600)\n"
    )
    null = None if holds_pipes else subprocess.DEVNULL
    child = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.DEVNULL, stdout=null, stderr=null
    )
    reference.note(event="grandchild", pid=child.pid)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("mode")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--bytes", type=int, default=10_000_000)
    options = parser.parse_args()
    mode: str = options.mode
    if mode not in (__doc__ or "").split():
        parser.error(f"no such mode: {mode}")
    if mode == "exits_at_once":
        print("cannot start: EXAMPLE_API_KEY is not set", file=sys.stderr, flush=True)
        sys.exit(3)
    send = {"half_lines": in_pieces, "prints_to_stdout": noisy}.get(mode, write_line)
    server = build(options, Bad, send)
    server.mode, server.seconds, server.answer_bytes = mode, options.seconds, options.bytes
    server.tools.append(tool("die", "End this server.", {}, []))
    if mode == "boolean_schema":
        server.tools += BAD_SCHEMAS
    if mode == "bad_tools":
        server.tools += BAD_TOOLS
    if mode == "slow_to_start":
        time.sleep(options.seconds)
    if mode == "stderr_flood":
        for _ in range(options.bytes // 100):
            sys.stderr.write("e" * 99 + "\n")
    if mode in ("orphan", "orphan_with_pipes"):
        start_grandchild(server, holds_pipes=mode == "orphan_with_pipes")
    if mode == "ignores_sigterm":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with contextlib.suppress(BrokenPipeError):
        serve(server)
    if mode == "ignores_sigterm":
        time.sleep(3600)


if __name__ == "__main__":
    main()
