"""Downloading one page: every hop checked, everything bounded."""

from __future__ import annotations

import asyncio
import ssl
import zlib
from collections.abc import Callable
from email.message import Message
from functools import cache

import httpx
from fastmcp.exceptions import ToolError
from web_address import addresses_of, checked_url
from web_page import Page

REDIRECTS_MAX = 5
CONNECT_DEADLINE_S = 5.0
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS = {
    "accept": "text/markdown, text/html, application/xhtml+xml, application/json, text/*;q=0.8, */*;q=0.1",
    "accept-encoding": "gzip, deflate",
    "user-agent": "omni-hub (web.fetch)",
}


async def download(url: str, *, private: Callable[[str], bool], bytes_max: int, deadline_s: float) -> Page:
    """Download a URL, following redirects.

    Args:
        private: Whether a host may be reached at an address of the user's own machine or network.
        bytes_max: How much of the body is kept.

    Raises:
        ToolError: It cannot be reached, may not be, or takes too long; says which.
    """
    target = checked_url(url)
    try:
        async with asyncio.timeout(deadline_s):
            for _ in range(REDIRECTS_MAX + 1):
                found = await _hop(target, private, bytes_max)
                if isinstance(found, Page):
                    return found
                target = checked_url(str(found))
    except TimeoutError:
        raise ToolError(f"{target} took longer than {deadline_s:g} s (web_deadline_s in hub.toml).") from None
    raise ToolError(f"{url} redirects more than {REDIRECTS_MAX} times.")


async def _hop(url: httpx.URL, private: Callable[[str], bool], bytes_max: int) -> Page | httpx.URL:
    """One request: the page, or where it redirects to."""
    port = url.port or (443 if url.scheme == "https" else 80)
    why = "no address"
    for address in await addresses_of(url.host, port, private=private(url.host)):
        # The request goes to the checked address; the Host header and the name
        # that the certificate must carry stay the URL's.
        request = httpx.Request(
            "GET",
            url.copy_with(host=address),
            headers={"host": url.netloc.decode("ascii"), **_HEADERS},
            extensions={"sni_hostname": url.raw_host.decode("ascii")} if url.scheme == "https" else {},
        )
        try:
            async with _client() as client:
                response = await client.send(request, stream=True)
                try:
                    location = response.headers.get("location")
                    if response.status_code in _REDIRECTS and location:
                        return url.join(location)
                    return await _page(url, response, bytes_max)
                finally:
                    await response.aclose()
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            why = str(error) or type(error).__name__  # the next address may answer
        except httpx.InvalidURL as error:
            raise ToolError(f"{url} redirects to something that is not a URL: {error}.") from None
        except httpx.HTTPError as error:
            raise ToolError(f"{url} could not be read: {str(error) or type(error).__name__}.") from None
    raise ToolError(f"{url} could not be reached: {why}.")


def _client() -> httpx.AsyncClient:
    """A client for one request: no cookies, no proxy that would resolve the name anew."""
    timeout = httpx.Timeout(None, connect=CONNECT_DEADLINE_S)
    return httpx.AsyncClient(verify=_tls(), trust_env=False, follow_redirects=False, timeout=timeout)


@cache
def _tls() -> ssl.SSLContext:
    """Loading the authorities takes longer than a request: once for the process.

    `SSL_CERT_FILE` and `SSL_CERT_DIR` replace those that come with the library.
    """
    return httpx.create_ssl_context()


async def _page(url: httpx.URL, response: httpx.Response, bytes_max: int) -> Page:
    header = Message()
    header["content-type"] = response.headers.get("content-type", "")
    told = "content-type" in response.headers
    body, truncated = await _body(response, bytes_max)
    return Page(
        url=str(url),
        status=response.status_code,
        reason=response.reason_phrase,
        media_type=header.get_content_type() if told else "",
        charset=header.get_content_charset(),
        body=body,
        truncated=truncated,
    )


async def _body(response: httpx.Response, bytes_max: int) -> tuple[bytes, bool]:
    """The decompressed body up to a length, and whether there was more.

    Decompressed here and not by httpx, whose decoders unpack a whole chunk before
    its size is known: a few kilobytes can stand for gigabytes.
    """
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "", "gzip", "x-gzip", "deflate"):
        raise ToolError(f"The page is compressed with {encoding!r}, which was not asked for.")
    # 32 more than the window size: zlib tells gzip and zlib apart by their headers.
    unpack = zlib.decompressobj(wbits=47) if encoding not in ("identity", "") else None
    body = bytearray()
    async for chunk in response.aiter_raw():
        if unpack is not None:
            try:
                chunk = unpack.decompress(chunk, bytes_max + 1 - len(body))
            except zlib.error as error:
                raise ToolError(f"The page's compression is damaged: {error}.") from None
        body += chunk[: bytes_max + 1 - len(body)]
        if len(body) > bytes_max:
            return bytes(body[:bytes_max]), True
    return bytes(body), False
