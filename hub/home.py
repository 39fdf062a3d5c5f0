"""The home: the folder one hub owns, and where to find everything in it.

Standard library only, because `hub mcp` computes the same paths before it may
import anything heavy.
"""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path

SOCKET_PATH_BYTES_MAX = 100
"""The longest path a socket is given: macOS takes 103 bytes, Linux 107."""


PROJECTS_FOLDER = "projects"
"""Where homes stand that servers files outside of a home got."""


def default_home() -> Path:
    """The platform's user data folder for the hub, whether it exists or not."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "omni-hub"


def _runtime_folder() -> Path:
    """A short, private folder for sockets: their paths are limited to about 100 bytes."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and Path(runtime).is_dir():
        return Path(runtime) / "omni-hub"
    import tempfile  # a third of this module's import time, seldom needed

    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    return Path(tempfile.gettempdir()) / f"omni-hub-{user}"


@dataclass(frozen=True, slots=True)
class Home:
    """The paths of one home.

    Attributes:
        root: The folder itself, absolute.
    """

    root: Path

    @classmethod
    def at(cls, root: str | os.PathLike[str]) -> Home:
        """The home in a folder that need not exist yet."""
        return cls(Path(root).expanduser().absolute())

    @property
    def settings_file(self) -> Path:
        return self.root / "hub.toml"

    @property
    def env_file(self) -> Path:
        """`.env`: provider keys and secrets that `mcp.json` refers to."""
        return self.root / ".env"

    @property
    def servers_file(self) -> Path:
        return self.root / "mcp.json"

    @property
    def approvals_file(self) -> Path:
        """Which project files may start programs."""
        return self.root / "approved.json"

    @property
    def lock_file(self) -> Path:
        return self.root / "hub.lock"

    @property
    def process_file(self) -> Path:
        """Who owns the lock: pid, version and start time, as JSON."""
        return self.root / "hub.json"

    @property
    def log_file(self) -> Path:
        return self.root / "logs" / "hub.log"

    @property
    def repl_history_file(self) -> Path:
        """What was typed at `hub repl`."""
        return self.root / "repl_history"

    @property
    def catalog_file(self) -> Path:
        """The last lists of every downstream server, so that a start need not wait."""
        return self.root / "catalog.json"

    @property
    def logins_file(self) -> Path:
        """The logins at downstream servers, readable by the owner alone."""
        return self.root / "logins.json"

    @property
    def definitions_file(self) -> Path:
        """What each server's tools said when they were first seen, or last approved."""
        return self.root / "definitions.json"

    @property
    def key_file(self) -> Path:
        """The key for the HTTP faces, readable by the owner alone."""
        return self.root / "http.key"

    @property
    def store_file(self) -> Path:
        return self.root / "hub.sqlite3"

    @property
    def index_folder(self) -> Path:
        return self.root / "index"

    @property
    def skills_folder(self) -> Path:
        """The user's own skills; those that ship with the hub lie elsewhere."""
        return self.root / "skills"

    @property
    def socket_paths(self) -> tuple[Path, ...]:
        """Where the local socket may lie, best first.

        In the home, because clients do not agree on the environment that names a
        runtime folder and some systems sweep theirs; else, where that path is too
        long or its file system holds no sockets, in the runtime folder under a name
        hashed from the home.
        """
        inside = self.root / "hub.sock"
        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:16]
        outside = _runtime_folder() / f"{digest}.sock"
        return (inside, outside) if len(os.fsencode(inside)) <= SOCKET_PATH_BYTES_MAX else (outside,)

    @property
    def address_file(self) -> Path:
        """Where the hub listens: its socket, or port and secret; readable by the owner alone."""
        return self.root / "hub.address"

    def for_servers_file(self, servers_file: Path) -> Home:
        """The home that a servers file outside this home gets, under this one, by its path."""
        digest = hashlib.sha256(os.fsencode(servers_file)).hexdigest()[:12]
        return Home(self.root / PROJECTS_FOLDER / f"{servers_file.parent.name or 'root'}-{digest}")
