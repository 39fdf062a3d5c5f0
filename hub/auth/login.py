"""A login: what a person's visit to an authorization server has given the hub, and how it can fail."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Final

from hub.calls import Json

RENEW_BEFORE_S: Final = 60.0
"""How long before its end a token is renewed; a fifth of its life where that is shorter."""


@dataclass(frozen=True, slots=True)
class Login:
    """What is kept of one login.

    Attributes:
        url: The server it is for; shown to no other.
        token: The token response: `access_token`, perhaps `refresh_token` and `scope`; empty
            once it is of no use any more, and only the registration is left.
        obtained_at: When the token was issued, in seconds since the epoch.
        client: The hub's registration at the authorization server.
        server: The authorization server's metadata; None where it publishes none.
        resource: The protected resource's metadata; None where it publishes none.
    """

    url: str
    token: Json = field(repr=False)
    obtained_at: float
    client: Json = field(repr=False)
    server: Json | None = field(default=None, repr=False)
    resource: Json | None = field(default=None, repr=False)

    @property
    def header(self) -> str | None:
        """The `Authorization` header that shows it; None once it has ended."""
        return f"Bearer {self.token['access_token']}" if self.token else None

    @property
    def renewable(self) -> bool:
        """Whether the token can be renewed without a person."""
        return bool(self.token.get("refresh_token"))

    @property
    def expires_at(self) -> float | None:
        """When the token ends, in seconds since the epoch; None when nobody said."""
        lasts_s: float | None = self.token.get("expires_in")
        return None if lasts_s is None else self.obtained_at + lasts_s

    @property
    def renew_at(self) -> float | None:
        """From when on the token should be renewed; None when it does not end."""
        lasts_s: float | None = self.token.get("expires_in")
        if lasts_s is None:
            return None
        return self.obtained_at + lasts_s - min(RENEW_BEFORE_S, lasts_s / 5)

    def to_json(self) -> Json:
        """Everything, secrets included."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @classmethod
    def from_json(cls, content: Any) -> Login:
        """The login that was kept.

        Raises:
            TypeError, AttributeError: It is none.
        """
        login = cls(**content)
        lasts_s = login.token.get("expires_in", 0)
        if not isinstance(login.token.get("access_token", ""), str) or not isinstance(lasts_s, int | float):
            raise TypeError("no token that the hub has kept")
        return login


class RenewalFailed(Exception):
    """The token has expired and could not be renewed for now; the message says why."""


class LoginNeeded(Exception):
    """A token cannot be renewed any more: a person must log in again."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a server said when it refused a request.

    Attributes:
        status: 401, or 403 when the login lacks a scope.
        www_authenticate: The header of that name; empty when there was none.
    """

    status: int
    www_authenticate: str = ""


class LoginFailed(Exception):
    """The login did not come about; the message says why and holds no secret."""
