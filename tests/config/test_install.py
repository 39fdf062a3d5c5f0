"""The hub in and out of the clients' own files, and their servers into the hub's."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from hub.clients import CLIENTS, Client, Person, client_named, present_clients
from hub.errors import ConfigError, InvalidArguments, UnknownName
from hub.install import hub_command, import_servers, install, uninstall
from hub.mcp_json import load

COMMAND = ["/opt/bin/hub"]


@pytest.fixture
def person(tmp_path: Path) -> Person:
    return Person(home=tmp_path, platform="linux", environ={})


def servers(client: Client, file: Path) -> dict[str, Any]:
    text = file.read_text(encoding="utf-8")
    document = tomllib.loads(text) if file.suffix == ".toml" else json.loads(text)
    found: dict[str, Any] = document[client.table]
    return found


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_the_hub_goes_into_a_clients_file_and_comes_out_again(client: Client, person: Person) -> None:
    change = install(client, person, command=COMMAND, options=["--home", "/x"])
    assert (change.changed, change.backup) == (True, None)
    entry = servers(client, change.file)["hub"]
    assert (entry["command"], entry["args"]) == ("/opt/bin/hub", ["mcp", "--home", "/x"])
    assert install(client, person, command=COMMAND, options=["--home", "/x"]).changed is False
    assert uninstall(client, person).changed is True
    assert "opt/bin" not in change.file.read_text(encoding="utf-8")
    assert uninstall(client, person).changed is False


def test_each_platform_and_variable_leads_to_the_clients_own_file(tmp_path: Path) -> None:
    def where(name: str, platform: str, **environ: str) -> str:
        file = client_named(name).where(Person(tmp_path, platform, environ))
        return file.relative_to(tmp_path).as_posix()

    assert where("cursor", "linux") == ".cursor/mcp.json"
    assert where("claude-desktop", "darwin") == (
        "Library/Application Support/Claude/claude_desktop_config.json"
    )
    assert (
        where("claude-desktop", "win32", APPDATA=str(tmp_path / "A")) == "A/Claude/claude_desktop_config.json"
    )
    assert where("claude-desktop", "linux") == ".config/Claude/claude_desktop_config.json"
    assert where("claude-code", "linux") == ".claude.json"
    assert where("codex", "linux", CODEX_HOME=str(tmp_path / "c")) == "c/config.toml"
    assert where("gemini-cli", "linux") == ".gemini/settings.json"
    assert where("vscode", "darwin") == "Library/Application Support/Code/User/mcp.json"


def test_everything_else_in_a_json_file_stays(person: Person) -> None:
    client = client_named("vscode")
    file = client.where(person)
    file.parent.mkdir(parents=True)
    text = '{\n\t// mine\n\t"inputs": [],\n\t"servers": {\n\t\t"a": {"command": "x"}, // first\n\t}\n}\n'
    file.write_text(text)
    change = install(client, person, command=COMMAND)
    assert change.backup is not None
    assert change.backup.read_text() == text
    assert [line for line in text.splitlines() if line not in file.read_text().splitlines()] == []
    uninstall(client, person)
    assert file.read_text() == text.replace('"x"}, // first', '"x"} // first')


def test_everything_else_in_codexs_file_stays(person: Person) -> None:
    client = client_named("codex")
    file = client.where(person)
    file.parent.mkdir(parents=True)
    text = (
        '# my settings\nmodel = "gpt"   # the good one\n\n[mcp_servers.docs]\ncommand = "npx"\n'
        'args = [\n  "-y", # yes\n  "docs",\n]\n\n[profiles.x]\nmodel = "o"\n'
    )
    file.write_text(text)
    install(client, person, command=COMMAND)
    written = file.read_text()
    assert tomllib.loads(written)["mcp_servers"]["hub"] == {
        "command": "/opt/bin/hub",
        "args": ["mcp"],
        "tool_timeout_sec": 600,
    }
    assert [line for line in text.splitlines() if line not in written.splitlines()] == []
    uninstall(client, person)
    assert file.read_text().split() == text.split()


def test_what_a_person_added_to_the_entry_stays(person: Person) -> None:
    client = client_named("cursor")
    file = install(client, person, command=COMMAND).file
    document = json.loads(file.read_text())
    document["mcpServers"]["hub"]["env"] = {"HUB_TOOL_NAMES": "bare"}
    file.write_text(json.dumps(document))
    install(client, person, command=["/new/hub"])
    entry = servers(client, file)["hub"]
    assert (entry["command"], entry["env"]) == ("/new/hub", {"HUB_TOOL_NAMES": "bare"})


def test_another_server_of_that_name_is_left_alone(person: Person) -> None:
    client = client_named("cursor")
    file = client.where(person)
    file.parent.mkdir()
    text = '{"mcpServers": {"hub": {"command": "docker", "args": ["run", "dockerhub"]}}}'
    file.write_text(text)
    with pytest.raises(InvalidArguments, match="--name"):
        install(client, person, command=COMMAND)
    with pytest.raises(InvalidArguments, match="not a hub"):
        uninstall(client, person)
    assert file.read_text() == text
    install(client, person, name="omni", command=COMMAND)
    assert set(servers(client, file)) == {"hub", "omni"}


@pytest.mark.parametrize(
    ("name", "text"), [("cursor", "{ broken"), ("codex", "model = "), ("cursor", '{"mcpServers": []}')]
)
def test_a_file_that_cannot_be_understood_is_left_alone(person: Person, name: str, text: str) -> None:
    client = client_named(name)
    file = client.where(person)
    file.parent.mkdir()
    file.write_text(text)
    with pytest.raises(ConfigError, match="left alone"):
        install(client, person, command=COMMAND)
    assert file.read_text() == text


def test_a_dry_run_writes_nothing_and_shows_no_other_servers_key(person: Person) -> None:
    client = client_named("cursor")
    file = client.where(person)
    file.parent.mkdir()
    text = '{\n  "mcpServers": {\n    "a": {\n      "command": "x", "env": {"K": "s3cr3t"}\n    }\n  }\n}\n'
    file.write_text(text)
    change = install(client, person, command=COMMAND, dry_run=True)
    assert file.read_text() == text
    assert [one.name for one in file.parent.iterdir()] == ["mcp.json"]
    assert "/opt/bin/hub" in change.diff
    assert "s3cr3t" not in change.diff


def test_a_project_has_a_file_of_its_own(person: Person, tmp_path: Path) -> None:
    project = tmp_path / "project"
    assert install(client_named("cursor"), person, project=project, command=COMMAND).file == (
        project / ".cursor" / "mcp.json"
    )
    with pytest.raises(InvalidArguments):
        install(client_named("claude-desktop"), person, project=project, command=COMMAND)


def test_the_clients_that_are_there_are_found(person: Person) -> None:
    assert present_clients(person) == []
    (person.home / ".codex").mkdir()
    (person.home / ".claude.json").write_text("{}")
    assert [client.name for client in present_clients(person)] == ["claude-code", "codex"]


def test_an_unknown_client_is_answered_with_those_that_are_known() -> None:
    with pytest.raises(UnknownName, match="gemini-cli"):
        client_named("netscape")


def test_the_hubs_own_command_has_a_full_path() -> None:
    assert Path(hub_command()[0]).is_absolute()


def test_codexs_servers_are_taken_over_in_the_hubs_words(person: Person, tmp_path: Path) -> None:
    client = client_named("codex")
    file = client.where(person)
    file.parent.mkdir()
    file.write_text(
        '[mcp_servers.hub]\ncommand = "hub"\nargs = ["mcp"]\n'
        '[mcp_servers.docs]\ncommand = "npx"\nargs = ["docs"]\ntool_timeout_sec = 90\n'
        "startup_timeout_sec = 5\n"
        '[mcp_servers.remote]\nurl = "https://h/mcp"\nbearer_token_env_var = "TOKEN"\nenabled = false\n'
        '[mcp_servers.broken]\nargs = ["x"]\n'
        '[mcp_servers.here]\ncommand = "theirs"\n'
    )
    ours = tmp_path / "mcp.json"
    ours.write_text('{"mcpServers": {"here": {"command": "mine"}}}')
    tried = import_servers(client, person, ours, dry_run=True)
    assert ours.read_text() == '{"mcpServers": {"here": {"command": "mine"}}}'
    done = import_servers(client, person, ours)
    assert tried == done
    assert done.added == ("docs", "remote")
    assert set(done.skipped) == {"hub", "broken", "here"}
    found = load(ours, {"TOKEN": "t"})
    assert found.problems == ()
    entries = {entry.name: entry for entry in found.entries}
    assert (entries["docs"].timeout_s, entries["here"].command) == (90, "mine")
    assert entries["remote"].disabled
    assert entries["remote"].headers == {"Authorization": "Bearer ${TOKEN}"}


def test_geminis_two_kinds_of_url_are_told_apart(person: Person, tmp_path: Path) -> None:
    client = client_named("gemini-cli")
    file = client.where(person)
    file.parent.mkdir()
    table = {"a": {"httpUrl": "https://h/a", "trust": True}, "b": {"url": "https://h/b", "timeout": 5000}}
    file.write_text(json.dumps({"theme": "x", "mcpServers": table}))
    ours = tmp_path / "mcp.json"
    import_servers(client, person, ours)
    found = load(ours, {})
    assert found.problems == ()
    assert [(entry.name, entry.transport, entry.timeout_s) for entry in found.entries] == [
        ("a", "http", None),
        ("b", "sse", 5),
    ]
