"""What the links over HTTP share: a client session, its bounds, and who the hub is to the server.

aiohttp carries the bytes, because it costs a third of what the SDK's client does per call.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from hub import __version__, http_headers
from hub.auth import Authorizer, Challenge
from hub.calls import Json
from hub.jsonrpc import Handler, Peer, PeerClosed, RequestId, decode
from hub.protocol import MODERN_VERSIONS
from hub.sse import SseTooLong

log = logging.getLogger(__name__)

_REOPEN_S = 1.0
_REOPENS_MAX = 5
_REDIRECTS = frozenset((301, 302, 303, 307, 308))


LOGIN_WANTED = "it wants a login"


class NotMcp(Exception):
    """Something answered, but not as an MCP server does."""


class Remote:
    """What both HTTP transports share: a client session, its tasks, its bounds."""

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        handler: Handler,
        *,
        authorizer: Authorizer | None,
        message_bytes_max: int,
        connect_deadline_s: float,
        connections_max: int,
    ) -> None:
        self.peer = Peer(self, handler, answer_garbage=False)
        self.needs_login = False
        self._authorizer = authorizer
        self._url = url
        self._headers = dict(headers)
        self._message_bytes_max = message_bytes_max
        self._version: str | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._problem = ""
        self._declared: dict[str, http_headers.Mirrored] = {}
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=connections_max),
            timeout=aiohttp.ClientTimeout(total=None, connect=connect_deadline_s),
            headers={"user-agent": f"omni-hub/{__version__}"},
            cookie_jar=aiohttp.DummyCookieJar(),
            proxy=_proxy_for(url),
        )

    # -- a `Channel` for its peer

    @property
    def full(self) -> bool:
        return False  # each message has a request of its own; their number is bounded by the caller

    def send(self, message: Json, headers: Mapping[str, str] | None = None) -> None:
        # The task inherits the context, and with it the call that this message belongs to.
        self._spawn(self._deliver(message, headers or {}))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something in a task that ends with the link."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self) -> None:
        """There is no queue to drain."""

    def close(self) -> None:
        """Nothing is queued; `aclose` ends what is under way."""

    async def _deliver(self, message: Json, headers: Mapping[str, str]) -> None:
        raise NotImplementedError

    # -- a `Link`

    def use_version(self, version: str) -> None:
        self._version = version

    def headers_for(self, method: str, params: Json) -> Mapping[str, str] | None:
        if self._version not in MODERN_VERSIONS:
            return None
        headers = {http_headers.METHOD: method}
        named = params.get(http_headers.NAME_PARAMS.get(method, ""))
        if isinstance(named, str):
            headers[http_headers.NAME] = http_headers.encode_value(named)
            if method == "tools/call" and (declared := self._declared.get(named)):
                headers |= http_headers.param_headers(declared, params.get("arguments"))
        return headers

    def use_tools(self, tools: Sequence[Json]) -> None:
        self._declared = {
            tool["name"]: declared
            for tool in tools
            if (declared := http_headers.declared_params(tool.get("inputSchema")))
        }

    async def post_mortem(self) -> str:
        return self._problem

    def _lost(self, problem: str, request_id: RequestId | None = None, *, sent: bool = True) -> None:
        """The server cannot be reached any more: end the conversation."""
        self._problem = problem
        if request_id is not None:
            self.peer.fail(request_id, PeerClosed(problem, sent=sent))
        self.peer.close(problem)

    # -- who the hub is to the server

    async def _authorization(self) -> dict[str, str]:
        """The header that shows the login, where there is one.

        Raises:
            RenewalFailed: Its token has expired, and cannot be renewed for now.
        """
        header = None if self._authorizer is None else await self._authorizer.header()
        return {} if header is None else {"authorization": header}

    async def _again(self, response: aiohttp.ClientResponse, sent: Mapping[str, str]) -> bool:
        """Whether a refused request is worth sending again, because there is another token now.

        Raises:
            RenewalFailed: There could be one, but not for now.
        """
        if self._authorizer is None or response.status not in (401, 403):
            return False
        if response.status == 403 and not lacks_scope(response):
            return False
        challenge = Challenge(response.status, response.headers.get("www-authenticate", ""))
        return await self._authorizer.refused(sent.get("authorization"), challenge)

    def _unauthorized(self, request_id: RequestId | None = None) -> None:
        """The server wants to know who asks, and nothing that is known satisfies it."""
        if self._authorizer is None:
            self._lost("it refuses the Authorization header of its entry", request_id, sent=False)
            return
        self.needs_login = True
        self._lost(LOGIN_WANTED, request_id, sent=False)

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._http.close()

    # -- reading

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        """A whole body, within the bound.

        Raises:
            SseTooLong: It is longer.
        """
        parts, size = [], 0
        async for chunk in response.content.iter_any():
            size += len(chunk)
            if size > self._message_bytes_max:
                raise SseTooLong(f"a message was longer than {self._message_bytes_max:,} bytes")
            parts.append(chunk)
        return b"".join(parts)

    def _receive(self, text: bytes | str) -> Any:
        """Hand one message to the peer; returns it, or None when it was no message."""
        try:
            message = decode(text.encode() if isinstance(text, str) else text)
        except ValueError as error:
            self.peer.receive_garbage(f"a message is not JSON: {error}")
            return None
        self.peer.receive(message)
        return message


def lacks_scope(response: aiohttp.ClientResponse) -> bool:
    """Whether the login is good, but does not permit this."""
    return response.status == 403 and "insufficient_scope" in response.headers.get("www-authenticate", "")


def _proxy_for(url: str) -> str | None:
    """The proxy that the environment names for a URL.

    Asked once for each link: aiohttp's own look at the environment costs two thread
    hops for every request, and would send what stands in `~/.netrc` besides.
    """
    parts = urlsplit(url)
    if not parts.hostname or proxy_bypass(parts.hostname):
        return None
    return getproxies().get(parts.scheme)


def origin(url: str) -> str:
    """Scheme, host and port of a URL, without anything that could be a secret."""
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return f"{parts.scheme}://{parts.hostname}:{port}"
