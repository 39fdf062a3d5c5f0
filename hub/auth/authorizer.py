"""What one server is shown: the current token, renewed before it expires and once for all callers."""

from __future__ import annotations

import asyncio
import importlib
import logging
from dataclasses import replace

from hub.auth.login import Challenge, Login, LoginNeeded, RenewalFailed
from hub.auth.vault import Vault
from hub.clock import Clock
from hub.errors import StorageError

log = logging.getLogger(__name__)

RETRY_AFTER_S = 10.0
"""How long a token that still holds is used after it could not be renewed, before the next try."""


class Authorizer:
    """The login at one server, for all its connections.

    Args:
        name: The server's name in the vault.
        url: Where it is; a login for another URL is not used.
        vault: Where logins are kept.
        clock: Tells when tokens end.
    """

    def __init__(self, name: str, url: str, vault: Vault, clock: Clock) -> None:
        self.name = name
        self.url = url
        self.challenge: Challenge | None = None
        """How the server last refused a request; a login answers it."""
        self._vault = vault
        self._clock = clock
        self._login: Login | None = None
        self._loaded = False
        self._renewal: asyncio.Task[None] | None = None
        self._retry_at = 0.0

    async def login(self) -> Login | None:
        """The login as kept, which may have ended; None when nobody has logged in."""
        if not self._loaded:
            login = await self._vault.get(self.name)
            if not self._loaded:
                self._login = login if login is not None and login.url == self.url else None
                self._loaded = True
        return self._login

    async def header(self) -> str | None:
        """The `Authorization` header for a request; None when nobody has logged in.

        Raises:
            RenewalFailed: The token has expired and could not be renewed for now.
        """
        login = self._login if self._loaded else await self.login()
        if login is None:
            return None
        if login.renew_at is not None and login.renewable and self._clock.now() >= login.renew_at:
            login = await self._renewed(login)
        return None if login is None else login.header

    async def refused(self, sent: str | None, challenge: Challenge) -> bool:
        """Take note that a request was refused; returns whether it is worth sending again.

        Args:
            sent: The header it was sent with.
            challenge: How it was refused.

        Raises:
            RenewalFailed: The token could not be renewed for now.
        """
        self.challenge = challenge
        login = await self.login()
        if login is None or challenge.status != 401:
            return False
        if sent == login.header and login.renewable:
            login = await self._renewed(login, refused=True)
        return login is not None and login.header is not None and sent != login.header

    async def keep(self, login: Login) -> None:
        """Use a new login from now on, and keep it.

        Raises:
            StorageError: It cannot be kept; it is used all the same.
        """
        self._login, self._loaded = login, True
        await self._vault.put(self.name, login)

    async def forget(self) -> bool:
        """Use no login any more; returns whether there was one.

        Raises:
            StorageError: What is kept of it cannot be removed.
        """
        self._login, self._loaded = None, True
        return await self._vault.remove(self.name)

    async def aclose(self) -> None:
        """Let a renewal under way finish: its refresh token may work only once."""
        if self._renewal is not None:
            await asyncio.wait([self._renewal])

    async def _renewed(self, login: Login, *, refused: bool = False) -> Login | None:
        """The login after a renewal; the same when it still holds although it could not be renewed."""
        holds = not refused and login.expires_at is not None and self._clock.now() < login.expires_at
        if holds and self._clock.now() < self._retry_at:
            return login
        if self._renewal is None:
            # A task of its own: a caller that gives up must not lose a refresh token that was spent.
            self._renewal = asyncio.get_running_loop().create_task(self._renew(login))
            self._renewal.add_done_callback(self._renewal_ended)
        try:
            await asyncio.shield(self._renewal)
        except RenewalFailed as failure:
            if not holds:
                raise
            log.warning("a token could not be renewed", extra={"server": self.name, "why": str(failure)})
            self._retry_at = self._clock.now() + RETRY_AFTER_S
        return self._login

    def _renewal_ended(self, task: asyncio.Task[None]) -> None:
        self._renewal = None
        if not task.cancelled():
            task.exception()  # those who wait for it have it; nobody may be left

    async def _renew(self, login: Login) -> None:
        # The SDK takes a second to import.
        await asyncio.to_thread(importlib.import_module, "hub.auth.flow")
        from hub.auth.flow import renew

        try:
            token = await renew(login)
        except LoginNeeded as needed:
            log.warning("a login has ended", extra={"server": self.name, "why": str(needed)})
            await self._end(login)
            return
        if self._login is not login:
            return  # somebody logged in or out meanwhile
        try:
            await self.keep(replace(login, token=token, obtained_at=self._clock.now()))
        except StorageError as error:
            log.error("a renewed token could not be kept", extra={"server": self.name, "why": error.message})

    async def _end(self, login: Login) -> None:
        """Drop a token that is of no use any more; the next login may use the registration again."""
        if self._login is login:
            try:
                await self.keep(replace(login, token={}))
            except StorageError as error:
                log.warning("an ended login stays kept", extra={"server": self.name, "why": error.message})
