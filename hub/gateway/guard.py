"""Who may speak to the HTTP faces: Host, Origin and key, checked before anything is read.

A page on another site can make a browser send requests to this machine, and DNS
rebinding can give them a foreign name for it. So the Host must be one of ours, an
Origin must be one of ours where there is one, and a key is asked for besides.
"""

from __future__ import annotations

import hmac
import ipaddress
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from hub.errors import ConfigError

Headers = Iterable[tuple[bytes, bytes]]

_LOOPBACK_NAMES = frozenset(("localhost", "127.0.0.1", "[::1]"))


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def read_key(path: Path) -> str:
    """The key in a file that only its owner may read; made when there is none.

    Raises:
        ConfigError: The file cannot be read or made.
    """
    try:
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            key = path.read_text(encoding="ascii").strip()
            if key:
                return key
            fd = os.open(path, os.O_WRONLY | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "w", encoding="ascii") as file:
            key = secrets.token_urlsafe(32)
            file.write(key + "\n")
        return key
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: the HTTP key cannot be read or made: {error}") from None


class Refusal(Exception):
    """The request is turned away.

    Attributes:
        status: The HTTP status.
        reason: What was wrong, for the client.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Guard:
    """Checks the head of each request.

    Args:
        host: The address that is listened on.
        allowed_hosts: Further `Host` names, with or without a port.
        allowed_origins: Further `Origin` values.
        key: The key; None when none is asked for.
    """

    def __init__(
        self, host: str, allowed_hosts: Iterable[str], allowed_origins: Iterable[str], key: str | None
    ) -> None:
        self._hosts = _LOOPBACK_NAMES | {name.lower() for name in (host, *allowed_hosts)}
        self._origins = frozenset(origin.lower().rstrip("/") for origin in allowed_origins)
        self._key = key.encode() if key is not None else None

    def check(self, path: str, headers: Headers) -> None:
        """Let a request in.

        Raises:
            Refusal: Its Host, Origin or key is wrong.
        """
        host = origin = authorization = api_key = b""
        for name, value in headers:
            if name == b"host":
                host = value
            elif name == b"origin":
                origin = value
            elif name == b"authorization":
                authorization = value
            elif name == b"x-api-key":
                api_key = value
        if not self._is_ours(host.decode("latin-1").lower()):
            raise Refusal(421, "this Host is not served here; add it to http.allowed_hosts")
        if origin and not self._may_call(origin.decode("latin-1").lower()):
            raise Refusal(403, "this Origin may not call; add it to http.allowed_origins")
        if self._key is not None and path != "/health":
            scheme, _, token = authorization.partition(b" ")
            given = token.strip() if scheme.lower() == b"bearer" else api_key
            if not hmac.compare_digest(given, self._key):
                raise Refusal(401, "the key is missing or wrong; it stands in http.key in the hub's home")

    def _is_ours(self, host: str) -> bool:
        return host in self._hosts or _without_port(host) in self._hosts

    def _may_call(self, origin: str) -> bool:
        scheme, separator, host = origin.partition("://")
        return origin in self._origins or (
            separator != "" and scheme in ("http", "https") and _without_port(host) in _LOOPBACK_NAMES
        )


def _without_port(host: str) -> str:
    name, separator, port = host.rpartition(":")
    return name if separator and port.isdigit() else host
