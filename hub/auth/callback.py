"""The listener that a browser comes back to after a login."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from aiohttp import web

PATH = "/callback"
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>omni-hub</title>
<body style="font: 1.1rem system-ui; margin: 4rem auto; max-width: 30rem">
<h1>{title}</h1><p>{text}</p></body></html>"""


class Callback:
    """One login's return, on loopback.

    Attributes:
        redirect_uri: Where the browser must come back to.
    """

    def __init__(self, redirect_uri: str) -> None:
        self.redirect_uri = redirect_uri
        self._state = ""
        self._answer: asyncio.Future[Mapping[str, str]] = asyncio.get_running_loop().create_future()

    @classmethod
    @asynccontextmanager
    async def listening(cls, redirect_uri: str | None, *, must: bool) -> AsyncIterator[Callback]:
        """Listen until the context ends.

        Args:
            redirect_uri: Where to, if that matters; a free port of 127.0.0.1 when None.
            must: Whether no other will do; else a free port is taken when that one is not free.

        Raises:
            OSError: Nothing can listen there.
        """
        parts = urlsplit(redirect_uri or f"http://127.0.0.1:0{PATH}")
        callback = cls("")
        app = web.Application()
        app.router.add_get(parts.path or "/", callback._return)
        # Its access log would hold the code.
        runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await runner.setup()
        try:
            host, port = parts.hostname or "127.0.0.1", parts.port or 0
            try:
                await web.TCPSite(runner, host, port).start()
            except OSError:
                if must or port == 0:
                    raise
                await web.TCPSite(runner, host, 0).start()
            port = runner.addresses[0][1]
            callback.redirect_uri = f"http://{parts.netloc.rpartition(':')[0] or host}:{port}{parts.path}"
            yield callback
        finally:
            await runner.cleanup()

    def expect(self, state: str) -> None:
        """Take no other return than the one with this state."""
        self._state = state

    async def wait(self) -> Mapping[str, str]:
        """What the browser brought back: `code` or `error`, and `state`."""
        return await self._answer

    async def _return(self, request: web.Request) -> web.Response:
        answer = dict(request.query)
        # Anything may call a port on loopback; only the login itself knows its state.
        state = answer.get("state", "")
        if not self._state or not secrets.compare_digest(state.encode(), self._state.encode()):
            return _page(400, "Not this login", "This is not the end of the login that the hub waits for.")
        if "code" not in answer and "error" not in answer:
            return _page(400, "No answer", "The authorization server sent neither a code nor an error.")
        if not self._answer.done():
            self._answer.set_result(answer)
        if "code" in answer:
            return _page(200, "Almost there", "The hub has the answer. You can close this page.")
        return _page(200, "No login", "The authorization server refused. The command line says more.")


def _page(status: int, title: str, text: str) -> web.Response:
    return web.Response(
        status=status,
        text=PAGE.format(title=title, text=text),
        content_type="text/html",
        headers={"cache-control": "no-store", "referrer-policy": "no-referrer"},
    )
