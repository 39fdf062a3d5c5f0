"""A protected MCP server and its authorization server, each at an origin of its own on loopback.

    python protected.py [--lifetime S] [--no-refresh] [--documents] [--plain] [--sse]
                        [--no-registration --callback-port N]

It prints `{"port": N, "authorization_port": N}` once both listen. The MCP server is `tests/servers/sdk.py`
(`/mcp`, `/sse`) behind the SDK's bearer middleware; the authorization server is the SDK's too, over a store
in memory. Whoever opens its `/authorize` is logged in at once. `--no-registration` knows the client `by-hand`
with the secret `by-hand-secret` alone, which comes back to port N of localhost; `--documents` takes client id
metadata documents; `--plain` sends no `WWW-Authenticate` details, so that metadata must be found at the
well-known places; `--sse` says that `/sse` is what is protected, not `/mcp`.

A test looks in and meddles at `/test/journal` (what was asked of both), `/test/expire` (no access token is
good any more), `/test/revoke` (no refresh token either), `/test/deny` (the next authorization is refused),
`/test/break` (the token endpoint answers 503), `/test/slow` (it takes half a second), `/test/mend` (neither),
`/test/reset` (as at the start).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn
from mcp.server.auth.middleware.bearer_auth import BearerAuthBackend, RequireAuthMiddleware
from mcp.server.auth.provider import (
    AccessToken,
    AuthorizationCode,
    AuthorizationParams,
    AuthorizeError,
    RefreshToken,
    construct_redirect_uri,
)
from mcp.server.auth.routes import (
    build_resource_metadata_url,
    create_auth_routes,
    create_protected_resource_routes,
)
from mcp.server.auth.settings import ClientRegistrationOptions
from mcp.server.sse import SseServerTransport
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from pydantic import AnyHttpUrl, AnyUrl
from starlette.applications import Starlette
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

sys.path.insert(0, str(Path(__file__).parents[1] / "servers"))

from sdk import build

SCOPES = ["tools", "admin"]


class Provider:
    """The authorization server's store."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.clients: dict[str, OAuthClientInformationFull] = {}
        self.codes: dict[str, AuthorizationCode] = {}
        self.access: dict[str, AccessToken] = {}
        self.refresh: dict[str, RefreshToken] = {}
        self.deny = False
        if options.no_registration:
            self.clients["by-hand"] = OAuthClientInformationFull(
                client_id="by-hand",
                client_secret="by-hand-secret",
                token_endpoint_auth_method="client_secret_post",
                redirect_uris=[AnyUrl(f"http://localhost:{options.callback_port}/callback")],
                scope="tools admin",
            )

    async def get_client(self, client_id: str) -> OAuthClientInformationFull | None:
        if self.options.documents and client_id.startswith("https://"):
            # A real one would fetch the document; its redirects hold for any port of loopback.
            return _Documented(client_id=client_id, token_endpoint_auth_method="none", scope="tools admin")
        return self.clients.get(client_id)

    async def register_client(self, client_info: OAuthClientInformationFull) -> None:
        assert client_info.client_id is not None
        self.clients[client_info.client_id] = client_info

    async def authorize(self, client: OAuthClientInformationFull, params: AuthorizationParams) -> str:
        if self.deny:
            self.deny = False
            raise AuthorizeError("access_denied", "the person said no")
        code = secrets.token_urlsafe(24)
        self.codes[code] = AuthorizationCode(
            code=code,
            scopes=params.scopes or ["tools"],
            expires_at=time.time() + 60,
            client_id=client.client_id or "",
            code_challenge=params.code_challenge,
            redirect_uri=params.redirect_uri,
            redirect_uri_provided_explicitly=params.redirect_uri_provided_explicitly,
            resource=params.resource,
        )
        return construct_redirect_uri(str(params.redirect_uri), code=code, state=params.state)

    async def load_authorization_code(self, client: Any, authorization_code: str) -> AuthorizationCode | None:
        return self.codes.get(authorization_code)

    async def exchange_authorization_code(self, client: Any, code: AuthorizationCode) -> OAuthToken:
        del self.codes[code.code]
        return self.issue(code.client_id, code.scopes, code.resource)

    async def load_refresh_token(self, client: Any, refresh_token: str) -> RefreshToken | None:
        return self.refresh.get(refresh_token)

    async def exchange_refresh_token(
        self, client: Any, refresh_token: RefreshToken, scopes: list[str]
    ) -> OAuthToken:
        del self.refresh[refresh_token.token]  # each works once
        return self.issue(refresh_token.client_id, scopes, refresh_token.resource)

    def issue(self, client_id: str, scopes: list[str], resource: str | None) -> OAuthToken:
        access, refresh = f"access-{secrets.token_hex(12)}", f"refresh-{secrets.token_hex(12)}"
        lifetime = self.options.lifetime
        self.access[access] = AccessToken(
            token=access,
            client_id=client_id,
            scopes=scopes,
            expires_at=int(time.time() + lifetime) + 1,
            resource=resource,
        )
        self.refresh[refresh] = RefreshToken(
            token=refresh, client_id=client_id, scopes=scopes, resource=resource
        )
        return OAuthToken(
            access_token=access,
            refresh_token=None if self.options.no_refresh else refresh,
            expires_in=lifetime,
            scope=" ".join(scopes),
        )

    async def load_access_token(self, token: str) -> AccessToken | None:
        return self.access.get(token)

    async def verify_token(self, token: str) -> AccessToken | None:
        return self.access.get(token)

    async def revoke_token(self, token: Any) -> None:
        raise NotImplementedError


class _Documented(OAuthClientInformationFull):
    def validate_redirect_uri(self, redirect_uri: AnyUrl | None) -> AnyUrl:
        assert redirect_uri is not None
        assert redirect_uri.host == "127.0.0.1"
        return redirect_uri


class Journal:
    """Writes down what is asked, and meddles."""

    def __init__(self, app: ASGIApp, entries: list[Any], side: str) -> None:
        self.app = app
        self.entries = entries
        self.side = side
        self.broken = False
        self.slow = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = {name.decode(): value.decode() for name, value in scope["headers"]}
            body = bytearray()
            if scope["path"] in ("/token", "/register"):
                more = True
                while more:
                    message = await receive()
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                read = False

                async def again() -> Any:
                    nonlocal read
                    if read:
                        return await receive()
                    read = True
                    return {"type": "http.request", "body": bytes(body), "more_body": False}

                scope_receive: Any = again
            else:
                scope_receive = receive
            self.entries.append(
                {
                    "side": self.side,
                    "method": scope["method"],
                    "path": scope["path"],
                    "query": scope["query_string"].decode(),
                    "headers": headers,
                    "body": body.decode(),
                }
            )
            if self.slow and scope["path"] == "/token":
                await asyncio.sleep(0.5)
            if self.broken and scope["path"] == "/token":
                await JSONResponse({"error": "temporarily_unavailable"}, 503)(scope, receive, send)
                return
            await self.app(scope, scope_receive, send)
            return
        await self.app(scope, receive, send)


class NeedsAdmin:
    """Refuses the tool `big` to whoever lacks the scope `admin`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        message = await receive() if scope["method"] == "POST" else None
        asks = message is not None and b'"big"' in message.get("body", b"")
        if asks and "admin" not in scope["auth"].scopes:
            header = 'Bearer error="insufficient_scope", scope="tools admin"'
            await Response(status_code=403, headers={"www-authenticate": header})(scope, receive, send)
            return

        async def replay() -> Any:
            nonlocal message
            if message is None:
                return await receive()
            first, message = message, None
            return first

        await self.app(scope, replay, send)


async def serve(options: argparse.Namespace) -> None:
    sockets = {}
    for name in ("resource", "authorization"):
        sockets[name] = socket.create_server(("127.0.0.1", 0))
    port, authorization_port = (each.getsockname()[1] for each in sockets.values())
    resource = AnyHttpUrl(f"http://127.0.0.1:{port}/{'sse' if options.sse else 'mcp'}")
    issuer = AnyHttpUrl(f"http://127.0.0.1:{authorization_port}")
    provider = Provider(options)
    entries: list[Any] = []
    routes = create_auth_routes(
        provider,  # type: ignore[arg-type]
        issuer,
        client_registration_options=ClientRegistrationOptions(
            enabled=not options.no_registration, valid_scopes=SCOPES, default_scopes=SCOPES
        ),
    )
    if options.documents:
        routes.insert(0, Route("/.well-known/oauth-authorization-server", _documented(issuer)))
    authorization = Journal(Starlette(routes=routes), entries, "authorization")

    async def meddle(request: Request) -> Response:
        what = request.path_params["what"]
        if what == "journal":
            return JSONResponse(entries)
        if what in ("expire", "revoke", "reset"):
            provider.access.clear()
        if what in ("revoke", "reset"):
            provider.refresh.clear()
        if what in ("break", "slow", "mend", "reset"):
            authorization.broken, authorization.slow = what == "break", what == "slow"
        provider.deny = what == "deny"
        if what == "reset":
            entries.clear()
        return JSONResponse({})

    server = build(0, "protected")
    sse = SseServerTransport("/messages/")

    async def open_sse(request: Request) -> Response:
        async with sse.connect_sse(request.scope, request.receive, request._send) as (read, write):
            await server.run(read, write, server.create_initialization_options())
        return Response()

    guarded = server.streamable_http_app(
        custom_starlette_routes=[
            Route("/sse", open_sse, methods=["GET"]),
            Mount("/messages/", app=sse.handle_post_message),  # type: ignore[list-item]
        ]
    )
    metadata_url = None if options.plain else build_resource_metadata_url(resource)
    protected = AuthenticationMiddleware(
        RequireAuthMiddleware(NeedsAdmin(guarded), ["tools"], metadata_url),
        backend=BearerAuthBackend(provider),
    )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with guarded.router.lifespan_context(guarded):
            yield

    app = Starlette(
        routes=[
            *create_protected_resource_routes(
                resource,
                [issuer],
                scopes_supported=["tools"],
            ),
            Route("/test/{what}", meddle),
            Mount("/", app=Journal(protected, entries, "resource")),
        ],
        lifespan=lifespan,
    )
    servers = [
        (uvicorn.Server(uvicorn.Config(each, log_level="warning", access_log=False)), sockets[name])
        for each, name in ((app, "resource"), (authorization, "authorization"))
    ]
    serving = [asyncio.create_task(each.serve([where])) for each, where in servers]
    while not all(each.started for each, _ in servers):  # noqa: ASYNC110 (uvicorn has no event for it)
        await asyncio.sleep(0.01)
    print(json.dumps({"port": port, "authorization_port": authorization_port}), flush=True)
    await asyncio.gather(*serving)


def _documented(issuer: AnyHttpUrl) -> Any:
    async def metadata(request: Request) -> Response:
        base = str(issuer).rstrip("/")
        return JSONResponse(
            {
                "issuer": str(issuer),
                "authorization_endpoint": f"{base}/authorize",
                "token_endpoint": f"{base}/token",
                "registration_endpoint": f"{base}/register",
                "response_types_supported": ["code"],
                "code_challenge_methods_supported": ["S256"],
                "client_id_metadata_document_supported": True,
            }
        )

    return metadata


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--lifetime", type=int, default=3600)
    parser.add_argument("--callback-port", type=int, default=0)
    for flag in ("--no-registration", "--no-refresh", "--documents", "--plain", "--sse"):
        parser.add_argument(flag, action="store_true")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
