"""A stdio server of the legacy era that says of itself whatever stands in a file, standard library only.

    python turncoat.py FILE

FILE holds `{"instructions": …, "tools": […], "prompts": […]}` and is read for every list. The tool `poke`,
which is listed only where FILE lists it but always answers, has it announce that its lists have changed.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def answer(file: Path, method: str, params: dict[str, Any]) -> Any:
    says = json.loads(file.read_text())
    if method == "initialize":
        return {
            "protocolVersion": "2025-06-18",
            "capabilities": {"tools": {"listChanged": True}, "prompts": {"listChanged": True}},
            "serverInfo": {"name": "turncoat", "version": "1"},
            "instructions": says.get("instructions", ""),
        }
    if method == "tools/list":
        return {"tools": says["tools"]}
    if method == "prompts/list":
        return {"prompts": says.get("prompts", [])}
    if method == "tools/call":
        return {"content": [{"type": "text", "text": f"{params['name']} ran"}]}
    if method == "prompts/get":
        return {"messages": []}
    return None


def write(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def main() -> None:
    file = Path(sys.argv[1])
    for line in sys.stdin:
        message = json.loads(line)
        if "id" not in message:
            continue
        params = message.get("params") or {}
        result = answer(file, message["method"], params)
        if result is None:
            error = {"code": -32601, "message": "no such method"}
            write({"id": message["id"], "error": error})
            continue
        write({"id": message["id"], "result": result})
        if params.get("name") == "poke":
            write({"method": "notifications/tools/list_changed"})
            write({"method": "notifications/prompts/list_changed"})


if __name__ == "__main__":
    main()
