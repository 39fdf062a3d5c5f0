"""Names as clients meet them: reserved ones, equal ones, long ones, in each style."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.hub.running import Client, Hubs, Refused, stdio, write_servers

LONG = "a_server_with_a_name_that_is_as_long_as_a_sentence"


@pytest.fixture(scope="module", params=["dotted", "qualified", "bare"])
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    home = tmp_path_factory.mktemp("home")
    hubs = Hubs(home)
    names = ["memory", "hub", "a.b", "a-b", "two words", LONG, "ümlaut"]
    write_servers(home, {name: stdio("echo.py", "--name", name) for name in names})
    try:
        client = hubs.embed("--tool-names", request.param)
        client.open()
        for _ in names:
            client.tools()
        client.wait_for_state("a.b", "ready")
        yield client
        assert client.close() == 0
    finally:
        hubs.end()


def test_every_tool_has_a_name_that_every_client_takes(client: Client) -> None:
    names = list(client.tools())
    assert all(re.fullmatch(r"[A-Za-z0-9_.]{1,50}", name) for name in names)
    assert len({re.sub(r"[.-]", "_", name) for name in names}) == len(names)


def test_every_name_leads_to_a_tool_of_its_own(client: Client) -> None:
    rows = {row["name"] for row in client.status()["servers"]}
    assert len(rows) == 7
    envs = {
        name: client.call(name)["structuredContent"]["pid"]
        for name, tool in client.tools().items()
        if tool["description"].startswith("Return environment")
    }
    assert len(envs) == len(set(envs.values())) == 7


def test_a_server_named_as_the_hubs_own_keeps_clear_of_it(client: Client) -> None:
    rows = {row["name"] for row in client.status()["servers"]}
    assert not rows & {"memory", "hub"}
    assert sum(row.startswith("memory") for row in rows) == 1
    assert client.call("hub.status")["structuredContent"]["version"]
    assert "memory.recall" in {
        tool["name"] for tool in client.call("tools.search", query="recall")["structuredContent"]["tools"]
    }


def test_a_name_that_could_mean_several_tools_is_not_guessed(client: Client) -> None:
    if "echo" in client.tools():
        pytest.skip("in this style it is one tool's name")
    with pytest.raises(Refused, match="Unknown tool: echo"):
        client.call("echo", text="x")
