"""One server behind the hub: how to start or reach it, and what about it is secret.

The entry is what `hub.mcp_json` makes of one member of the file: variables filled in,
paths absolute, transport decided.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from hub.environment import DEPTH_VARIABLE, clean_environment
from hub.oauth_client import OAuthClient
from hub.redaction import bare_url

Transport = Literal["stdio", "http", "sse"]


@dataclass(frozen=True, slots=True)
class ServerEntry:
    """One server, ready to start or to connect to.

    Attributes:
        name: A name of `[A-Za-z0-9_-]` and dots, unique in the file.
        key: The name as it stands in the file.
        transport: How to reach it.
        command: The program (stdio).
        args: Its arguments (stdio).
        env: What it sees beside the clean base environment (stdio).
        cwd: Where it runs, absolute (stdio).
        url: Where it listens (http and sse).
        headers: Sent with every request (http and sse).
        oauth: What the hub is as its OAuth client (http and sse); None where nothing is said.
        timeout_s: How long a call may stay silent; None for the hub's default.
        idle_timeout_s: After how many idle seconds it is stopped; None or 0 for never.
        disabled: Whether it is left alone. The entry of a disabled server is not expanded.
        description: What it is for, in words.
        extra: `tools`, and the keys that the hub does not know, as they stand in the file.
        secrets: Values that must not be shown.
    """

    name: str
    key: str
    transport: Transport
    command: str = ""
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str | None = None
    url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    oauth: OAuthClient | None = None
    timeout_s: float | None = None
    idle_timeout_s: float | None = None
    disabled: bool = False
    description: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    secrets: frozenset[str] = frozenset()

    @property
    def fingerprint(self) -> str:
        """16 hex digits that change when the program or the connection would be another one.

        Timeouts, the description and unknown keys do not change it.
        """
        identity = [
            self.transport,
            self.command,
            self.args,
            sorted(self.env.items()),
            self.cwd,
            self.url,
            sorted(self.headers.items()),
            *(() if self.oauth is None else [self.oauth.model_dump(mode="json")]),
        ]
        return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]

    def __repr__(self) -> str:
        """The entry without a secret: names of variables and headers, the bare URL."""
        if self.transport == "stdio":
            # Arguments are shown by number alone: many servers take their key as one.
            where = f"command={self.command!r}, args=<{len(self.args)}>, env={sorted(self.env)}"
        else:
            where = f"url={bare_url(self.url)!r}, headers={sorted(self.headers)}"
        state = ", disabled" if self.disabled else ""
        return f"ServerEntry({self.name!r}, {self.transport}, {where}{state})"


def child_environment(entry: ServerEntry, base: Mapping[str, str]) -> dict[str, str]:
    """What a stdio server sees: the clean part of `base`, its entry's `env`, and the hub's depth."""
    return {**clean_environment(base), **entry.env, DEPTH_VARIABLE: "1"}


_HUB_COMMANDS = frozenset({"hub", "omni-hub"})
_HUB_VERBS = frozenset({"mcp", "stdio", "serve", "gateway"})
_LAUNCHERS = frozenset(
    "uv uvx pipx poetry pdm hatch rye pixi mise env sudo nice nohup npx "
    "cmd powershell pwsh sh bash zsh dash fish".split()
)
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0"})


def starts_a_hub(entry: ServerEntry, *, http_port: int | None = None) -> bool:
    """Whether the entry would start a hub, or connect to this one.

    Seen are `hub mcp`, `omni-hub …`, `python -m hub`, each also behind a launcher
    (`uvx omni-hub`, `uv run hub mcp`, `cmd /c hub mcp`, `sh -c "hub mcp"`), and a URL
    on loopback with this hub's own port.
    """
    if entry.transport != "stdio":
        parts = urlsplit(entry.url)
        return http_port is not None and parts.hostname in _LOOPBACK and parts.port == http_port
    command = _program(entry.command)
    if command in _LAUNCHERS:
        # `sh -c` takes a whole line as one argument.
        words = [word for arg in entry.args for word in arg.split()]
        programs = [position for position, word in enumerate(words) if _program(word) in _HUB_COMMANDS]
    else:
        words = [entry.command, *entry.args]
        programs = [0] if command in _HUB_COMMANDS else []
    if any(_program(words[at]) == "omni-hub" or _HUB_VERBS & {*words[at + 1 :]} for at in programs):
        return True
    python = command in _LAUNCHERS or re.fullmatch(r"py(thon)?[\d.]*w?", command) is not None
    return python and ("-m", "hub") in itertools.pairwise(words)


def _program(word: str) -> str:
    """The name of the program in `/usr/bin/hub`, `hub.exe`, `omni-hub@1.2` or `omni-hub[x]==1.2`."""
    name = re.split(r"[\\/]", word)[-1].lower().removesuffix(".exe").removesuffix(".cmd")
    return re.split(r"[@=\[<>~!]", name)[0]
