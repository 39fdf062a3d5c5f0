"""Links over the older HTTP with SSE, as of 2024-11-05: one stream carries every answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin

import aiohttp

from hub import http_headers
from hub.auth import RenewalFailed
from hub.calls import Json
from hub.downstream.remote import LOGIN_WANTED, Remote, origin
from hub.jsonrpc import Handler, NoAnswer, RequestId, encode
from hub.sse import SseReader, SseTooLong

log = logging.getLogger(__name__)

_REOPEN_S = 1.0
_REOPENS_MAX = 5
_REDIRECTS = frozenset((301, 302, 303, 307, 308))


class SseLink(Remote):
    """HTTP with SSE, as of 2024-11-05: one stream carries every answer, POSTs carry the rest."""

    def __init__(self, url: str, headers: Mapping[str, str], handler: Handler, **bounds: Any) -> None:
        super().__init__(url, headers, handler, **bounds)
        self._endpoint: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._spawn(self._read_stream())

    async def _read_stream(self) -> None:
        try:
            problem = await self._stream() or await self._stream(again=False)
        except RenewalFailed as failure:
            problem = f"its login could not be renewed: {failure}"
        except aiohttp.ClientConnectorError as error:
            problem = f"cannot connect to {origin(self._url)}: {error.os_error.strerror or error}"
        except (aiohttp.ClientError, TimeoutError, OSError, SseTooLong) as error:
            problem = f"the connection to {origin(self._url)} broke: {type(error).__name__}"
        self._lost(problem or LOGIN_WANTED)
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
            if origin(target) == origin(self._url):
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
            self._lost(f"the connection to {origin(self._url)} broke: {type(error).__name__}", request_id)

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
