"""`hub mcp` and `python -m hub mcp` with the real hub behind them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.home import Home
from hub.place import approve
from tests.attach.client import Attachment, end_all, hub_pid, is_alive, kill_hub, until

Run = Callable[..., Attachment]

FEW = {"HOME": os.environ.get("HOME", "/"), "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "TERM": "dumb"}
"""All that some clients pass on."""


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Starts `hub mcp` with a default home of its own."""
    base = tmp_path / "base"
    started: list[Attachment] = []

    def start(*arguments: str, folder: Path = tmp_path, **environ: str) -> Attachment:
        command = [sys.executable, "-P", "-m", "hub", "mcp", *arguments]
        environ = FEW | {"HUB_HOME": str(base)} | environ
        started.append(Attachment(command, cwd=folder, env=environ))
        return started[-1]

    yield start
    for attachment in started:
        attachment.end()
    end_all(Home(base))


@pytest.fixture
def base(tmp_path: Path) -> Home:
    return Home(tmp_path / "base")


def initialize(client: Attachment) -> dict[str, Any]:
    params = {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    }
    client.send("initialize", params)
    result: dict[str, Any] = client.receive()["result"]
    client.send("notifications/initialized", notify=True)
    return result


def said(client: Attachment) -> str:
    """Everything the attachment said to its client's log, once it has ended."""
    client.close_input()
    client.wait()
    return "".join(client.remarks)


def test_it_answers_initialize_and_ends_with_its_client(run: Run, base: Home) -> None:
    client = run()
    assert initialize(client)["serverInfo"]["name"] == "omni-hub"
    assert said(client) == ""
    assert is_alive(hub_pid(base))


def test_a_killed_hub_is_replaced_under_the_same_client(run: Run, base: Home) -> None:
    client = run()
    initialize(client)
    client.send("tools/list")
    assert "memory.recall" in str(client.receive())
    kill_hub(base)
    listing = client.send("tools/list")
    told = []
    while "id" not in (message := client.receive()):
        told.append(message["method"])
    assert message["id"] == listing
    assert "memory.recall" in [tool["name"] for tool in message["result"]["tools"]]
    assert "notifications/tools/list_changed" in told


def test_a_stopped_hub_leaves_nothing_behind(run: Run, base: Home) -> None:
    client = run()
    initialize(client)
    pid = hub_pid(base)
    said(client)
    os.kill(pid, signal.SIGTERM)
    until(lambda: not is_alive(pid), "the hub's end")
    assert not base.address_file.exists()
    assert not base.process_file.exists()


def test_variables_that_a_client_passed_in_vain_are_named_without_their_values(run: Run) -> None:
    client = run(
        OPENAI_API_KEY="sk-secret", LITELLM_PROXY_URL="http://x", HUB_MODEL="gpt", HUB_TOOL_NAMES="bare"
    )
    initialize(client)
    words = said(client)
    assert "HUB_MODEL, LITELLM_PROXY_URL, OPENAI_API_KEY" in words
    assert "HUB_TOOL_NAMES" not in words
    assert "HUB_HOME" not in words
    assert "secret" not in words


def test_an_unapproved_file_in_the_folder_is_skipped_and_said(run: Run, base: Home, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    file = project / ".mcp.json"
    file.write_text('{"mcpServers": {}}')
    client = run(folder=project)
    initialize(client)
    assert base.process_file.exists()
    words = said(client)
    assert f"{file} is not used" in words
    assert "approve" in words

    approve(base, file)
    client = run(folder=project)
    initialize(client)
    assert [home.name.rpartition("-")[0] for home in (base.root / "projects").iterdir()] == ["project"]
    assert said(client) == ""


def test_another_servers_file_gets_a_hub_of_its_own(run: Run, base: Home, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"mcpServers": {}}')
    first, second = run(), run("--mcp-config", "other.json")
    initialize(first)
    initialize(second)
    [home] = (base.root / "projects").iterdir()
    assert hub_pid(base) != hub_pid(Home(home))


def test_a_hub_of_this_home_that_serves_another_file_is_said(run: Run, base: Home, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"mcpServers": {}}')
    initialize(run())
    client = run("--home", str(base.root), "--mcp-config", "other.json")
    initialize(client)
    assert f"serves {base.servers_file}, not {tmp_path / 'other.json'}" in said(client)


def test_a_missing_servers_file_is_an_error_at_once(run: Run) -> None:
    client = run("--mcp-config", "nowhere.json")
    assert client.wait() == 2
    assert "nowhere.json" in "".join(client.remarks)


def test_a_wrong_setting_reaches_the_client_with_its_file_and_key(run: Run, base: Home) -> None:
    base.root.mkdir()
    base.settings_file.write_text("idle_exit_s = 'soon'")
    client = run()
    client.send("initialize", {})
    message = client.receive()["error"]["message"]
    assert "hub.toml" in message
    assert "idle_exit_s" in message


def test_a_hubs_own_child_is_refused(run: Run) -> None:
    client = run(HUB_DEPTH="1")
    assert client.wait() == 2
    assert "would call itself" in "".join(client.remarks)


def test_an_unknown_way_of_naming_tools_is_refused(run: Run) -> None:
    assert run("--tool-names", "weird").wait() == 2
    assert run(HUB_TOOL_NAMES="weird").wait() == 2


def test_an_embedded_hub_keeps_others_out_and_says_so(run: Run, base: Home) -> None:
    embedded = run("--embedded")
    assert initialize(embedded)["serverInfo"]["name"] == "omni-hub"
    pid = hub_pid(base)
    assert pid == embedded.process.pid
    client = run()
    client.send("initialize", {})
    message = client.receive()["error"]["message"]
    assert f"process {pid}" in message
    assert "embedded" in message
    second = run("--embedded")
    assert second.wait() != 0
    assert "embedded" in "".join(second.remarks)


def test_the_way_to_the_socket_is_standard_library_only() -> None:
    program = "import sys; before = set(sys.modules); import hub.attach; print(*set(sys.modules) - before)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30
    )
    foreign = {name.partition(".")[0] for name in done.stdout.split()} - sys.stdlib_module_names - {"hub"}
    assert foreign == set()
    assert not {"asyncio", "subprocess", "logging", "typing_extensions"} & set(done.stdout.split())


def test_requests_can_be_piped_in(run: Run, base: Home) -> None:
    client = run()
    initialize(client)
    request = {"jsonrpc": "2.0", "id": "last", "method": "tools/list"}
    client.write(json.dumps(request).encode())
    client.close_input()
    assert client.receive()["id"] == "last"
    assert client.wait() == 0
