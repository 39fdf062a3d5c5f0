"""Links over HTTP: Streamable HTTP in both eras, and the older HTTP with SSE.

Every request is a POST of its own, and what the server sends on that POST's stream
belongs to that request, so a push is attributed exactly. aiohttp carries the bytes,
because it costs a third of what the SDK's client does per call.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from hub import __version__, http_headers
from hub.auth import Authorizer, Challenge, RenewalFailed
from hub.calls import Json
from hub.errors import RpcError
from hub.jsonrpc import Handler, NoAnswer, Peer, PeerClosed, RequestId, decode, encode
from hub.protocol import MODERN_VERSIONS
from hub.sse import SseReader, SseTooLong

log = logging.getLogger(__name__)

_REOPEN_S = 1.0
_REOPENS_MAX = 5
_REDIRECTS = frozenset((301, 302, 303, 307, 308))


class _NotMcp(Exception):
    """Something answered, but not as an MCP server does."""


class _Remote:
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
        task = asyncio.get_running_loop().create_task(self._deliver(message, headers or {}))
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
        if response.status == 403 and not _lacks_scope(response):
            return False
        challenge = Challenge(response.status, response.headers.get("www-authenticate", ""))
        return await self._authorizer.refused(sent.get("authorization"), challenge)

    def _unauthorized(self, request_id: RequestId | None = None) -> None:
        """The server wants to know who asks, and nothing that is known satisfies it."""
        if self._authorizer is None:
            self._lost("it refuses the Authorization header of its entry", request_id, sent=False)
            return
        self.needs_login = True
        self._lost("it wants a login", request_id, sent=False)

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


class StreamableHttpLink(_Remote):
    """Streamable HTTP: every message is a POST, answered with JSON or with a stream."""

    def __init__(self, url: str, headers: Mapping[str, str], handler: Handler, **bounds: Any) -> None:
        super().__init__(url, headers, handler, **bounds)
        self._session_id: str | None = None
        self._requests: dict[RequestId, asyncio.Task[None]] = {}

    async def _deliver(self, message: Json, headers: Mapping[str, str]) -> None:
        request_id = message.get("id") if "method" in message else None
        try:
            if message.get("method") == "notifications/cancelled" and self._version in MODERN_VERSIONS:
                # A modern server learns of a cancellation from the closed stream.
                running = self._requests.get(message["params"]["requestId"])
                if running is not None:
                    running.cancel()
                return
            if request_id is not None:
                task = asyncio.current_task()
                assert task is not None
                self._requests[request_id] = task
            await self._post(message, headers, request_id)
            if message.get("method") == "notifications/initialized":
                self._spawn_standing_stream()
        except RenewalFailed as failure:
            self._lost(f"its login could not be renewed: {failure}", request_id, sent=False)
        except aiohttp.ClientConnectorError as error:
            self._lost(
                f"cannot connect to {_origin(self._url)}: {error.os_error.strerror or error}",
                request_id,
                sent=False,
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._lost(f"the connection to {_origin(self._url)} broke: {type(error).__name__}", request_id)
        except (SseTooLong, _NotMcp) as error:
            if request_id is not None:
                self.peer.fail(request_id, NoAnswer(str(error)))
        finally:
            if request_id is not None:
                self._requests.pop(request_id, None)

    async def _post(
        self, message: Json, headers: Mapping[str, str], request_id: RequestId | None, *, again: bool = True
    ) -> None:
        method = message.get("method")
        authorization = await self._authorization()
        sent_headers = {
            **self._headers,
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
            **self._connection_headers(),
            **headers,
            **authorization,
        }
        async with self._http.post(
            self._url, data=encode(message), headers=sent_headers, allow_redirects=False
        ) as response:
            if response.status in _REDIRECTS:
                self._follow(response)
                return await self._post(message, headers, request_id, again=again)
            if response.status >= 400:
                if await self._again(response, authorization) and again:
                    return await self._post(message, headers, request_id, again=False)
                return await self._refused(response, request_id)
            if method == "initialize" and (session_id := response.headers.get(http_headers.SESSION_ID)):
                self._session_id = session_id
            if request_id is None:
                return None
            if response.content_type == "text/event-stream":
                return await self._read_stream(response, request_id)
            if response.status == 202:
                raise _NotMcp("it answered a request with 202 and no result")
            answer = self._receive(await self._body(response))
            if not isinstance(answer, dict) or answer.get("id") != request_id or "method" in answer:
                kind = response.content_type or "nothing"
                raise _NotMcp(f"it answered with {kind} that is no answer to the request: is the URL right?")
        return None

    def _connection_headers(self) -> dict[str, str]:
        headers = {}
        if self._version is not None:
            headers[http_headers.PROTOCOL_VERSION] = self._version
        if self._session_id is not None:
            headers[http_headers.SESSION_ID] = self._session_id
        return headers

    def _follow(self, response: aiohttp.ClientResponse) -> None:
        """Take a redirect within the same origin, for good."""
        target = urljoin(self._url, response.headers.get("location", ""))
        if _origin(target) != _origin(self._url) or target == self._url:
            raise _NotMcp(f"it redirects to {_origin(target)}: put the final URL into mcp.json")
        self._url = target

    async def _refused(self, response: aiohttp.ClientResponse, request_id: RequestId | None) -> None:
        """Turn an HTTP error into the answer, or into the end of the conversation."""
        try:
            body = decode(await self._body(response))
        except ValueError:
            body = None
        words = f"it answered HTTP {response.status} {response.reason or ''}".rstrip()
        if response.status == 404 and self._session_id is not None:
            self._lost("it has forgotten the session", request_id, sent=False)
        elif response.status == 401:
            self._unauthorized(request_id)
        elif request_id is None:
            log.warning("a message was refused", extra={"status": response.status})
        elif self._authorizer is not None and _lacks_scope(response):
            more = f"`hub servers login {self._authorizer.name}` asks for more"
            words = f"the login at {_origin(self._url)} does not permit this: {more}"
            self.peer.fail(request_id, NoAnswer(words))
        elif isinstance(body, dict) and isinstance(body.get("error"), dict):
            self.peer.fail(request_id, RpcError(body["error"]))
        else:
            self.peer.fail(request_id, NoAnswer(words))

    async def _read_stream(self, response: aiohttp.ClientResponse, request_id: RequestId) -> None:
        """Read a request's stream until its answer; resume it where the server allows that."""
        last_id: str | None = None
        retry_s = _REOPEN_S
        for _ in range(_REOPENS_MAX):
            with contextlib.suppress(aiohttp.ClientPayloadError):
                async for event_id, retry_ms, message in self._events(response):
                    last_id = event_id or last_id
                    retry_s = retry_ms / 1000 if retry_ms is not None else retry_s
                    if (
                        isinstance(message, dict)
                        and "method" not in message
                        and message.get("id") == request_id
                    ):
                        return
            if last_id is None or self._version in MODERN_VERSIONS:
                break
            await asyncio.sleep(retry_s)
            response = await self._http.get(
                self._url,
                headers={
                    **self._headers,
                    **self._connection_headers(),
                    **await self._authorization(),
                    "accept": "text/event-stream",
                    "last-event-id": last_id,
                },
                allow_redirects=False,
            )
            if response.status != 200:
                response.release()
                break
        self.peer.fail(request_id, PeerClosed("its stream ended before the answer came", sent=True))

    async def _events(
        self, response: aiohttp.ClientResponse
    ) -> AsyncIterator[tuple[str | None, int | None, Any]]:
        """Hand the messages of a stream to the peer as they come, and yield each."""
        reader = SseReader(self._message_bytes_max)
        async for chunk in response.content.iter_any():
            for event in reader.feed(chunk):
                message = self._receive(event.data) if event.data and event.type == "message" else None
                yield event.id, event.retry_ms, message

    def _spawn_standing_stream(self) -> None:
        task = asyncio.get_running_loop().create_task(self._keep_standing_stream())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _keep_standing_stream(self) -> None:
        """Listen to what a legacy server sends beside answers, where it offers such a stream."""
        last_id: str | None = None
        retry_s = _REOPEN_S
        failures = 0
        while failures < _REOPENS_MAX and not self.peer.closed:
            headers = {**self._headers, **self._connection_headers(), "accept": "text/event-stream"}
            if last_id is not None:
                headers["last-event-id"] = last_id
            try:
                headers |= await self._authorization()
                async with self._http.get(self._url, headers=headers, allow_redirects=False) as response:
                    if response.status != 200 or response.content_type != "text/event-stream":
                        return  # most servers have none, and say so with 405
                    async for event_id, retry_ms, _ in self._events(response):
                        failures = 0
                        last_id = event_id or last_id
                        retry_s = retry_ms / 1000 if retry_ms is not None else retry_s
            except (aiohttp.ClientError, TimeoutError, OSError, SseTooLong, RenewalFailed) as error:
                log.debug("the standing stream broke", extra={"error": str(error)})
            failures += 1
            await asyncio.sleep(retry_s)

    async def aclose(self) -> None:
        """End the conversation; a legacy server is told that its session is over."""
        self.peer.close("the hub closed the connection")
        if self._session_id is not None:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError, RenewalFailed):
                async with asyncio.timeout(1.0):
                    headers = {**self._headers, **self._connection_headers(), **await self._authorization()}
                    await self._http.delete(self._url, headers=headers, allow_redirects=False)
        await self._end()


class SseLink(_Remote):
    """HTTP with SSE, as of 2024-11-05: one stream carries every answer, POSTs carry the rest."""

    def __init__(self, url: str, headers: Mapping[str, str], handler: Handler, **bounds: Any) -> None:
        super().__init__(url, headers, handler, **bounds)
        self._endpoint: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        task = asyncio.get_running_loop().create_task(self._read_stream())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read_stream(self) -> None:
        try:
            problem = await self._stream() or await self._stream(again=False)
        except RenewalFailed as failure:
            problem = f"its login could not be renewed: {failure}"
        except aiohttp.ClientConnectorError as error:
            problem = f"cannot connect to {_origin(self._url)}: {error.os_error.strerror or error}"
        except (aiohttp.ClientError, TimeoutError, OSError, SseTooLong) as error:
            problem = f"the connection to {_origin(self._url)} broke: {type(error).__name__}"
        self._lost(problem or "it wants a login")
        if not self._endpoint.done():
            self._endpoint.cancel()

    async def _stream(self, *, again: bool = True) -> str | None:
        """Read the stream to its end; returns why it ended, None when it is worth asking for again."""
        authorization = await self._authorization()
        headers = {**self._headers, **authorization, "accept": "text/event-stream"}
        async with self._http.get(self._url, headers=headers, allow_redirects=False) as response:
            if response.status == 401:
                if await self._again(response, authorization) and again:
                    return None
                self._unauthorized()
            if response.status != 200:
                return f"it answered HTTP {response.status} {response.reason or ''}".rstrip()
            reader = SseReader(self._message_bytes_max)
            async for chunk in response.content.iter_any():
                for event in reader.feed(chunk):
                    self._take(event.type, event.data)
        return "the server closed the stream"

    def _take(self, type_: str, data: str) -> None:
        if type_ == "endpoint" and not self._endpoint.done():
            target = urljoin(self._url, data)
            if _origin(target) == _origin(self._url):
                self._endpoint.set_result(target)
            else:
                self._lost("it named an endpoint at another origin")
        elif type_ == "message":
            self._receive(data)

    async def _deliver(self, message: Json, headers: Mapping[str, str]) -> None:
        request_id = message.get("id") if "method" in message else None
        try:
            endpoint = await asyncio.shield(self._endpoint)
            await self._post(endpoint, message, headers, request_id)
        except RenewalFailed as failure:
            self._lost(f"its login could not be renewed: {failure}", request_id, sent=False)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._lost(f"the connection to {_origin(self._url)} broke: {type(error).__name__}", request_id)

    async def _post(
        self,
        endpoint: str,
        message: Json,
        headers: Mapping[str, str],
        request_id: RequestId | None,
        *,
        again: bool = True,
    ) -> None:
        authorization = await self._authorization()
        sent_headers = {**self._headers, "content-type": "application/json", **headers, **authorization}
        if self._version is not None:
            sent_headers[http_headers.PROTOCOL_VERSION] = self._version
        async with self._http.post(
            endpoint, data=encode(message), headers=sent_headers, allow_redirects=False
        ) as response:
            if await self._again(response, authorization) and again:
                return await self._post(endpoint, message, headers, request_id, again=False)
            if response.status == 401:
                self._unauthorized(request_id)
            elif response.status >= 300 and request_id is not None:
                words = f"it answered HTTP {response.status} {response.reason or ''}".rstrip()
                self.peer.fail(request_id, NoAnswer(words))
        return None

    async def aclose(self) -> None:
        """End the conversation."""
        self.peer.close("the hub closed the connection")
        await self._end()


def _lacks_scope(response: aiohttp.ClientResponse) -> bool:
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


def _origin(url: str) -> str:
    """Scheme, host and port of a URL, without anything that could be a secret."""
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return f"{parts.scheme}://{parts.hostname}:{port}"
