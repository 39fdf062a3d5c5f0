"""A project's `.mcp.json` starts programs as it was approved, and in no other form."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.home import Home
from hub.place import PROJECT_FILE, approve
from tests.hub.running import Hubs, stdio, until


@pytest.fixture
def hubs(tmp_path: Path) -> Iterator[Hubs]:
    hubs = Hubs(tmp_path / "home")
    yield hubs
    hubs.end()


def write_project(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / PROJECT_FILE
    file.write_text(json.dumps({"mcpServers": {name: stdio("echo.py") for name in names}}))
    return file


def default_home_of(person: Path) -> Home:
    """The default home of the person whose home folder the hubs are started with."""
    data = (
        person / "Library" / "Application Support"
        if sys.platform == "darwin"
        else person / ".local" / "share"
    )
    return Home.at(data / "omni-hub")


def test_a_change_of_an_approved_file_waits_until_it_is_approved_again(hubs: Hubs, tmp_path: Path) -> None:
    file = write_project(tmp_path / "project", "first")
    base = default_home_of(tmp_path)
    approve(base, file)
    client = hubs.embed(cwd=file.parent)
    client.open()
    client.wait_for_tool("first.echo")

    write_project(file.parent, "first", "second")
    problems = until(
        lambda: client.call("hub.status")["structuredContent"]["problems"], "the change is noticed"
    )
    assert "approve" in " ".join(problems)
    assert "second.echo" not in client.tools()
    assert client.text("first.echo", text="still here") == "still here"

    approve(base, file)
    client.wait_for_tool("second.echo")
