"""Secrets, and how they are kept out of what people read.

What counts as a secret is decided here and nowhere else: by the name it goes by
(`API_KEY`, `Authorization`), by its shape (`sk-…`, a bearer token, a password in a
URL), or because somebody said so (`Redactor.hide`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl, urlsplit

HIDDEN = "***"
"""What stands where a secret stood."""

_SECRET_NAME = re.compile(
    r"(^|[_\-.])(key|keys|apikey|token|tokens|secret|secrets|password|passwd|passphrase|pass|pwd|pat|auth"
    r"|authorization|credential|credentials|cookie|dsn|signature|sig)($|[_\-.])",
    re.IGNORECASE,
)
_CAMEL_STEP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

# Repeats that may fail behind many starts are bounded, so that no text makes this slow.
_SHAPES = re.compile(
    r"(?P<scheme>\b(?:bearer\s+(?=\S{8})|(?:basic|token)\s+(?=\S*\d)(?=\S{12})))[A-Za-z0-9._~+/=\-]+"
    # user:password@ in a URL, and a secret in its query.
    r"|(?P<userinfo>\b[a-z][a-z0-9+.\-]{0,20}://)[^\s/@'\"]{1,512}(?=@)"
    r"|(?P<query>[?&][a-z0-9_.\-]{0,40}(?:key|token|secret|password|signature|sig|auth|code)=)[^&\s'\"#]+"
    # The prefixes that providers gave their keys so that scanners find them.
    r"|(?<![A-Za-z0-9])(?:sk|pk|rk|xai|gsk|hf|glpat|npm|pypi|r8|tvly|pplx|fw)[-_][A-Za-z0-9_\-]{16,}"
    r"|(?<![A-Za-z0-9])(?:gh[opsur]_|github_pat_)[A-Za-z0-9_]{20,}"
    r"|(?<![A-Za-z0-9])(?:xox[a-z]-[A-Za-z0-9\-]{10,}|AKIA[A-Z0-9]{16}|AIza[A-Za-z0-9_\-]{30,})"
    r"|(?<![A-Za-z0-9])eyJ[A-Za-z0-9_\-]{8,1024}\.[A-Za-z0-9_\-]{8,4096}\.[A-Za-z0-9_\-]*",
    re.IGNORECASE,
)

_LENGTH_MIN = 6
"""Shorter values are not searched for: hiding every `true` or `8080` hides the log."""


def names_a_secret(name: str) -> bool:
    """Whether what goes by this name is a secret: `GITHUB_TOKEN`, `X-Api-Key`, `apiKey`."""
    return _SECRET_NAME.search(_CAMEL_STEP.sub("_", name)) is not None


def secret_values(environ: Mapping[str, str | None]) -> set[str]:
    """The values in an environment that go by a secret's name."""
    return {
        value
        for name, value in environ.items()
        if value and names_a_secret(name) and name not in ("PWD", "OLDPWD")  # a shell's folders
    }


def hide_shapes(text: str) -> str:
    """The text with everything that looks like a secret replaced by `***`."""

    def hidden(match: re.Match[str]) -> str:
        kept = match["scheme"] or match["userinfo"] or match["query"] or ""
        return kept + HIDDEN

    return _SHAPES.sub(hidden, text)


def bare_url(url: str) -> str:
    """A URL without what may be secret in it: userinfo, query and fragment.

    A URL that cannot be taken apart is hidden whole.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        return HIDDEN
    host = f"[{host}]" if ":" in host else host
    query = "?" + HIDDEN if parts.query else ""
    return f"{parts.scheme}://{host}{port}{parts.path}{query}"


def secrets_in_url(url: str) -> set[str]:
    """The password in a URL and the values of its query that go by a secret's name."""
    parts = urlsplit(url)
    secrets = {value for name, value in parse_qsl(parts.query) if names_a_secret(name)}
    return secrets | {parts.password} if parts.password else secrets


class Redactor:
    """Hides the secrets it was told, and everything that looks like one.

    Safe to use from several threads: what is known is replaced as a whole, never
    changed in place.
    """

    def __init__(self) -> None:
        self._known: frozenset[str] = frozenset()
        self._pattern: re.Pattern[str] | None = None

    def hide(self, values: Iterable[str]) -> None:
        """Add values that must not be seen from now on. Those under 6 characters are not searched for."""
        known = self._known | {value for value in values if len(value) >= _LENGTH_MIN}
        if known == self._known:
            return
        # Longest first, so that a secret that contains another leaves no rest behind.
        ordered = sorted(known, key=len, reverse=True)
        self._known, self._pattern = (
            known,
            re.compile("|".join(map(re.escape, ordered))),
        )

    def __call__(self, text: str) -> str:
        """The text with every secret in it replaced by `***`."""
        if self._pattern is not None:
            text = self._pattern.sub(HIDDEN, text)
        return hide_shapes(text)
