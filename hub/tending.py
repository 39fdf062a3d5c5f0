"""What a person does about one server: test it, log in and out, look at what changed and approve it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import asdict

from hub.calls import Json
from hub.changes import ReviewedServer
from hub.downstream.server import DownstreamServer
from hub.errors import DownstreamError, InvalidArguments, UnknownName
from hub.fleet import Fleet


class Tending:
    """The servers of a fleet, for a person who does something about one of them.

    Args:
        fleet: The servers.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    async def test(self, name: str) -> Json:
        """Connect to a server now: `name`, `ok`, `tools` or `problem`, `duration_s`.

        Raises:
            UnknownName: There is no server of that name.
        """
        server = self._server(name)
        began = time.monotonic()
        try:
            await (server.reconnect() if server.needs_login else server.connect())
        except DownstreamError as error:
            outcome: Json = {"ok": False, "problem": error.message}
        else:
            outcome = {"ok": True, "tools": len(server.items("tools/list"))}
        return {"name": server.name, **outcome, "duration_s": time.monotonic() - began}

    async def log_in(self, name: str, on_url: Callable[[str], None]) -> Json:
        """Have a person log in at a server, and connect to it: as `test`, with `login`.

        Args:
            name: The server.
            on_url: Told where the person must go; not called when the server wants no login.

        Raises:
            UnknownName: There is no server of that name.
            InvalidArguments: It is no server that one logs in to.
            DownstreamError: The login did not come about; says why.
            StorageError: The login cannot be kept.
        """
        server = self._server(name)
        logins = self._fleet.logins
        logins.check(server.entry)
        if not server.needs_login and server.state != "ready":
            # How it refuses says where to log in.
            with contextlib.suppress(DownstreamError):
                await server.connect()
        if not server.needs_login and server.state == "ready" and not await logins.is_logged_in(server.entry):
            return {**await self.test(name), "login": False}
        await logins.log_in(server.entry, on_url)
        return {**await self._connect_anew(server), "login": True}

    async def log_out(self, name: str) -> Json:
        """Forget the login at a server: `name`, `login` (whether there was one).

        Raises:
            UnknownName: There is no server of that name.
            StorageError: The login cannot be removed.
        """
        server = self._server(name)
        had = await self._fleet.logins.log_out(server.entry)
        if had:
            await self._connect_anew(server)
        return {"name": server.name, "login": had}

    async def _connect_anew(self, server: DownstreamServer) -> Json:
        try:
            await server.reconnect()
        except DownstreamError as error:
            return {"name": server.name, "ok": False, "problem": error.message}
        return {"name": server.name, "ok": True, "tools": len(server.items("tools/list"))}

    def changes(self, name: str) -> Json:
        """What a server's definitions say now and said before: `name`, `held`, `digest`, `changes`.

        Raises:
            UnknownName: There is no server of that name.
        """
        review = self._review(name)
        return {
            "name": review.name,
            "held": self._fleet.holds_changed,
            "digest": review.digest,
            "changes": [asdict(change) for change in review.changes],
        }

    def approve(self, name: str, digest: str) -> Json:
        """Trust what changed: `name`, `approved` (how many).

        Args:
            name: The server.
            digest: Of the changes as they were shown.

        Raises:
            UnknownName: There is no server of that name.
            InvalidArguments: The changes are others by now.
            StorageError: The approval cannot be kept.
        """
        count = len(self._review(name).changes)
        self._fleet.approve(name, digest)
        return {"name": name, "approved": count}

    def _server(self, name: str) -> DownstreamServer:
        server = self._fleet.downstream(name)
        if server is None:
            known = ", ".join(server.name for server in self._fleet.downstreams)
            raise UnknownName(
                f"no server {name!r} in {self._fleet.servers_file}; there are: {known or 'none'}"
            )
        return server

    def _review(self, name: str) -> ReviewedServer:
        review = self._fleet.review(self._server(name).name)
        if review is None:
            raise InvalidArguments(f"{name!r} runs the hub's own skills, which nobody else changes")
        return review
