"""One process owns a home: the lock, and the file that says who holds it.

The lock is the operating system's own on an open file: it ends with the process
that holds it, however that ends, so there is never a stale one to break. Own code,
because the library for it takes longer to import than everything else that happens
before a hub listens, and falls back to a lock that outlives its process.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import sys
import time
from typing import TYPE_CHECKING, Any

from hub import __version__
from hub.errors import ConfigError, HomeInUse

if TYPE_CHECKING:
    from types import TracebackType

    from hub.home import Home

if sys.platform == "win32":
    import msvcrt

    def _try_lock(fd: int) -> None:
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _try_lock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


_HELD_ELSEWHERE = {errno.EAGAIN, errno.EACCES, errno.EDEADLK}
"""What the platforms say when another process has the lock."""


class HomeLock:
    """The ownership of a home, from `acquire` until `release` or the end of the process.

    Args:
        home: The home; its folder is created, readable by its owner alone.
        listens: Whether this owner opens the local socket; an embedded hub does not.
    """

    def __init__(self, home: Home, *, listens: bool = True) -> None:
        self._home = home
        self._listens = listens
        self._fd: int | None = None

    def acquire(self) -> None:
        """Take the lock at once, or fail.

        Raises:
            HomeInUse: Another process has it; the message names it, and its details
                say `pid` and whether it `listens`.
            ConfigError: The home cannot be created or written.
        """
        assert self._fd is None
        home = self._home
        try:
            home.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            _make_private(home)
            fd = os.open(home.lock_file, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigError(
                f"the home {home.root} cannot be written: {error.strerror}; "
                "choose another with --home or HUB_HOME"
            ) from None
        try:
            _try_lock(fd)
        except OSError as error:
            os.close(fd)
            if error.errno in _HELD_ELSEWHERE:
                raise _in_use(home) from None
            raise ConfigError(f"{home.lock_file} cannot be locked: {error.strerror}") from None
        self._fd = fd
        try:
            self._sign()
        except OSError as error:
            self.release()
            raise ConfigError(f"{home.process_file} cannot be written: {error.strerror}") from None

    def release(self) -> None:
        """Give the home up; nothing happens when it is not held."""
        if self._fd is None:
            return
        with contextlib.suppress(OSError):
            self._home.process_file.unlink(missing_ok=True)
        os.close(self._fd)
        self._fd = None

    def __enter__(self) -> HomeLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _sign(self) -> None:
        owner = {
            "pid": os.getpid(),
            "version": __version__,
            "started_at": time.time(),
            "listens": self._listens,
        }
        draft = self._home.process_file.with_suffix(".json.new")
        draft.write_text(json.dumps(owner) + "\n", encoding="utf-8")
        draft.replace(self._home.process_file)


def owner(home: Home) -> dict[str, Any] | None:
    """What the home's owner wrote of itself: `pid`, `version`, `started_at`, `listens`.

    The file outlives an owner that was killed; only the lock tells whether it lives.
    """
    try:
        written = json.loads(home.process_file.read_bytes())
    except (OSError, ValueError):
        return None
    return written if isinstance(written, dict) else None


def _in_use(home: Home) -> HomeInUse:
    holder = owner(home) or {}
    pid, listens = holder.get("pid"), holder.get("listens", True)
    who = f"process {pid}" if pid else "another process"
    if listens:
        advice = "`hub stop` ends it, or choose another home with --home"
    else:
        advice = (
            "it runs embedded in one client, which nobody else can attach to; choose another home with --home"
        )
    return HomeInUse(f"the home {home.root} is in use by {who}: {advice}", pid=pid, listens=listens)


def _make_private(home: Home) -> None:
    """Shut others out of a folder that was there before, where it is ours to shut."""
    if sys.platform == "win32":
        return
    status = home.root.stat()
    if status.st_uid == os.getuid() and stat.S_IMODE(status.st_mode) & 0o077:
        home.root.chmod(0o700)
