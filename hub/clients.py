"""The programs that attach to the hub, and where each keeps its list of servers.

A client is its file, the key its servers stand under, and how its way of writing an
entry differs from `mcp.json`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hub.errors import InvalidArguments, UnknownName

TURN_TIMEOUT_S = 600
"""What clients with a tool timeout are told, because a turn of the agent takes minutes."""


@dataclass(frozen=True, slots=True)
class Person:
    """Whose clients are meant.

    Attributes:
        home: The person's home folder.
        platform: As `sys.platform` says it.
        environ: The person's environment.
    """

    home: Path = field(default_factory=Path.home)
    platform: str = sys.platform
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def application_folder(self) -> Path:
        """Where programs keep their configuration."""
        if self.platform == "win32":
            return Path(self.environ.get("APPDATA") or self.home / "AppData" / "Roaming")
        if self.platform == "darwin":
            return self.home / "Library" / "Application Support"
        return Path(self.environ.get("XDG_CONFIG_HOME") or self.home / ".config")


@dataclass(frozen=True, slots=True)
class Client:
    """A program that attaches to the hub.

    Attributes:
        name: What the command line calls it.
        title: What people call it.
        table: The key its servers stand under.
        file: Its file for every project, of a person.
        project_file: Its file inside a project; None when it has none.
        extra: What its entry holds beside command and arguments.
        taken_over: Turns an entry of its own into one of `mcp.json`.
    """

    name: str
    title: str
    table: str
    file: Callable[[Person], Path]
    project_file: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    taken_over: Callable[[dict[str, Any]], dict[str, Any]] = dict

    def where(self, person: Person, project: Path | None = None) -> Path:
        """The file to change.

        Raises:
            InvalidArguments: a project was given and this client has no file there.
        """
        if project is None:
            return self.file(person)
        if self.project_file is None:
            raise InvalidArguments(f"{self.title} has no configuration inside a project")
        return project.absolute() / self.project_file


def _of_gemini(entry: dict[str, Any]) -> dict[str, Any]:
    """Gemini CLI says `httpUrl` for Streamable HTTP, and means SSE by `url`."""
    taken = dict(entry)
    if "httpUrl" in taken:
        taken.pop("url", None)
        taken |= {"type": "http", "url": taken.pop("httpUrl")}
    elif "url" in taken and "type" not in taken:
        taken["type"] = "sse"
    # Whom Gemini trusts is no matter of the hub.
    taken.pop("trust", None)
    return taken


def _of_codex(entry: dict[str, Any]) -> dict[str, Any]:
    """Codex has seconds in its keys, and names the variables that hold secrets."""
    taken = dict(entry)
    headers = dict(taken.pop("http_headers", {}))
    headers |= {name: f"${{{variable}}}" for name, variable in taken.pop("env_http_headers", {}).items()}
    if variable := taken.pop("bearer_token_env_var", None):
        headers["Authorization"] = f"Bearer ${{{variable}}}"
    if headers:
        taken["headers"] = headers
    if timeout_s := taken.pop("tool_timeout_sec", None):
        taken["timeout"] = timeout_s
    taken.pop("startup_timeout_sec", None)
    if not taken.pop("enabled", True):
        taken["disabled"] = True
    return taken


def _claude_code_file(person: Person) -> Path:
    return Path(person.environ.get("CLAUDE_CONFIG_DIR") or person.home) / ".claude.json"


def _codex_file(person: Person) -> Path:
    return Path(person.environ.get("CODEX_HOME") or person.home / ".codex") / "config.toml"


CLIENTS: tuple[Client, ...] = (
    Client(
        "cursor",
        "Cursor",
        "mcpServers",
        lambda person: person.home / ".cursor" / "mcp.json",
        ".cursor/mcp.json",
    ),
    Client(
        "claude-desktop",
        "Claude Desktop",
        "mcpServers",
        lambda person: person.application_folder() / "Claude" / "claude_desktop_config.json",
    ),
    Client("claude-code", "Claude Code", "mcpServers", _claude_code_file, ".mcp.json", {"type": "stdio"}),
    Client(
        "codex",
        "Codex",
        "mcp_servers",
        _codex_file,
        ".codex/config.toml",
        {"tool_timeout_sec": TURN_TIMEOUT_S},
        _of_codex,
    ),
    Client(
        "gemini-cli",
        "Gemini CLI",
        "mcpServers",
        lambda person: person.home / ".gemini" / "settings.json",
        ".gemini/settings.json",
        {"timeout": TURN_TIMEOUT_S * 1000},
        _of_gemini,
    ),
    Client(
        "vscode",
        "VS Code",
        "servers",
        lambda person: person.application_folder() / "Code" / "User" / "mcp.json",
        ".vscode/mcp.json",
        {"type": "stdio"},
    ),
)


def client_named(name: str) -> Client:
    """The client of this name.

    Raises:
        UnknownName: there is none.
    """
    for client in CLIENTS:
        if client.name == name:
            return client
    raise UnknownName(f"no client {name!r}; the hub knows: {', '.join(client.name for client in CLIENTS)}")


def present_clients(person: Person) -> list[Client]:
    """The clients that this person seems to use: those whose folder is there."""
    return [
        client
        for client in CLIENTS
        # Claude Code's file stands in the home folder itself, which says nothing.
        if client.where(person).exists()
        or (client.name != "claude-code" and client.where(person).parent.is_dir())
    ]
