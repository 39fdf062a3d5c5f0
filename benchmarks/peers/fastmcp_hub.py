"""A hub made of fastmcp's proxies, as its documentation shows it: one mounted proxy for each server.

python fastmcp_hub.py MCP_JSON [--http PORT]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from fastmcp import FastMCP
from fastmcp.server import create_proxy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mcp_json", type=Path)
    parser.add_argument("--http", type=int, metavar="PORT")
    options = parser.parse_args()
    hub = FastMCP("fastmcp-hub")
    for name, entry in json.loads(options.mcp_json.read_text())["mcpServers"].items():
        hub.mount(create_proxy({"mcpServers": {name: entry}}), namespace=name)
    if options.http is None:
        hub.run("stdio", show_banner=False, log_level="error")
    else:
        hub.run("http", host="127.0.0.1", port=options.http, show_banner=False, log_level="error")


if __name__ == "__main__":
    main()
