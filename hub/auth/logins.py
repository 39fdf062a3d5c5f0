"""All logins of a hub: who is logged in where, and how to change that."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable

from hub.auth.authorizer import Authorizer
from hub.auth.login import Challenge, LoginFailed
from hub.auth.vault import Vault
from hub.clock import Clock
from hub.errors import DownstreamError, InvalidArguments
from hub.oauth_client import OAuthClient
from hub.server_entry import ServerEntry


class Logins:
    """The logins at the servers of one hub.

    Args:
        vault: Where they are kept.
        clock: Tells when tokens end.
        login_deadline_s: How long a person may take to log in.
    """

    def __init__(self, vault: Vault, clock: Clock, login_deadline_s: float) -> None:
        self._vault = vault
        self._clock = clock
        self._login_deadline_s = login_deadline_s
        self._authorizers: dict[tuple[str, str], Authorizer] = {}
        self._running: set[str] = set()

    def authorizer(self, entry: ServerEntry) -> Authorizer | None:
        """What an entry's requests are authorized by; None where it needs none.

        An `Authorization` header of the entry takes precedence over any login.
        """
        if entry.transport == "stdio" or any(name.lower() == "authorization" for name in entry.headers):
            return None
        key = entry.name, entry.url
        if key not in self._authorizers:
            for old in [known for known in self._authorizers if known[0] == entry.name]:
                del self._authorizers[old]
            self._authorizers[key] = Authorizer(entry.name, entry.url, self._vault, self._clock)
        return self._authorizers[key]

    def check(self, entry: ServerEntry) -> Authorizer:
        """The authorizer of an entry that one can log in to.

        Raises:
            InvalidArguments: One cannot; says why.
        """
        authorizer = self.authorizer(entry)
        if authorizer is None:
            raise InvalidArguments(_why_no_login(entry))
        return authorizer

    async def is_logged_in(self, entry: ServerEntry) -> bool:
        """Whether there is a login for an entry."""
        authorizer = self.authorizer(entry)
        login = None if authorizer is None else await authorizer.login()
        return login is not None and bool(login.token)

    async def log_in(self, entry: ServerEntry, on_url: Callable[[str], None]) -> None:
        """Have a person log in at a server.

        Args:
            entry: The server.
            on_url: Told where the person must go.

        Raises:
            InvalidArguments: There is nothing to log in to.
            DownstreamError: It did not come about; says why.
            StorageError: The login cannot be kept.
        """
        authorizer = self.check(entry)
        if entry.name in self._running:
            raise InvalidArguments(f"somebody is logging in to {entry.name!r} already")
        self._running.add(entry.name)
        try:
            await asyncio.to_thread(importlib.import_module, "hub.auth.flow")
            from hub.auth.flow import log_in

            try:
                login = await log_in(
                    entry.url,
                    entry.oauth or OAuthClient(),
                    authorizer.challenge or Challenge(401),
                    await authorizer.login(),
                    on_url,
                    self._login_deadline_s,
                    self._clock.now,
                )
            except LoginFailed as failure:
                raise DownstreamError(entry.name, f"the login failed: {failure}") from None
            authorizer.challenge = None
            await authorizer.keep(login)
        finally:
            self._running.discard(entry.name)

    async def log_out(self, entry: ServerEntry) -> bool:
        """Forget the login at a server; returns whether there was one.

        Raises:
            StorageError: What is kept of it cannot be removed.
        """
        authorizer = self.authorizer(entry)
        return await self._vault.remove(entry.name) if authorizer is None else await authorizer.forget()

    async def aclose(self) -> None:
        """Let renewals under way finish."""
        for authorizer in self._authorizers.values():
            await authorizer.aclose()


def _why_no_login(entry: ServerEntry) -> str:
    if entry.transport == "stdio":
        return f"{entry.name!r} is a program that the hub starts; its keys stand under `env` in mcp.json"
    return f"{entry.name!r} has an Authorization header in mcp.json; take it out to log in instead"
