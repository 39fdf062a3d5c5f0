"""Which addresses may be reached, decided on the address that is then connected to.

A name is resolved once for each hop, its addresses are checked, and the connection
goes to a checked address. So neither a redirect nor a name server that answers
differently the second time leads into the user's own network.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket

import httpx
from fastmcp.exceptions import ToolError

URL_CHARS_MAX = 4096
ADDRESSES_MAX = 4
"""How many of a name's addresses are tried."""

_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")
"""Where a translator puts IPv4 addresses (RFC 6052)."""
HOW_TO_ALLOW = "The user can allow this host: in web_private_hosts under [skills] in hub.toml."


def checked_url(url: str) -> httpx.URL:
    """Parse a URL, once and for all: what is checked is what is connected to.

    Raises:
        ToolError: It is not one that may be fetched.
    """
    if len(url) > URL_CHARS_MAX:
        raise ToolError(f"The URL has {len(url)} characters, at most {URL_CHARS_MAX} are allowed.")
    try:
        parsed = httpx.URL(url.strip())
    except httpx.InvalidURL as error:
        raise ToolError(f"{url!r} is not a URL: {error}.") from None
    if parsed.scheme not in ("http", "https"):
        raise ToolError(f"{url!r} must begin with http:// or https://.")
    if not parsed.host:
        raise ToolError(f"{url!r} names no host.")
    if parsed.userinfo:
        raise ToolError("A URL with a user name or a password in it is refused: it would end up in logs.")
    return parsed.copy_with(fragment=None)


async def addresses_of(host: str, port: int, *, private: bool) -> list[str]:
    """The addresses of a host that may be connected to, in the resolver's order.

    Args:
        private: Whether addresses of the user's own machine and network may be.

    Raises:
        ToolError: The host is unknown, or has no address that may be reached.
    """
    try:
        answers = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise ToolError(f"The host {host!r} is not known. Check the spelling and the network.") from None
    addresses = list(dict.fromkeys(str(answer[4][0]) for answer in answers))
    reachable = [address for address in addresses if private or is_public(address)]
    if not reachable:
        raise ToolError(f"{host!r} is this machine or in a private network, which is refused. {HOW_TO_ALLOW}")
    return reachable[:ADDRESSES_MAX]


def is_public(address: str) -> bool:
    """Whether an address belongs to the public internet, also when it wraps an IPv4 address."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        wrapped = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in _TRANSLATED:
            wrapped = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if wrapped is not None:
            return is_public(str(wrapped))
        if ip.is_site_local:
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved
