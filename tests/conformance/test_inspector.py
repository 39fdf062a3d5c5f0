"""The Inspector's linter has nothing against the hub's own tools, in both eras over every transport."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.toolkit import MISSING, run_node
from tests.hub.running import Hubs, Served, hub_mcp, write_servers

pytestmark = [
    pytest.mark.conformance,
    pytest.mark.skipif(MISSING is not None, reason=str(MISSING)),
]

OWN = {"agent.run_turn", "memory.recall", "memory.store", "memory.feedback", "hub.status", "tools.search"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("inspected") / "home"
    write_servers(home, {})
    hubs = Hubs(home)
    served = Served(home, "--no-auth")
    yield served
    served.stop()
    hubs.end()


@pytest.mark.parametrize(
    ("era", "front"),
    [("legacy", "stdio"), ("legacy", "http"), ("legacy", "sse"), ("modern", "stdio"), ("modern", "http")],
)
def test_the_inspector_lists_the_hubs_tools_and_warns_of_nothing(
    served: Served, tmp_path: Path, era: str, front: str
) -> None:
    target = {
        "stdio": hub_mcp(served.home),
        "http": ["--transport", "http", "--server-url", f"{served.url}/mcp"],
        "sse": ["--transport", "sse", "--server-url", f"{served.url}/sse"],
    }[front]
    options = ["--cli", "--strict", "--protocol-era", era, "--method", "tools/list"]
    inspector = Path("@modelcontextprotocol/inspector/clients/launcher/build/index.js")
    done = run_node(tmp_path, inspector, *options, *target)
    assert done.returncode == 0, done.stderr
    assert "Warning:" not in done.stderr, done.stderr
    assert {tool["name"] for tool in json.loads(done.stdout)["tools"]} >= OWN
