"""What an entry of `mcp.json` says about the hub as an OAuth client: its `oauth` key.

    "oauth": {
      "clientId": "…",                registered by hand, where a server registers no client by itself
      "clientSecret": "${…}",
      "scopes": ["read", "write"],    instead of those the server asks for
      "callbackPort": 8080,           where the browser comes back to: http://localhost:8080/callback
      "redirectUri": "http://127.0.0.1:8080/callback",     the same, said in full
      "clientMetadataUrl": "https://example.com/hub.json"  a client id metadata document
    }

All of it is optional: most servers register the hub when somebody first logs in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class OAuthClient(BaseModel):
    """The `oauth` key of an entry of `mcp.json`. Other keys are kept, and warned about."""

    model_config = ConfigDict(frozen=True, extra="allow", title="OAuth client")

    id: str | None = Field(
        None, alias="clientId", min_length=1, description="The hub's id, registered by hand."
    )
    secret: str | None = Field(
        None, alias="clientSecret", min_length=1, repr=False, description="The secret of that registration."
    )
    scopes: tuple[str, ...] = Field(
        (), description="Scopes to ask for, instead of those the server names; a list or one text."
    )
    callback_port: int | None = Field(
        None,
        alias="callbackPort",
        ge=1,
        le=65535,
        description="The browser comes back to `http://localhost:PORT/callback`; else to a free port.",
    )
    redirect_uri: str | None = Field(
        None, alias="redirectUri", description="Where the browser comes back to, in full; on loopback."
    )
    metadata_url: str | None = Field(
        None,
        alias="clientMetadataUrl",
        description="A client id metadata document about the hub, where one is published.",
    )

    @field_validator("scopes", mode="before")
    @classmethod
    def _split(cls, scopes: object) -> object:
        return tuple(scopes.split()) if isinstance(scopes, str) else scopes

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.secret is not None and self.id is None:
            raise ValueError("clientSecret needs a clientId")
        if self.redirect_uri is not None:
            parts = urlsplit(self.redirect_uri)
            if parts.scheme != "http" or parts.hostname not in _LOOPBACK or parts.query or parts.fragment:
                raise ValueError(
                    "redirectUri must be like http://127.0.0.1:8080/callback: the hub listens there"
                )
        if self.metadata_url is not None:
            parts = urlsplit(self.metadata_url)
            if parts.scheme != "https" or parts.path in ("", "/"):
                raise ValueError("clientMetadataUrl must be an https URL with a path")
        return self

    @property
    def returns_to(self) -> str | None:
        """Where the browser must come back to; None where any port of loopback will do."""
        if self.redirect_uri is None and self.callback_port is not None:
            return f"http://localhost:{self.callback_port}/callback"
        return self.redirect_uri

    def filled(self, fill: Callable[[str, str], str]) -> OAuthClient:
        """The same with its variables filled in.

        Args:
            fill: Given a key and its text, returns the text with its variables filled in.
        """
        texts = {"id": "clientId", "secret": "clientSecret", "metadata_url": "clientMetadataUrl"}
        found = {name: getattr(self, name) for name in texts}
        update = {
            name: fill(f"oauth.{texts[name]}", text) for name, text in found.items() if text is not None
        }
        return self.model_copy(update=update)
