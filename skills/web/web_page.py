"""A downloaded page, and its text."""

from __future__ import annotations

from dataclasses import dataclass

NOT_CONTENT = ("script", "style", "noscript", "template", "svg", "iframe", "object", "canvas", "dialog")
"""Elements of HTML whose text is not for reading."""
_HTML_TYPES = frozenset({"text/html", "application/xhtml+xml"})


@dataclass(frozen=True, slots=True)
class Page:
    """What came back.

    Attributes:
        url: Where it came from in the end, redirects followed.
        media_type: Of the body, lower case, without parameters; empty when not told.
        charset: As the header says; None when it does not.
        body: Decompressed, at most as long as was asked for.
        truncated: Whether there was more.
    """

    url: str
    status: int
    reason: str
    media_type: str
    charset: str | None
    body: bytes
    truncated: bool

    @property
    def is_html(self) -> bool:
        """By what the server says, or else by how it begins."""
        if self.media_type:
            return self.media_type in _HTML_TYPES
        return self.body[:512].lstrip().lower().startswith((b"<!doctype html", b"<html"))


@dataclass(frozen=True, slots=True)
class Text:
    """A page as text; the title is None where the page has none."""

    text: str
    title: str | None = None


class NotText(Exception):
    """A page is neither HTML nor text; the message says what it is."""
