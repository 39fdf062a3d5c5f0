"""Which server a resource belongs to.

A resource keeps its own URI as long as that is unambiguous. When two servers list
the same one, the first keeps it, and the other's stands under `hub://SERVER/URI`;
that form names a server outright and is always understood.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from hub.calls import Json

_EXPRESSION = re.compile(r"\{([+#./;?&]?)([^{}]*)\}")
_PREFIX = "hub://"


@dataclass(frozen=True, slots=True)
class Listing:
    """What one server lists.

    Attributes:
        server: Its name.
        resources: Its resources, as sent.
        templates: Its resource templates, as sent.
        any_uri: Whether it may know resources that it does not list.
    """

    server: str
    resources: Sequence[Json] = ()
    templates: Sequence[Json] = ()
    any_uri: bool = False


@dataclass(slots=True)
class ResourceTable:
    """The resources of all servers.

    Attributes:
        listings: What each server lists, in order of precedence.
    """

    listings: Sequence[Listing] = ()
    _owners: dict[str, str] = field(default_factory=dict)
    _patterns: list[tuple[re.Pattern[str], str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for listing in self.listings:
            for resource in listing.resources:
                self._owners.setdefault(resource["uri"], listing.server)
            for template in listing.templates:
                uri_template = template["uriTemplate"]
                if self._owners.setdefault(uri_template, listing.server) == listing.server:
                    self._patterns.append((_pattern(uri_template), listing.server))

    def resources(self) -> Iterable[Json]:
        """Every resource, under the URI that reaches it."""
        for listing in self.listings:
            for resource in listing.resources:
                yield {**resource, "uri": self.public(listing.server, resource["uri"])}

    def templates(self) -> Iterable[Json]:
        """Every template, so that a URI made from it reaches its server."""
        for listing in self.listings:
            for template in listing.templates:
                yield {**template, "uriTemplate": self.public(listing.server, template["uriTemplate"])}

    def public(self, server: str, uri: str) -> str:
        """The URI under which clients reach a server's resource."""
        return uri if self._owners.get(uri, server) == server else f"{_PREFIX}{server}/{uri}"

    def resolve(self, uri: str) -> tuple[str, str] | None:
        """The server that a URI means, and the resource's own URI there; None when it means none."""
        if uri.startswith(_PREFIX):
            server, _, own = uri.removeprefix(_PREFIX).partition("/")
            if own and any(listing.server == server for listing in self.listings):
                return server, own
        if (owner := self._owners.get(uri)) is not None:
            return owner, uri
        for pattern, server in self._patterns:
            if pattern.fullmatch(uri):
                return server, uri
        # A server may serve resources that it does not list; when only one could, it is asked.
        candidates = [listing.server for listing in self.listings if listing.any_uri]
        return (candidates[0], uri) if len(candidates) == 1 else None


def _pattern(uri_template: str) -> re.Pattern[str]:
    """What URIs made from a template (RFC 6570) look like."""
    parts, position = [], 0
    for expression in _EXPRESSION.finditer(uri_template):
        parts.append(re.escape(uri_template[position : expression.start()]))
        operator, variables = expression.groups()
        if operator in ("?", "&"):
            parts.append(rf"(?:{re.escape(operator)}[^#]*)?")
        elif operator in ("+", "#") or "*" in variables:
            parts.append(r".*")
        elif operator in (".", "/", ";"):
            parts.append(rf"(?:{re.escape(operator)}[^{re.escape(operator)}?#]*)*")
        else:
            parts.append(r"[^/?#]*")
        position = expression.end()
    parts.append(re.escape(uri_template[position:]))
    return re.compile("".join(parts))
