"""The SDK's OAuth flow, driven request by request.

`OAuthClientProvider` is made to sit under an HTTP client that sends the MCP messages
themselves. The hub's links have their own, so its flow is run by hand: it is given the
refusal that a link has met, what it sends to authorization servers is sent, and it is
left where it would send the MCP message again, now with a token.

This module takes long to import; nothing on the way of a call does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp.client.auth import (
    AuthorizationCodeResult,
    OAuthClientProvider,
    OAuthFlowError,
    OAuthRegistrationError,
    OAuthTokenError,
)
from mcp.shared.auth import (
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthMetadata,
    OAuthToken,
    ProtectedResourceMetadata,
)
from mcp_types import LATEST_PROTOCOL_VERSION
from pydantic import AnyUrl, ValidationError

from hub import __version__
from hub.auth.callback import Callback
from hub.auth.login import Challenge, Login, LoginFailed, LoginNeeded, RenewalFailed
from hub.calls import Json
from hub.oauth_client import OAuthClient
from hub.redaction import hide_shapes

REQUEST_DEADLINE_S: Final = 30.0
"""How long one answer of an authorization server may take."""
BODY_BYTES_MAX: Final = 1024 * 1024
"""The longest answer of an authorization server that is read."""
REQUESTS_MAX: Final = 32
"""How many requests one flow may make; discovery, registration and token need about six."""
WORDS_CHARS_MAX: Final = 200
"""How much of an authorization server's own explanation is repeated."""

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_EXPIRED: Final = 1.0
"""A moment long ago, at which the SDK takes a token for expired: it trusts 0 for ever."""

# It logs what token endpoints answer, tokens perhaps; the hub says itself what went wrong.
logging.getLogger("mcp.client.auth").setLevel(logging.CRITICAL)
logging.getLogger("mcp.client.auth.oauth2").setLevel(logging.CRITICAL)


async def log_in(
    url: str,
    client: OAuthClient,
    challenge: Challenge,
    earlier: Login | None,
    on_url: Callable[[str], None],
    deadline_s: float,
    now: Callable[[], float],
) -> Login:
    """Have a person log in, in a browser that comes back to a listener on loopback.

    Args:
        url: The server.
        client: What its entry says about the hub as its client.
        challenge: How the server refused the hub.
        earlier: The login until now; its registration is used again where that is possible.
        on_url: Told where the person must go.
        deadline_s: How long it may take in all.
        now: Tells the time.

    Raises:
        LoginFailed: It did not come about.
    """
    more = earlier if challenge.status == 403 and earlier is not None and earlier.token else None
    asked_for = client.returns_to or (_redirect_uri(earlier) if earlier is not None else None)
    async with contextlib.AsyncExitStack() as stack:
        try:
            callback = await stack.enter_async_context(
                Callback.listening(asked_for, must=client.returns_to is not None)
            )
        except OSError as error:
            raise LoginFailed(f"nothing can listen at {asked_for or 'loopback'}: {error.strerror}") from None
        provider = OAuthClientProvider(
            url,
            OAuthClientMetadata(
                client_name="omni-hub",
                software_id="omni-hub",
                software_version=__version__,
                redirect_uris=[AnyUrl(callback.redirect_uri)],
                token_endpoint_auth_method="none" if client.secret is None else None,
            ),
            # A registration may be bound to the scopes that it was made with: more of them need another.
            _Memory(
                _registration(client, callback.redirect_uri, None if more else earlier),
                more.token if more else None,
            ),
            redirect_handler=lambda target: _send_person(provider, target, callback, on_url),
            callback_handler=lambda: _come_back(callback),
            client_metadata_url=client.metadata_url,
        )
        if more:
            _resume(provider, more)
        try:
            async with asyncio.timeout(deadline_s):
                await _drive(provider, url, _response_to(challenge, client.scopes))
        except TimeoutError:
            raise LoginFailed(f"nobody logged in within {deadline_s:g} s") from None
    return _login(url, provider, now())


async def renew(login: Login) -> Json:
    """Renew a token.

    Returns:
        The new token response, with the refresh token to use next.

    Raises:
        LoginNeeded: The authorization server refuses; a person must log in again.
        RenewalFailed: It cannot be asked for now.
    """
    client = OAuthClientInformationFull.model_validate(login.client)
    metadata = OAuthClientMetadata(
        redirect_uris=client.redirect_uris or [AnyUrl("http://127.0.0.1/callback")]
    )
    provider = OAuthClientProvider(login.url, metadata, _Memory(client, login.token))
    _resume(provider, login)
    provider.context.token_expiry_time = _EXPIRED
    try:
        async with asyncio.timeout(REQUEST_DEADLINE_S):
            last = await _drive(provider, login.url, None)
    except TimeoutError:
        raise RenewalFailed(f"no answer within {REQUEST_DEADLINE_S:g} s") from None
    except LoginFailed as failure:
        raise RenewalFailed(str(failure)) from None
    tokens = provider.context.current_tokens
    if tokens is not None:
        return tokens.model_dump(mode="json", exclude_none=True)
    assert last is not None
    # 408 and 429 pass; every other 4xx is the server's verdict on this refresh token.
    if 400 <= last.status < 500 and last.status not in (408, 429):
        raise LoginNeeded(last.words)
    raise RenewalFailed(last.words)


# -- running the flow


@dataclass(frozen=True, slots=True)
class _Answer:
    """What an authorization server last answered."""

    status: int
    words: str


async def _drive(provider: OAuthClientProvider, url: str, refusal: httpx2.Response | None) -> _Answer | None:
    """Run the flow until it would send the MCP message with what it has got.

    Args:
        provider: Whose flow.
        url: The server.
        refusal: What the message is first answered with; None to stop when it is first sent.

    Returns:
        What the last server it asked has answered.

    Raises:
        LoginFailed: The flow failed.
    """
    # The revision tells the flow that it may name the resource it wants a token for.
    message = httpx2.Request("POST", url, headers={"mcp-protocol-version": LATEST_PROTOCOL_VERSION})
    if refusal is not None:
        refusal.request = message
    last: _Answer | None = None
    flow = provider.async_auth_flow(message)
    try:
        async with _client() as http:
            outgoing = await anext(flow)
            for _ in range(REQUESTS_MAX):
                if outgoing is message:
                    if refusal is None:
                        return last
                    response, refusal = refusal, None
                else:
                    response = await _send(http, outgoing, url)
                    last = _Answer(response.status_code, _words(outgoing, response))
                outgoing = await flow.asend(response)
    except (OAuthTokenError, OAuthRegistrationError) as error:
        assert last is not None
        if isinstance(error, OAuthRegistrationError):
            raise LoginFailed(
                f"{last.words}; it does not register the hub by itself: register a client there and put its "
                'id into the entry in mcp.json, "oauth": {"clientId": "…"}'
            ) from None
        raise LoginFailed(last.words) from None
    except httpx2.HTTPError as error:
        raise LoginFailed(f"an authorization server cannot be reached: {_plain(error)}") from None
    except (OAuthFlowError, ValidationError, httpx2.InvalidURL, ValueError) as error:
        # What pydantic says quotes what was read.
        why = type(error).__name__ if isinstance(error, ValidationError) else _plain(error)
        raise LoginFailed(f"the flow failed: {why}") from None
    finally:
        await flow.aclose()
    raise LoginFailed(f"the flow did not come to an end within {REQUESTS_MAX} requests")


def _client() -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        timeout=REQUEST_DEADLINE_S, headers={"user-agent": f"omni-hub/{__version__}"}, follow_redirects=False
    )


async def _send(http: httpx2.AsyncClient, request: httpx2.Request, url: str) -> httpx2.Response:
    """Send one request of the flow and read its answer, within a bound.

    Raises:
        LoginFailed: It must not be sent, or its answer is too long.
    """
    _check_target(str(request.url), url)
    request.headers.setdefault("user-agent", http.headers["user-agent"])
    request.headers.setdefault("accept", "application/json")
    response = await http.send(request, stream=True, auth=None)
    try:
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > BODY_BYTES_MAX:
                raise LoginFailed(
                    f"{_host(str(request.url))} answered with more than {BODY_BYTES_MAX:,} bytes"
                )
    finally:
        await response.aclose()
    headers = {
        name: value
        for name, value in response.headers.items()
        if name not in ("content-encoding", "content-length", "transfer-encoding")
    }
    read = httpx2.Response(response.status_code, headers=headers, content=bytes(body), request=request)
    read.next_request = response.next_request
    return read


def _check_target(target: str, url: str) -> None:
    """Tokens and codes go over TLS, to loopback, or to the very host that the entry names.

    Raises:
        LoginFailed: They would not.
    """
    parts, own = urlsplit(target), urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in {*_LOOPBACK, own.hostname}):
        return
    raise LoginFailed(f"{_host(target)} is not asked: an authorization server needs https")


def _words(request: httpx2.Request, response: httpx2.Response) -> str:
    """What an authorization server answered, in words that hold no secret."""
    words = f"{_host(str(request.url))} answered HTTP {response.status_code}"
    try:
        body = json.loads(response.content)
        error, description = body.get("error"), body.get("error_description")
    except (ValueError, AttributeError):
        return words
    said = ": ".join(part for part in (error, description) if isinstance(part, str))
    return f"{words} ({_plain(said)})" if said else words


def _plain(what: object) -> str:
    """Somebody else's words, cut, on one line and without what looks like a secret."""
    printable = "".join(char if char.isprintable() else " " for char in str(what))
    return hide_shapes(printable)[:WORDS_CHARS_MAX]


def _host(url: str) -> str:
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2]


# -- what the flow begins with


class _Memory:
    """The storage that the SDK asks for: what a flow begins with. What it ends with, its context has."""

    def __init__(self, client: OAuthClientInformationFull | None, token: Json | None = None) -> None:
        self._client = client
        self._tokens = None if token is None else OAuthToken.model_validate(token)

    async def get_tokens(self) -> OAuthToken | None:
        return self._tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        """`hub.auth.vault` keeps them."""

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self._client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        """It is kept with the tokens."""


def _resume(provider: OAuthClientProvider, login: Login) -> None:
    """Spare a provider the discovery that an earlier flow has made."""
    context = provider.context
    if login.resource is not None:
        resource = ProtectedResourceMetadata.model_validate(login.resource)
        context.protected_resource_metadata = resource
        context.auth_server_url = str(resource.authorization_servers[0])
    if login.server is not None:
        context.oauth_metadata = OAuthMetadata.model_validate(login.server)


def _registration(
    client: OAuthClient, redirect_uri: str, earlier: Login | None
) -> OAuthClientInformationFull | None:
    """The registration to use; None for the flow to find one."""
    if client.id is not None:
        return OAuthClientInformationFull(
            client_id=client.id,
            client_secret=client.secret,
            redirect_uris=[AnyUrl(redirect_uri)],
            token_endpoint_auth_method="none" if client.secret is None else "client_secret_post",
        )
    # One that the flow made names the redirect it was made for; no other may be used with it.
    if earlier is not None and client.metadata_url is None and _redirect_uri(earlier) == redirect_uri:
        return OAuthClientInformationFull.model_validate(earlier.client)
    return None


def _redirect_uri(login: Login) -> str | None:
    """Where the browser came back to in an earlier login, if that was a listener of the hub."""
    uris = login.client.get("redirect_uris") or [None]
    return uris[0] if isinstance(uris[0], str) else None


def _response_to(challenge: Challenge, scopes: tuple[str, ...]) -> httpx2.Response:
    """The refusal as the SDK reads it; the scopes of the entry stand in for those asked for."""
    header = challenge.www_authenticate
    if scopes:
        header = re.sub(r'\bscope=("[^"]*"|[^\s,]+),?\s*', "", header)
        header = f'{header or "Bearer"} scope="{" ".join(scopes)}"'
    return httpx2.Response(challenge.status, headers={"www-authenticate": header} if header else {})


# -- the person


async def _send_person(
    provider: OAuthClientProvider, target: str, callback: Callback, on_url: Callable[[str], None]
) -> None:
    context = provider.context
    _check_target(target, context.server_url)
    supported = context.oauth_metadata and context.oauth_metadata.token_endpoint_auth_methods_supported
    by_post = context.client_info and context.client_info.token_endpoint_auth_method == "client_secret_post"
    if by_post and supported and "client_secret_post" not in supported:
        assert context.client_info is not None
        context.client_info.token_endpoint_auth_method = "client_secret_basic"
    state = parse_qs(urlsplit(target).query).get("state", [""])[0]
    callback.expect(state)
    on_url(target)


async def _come_back(callback: Callback) -> AuthorizationCodeResult:
    answer = await callback.wait()
    if "code" not in answer:
        why = ": ".join(answer[key] for key in ("error", "error_description") if key in answer)
        raise LoginFailed(f"the authorization server refused: {_plain(why or 'no reason given')}")
    return AuthorizationCodeResult(code=answer["code"], state=answer["state"], iss=answer.get("iss"))


def _login(url: str, provider: OAuthClientProvider, now: float) -> Login:
    """What is to be kept of a flow that has come to its end."""
    context = provider.context
    assert context.current_tokens is not None
    assert context.client_info is not None

    def plain(model: Any) -> Json:
        content: Json = model.model_dump(mode="json", by_alias=True, exclude_none=True)
        return content

    return Login(
        url=url,
        token=plain(context.current_tokens),
        obtained_at=now,
        client=plain(context.client_info),
        server=None if context.oauth_metadata is None else plain(context.oauth_metadata),
        resource=None
        if context.protected_resource_metadata is None
        else plain(context.protected_resource_metadata),
    )
