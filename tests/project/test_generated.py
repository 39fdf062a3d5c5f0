"""What is generated from the code, and the examples beside it."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from hub.home import Home
from hub.mcp_json import load
from hub.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs"
CLIENTS = sorted((CONFIGS / "examples" / "clients").glob("*.json"))


def schema(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((CONFIGS / name).read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(found)
    return found


def test_the_reference_and_the_schemas_are_what_the_code_says() -> None:
    done = subprocess.run(
        [sys.executable, "tools/generate.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_every_setting_says_what_it_does() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if "| `HUB_" in line]
    assert len(rows) > 60
    assert [row for row in rows if row.split("|")[-2].strip() == ""] == []


def test_the_example_of_hub_toml_is_valid() -> None:
    example = tomllib.loads((CONFIGS / "examples" / "hub.toml").read_text(encoding="utf-8"))
    jsonschema.validate(example, schema("hub.schema.json"))
    Settings.model_validate(example)


def test_the_example_of_mcp_json_is_valid_and_has_every_transport() -> None:
    file = CONFIGS / "examples" / "mcp.json"
    jsonschema.validate(json.loads(file.read_text(encoding="utf-8")), schema("mcp.schema.json"))
    found = load(file, {"GITHUB_TOKEN": "x"})
    assert found.problems == ()
    assert {entry.transport for entry in found.entries} == {"stdio", "http", "sse"}


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("hub.schema.json", {"modle": "x"}),
        ("hub.schema.json", {"agent": {"rounds_max": 0}}),
        ("mcp.schema.json", {"mcpServers": {"a": {}}}),
        ("mcp.schema.json", {"mcpServers": {"a": {"command": "x", "timeout": -1}}}),
    ],
)
def test_the_schemas_refuse_what_the_hub_refuses(name: str, key: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(key, schema(name))


@pytest.mark.parametrize("file", CLIENTS, ids=lambda file: file.stem)
def test_the_entry_for_each_client_is_one_that_clients_read(file: Path) -> None:
    jsonschema.validate(json.loads(file.read_text(encoding="utf-8")), schema("mcp.schema.json"))
    found = load(file, {"HUB_KEY": "x"})
    assert [problem for problem in found.problems if problem.level == "error"] == []
    # And the hub, reading such a file itself, does not start itself.
    assert [entry.name for entry in found.entries] == (["hub"] if file.stem == "http" else [])


def test_the_entry_for_codex_is_toml_that_starts_the_attachment() -> None:
    text = (CONFIGS / "examples" / "clients" / "codex.toml").read_text(encoding="utf-8")
    assert tomllib.loads(text)["mcp_servers"]["hub"]["args"] == ["mcp"]


def test_the_reference_names_the_homes_own_files() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    home = Home.at("/x")
    for file in (home.settings_file, home.servers_file, home.env_file):
        assert f"`{file.name}`" in page
