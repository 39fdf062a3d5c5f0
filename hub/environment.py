"""The clean environment that the hub hands on to the programs it starts.

A program gets what it needs to find its files, its language, the screen and the
network, and nothing else: no provider key, no token, no setting of the hub. What
else it should see stands in its entry of `mcp.json`.

Standard library only, because `hub mcp` starts a hub with it.
"""

from __future__ import annotations

from collections.abc import Mapping

DEPTH_VARIABLE = "HUB_DEPTH"
"""How many hubs stand above a process; a hub that finds 1 or more here refuses to start."""

_NAMES = frozenset(
    # Files, person, language, terminal, time.
    "HOME PATH USER LOGNAME SHELL LANG LANGUAGE TERM COLORTERM TMPDIR TMP TEMP TZ "
    # Windows.
    "SYSTEMROOT SYSTEMDRIVE WINDIR COMSPEC PATHEXT APPDATA LOCALAPPDATA PROGRAMDATA PROGRAMFILES "
    "PROGRAMFILES(X86) PROGRAMW6432 USERPROFILE USERNAME HOMEDRIVE HOMEPATH PROCESSOR_ARCHITECTURE "
    "NUMBER_OF_PROCESSORS "
    # The screen and the session, for servers that drive a browser.
    "DISPLAY WAYLAND_DISPLAY XAUTHORITY DBUS_SESSION_BUS_ADDRESS "
    # The network, where it is reached through a proxy or under a company's certificate.
    "HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE "
    "CURL_CA_BUNDLE NODE_EXTRA_CA_CERTS PIP_CERT".split()
)
_PREFIXES = ("LC_", "XDG_")


def clean_environment(base: Mapping[str, str]) -> dict[str, str]:
    """The part of an environment that any program may see.

    Names are compared without case, as Windows does and as `http_proxy` needs;
    they keep the case they came in.
    """
    return {
        name: value
        for name, value in base.items()
        # An exported shell function is code; a program that starts a shell would run it.
        if (name.upper() in _NAMES or name.upper().startswith(_PREFIXES)) and not value.startswith("()")
    }
