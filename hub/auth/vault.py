"""Where logins are kept: the system's keyring where there is one, else a file of its owner alone.

The file names every login that is kept, so that a keyring, which may ask its user to
unlock it, is only opened for a server whose login lies there.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import logging
import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

from hub.auth.login import Login
from hub.calls import Json
from hub.errors import StorageError

log = logging.getLogger(__name__)

TokenStore = Literal["auto", "file", "keyring"]

KEYRING_DEADLINE_S = 60.0
"""How long the keyring may take; it may be asking its user."""

_FORMAT = 1
_SERVICE = "omni-hub"

T = TypeVar("T")


class KeyringFailed(Exception):
    """The keyring does not do what it was asked; the message holds no secret."""


class Vault:
    """The logins of a home.

    Args:
        file: The file, made readable to its owner alone.
        store: `keyring` keeps tokens in the keyring alone, `file` in the file alone; `auto`
            takes the keyring where there is a usable one.
    """

    def __init__(self, file: Path, store: TokenStore = "auto") -> None:
        self._file = file
        self._store = store
        self._kept: dict[str, Json] | None = None
        self._lock = asyncio.Lock()

    async def get(self, name: str) -> Login | None:
        """The login that is kept under a name; None when there is none that can be read."""
        async with self._lock:
            kept = (await self._read()).get(name)
            if kept is None:
                return None
            try:
                if kept.get("keyring"):
                    secret = await _beside(lambda: _keyring().get_password(_SERVICE, self._user(name)))
                    kept = json.loads(secret or "null")
                return Login.from_json(kept)
            except KeyringFailed as failure:
                why = f"the system's keyring: {failure}"
            except (TypeError, KeyError, ValueError, AttributeError):
                why = "it is damaged"
            log.warning("a kept login cannot be read", extra={"server": name, "why": why})
            return None

    async def put(self, name: str, login: Login) -> None:
        """Keep a login, in place of an earlier one.

        Raises:
            StorageError: It cannot be kept.
        """
        async with self._lock:
            kept = await self._read()
            content = login.to_json()
            if await self._put_into_keyring(name, json.dumps(content)):
                content = {"keyring": True, "url": login.url}
            elif kept.get(name, {}).get("keyring"):
                await self._remove_from_keyring(name)
            kept[name] = content
            await self._write(kept)

    async def remove(self, name: str) -> bool:
        """Forget a login; returns whether there was one.

        Raises:
            StorageError: It cannot be removed.
        """
        async with self._lock:
            kept = await self._read()
            content = kept.pop(name, None)
            if content is None:
                return False
            if content.get("keyring"):
                await self._remove_from_keyring(name)
            await self._write(kept)
            return True

    def _user(self, name: str) -> str:
        """One keyring serves all homes of a person."""
        return f"{name} in {self._file.parent}"

    # -- the file

    async def _read(self) -> dict[str, Json]:
        if self._kept is None:
            self._kept = await asyncio.to_thread(self._load)
        return self._kept

    def _load(self) -> dict[str, Json]:
        try:
            content = json.loads(self._file.read_bytes())
            logins = content["logins"] if content["format"] == _FORMAT else {}
            return {name: kept for name, kept in logins.items() if isinstance(kept, dict)}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            # Its words could quote a token.
            log.warning(
                "the logins cannot be read; servers will ask for new ones",
                extra={"file": str(self._file), "why": type(error).__name__},
            )
            return {}

    async def _write(self, kept: dict[str, Json]) -> None:
        try:
            await asyncio.to_thread(self._save, json.dumps({"format": _FORMAT, "logins": kept}, indent=1))
        except OSError as error:
            raise StorageError(f"{self._file}: logins cannot be kept: {error.strerror or error}") from None

    def _save(self, text: str) -> None:
        """Replace the file, whole or not at all; `mkstemp` makes it its owner's alone."""
        fd, draft = tempfile.mkstemp(dir=self._file.parent, prefix=".logins-")
        try:
            with os.fdopen(fd, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, self._file)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(draft)
            raise

    # -- the keyring

    async def _put_into_keyring(self, name: str, secret: str) -> bool:
        """Whether the keyring took it.

        Raises:
            StorageError: It did not, and nothing else may be used.
        """
        if self._store == "file":
            return False
        try:
            return await _beside(lambda: self._set_password(name, secret))
        except KeyringFailed as failure:
            if self._store == "keyring":
                raise StorageError(
                    f"the system's keyring does not take the login ({failure}): "
                    'set token_store = "file" under [downstream] in hub.toml'
                ) from None
            log.info("the keyring is not used", extra={"why": str(failure)})
            return False

    def _set_password(self, name: str, secret: str) -> bool:
        keyring = _keyring()
        if self._store == "auto" and keyring.get_keyring().priority < 1:
            return False  # a stand-in that keeps nothing, or keeps it in the open
        keyring.set_password(_SERVICE, self._user(name), secret)
        return True

    async def _remove_from_keyring(self, name: str) -> None:
        try:
            await _beside(lambda: _keyring().delete_password(_SERVICE, self._user(name)))
        except KeyringFailed as failure:
            log.warning("a login stays in the keyring", extra={"server": name, "why": str(failure)})


def _keyring() -> Any:
    import keyring

    return keyring


async def _beside(work: Callable[[], T]) -> T:
    """Ask the keyring something beside the event loop.

    In a thread that nobody waits for at the end, because a keyring's question to its
    user may never be answered.

    Raises:
        KeyringFailed: It does not do it, or takes too long.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: Callable[[], None]) -> None:
        if not done.done():
            result()

    def run() -> None:
        try:
            found = work()
        except Exception as error:
            # Backends raise whatever their system's library raises; its words could quote the secret.
            failure = KeyringFailed(type(error).__name__)
            answer = functools.partial(done.set_exception, failure)
        else:
            answer = functools.partial(done.set_result, found)
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, answer)

    threading.Thread(target=run, name="keyring", daemon=True).start()
    try:
        async with asyncio.timeout(KEYRING_DEADLINE_S):
            return await done
    except TimeoutError:
        raise KeyringFailed(f"no answer within {KEYRING_DEADLINE_S:g} s") from None
