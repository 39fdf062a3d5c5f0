"""Links over Streamable HTTP, in both eras.

Every request is a POST of its own, and what the server sends on that POST's stream
belongs to that request, so a push is attributed exactly.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import urljoin

import aiohttp

from hub import http_headers
from hub.auth import RenewalFailed
from hub.calls import Json
from hub.downstream.remote import LOGIN_WANTED, NotMcp, Remote, lacks_scope, origin
from hub.errors import RpcError
from hub.jsonrpc import Handler, NoAnswer, PeerClosed, RequestId, decode, encode
from hub.protocol import MODERN_VERSIONS
from hub.sse import SseReader, SseTooLong

log = logging.getLogger(__name__)

_REOPEN_S = 1.0
_REOPENS_MAX = 5
_LAST_ANSWERS_S = 300.0
"""How long calls may go on that a server took before it wanted a new login."""
_REDIRECTS = frozenset((301, 302, 303, 307, 308))


class StreamableHttpLink(Remote):
    """Streamable HTTP: every message is a POST, answered with JSON or with a stream."""

    def __init__(self, url: str, headers: Mapping[str, str], handler: Handler, **bounds: Any) -> None:
        super().__init__(url, headers, handler, **bounds)
        self._session_id: str | None = None
        self._requests: dict[RequestId, asyncio.Task[None]] = {}
        self._endless: set[RequestId] = set()

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
                if message["method"] == "subscriptions/listen":
                    self._endless.add(request_id)
            await self._post(message, headers, request_id)
            if message.get("method") == "notifications/initialized":
                self._spawn(self._keep_standing_stream())
        except RenewalFailed as failure:
            # It may pass, and what the server is working on is in no danger.
            problem = f"its login could not be renewed for now: {failure}"
            if request_id is None:
                log.warning("a message was not sent", extra={"problem": problem})
            else:
                self.peer.fail(request_id, NoAnswer(problem))
        except aiohttp.ClientConnectorError as error:
            self._lost(
                f"cannot connect to {origin(self._url)}: {error.os_error.strerror or error}",
                request_id,
                sent=False,
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._lost(f"the connection to {origin(self._url)} broke: {type(error).__name__}", request_id)
        except (SseTooLong, NotMcp) as error:
            if request_id is not None:
                self.peer.fail(request_id, NoAnswer(str(error)))
        finally:
            if request_id is not None:
                self._requests.pop(request_id, None)
                self._endless.discard(request_id)

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
                raise NotMcp("it answered a request with 202 and no result")
            answer = self._receive(await self._body(response))
            if not isinstance(answer, dict) or answer.get("id") != request_id or "method" in answer:
                kind = response.content_type or "nothing"
                raise NotMcp(f"it answered with {kind} that is no answer to the request: is the URL right?")
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
        if origin(target) != origin(self._url) or target == self._url:
            raise NotMcp(f"it redirects to {origin(target)}: put the final URL into mcp.json")
        self._url = target

    def _unauthorized(self, request_id: RequestId | None = None) -> None:
        if self._authorizer is None or self.peer.closed:
            super()._unauthorized(request_id)
            return
        if request_id is not None:
            self.peer.fail(request_id, PeerClosed(LOGIN_WANTED, sent=False))
        if not self.needs_login:
            self.needs_login = True
            self._spawn(self._end_when_answered(request_id))

    async def _end_when_answered(self, refused: RequestId | None) -> None:
        """End the conversation; what the server has begun while it knew the hub may finish before."""
        left = [task for key, task in self._requests.items() if key != refused and key not in self._endless]
        if left:
            await asyncio.wait(left, timeout=_LAST_ANSWERS_S)
        self._lost(LOGIN_WANTED)

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
        elif self._authorizer is not None and lacks_scope(response):
            more = f"`hub servers login {self._authorizer.name}` asks for more"
            words = f"the login at {origin(self._url)} does not permit this: {more}"
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
