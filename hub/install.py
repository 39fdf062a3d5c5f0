"""The hub in the configurations of clients: put in, taken out, and their servers taken over.

Each client keeps its servers in a file of its own, under a key of its own. An edit
changes the one entry it is about and leaves the rest of the file as it was, comments
included; before that the file is copied beside itself. `import_servers` copies what a
client has into the hub's `mcp.json`, in the hub's own words.
"""

from __future__ import annotations

import difflib
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hub.clients import Client, Person
from hub.errors import ConfigError, InvalidArguments
from hub.json_text import parse_json, remove_member, set_member, write_atomically
from hub.mcp_edits import add_server
from hub.mcp_json import check, load
from hub.redaction import hide_shapes
from hub.server_entry import ServerEntry, starts_a_hub

BACKUP_SUFFIX = ".before-hub"
"""What is added to a file's name for the copy of it from before the last change."""


@dataclass(frozen=True, slots=True)
class Change:
    """What was done to a client's file, or would be.

    Attributes:
        client: The client's title.
        file: Its file.
        changed: Whether the file is another one now; false when it said so already.
        backup: The copy of what was there; None when nothing was, or nothing changed.
        diff: The lines that changed, without secrets.
    """

    client: str
    file: Path
    changed: bool
    backup: Path | None
    diff: str


@dataclass(frozen=True, slots=True)
class Import:
    """What was taken over from a client.

    Attributes:
        file: Where it came from.
        added: The servers that stand in the hub's file now.
        skipped: Why each of the others does not, by name.
    """

    file: Path
    added: tuple[str, ...]
    skipped: Mapping[str, str]


def hub_command() -> list[str]:
    """The command that starts this hub from anywhere: by full path, since windows have a short `PATH`."""
    beside = Path(sys.executable).parent / ("hub.exe" if sys.platform == "win32" else "hub")
    if beside.exists():
        return [str(beside)]
    found = shutil.which("hub")
    return [str(Path(found).absolute())] if found else [sys.executable, "-m", "hub"]


def install(
    client: Client,
    person: Person,
    *,
    name: str = "hub",
    command: Sequence[str] | None = None,
    options: Sequence[str] = (),
    project: Path | None = None,
    dry_run: bool = False,
) -> Change:
    """Put the hub into a client's file, or bring its entry up to date.

    Args:
        client: Which client.
        person: Whose.
        name: What the hub is called there.
        command: How to start the hub; the one that runs this when None.
        options: For `hub mcp`, for example `--home DIR`.
        project: The project to install it for; None for every project.
        dry_run: Change nothing, and say what would change.

    Raises:
        InvalidArguments: another server has that name.
        ConfigError: the file cannot be read, understood or written.
    """
    file = client.where(person, project)
    text = _read(file)
    there = _servers(file, text, client).get(name)
    if there is not None and not _is_hub(there):
        raise InvalidArguments(
            f"{file}: {client.title} has another server named {name!r}; choose another name with --name"
        )
    program, *arguments = command or hub_command()
    entry = {"command": program, "args": [*arguments, "mcp", *options], **client.extra}
    # What the person added to the entry, such as variables, stays.
    return _change(client, file, text, _with(file, text, client, name, {**(there or {}), **entry}), dry_run)


def uninstall(
    client: Client,
    person: Person,
    *,
    name: str = "hub",
    project: Path | None = None,
    dry_run: bool = False,
) -> Change:
    """Take the hub out of a client's file.

    Raises:
        InvalidArguments: the server of that name is not a hub.
        ConfigError: the file cannot be read, understood or written.
    """
    file = client.where(person, project)
    text = _read(file)
    there = _servers(file, text, client).get(name)
    if there is None:
        return Change(client.title, file, changed=False, backup=None, diff="")
    if not _is_hub(there):
        raise InvalidArguments(f"{file}: the server {name!r} of {client.title} is not a hub: left alone")
    return _change(client, file, text, _without(file, text, client, name), dry_run)


def import_servers(
    client: Client, person: Person, servers_file: Path, *, project: Path | None = None, dry_run: bool = False
) -> Import:
    """Copy a client's servers into the hub's file; the client keeps its own.

    Hubs, servers that are there already, and what the hub could not use are skipped.

    Raises:
        ConfigError: a file cannot be read, understood or written.
    """
    file = client.where(person, project)
    if not file.exists():
        raise ConfigError(f"{file}: does not exist; {client.title} has no servers there")
    present = load(servers_file, {})
    taken_names = {entry.key for entry in present.entries} | {problem.entry for problem in present.problems}
    added: list[str] = []
    skipped: dict[str, str] = {}
    for name, raw in _servers(file, _read(file), client).items():
        if _is_hub(raw):
            skipped[name] = "is a hub"
            continue
        if name in taken_names:
            skipped[name] = f"stands in {servers_file} already"
            continue
        entry = client.taken_over(raw) if isinstance(raw, dict) else raw
        wrong = [problem for problem in check(servers_file, name, entry) if problem.level == "error"]
        if wrong:
            skipped[name] = "; ".join(": ".join(filter(None, (one.key, one.message))) for one in wrong)
            continue
        if not dry_run:
            add_server(servers_file, name, entry)
        added.append(name)
    return Import(file, tuple(added), skipped)


def _is_hub(raw: object) -> bool:
    """Whether an entry of a client starts a hub."""
    if not isinstance(raw, dict) or not isinstance(raw.get("command"), str):
        return False
    arguments = raw.get("args") or []
    if not isinstance(arguments, list):
        return False
    entry = ServerEntry("", "", "stdio", command=raw["command"], args=tuple(map(str, arguments)))
    return starts_a_hub(entry)


def _read(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: is not UTF-8 text, so it is left alone") from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None


def _servers(file: Path, text: str, client: Client) -> dict[str, Any]:
    """The client's servers, as they stand there."""
    try:
        document = _toml(text).unwrap() if _is_toml(file) else parse_json(text) if text.strip() else {}
    except ValueError as error:
        kind = "TOML" if _is_toml(file) else "JSON"
        raise ConfigError(f"{file}: not valid {kind}, so it is left alone: {error}") from None
    servers = document.get(client.table, {}) if isinstance(document, dict) else None
    if not isinstance(servers, dict):
        raise ConfigError(f"{file}: {client.table}: expected a table of servers, so it is left alone")
    return servers


def _with(file: Path, text: str, client: Client, name: str, entry: dict[str, Any]) -> str:
    if not _is_toml(file):
        before = _servers(file, text, client).get(name)
        return text if before == entry else set_member(text, [client.table, name], entry)
    import tomlkit

    document = _toml(text)
    if client.table not in document:
        document[client.table] = tomlkit.table(is_super_table=True)
    servers = document[client.table]
    if name not in servers:
        servers[name] = tomlkit.table()
    for key, value in entry.items():
        if servers[name].get(key) != value:
            servers[name][key] = value
    return str(tomlkit.dumps(document))


def _without(file: Path, text: str, client: Client, name: str) -> str:
    if not _is_toml(file):
        return remove_member(text, [client.table, name])
    import tomlkit

    document = _toml(text)
    del document[client.table][name]
    return str(tomlkit.dumps(document))


def _is_toml(file: Path) -> bool:
    return file.suffix == ".toml"


def _toml(text: str) -> Any:
    import tomlkit

    return tomlkit.parse(text)


def _change(client: Client, file: Path, before: str, after: str, dry_run: bool) -> Change:
    """Write what changed, keeping a copy of what was there."""
    changed = before != after
    # Without context: the lines around it are other servers', with their keys.
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
    diff = hide_shapes("\n".join(line for line in lines if not line.startswith(("---", "+++", "@@"))))
    backup = file.with_name(file.name + BACKUP_SUFFIX) if changed and before else None
    if changed and not dry_run:
        try:
            if backup is not None:
                write_atomically(backup, before)
            write_atomically(file, after)
        except OSError as error:
            raise ConfigError(f"{file}: cannot be written: {error.strerror}") from None
    return Change(client.title, file, changed, None if dry_run else backup, diff)
