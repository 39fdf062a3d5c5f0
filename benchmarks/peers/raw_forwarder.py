"""The floor: forwards every stdio line to one server, rewriting ids, and does nothing else a hub must do.

python raw_forwarder.py COMMAND [ARGUMENT ...]
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

LINE_BYTES_MAX = 64 * 1024 * 1024


async def main(command: list[str]) -> None:
    loop = asyncio.get_running_loop()
    server = await asyncio.create_subprocess_exec(*command, stdin=-1, stdout=-1, limit=LINE_BYTES_MAX)
    assert server.stdin is not None
    upstream = asyncio.StreamReader(limit=LINE_BYTES_MAX)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(upstream), os.fdopen(0, "rb", 0))
    out, _ = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, os.fdopen(1, "wb", 0))
    ids: dict[int, object] = {}

    async def back() -> None:
        assert server.stdout is not None
        while line := await server.stdout.readline():
            message = json.loads(line)
            if "method" not in message:
                message["id"] = ids.pop(message["id"])
            out.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")

    returning = asyncio.create_task(back())
    number = 0
    while line := await upstream.readline():
        message = json.loads(line)
        if "id" in message:
            number += 1
            ids[number] = message["id"]
            message["id"] = number
        server.stdin.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")
    server.stdin.close()
    await server.wait()
    await returning


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
