"""The catalog: the last lists of every server, kept in the home.

It is why a start never waits: a client that lists tools gets what each server
offered when it was last seen, and a change notification when that has changed. A
plain JSON file, because it is read before anything heavy may be imported.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hub.calls import Json
from hub.jsonrpc import decode, encode

log = logging.getLogger(__name__)

_FORMAT = 1


@dataclass(slots=True)
class ServerRecord:
    """What is known of one server from the last time it was connected.

    Attributes:
        fingerprint: Of the entry it was started from; another fingerprint is another server.
        version: The protocol revision it spoke.
        both_eras: Whether it speaks the other era too; None when that was not tried.
        capabilities: Its capabilities, as sent.
        server_info: Its name and version, as sent.
        instructions: Its instructions for models.
        lists: The items of each list method, as sent.
    """

    fingerprint: str
    version: str | None = None
    capabilities: Json = field(default_factory=dict)
    server_info: Json = field(default_factory=dict)
    instructions: str | None = None
    lists: dict[str, list[Json]] = field(default_factory=dict)
    both_eras: bool | None = None


class Catalog:
    """The records of all servers, by name, in one file.

    A file that cannot be read is treated as empty: everything in it is learned
    again from the servers.

    Args:
        path: The file; None keeps the catalog in memory alone.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._records: dict[str, ServerRecord] = {}
        self._saved = True
        if path is not None:
            self._load(path)

    def _load(self, path: Path) -> None:
        try:
            content = decode(path.read_bytes())
            if content["format"] == _FORMAT:
                self._records = {name: ServerRecord(**record) for name, record in content["servers"].items()}
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            log.warning(
                "the catalog cannot be read and will be learned again",
                extra={"file": str(path), "error": str(error)},
            )

    def get(self, name: str, fingerprint: str) -> ServerRecord | None:
        """What is known of a server as its entry stands now."""
        record = self._records.get(name)
        return record if record is not None and record.fingerprint == fingerprint else None

    def put(self, name: str, record: ServerRecord) -> None:
        """Keep a record; `save` writes it."""
        self._records[name] = record
        self._saved = False

    def keep_only(self, names: set[str]) -> None:
        """Forget servers that are no longer configured."""
        for name in self._records.keys() - names:
            del self._records[name]
            self._saved = False

    def save(self) -> None:
        """Write the file if anything changed; whole or not at all.

        Raises:
            OSError: It cannot be written.
        """
        if self._saved or self._path is None:
            return
        servers = {
            name: {field_: getattr(record, field_) for field_ in ServerRecord.__slots__}
            for name, record in self._records.items()
        }
        fd, temporary = tempfile.mkstemp(dir=self._path.parent, prefix=".catalog-")
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(encode({"format": _FORMAT, "servers": servers}))
            os.replace(temporary, self._path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        self._saved = True
