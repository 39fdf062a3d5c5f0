"""Logins at downstream servers: OAuth 2.1, by the SDK's client, for servers behind a URL.

    Logins       all logins of a hub: log in, log out, and an authorizer for each server
    Authorizer   what one server is shown with every request, renewed before it expires
    Vault        where the tokens are kept: a private file, or the system's keyring

The SDK's flow (discovery by RFC 9728 and 8414, PKCE, client id metadata documents or
dynamic registration, refresh) is driven by `hub.auth.flow`, which is imported when
somebody logs in or a token must be renewed, never before.
"""

from __future__ import annotations

from hub.auth.authorizer import Authorizer
from hub.auth.login import Challenge, LoginNeeded, RenewalFailed
from hub.auth.logins import Logins
from hub.auth.vault import Vault

__all__ = ["Authorizer", "Challenge", "LoginNeeded", "Logins", "RenewalFailed", "Vault"]
