"""`mcp.json`: what is read from it, and what is said about the rest."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from hub.mcp_json import ServerEntry, ServersFile, child_environment, load, starts_a_hub


def read(tmp_path: Path, text: str | dict[str, Any], environ: dict[str, str] | None = None) -> ServersFile:
    file = tmp_path / "mcp.json"
    file.write_text(text if isinstance(text, str) else json.dumps(text), encoding="utf-8")
    return load(file, environ or {})


def entry(tmp_path: Path, raw: dict[str, Any], environ: dict[str, str] | None = None) -> ServerEntry:
    found = read(tmp_path, {"mcpServers": {"one": raw}}, environ)
    assert [str(problem) for problem in found.problems] == []
    return found.entries[0]


def errors(found: ServersFile) -> list[tuple[str | None, str | None]]:
    return [(problem.entry, problem.key) for problem in found.problems if problem.level == "error"]


def test_a_stdio_server_is_read_with_everything_it_says(tmp_path: Path) -> None:
    one = entry(
        tmp_path,
        {
            "command": "node",
            "args": ["server.js", 8080],
            "env": {"PORT": 1},
            "cwd": "sub/../there",
            "timeout": 5,
            "idle_timeout": 60,
            "description": "files",
        },
    )
    assert (one.name, one.transport, one.command) == ("one", "stdio", "node")
    assert (one.args, one.env) == (("server.js", "8080"), {"PORT": "1"})
    assert one.cwd == str(tmp_path / "there")
    assert (one.timeout_s, one.idle_timeout_s, one.description) == (5, 60, "files")


@pytest.mark.parametrize(
    ("raw", "transport"),
    [
        ({"command": "x"}, "stdio"),
        ({"url": "https://h/mcp"}, "http"),
        ({"url": "https://h/sse"}, "sse"),
        ({"url": "https://h/sse/?a=b"}, "sse"),
        ({"url": "https://h/sse", "type": "http"}, "http"),
        ({"url": "https://h/", "type": "streamable-http"}, "http"),
        ({"url": "https://h/", "type": "streamableHttp"}, "http"),
        ({"url": "https://h/", "transport": "sse"}, "sse"),
        ({"httpUrl": "https://h/"}, "http"),
        ({"serverUrl": "https://h/"}, "http"),
        ({"command": "x", "url": "https://h/", "type": "stdio"}, "stdio"),
    ],
)
def test_the_transport_is_what_the_entry_says_else_what_it_has(
    tmp_path: Path, raw: dict[str, Any], transport: str
) -> None:
    assert entry(tmp_path, raw).transport == transport


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        ({}, None),
        ({"command": "x", "url": "https://h/"}, None),
        ({"command": ""}, "command"),
        ({"command": 3.5, "args": "x"}, "args"),
        ({"command": "x", "args": [["a"]]}, "args.0"),
        ({"command": "x", "env": {"A": None}}, "env.A"),
        ({"command": "x", "env": {"A=B": "c"}}, "env.A=B"),
        ({"command": "x", "timeout": "5"}, "timeout"),
        ({"command": "x", "timeout": 0}, "timeout"),
        ({"command": "x", "disabled": "no"}, "disabled"),
        ({"url": "ftp://h/"}, "url"),
        ({"url": "http://"}, "url"),
        ({"url": "http://h:99999/"}, "url"),
        ({"url": "https://h/", "headers": {"A b": "c"}}, "headers.A b"),
        ({"url": "https://h/", "headers": {"A": "c\r\nX: y"}}, "headers.A"),
        ({"type": "websocket", "url": "https://h/"}, "type"),
        ({"transport": "stdio", "url": "https://h/"}, "command"),
        ("x", None),
        (None, None),
    ],
)
def test_a_bad_entry_is_named_with_its_key_and_harms_no_other(tmp_path: Path, raw: Any, key: str) -> None:
    found = read(tmp_path, {"mcpServers": {"good": {"command": "x"}, "bad": raw, "too": {"command": "y"}}})
    assert [one.name for one in found.entries] == ["good", "too"]
    assert errors(found) == [("bad", key)]
    assert str(found.problems[0]).startswith(f"{tmp_path / 'mcp.json'}: bad: ")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "line 1 column 1"),
        (" \n", "line 1 column 1"),
        ('{"mcpServers": {\n  "a": }\n}', "line 2 column 8"),
        ('{"mcpServers": {', "line 1 column 17"),
        ("[]", "line 1 column 1"),
        ('{"mcpServers": []}', "mcpServers"),
        ('{"mcp_servers": {}}', 'no "mcpServers"'),
        ("[" * 100_000, "nested"),
    ],
)
def test_a_broken_file_is_one_error_that_says_where(tmp_path: Path, text: str, place: str) -> None:
    found = read(tmp_path, text)
    assert found.state == "broken"
    assert found.entries == ()
    assert place in str(found.problems[0])


def test_a_missing_file_has_no_servers_and_is_no_error(tmp_path: Path) -> None:
    found = load(tmp_path / "mcp.json", {})
    assert (found.state, found.entries) == ("missing", ())
    assert [problem.level for problem in found.problems] == ["warning"]


def test_what_is_not_a_text_file_is_broken_and_does_not_raise(tmp_path: Path) -> None:
    assert load(tmp_path, {}).state == "broken"
    (tmp_path / "mcp.json").write_bytes(b'{"mcpServers": {"\xff": {}}}')
    assert load(tmp_path / "mcp.json", {}).state == "broken"
    (tmp_path / "mcp.json").write_bytes(b" " * (4 * 1024 * 1024 + 1))
    assert load(tmp_path / "mcp.json", {}).state == "broken"


def test_vs_codes_file_is_read_with_its_comments_and_its_workspace(tmp_path: Path) -> None:
    folder = tmp_path / ".vscode"
    folder.mkdir()
    (folder / "mcp.json").write_bytes(
        b"\xef\xbb\xbf"
        b'{ // servers of "this" project\n'
        b'  "inputs": [],\n'
        b'  "servers": {\n'
        b'    "a": {"command": "x", /* not { this } */ "args": ["${workspaceFolder}//b,]"],},\n'
        b"  },\n}\n"
    )
    found = load(folder / "mcp.json", {})
    assert found.problems == ()
    assert found.entries[0].args == (f"{tmp_path}//b,]",)
    assert found.entries[0].cwd == str(tmp_path)


def test_unknown_keys_are_kept_and_warned_about(tmp_path: Path) -> None:
    found = read(tmp_path, {"mcpServers": {"a": {"command": "x", "autoApprove": ["b"]}}})
    assert found.entries[0].extra == {"autoApprove": ["b"]}
    assert [(problem.key, problem.level) for problem in found.problems] == [("autoApprove", "warning")]


def test_a_name_that_stands_twice_is_warned_about(tmp_path: Path) -> None:
    found = read(tmp_path, '{"mcpServers": {"a": {"command": "x"}, "a": {"command": "y"}}}')
    assert [one.command for one in found.entries] == ["y"]
    assert [problem.level for problem in found.problems] == ["warning"]


def test_a_timeout_from_1000_on_is_milliseconds(tmp_path: Path) -> None:
    assert entry(tmp_path, {"command": "x", "timeout": 999.5}).timeout_s == 999.5
    assert entry(tmp_path, {"command": "x", "timeout": 30_000}).timeout_s == 30


def test_variables_are_filled_in_wherever_they_may_stand(tmp_path: Path) -> None:
    environ = {"A": "1", "EMPTY": ""}
    one = entry(
        tmp_path,
        {
            "command": "${A}",
            "args": ["${env:A}-${NONE:-d:-e}", "${EMPTY:-d}", "$A $${A} ${EMPTY}"],
            "env": {"H": "${userHome}${pathSeparator}x"},
            "cwd": "${workspaceFolder}/${A}",
        },
        environ,
    )
    assert one.command == "1"
    assert one.args == ("1-d:-e", "d", "$A ${A} ")
    assert one.env == {"H": os.path.expanduser("~") + os.sep + "x"}
    assert one.cwd == str(tmp_path / "1")
    two = entry(tmp_path, {"url": "http://${A}:80/", "headers": {"X": "b ${A}"}}, environ)
    assert (two.url, two.headers) == ("http://1:80/", {"X": "b 1"})


@pytest.mark.parametrize("written", ["${TOKEN}", "${env:TOKEN}", "${input:TOKEN}", "${TOKEN"])
def test_an_unresolved_variable_fails_its_entry_alone_and_is_named(tmp_path: Path, written: str) -> None:
    found = read(
        tmp_path, {"mcpServers": {"a": {"command": "x", "env": {"K": written}}, "b": {"command": "y"}}}
    )
    if written == "${TOKEN":  # no variable without its brace
        assert found.entries[0].env == {"K": written}
        return
    assert [one.name for one in found.entries] == ["b"]
    assert errors(found) == [("a", "env.K")]
    assert "TOKEN" in found.problems[0].message


def test_a_disabled_server_needs_no_variables(tmp_path: Path) -> None:
    found = read(tmp_path, {"mcpServers": {"a": {"url": "${URL}", "disabled": True}}})
    assert [(one.name, one.disabled) for one in found.entries] == [("a", True)]
    assert found.problems == ()


def test_names_become_usable_and_stay_unique(tmp_path: Path) -> None:
    table = {name: {"command": "x"} for name in ["My Server!", "a-b", "a_b", "日本", "My_Server"]}
    found = read(tmp_path, {"mcpServers": table})
    names = {one.key: one.name for one in found.entries}
    assert (names["My_Server"], names["a-b"]) == ("My_Server", "a-b")
    assert names["My Server!"].startswith("My_Server_")
    assert names["a_b"].startswith("a_b_")
    assert names["日本"] == "server"
    assert {problem.entry for problem in found.problems} == {"My Server!", "a_b", "日本"}


def test_secrets_are_not_in_the_repr_and_are_known(tmp_path: Path) -> None:
    environ = {"API_TOKEN": "from-the-environment"}
    one = entry(
        tmp_path,
        {
            "command": "x",
            "args": ["--key", "${API_TOKEN}"],
            "env": {"GITHUB_TOKEN": "in-the-file", "COLOR": "purple"},
        },
        environ,
    )
    two = entry(
        tmp_path,
        {
            "url": "https://me:pass-word@h/mcp?api_key=in-the-url",
            "headers": {"Authorization": "Bearer abcdef"},
        },
    )
    assert one.secrets == {"from-the-environment", "in-the-file"}
    assert two.secrets == {"pass-word", "in-the-url", "Bearer abcdef", "abcdef"}
    shown = repr(one) + repr(two)
    assert not any(secret in shown for secret in one.secrets | two.secrets)
    assert "purple" not in shown
    assert "GITHUB_TOKEN" in shown
    assert "https://h/mcp" in shown


def test_a_problem_never_holds_the_value(tmp_path: Path) -> None:
    raw = {"command": ["s3cr3t"], "timeout": "s3cr3t", "env": {"A": ["s3cr3t"]}}
    found = read(tmp_path, {"mcpServers": {"a": raw, "b": {"url": "s3cr3t"}, "c": {"type": "s3cr3t"}}})
    assert len(found.problems) == 5
    assert "s3cr3t" not in " ".join(map(str, found.problems))


def test_the_fingerprint_changes_with_the_process_and_with_nothing_else(tmp_path: Path) -> None:
    base = {"command": "x", "args": ["a"], "env": {"A": "1", "B": "2"}}
    same = [{**base, "timeout": 3}, {**base, "description": "d", "new": 1}, {**base, "disabled": True}]
    same.append({"env": {"B": "2", "A": "1"}, "args": ["a"], "command": "x"})
    other = [
        {**base, "args": ["b"]},
        {**base, "env": {"A": "1", "B": "3"}},
        {**base, "cwd": "/"},
        {**base, "command": "y"},
    ]

    def fingerprint(raw: dict[str, Any]) -> str:
        return read(tmp_path, {"mcpServers": {"a": raw}}).entries[0].fingerprint

    assert {fingerprint(raw) for raw in same} == {fingerprint(base)}
    assert len({fingerprint(raw) for raw in [base, *other]}) == 5


@pytest.mark.parametrize(
    "line",
    [
        "hub mcp",
        "/usr/local/bin/hub --home /x mcp",
        "omni-hub",
        r"C:\Python\Scripts\hub.exe mcp",
        "uvx omni-hub@latest mcp",
        "uvx --from omni-hub[all]==1.0 hub mcp",
        "uv run --directory /x hub mcp",
        "pipx run omni-hub mcp",
        "python -m hub mcp",
        "/usr/bin/python3.12 -m hub",
        "uv run python -m hub mcp",
        "env A=1 hub mcp",
        "cmd /c hub mcp",
    ],
)
def test_an_entry_that_would_start_a_hub_is_skipped_with_a_warning(tmp_path: Path, line: str) -> None:
    command, *args = line.split()
    found = read(tmp_path, {"mcpServers": {"a": {"command": command, "args": args}, "b": {"command": "x"}}})
    assert [one.name for one in found.entries] == ["b"]
    assert [(problem.entry, problem.level) for problem in found.problems] == [("a", "warning")]


def test_a_shell_that_starts_a_hub_is_seen() -> None:
    shell = ServerEntry("a", "a", "stdio", command="/bin/sh", args=("-c", "cd /x && exec hub mcp"))
    assert starts_a_hub(shell)


@pytest.mark.parametrize(
    "line",
    [
        "npx -y @modelcontextprotocol/server-memory",
        "hub pr list",
        "node /srv/hub mcp",
        "python server.py hub mcp",
        "uvx mcp-server-git --repository /home/me/hub",
        "docker run -i mcp/hub",
        "python -m hubble",
    ],
)
def test_other_programs_with_hub_in_their_line_are_left_alone(tmp_path: Path, line: str) -> None:
    command, *args = line.split()
    assert not starts_a_hub(entry(tmp_path, {"command": command, "args": args}))


def test_a_url_of_the_hub_itself_is_skipped(tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    urls = [
        "http://localhost:8787/mcp",
        "http://127.0.0.1:8787/sse",
        "http://localhost:9/mcp",
        "http://h:8787/mcp",
    ]
    file.write_text(json.dumps({"mcpServers": {f"s{at}": {"url": url} for at, url in enumerate(urls)}}))
    assert [one.name for one in load(file, {}, http_port=8787).entries] == ["s2", "s3"]
    assert len(load(file, {}).entries) == 4


def test_a_child_sees_a_clean_base_its_entry_and_the_depth(tmp_path: Path) -> None:
    base = {
        "PATH": "/bin",
        "HOME": "/home/me",
        "LC_ALL": "C",
        "XDG_RUNTIME_DIR": "/run/1",
        "https_proxy": "http://proxy",
        "SystemRoot": "C:\\Windows",
        "OPENAI_API_KEY": "sk-no",
        "HUB_MODEL": "no",
        "HUB_DEPTH": "no",
        "BASH_FUNC_ls%%": "() { evil; }",
        "LC_EVIL": "() { evil; }",
        "PYTHONPATH": "/no",
    }
    seen = child_environment(entry(tmp_path, {"command": "x", "env": {"A": "1", "LC_ALL": "de"}}), base)
    assert seen == {
        "PATH": "/bin",
        "HOME": "/home/me",
        "LC_ALL": "de",
        "XDG_RUNTIME_DIR": "/run/1",
        "https_proxy": "http://proxy",
        "SystemRoot": "C:\\Windows",
        "A": "1",
        "HUB_DEPTH": "1",
    }
