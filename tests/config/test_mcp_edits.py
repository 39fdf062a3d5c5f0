"""`hub servers add|remove|enable|disable`, on the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.errors import ConfigError, InvalidArguments, UnknownName
from hub.mcp_edits import add_server, remove_server, set_disabled
from hub.mcp_json import load

TEXT = """\
{
  // shared with my editor
  "mcpServers": {
    "files": {"command": "npx", "args": ["files"], "autoApprove": ["read"]},
    "My Notes": {
      "url": "https://example.com/mcp"
    }
  },
  "other": [1, 2]
}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "mcp.json"
    file.write_text(TEXT)
    return file


def test_a_server_is_added_and_removed_and_the_rest_of_the_file_stays(file: Path) -> None:
    add_server(file, "git", {"command": "uvx", "args": ["mcp-server-git"], "env": {"T": "${NOT_SET_YET}"}})
    assert [entry.key for entry in load(file, {"NOT_SET_YET": "1"}).entries] == ["files", "My Notes", "git"]
    assert "// shared with my editor" in file.read_text()
    remove_server(file, "git")
    assert file.read_text() == TEXT


def test_a_server_is_switched_off_and_on_by_either_of_its_names(file: Path) -> None:
    set_disabled(file, "My_Notes", True)
    set_disabled(file, "files", True)
    set_disabled(file, "files", True)
    assert [entry.disabled for entry in load(file, {}).entries] == [True, True]
    set_disabled(file, "My Notes", False)
    set_disabled(file, "files", False)
    assert file.read_text().split() == TEXT.split()


def test_the_file_is_made_for_the_first_server(tmp_path: Path) -> None:
    file = tmp_path / "new" / "mcp.json"
    add_server(file, "a", {"url": "https://h/mcp"})
    assert [entry.name for entry in load(file, {}).entries] == ["a"]


def test_vs_codes_table_is_used_where_it_stands(tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    file.write_text('{"servers": {}}')
    add_server(file, "a", {"command": "x"})
    assert '"mcpServers"' not in file.read_text()
    assert [entry.name for entry in load(file, {}).entries] == ["a"]


def test_what_is_wrong_changes_nothing_and_is_said(file: Path) -> None:
    with pytest.raises(InvalidArguments, match="already"):
        add_server(file, "files", {"command": "x"})
    with pytest.raises(InvalidArguments, match="url"):
        add_server(file, "bad", {"url": "nowhere"})
    with pytest.raises(UnknownName, match="files"):
        remove_server(file, "nobody")
    assert file.read_text() == TEXT
    add_server(file, "files", {"command": "x"}, replace=True)
    assert load(file, {}).entries[0].command == "x"
    file.write_text("{ broken")
    with pytest.raises(ConfigError, match="left alone"):
        add_server(file, "a", {"command": "x"})
    assert file.read_text() == "{ broken"
