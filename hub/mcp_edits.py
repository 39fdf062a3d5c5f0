"""Changes to `mcp.json` by command: one server in, out, on or off, and nothing else touched.

A hub that runs notices the change by itself, as it does when a person edits the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hub.errors import ConfigError, InvalidArguments, UnknownName
from hub.json_text import parse_json, remove_member, set_member, write_atomically
from hub.mcp_json import check, table_of
from hub.server_names import safe_names


def add_server(path: Path, name: str, entry: dict[str, Any], *, replace: bool = False) -> None:
    """Put a server into the file, which is made when it is missing.

    Args:
        path: The file.
        name: The server's name there.
        entry: Its entry, as it will stand in the file.
        replace: Whether a server of that name may be overwritten.

    Raises:
        InvalidArguments: the entry is wrong, or the name is taken.
        ConfigError: the file cannot be read, understood or written.
    """
    if not name.strip():
        raise InvalidArguments("a server needs a name")
    if wrong := [str(problem) for problem in check(path, name, entry) if problem.level == "error"]:
        raise InvalidArguments("\n".join(wrong))
    text, table_key, table = _open(path)
    if name in table and not replace:
        raise InvalidArguments(f"{path}: has a server {name!r} already; remove it first, or replace it")
    _write(path, set_member(text, [table_key, name], entry))


def remove_server(path: Path, name: str) -> None:
    """Take a server out of the file.

    Raises:
        UnknownName: there is no such server.
        ConfigError: the file cannot be read, understood or written.
    """
    text, table_key, table = _open(path)
    _write(path, remove_member(text, [table_key, _key(path, table, name)]))


def set_disabled(path: Path, name: str, disabled: bool) -> None:
    """Switch a server off, or on again.

    Raises:
        UnknownName: there is no such server.
        ConfigError: the file cannot be read, understood or written.
    """
    text, table_key, table = _open(path)
    key = _key(path, table, name)
    if not isinstance(table[key], dict):
        raise ConfigError(f"{path}: {key}: expected an object")
    where = [table_key, key, "disabled"]
    _write(path, set_member(text, where, True) if disabled else remove_member(text, where))


def _open(path: Path) -> tuple[str, str, dict[str, Any]]:
    """The file's text, the key its servers stand under, and the servers."""
    try:
        text = path.read_bytes().decode("utf-8")
        document = parse_json(text) if text.strip() else {}
    except FileNotFoundError:
        text, document = "", {}
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"{path}: not valid JSON, so it is left alone: {error}") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: expected an object")
    table_key = table_of(document)
    table = document.get(table_key, {})
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: {table_key}: expected an object of servers by name")
    return text, table_key, table


def _key(path: Path, table: dict[str, Any], name: str) -> str:
    """The key of the server that goes by this name, in the file or in the hub."""
    if name in table:
        return name
    for key, safe in safe_names(table).items():
        if safe == name:
            return key
    known = ", ".join(sorted(table)) or "none"
    raise UnknownName(f"{path}: has no server {name!r}; it has: {known}")


def _write(path: Path, text: str) -> None:
    try:
        write_atomically(path, text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None
