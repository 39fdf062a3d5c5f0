"""`mcp.json`: which servers stand behind the hub, in the format that every client writes.

`load` reads a file that other programs share, so it is forgiving where that is safe:
`mcpServers` or VS Code's `servers`, comments and trailing commas, keys it does not
know. Each entry stands for itself: what is wrong with one becomes a `Problem` that
names file, entry and key, and the others are served.

    command                 stdio     a program, started by the hub
    url                     http      Streamable HTTP; `sse` when the path ends in /sse
    type, transport                   say it outright: stdio, http, streamable-http, sse

`${…}` is filled in (`hub.interpolation`) in command, args, env, cwd, url and headers. A
program runs in the folder that the file is about unless its entry has a `cwd`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from hub.interpolation import Unresolved, Variables
from hub.json_text import parse_json
from hub.oauth_client import OAuthClient
from hub.redaction import names_a_secret, secrets_in_url
from hub.server_entry import ServerEntry, Transport, child_environment, starts_a_hub
from hub.server_names import RESERVED_NAMES, public_names, safe_names

__all__ = [
    "RESERVED_NAMES",
    "Problem",
    "ServerEntry",
    "ServersFile",
    "Transport",
    "check",
    "child_environment",
    "load",
    "public_names",
    "starts_a_hub",
    "table_of",
]

FILE_BYTES_MAX = 4 * 1024 * 1024
"""A larger file is refused: it is not a list of servers."""

_MILLISECONDS_FROM = 1000
_TRANSPORTS: Mapping[str, Transport] = {
    "stdio": "stdio",
    "local": "stdio",
    "http": "http",
    "streamable-http": "http",
    "streamablehttp": "http",
    "streamable_http": "http",
    "sse": "sse",
}
_HARMLESS_HEADERS = frozenset({"accept", "accept-language", "content-type", "user-agent"})


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in the file that its owner can mend.

    Attributes:
        file: The file.
        entry: The entry's name as it stands there; None for the file as a whole.
        key: The key inside the entry; None for the entry as a whole.
        message: What is wrong and what to do. Never holds a value, which may be a secret.
        level: `error` when the entry, or the file, is not used; `warning` when it is, or
            when it was left out on purpose.
    """

    file: Path
    entry: str | None
    key: str | None
    message: str
    level: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        return ": ".join(str(part) for part in (self.file, self.entry, self.key, self.message) if part)


@dataclass(frozen=True, slots=True)
class ServersFile:
    """What a file says.

    Attributes:
        path: The file.
        state: `missing` has no servers; `broken` could not be understood as a whole, so
            that a running hub keeps what it had.
        entries: The good entries, in the order of the file, disabled ones included.
        problems: What is wrong with the rest.
    """

    path: Path
    state: Literal["read", "missing", "broken"]
    entries: tuple[ServerEntry, ...] = ()
    problems: tuple[Problem, ...] = ()


class EntryModel(BaseModel):
    """One server of `mcp.json`. Other keys are kept, and warned about."""

    model_config = ConfigDict(frozen=True, extra="allow", coerce_numbers_to_str=True)

    type: str | None = Field(
        None,
        description="The transport: `stdio`, `http` (or `streamable-http`) or `sse`. "
        "Without it `command` or `url` tells.",
    )
    transport: str | None = Field(None, description="The same as `type`.")
    command: str | None = Field(None, description="The program to start.", min_length=1)
    args: tuple[str, ...] = Field((), description="The program's arguments.")
    env: dict[str, str] = Field(
        default={},
        description="Variables for the program, beside a clean base (HOME, PATH, LANG and the like).",
    )
    cwd: str | None = Field(
        None,
        description="Where the program runs. Relative to, and by default, the folder of the file.",
    )
    url: str | None = Field(
        None,
        description="Where the server listens. A path that ends in `/sse` means the `sse` transport.",
        validation_alias=AliasChoices("url", "httpUrl", "serverUrl"),
    )
    headers: dict[str, str] = Field(default={}, description="Headers for every request.")
    timeout: float | None = Field(
        None,
        gt=0,
        strict=True,
        description="How long a call may stay silent, in seconds; "
        "a number from 1000 on is milliseconds, as some clients write it.",
    )
    idle_timeout: float | None = Field(
        None,
        ge=0,
        strict=True,
        description="After how many idle seconds the server is stopped; 0 for never.",
    )
    disabled: bool = Field(False, strict=True, description="Whether the server is left alone.")
    tools: dict[str, Any] | list[str] | None = Field(
        None,
        description="Which tools are shown, and under which words: `allow`, `deny`, `rename`, `describe`.",
    )
    oauth: OAuthClient | None = Field(
        None, description="What the hub is as an OAuth client, where a server does not register it by itself."
    )
    description: str | None = Field(None, description="What the server is for, in words.")


class FileModel(BaseModel):
    """The servers behind a hub, in the format that MCP clients share."""

    # Built when the schema is asked for; reading a file needs the entries alone.
    model_config = ConfigDict(extra="allow", title="MCP servers behind the hub", defer_build=True)

    mcpServers: dict[str, EntryModel] = Field(default={}, description="The servers, by name.")
    servers: dict[str, EntryModel] = Field(
        default={},
        description="VS Code's name for `mcpServers`; read when that is absent.",
    )


def load(path: Path, environ: Mapping[str, str], *, http_port: int | None = None) -> ServersFile:
    """Read a file of servers; whatever is wrong with it is in the result, nothing is raised.

    Args:
        path: The file; it may be missing.
        environ: Where `${NAME}` is looked up.
        http_port: The port this hub listens on, so that an entry that points back at it is skipped.
    """
    path = Path(path)

    def broken(message: str) -> ServersFile:
        return ServersFile(path, "broken", (), (Problem(path, None, None, message),))

    try:
        text, size = _read(path)
    except FileNotFoundError:
        note = Problem(path, None, None, "does not exist: no servers", "warning")
        return ServersFile(path, "missing", (), (note,))
    except UnicodeDecodeError as error:
        return broken(f"is not UTF-8 text (byte {error.start})")
    except OSError as error:
        return broken(f"cannot be read: {error.strerror or error}")
    if size > FILE_BYTES_MAX:
        return broken(f"is larger than {FILE_BYTES_MAX} bytes, which is no list of servers")
    if not text.strip():
        return broken('line 1 column 1: is empty; write {"mcpServers": {}}')
    repeated: list[str] = []
    try:
        document = parse_json(text, repeated)
    except json.JSONDecodeError as error:
        return broken(f"line {error.lineno} column {error.colno}: not valid JSON: {error.msg}")
    except RecursionError:
        return broken("is nested too deeply")
    if not isinstance(document, dict):
        return broken('line 1 column 1: expected an object, {"mcpServers": {…}}')
    table_key = table_of(document)
    if not document:
        return ServersFile(path, "read", (), ())
    if table_key not in document:
        return broken('has no "mcpServers"; the servers stand under it: {"mcpServers": {"name": {…}}}')
    table = document[table_key]
    if not isinstance(table, dict):
        return broken(f"{table_key}: expected an object of servers by name")
    problems = [
        Problem(
            path,
            key if key in table else None,
            None,
            f"{key!r} stands twice in one object; the last one counts",
            "warning",
        )
        for key in repeated
    ]
    entries: list[ServerEntry] = []
    names = safe_names(table)
    variables = Variables(path, environ)
    for key, raw in table.items():
        found, entry = _entry(path, key, names[key], raw, variables)
        problems += found
        if entry is None:
            continue
        if not entry.disabled and starts_a_hub(entry, http_port=http_port):
            message = "would start a hub inside the hub: skipped"
            problems.append(Problem(path, key, None, message, "warning"))
            continue
        if entry.name != key:
            message = f"goes by {entry.name!r}: names of servers hold letters, digits, '_', '-' and '.'"
            problems.append(Problem(path, key, None, message, "warning"))
        entries.append(entry)
    return ServersFile(path, "read", tuple(entries), tuple(problems))


def check(path: Path, key: str, raw: object) -> list[Problem]:
    """What would be wrong with an entry if it stood in the file; variables are not looked up.

    Args:
        path: The file.
        key: The entry's name there.
        raw: The entry as it would be written.
    """
    if isinstance(raw, dict):
        raw = {**raw, "disabled": True}
    problems, _ = _entry(path, key, key, raw, Variables(path, {}))
    return problems


def table_of(document: Mapping[str, object]) -> str:
    """Under which key a file's servers stand: `mcpServers`, or `servers` where only that is there."""
    return "servers" if "servers" in document and "mcpServers" not in document else "mcpServers"


def _read(path: Path) -> tuple[str, int]:
    with path.open("rb") as file:
        content = file.read(FILE_BYTES_MAX + 1)
    if len(content) > FILE_BYTES_MAX:
        return "", len(content)
    return content.decode("utf-8-sig"), len(content)


def _entry(
    path: Path, key: str, name: str, raw: object, variables: Variables
) -> tuple[list[Problem], ServerEntry | None]:
    """One entry; None with at least one error when it cannot be used."""
    if not isinstance(raw, dict):
        return [Problem(path, key, None, "expected an object")], None
    try:
        model = EntryModel.model_validate(raw)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False, include_context=False)
        return [Problem(path, key, ".".join(map(str, one["loc"])) or None, one["msg"]) for one in wrong], None
    unknown = [
        Problem(path, key, name, "is not known to the hub: kept, without effect", "warning")
        for name in (*(model.model_extra or ()), *_unknown_of(model.oauth))
    ]
    try:
        return unknown, _server(key, name, model, variables)
    except _BadKey as bad:
        return [*unknown, Problem(path, key, bad.key, bad.message)], None


def _unknown_of(oauth: OAuthClient | None) -> list[str]:
    return [f"oauth.{name}" for name in (oauth.model_extra if oauth is not None else None) or ()]


class _BadKey(Exception):
    """A key of an entry that cannot be used."""

    def __init__(self, key: str | None, message: str) -> None:
        super().__init__(message)
        self.key = key
        self.message = message


def _transport(model: EntryModel, url: str) -> Transport:
    """How to reach the server: as the entry says, else by what it has."""
    said = model.type if model.type is not None else model.transport
    if said is None:
        if model.command is not None and model.url is not None:
            raise _BadKey(None, "has both `command` and `url`: keep one, or say which by `type`")
        if model.command is not None:
            return "stdio"
        if model.url is None:
            raise _BadKey(None, "needs a `command` (a program to start) or a `url` (a server to connect to)")
        return "sse" if url.partition("?")[0].rstrip("/").endswith("/sse") else "http"
    transport = _TRANSPORTS.get(said.lower())
    if transport is None:
        key = "type" if model.type is not None else "transport"
        raise _BadKey(key, "is not a transport the hub knows: use stdio, http or sse")
    needed = "command" if transport == "stdio" else "url"
    if getattr(model, needed) is None:
        raise _BadKey(needed, f"is missing: the {transport} transport needs it")
    return transport


def _server(key: str, name: str, model: EntryModel, variables: Variables) -> ServerEntry:
    """The entry with its variables filled in and its values checked.

    Raises:
        _BadKey: it cannot be used.
    """
    secrets: set[str] = set()

    def fill(where: str, text: str) -> str:
        # Nobody needs the variables of a server that is left alone.
        if model.disabled:
            return text
        try:
            return variables.fill(text, secrets)
        except Unresolved as unresolved:
            raise _BadKey(where, str(unresolved)) from None

    url = fill("url", model.url or "")
    transport = _transport(model, url)
    timeout_s = model.timeout
    if timeout_s is not None and timeout_s >= _MILLISECONDS_FROM:
        timeout_s /= 1000
    entry = ServerEntry(
        name=name,
        key=key,
        transport=transport,
        timeout_s=timeout_s,
        idle_timeout_s=model.idle_timeout,
        disabled=model.disabled,
        description=model.description,
        extra={**(model.model_extra or {}), **({} if model.tools is None else {"tools": model.tools})},
    )
    if transport == "stdio":
        env = {variable: fill(f"env.{variable}", value) for variable, value in model.env.items()}
        _check_env(env)
        secrets |= {value for variable, value in env.items() if names_a_secret(variable)}
        cwd = os.path.join(variables.workspace, os.path.expanduser(fill("cwd", model.cwd or "")))
        entry = replace(
            entry,
            command=os.path.expanduser(fill("command", model.command or "")),
            args=tuple(fill(f"args.{position}", arg) for position, arg in enumerate(model.args)),
            env=env,
            cwd=os.path.normpath(cwd),
        )
        if "\0" in "".join((entry.command, *entry.args, cwd)):
            raise _BadKey(None, "a NUL character stands in `command`, `args` or `cwd`")
    else:
        headers = {header: fill(f"headers.{header}", value) for header, value in model.headers.items()}
        if "${" not in url or not model.disabled:
            _check_url(url)
            secrets |= secrets_in_url(url)
        _check_headers(headers)
        secrets |= {value for header, value in headers.items() if header.lower() not in _HARMLESS_HEADERS}
        # `Bearer abc`: the token is the secret wherever it shows up without its scheme.
        secrets |= {value.partition(" ")[2] for value in headers.values()} - {""}
        oauth = model.oauth if model.oauth is None else model.oauth.filled(fill)
        secrets |= {oauth.secret} if oauth is not None and oauth.secret is not None else set()
        entry = replace(entry, url=url, headers=headers, oauth=oauth)
    return replace(entry, secrets=frozenset(secrets))


def _check_env(env: Mapping[str, str]) -> None:
    for variable, value in env.items():
        if not variable or "=" in variable or "\0" in variable + value:
            raise _BadKey(f"env.{variable}", "cannot be put into an environment")


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or re.search(r"[\s\0]", url):
        raise _BadKey("url", "is not the URL of a server: expected http://host… or https://host…")


def _check_headers(headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
            raise _BadKey(f"headers.{name}", "is not a header name")
        if re.search(r"[\r\n\0]", value) or not value.isascii():
            raise _BadKey(f"headers.{name}", "its value holds a character that a header cannot carry")
