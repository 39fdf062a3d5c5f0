"""Commands without a hub: wrong usage, files, checks, errors that are one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hub.home import Home
from tests.cli.conftest import Cli


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nope"], "No such command 'nope'"),
        (["tools", "call"], "Missing argument"),
        (["tools", "call", "x", "--nope"], "--nope"),
        (["memory", "feedback", "rc_1", "3"], "less than or equal to 1"),
        (["memory", "forget"], "say which"),
        (["run", " "], "the message is empty"),
        (["repl", "--json"], "hub stdio --json"),
    ],
)
def test_a_wrong_command_is_one_line_on_stderr_and_exit_code_2(cli: Cli, words: list[str], said: str) -> None:
    code, out, err = cli(*words)
    assert code == 2
    assert said in err
    assert err.count("\n") == 1
    assert err.startswith("hub: ")
    if "--json" not in words:
        assert out == ""


def test_help_lists_every_command_that_the_documentation_names(cli: Cli) -> None:
    code, out, _ = cli("--help")
    assert code == 0
    for name in (
        "mcp",
        "serve",
        "stdio",
        "repl",
        "run",
        "demo",
        "status",
        "stop",
        "doctor",
        "tools",
        "servers",
    ):
        assert name in out


def test_the_version_is_printed_alone(cli: Cli) -> None:
    code, out, _ = cli("--version")
    assert code == 0
    assert out.startswith("hub ")


def test_status_without_a_hub_starts_none_and_ends_with_3(cli: Cli, home: Home) -> None:
    code, out, _ = cli("status")
    assert code == 3
    assert "No hub runs" in out
    assert not home.root.exists()


def test_a_servers_file_that_is_not_there_ends_with_4(cli: Cli) -> None:
    code, _, err = cli("status", "--mcp-config", "none.json")
    assert code == 4
    assert "none.json" in err


def test_servers_are_added_switched_and_removed_and_the_rest_of_the_file_stays(cli: Cli, home: Home) -> None:
    home.root.mkdir()
    home.servers_file.write_text('{\n  // mine\n  "mcpServers": {"old": {"command": "old"}}\n}\n')
    assert (
        cli("servers", "add", "time", "--env", "TZ=UTC", "--", "uvx", "mcp-server-time", "--verbose")[0] == 0
    )
    assert cli("servers", "add", "docs", "https://example.com/mcp", "-H", "X-Key=${DOCS_KEY}")[0] == 0
    text = home.servers_file.read_text()
    assert "// mine" in text
    servers = json.loads(text.replace("// mine", ""))["mcpServers"]
    assert servers["time"] == {
        "command": "uvx",
        "args": ["mcp-server-time", "--verbose"],
        "env": {"TZ": "UTC"},
    }
    assert servers["docs"] == {"url": "https://example.com/mcp", "headers": {"X-Key": "${DOCS_KEY}"}}
    assert cli("servers", "disable", "time")[0] == 0
    assert '"disabled": true' in home.servers_file.read_text()
    assert cli("servers", "enable", "time")[0] == 0
    assert "disabled" not in home.servers_file.read_text()
    assert cli("servers", "remove", "time")[0] == 0
    code, _, err = cli("servers", "remove", "time")
    assert code == 2
    assert "docs, old" in err


def test_a_server_is_not_replaced_by_accident(cli: Cli) -> None:
    cli("servers", "add", "a", "--", "one")
    code, _, _ = cli("servers", "add", "a", "--", "two")
    assert code == 2
    assert cli("servers", "add", "a", "--replace", "--", "two")[0] == 0


def test_options_of_programs_and_urls_are_not_mixed(cli: Cli) -> None:
    assert cli("servers", "add", "a", "https://example.com", "--env", "A=1")[0] == 2
    assert cli("servers", "add", "a", "-H", "A=1", "--", "program")[0] == 2
    assert cli("servers", "add", "a", "--env", "A", "--", "program")[0] == 2


def test_the_doctor_names_what_is_wrong_and_what_to_do(cli: Cli, home: Home) -> None:
    home.root.mkdir()
    home.servers_file.write_text(
        json.dumps({"mcpServers": {"gone": {"command": "no-such-program-here"}, "bad": {"args": []}}})
    )
    home.settings_file.write_text("modle = 1\n")
    code, out, _ = cli("doctor", "--json")
    assert code == 1
    checks = json.loads(out)["checks"]
    wrong = {check["message"]: check for check in checks if check["state"] == "error"}
    assert any("no-such-program-here" in message for message in wrong)
    assert any("bad" in message for message in wrong)
    assert any("modle" in message for message in wrong)
    assert all(check["advice"] for check in wrong.values())
    assert "gone" in cli("doctor")[1]


def test_a_project_file_that_nobody_approved_is_passed_over_and_said(cli: Cli) -> None:
    Path(".mcp.json").write_text('{"mcpServers": {}}')
    code, _, err = cli("servers", "disable", "x")
    assert code == 2
    assert "is not used" in err


def test_nothing_heavy_is_imported_before_a_command_needs_it() -> None:
    heavy = [
        "rich.table",
        "pydantic",
        "sqlalchemy",
        "chromadb",
        "litellm",
        "fastmcp",
        "mcp",
        "numpy",
        "uvicorn",
    ]
    code = (
        "import sys, hub.cli; hub.cli.main(['--version']); "
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_output_that_nobody_reads_to_the_end_is_no_error() -> None:
    command = f"{sys.executable} -m hub --help | head -n 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == ""


def test_a_client_gets_the_hub_of_this_home_and_loses_it_again(
    cli: Cli, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "ada"))
    file = tmp_path / "ada" / ".cursor" / "mcp.json"
    file.parent.mkdir(parents=True)
    file.write_text('{"mcpServers": {"mine": {"command": "mine"}}}')
    _, out, _ = cli("install", "cursor", "--dry-run")
    assert "nothing was changed" in out
    assert "hub" not in file.read_text()
    assert cli("install", "cursor")[0] == 0
    servers = json.loads(file.read_text())["mcpServers"]
    assert servers["hub"]["args"] == ["mcp", "--home", str(home.root)]
    assert "has the hub already" in cli("install", "cursor")[1]
    code, out, _ = cli("import", "cursor", "--json")
    assert code == 0
    assert json.loads(out)["added"] == ["mine"]
    assert list(json.loads(home.servers_file.read_text())["mcpServers"]) == ["mine"]
    assert cli("uninstall", "cursor")[0] == 0
    assert list(json.loads(file.read_text())["mcpServers"]) == ["mine"]


def test_clients_are_listed_when_none_is_named_and_an_unknown_one_ends_with_2(cli: Cli) -> None:
    assert "claude-code" in cli("install")[1]
    code, _, err = cli("install", "emacs")
    assert code == 2
    assert "cursor" in err


def test_with_json_a_wrong_command_is_told_as_json_too(cli: Cli) -> None:
    code, out, err = cli("tools", "call", "--json")
    assert code == 2
    assert json.loads(out)["error"]["data"]["error"] == "InvalidArguments"
    assert err.count("\n") == 1


def test_a_new_skill_is_written_listed_and_passes_its_own_check(cli: Cli, home: Home) -> None:
    assert cli("skills", "new", "greeter")[0] == 0
    assert "greeter" in cli("skills", "list")[1]
    code, out, _ = cli("skills", "check", str(home.skills_folder / "greeter"), "--json")
    assert code == 0
    assert json.loads(out)["problems"] == []
    (home.skills_folder / "greeter" / "tools.py").write_text("syntax error here\n")
    code, out, _ = cli("skills", "check", str(home.skills_folder / "greeter"))
    assert code == 1
    assert "tools.py" in out
