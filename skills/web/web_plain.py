"""Text that needs no parser: what is text already, and the bare words of HTML."""

from __future__ import annotations

import codecs
import html
import re

from web_page import NOT_CONTENT, NotText, Page, Text

_TEXT_TYPES = frozenset(
    {
        "application/json",
        "application/xml",
        "application/javascript",
        "application/ecmascript",
        "application/yaml",
        "application/x-yaml",
        "application/toml",
        "application/sql",
        "application/x-ndjson",
        "application/graphql",
    }
)

_HIDING = re.compile(rf"<(!--|(?:{'|'.join(NOT_CONTENT)})\b)", re.IGNORECASE)
_CLOSING = {name: re.compile(f"</{name}[^<>]*>?", re.IGNORECASE) for name in NOT_CONTENT}
_CLOSING["!--"] = re.compile("-->")
_TAG = re.compile("<[a-z/!?]", re.IGNORECASE)
_TAG_END = re.compile("[<>]")


def plain_text(page: Page) -> Text:
    """The text of a page that is no HTML, as it is.

    Raises:
        NotText: It is no text either.
    """
    body, media_type = page.body, page.media_type
    suffixed = media_type.endswith(("+json", "+xml", "+yaml"))
    if media_type.startswith("text/") or media_type in _TEXT_TYPES or suffixed:
        return Text(_decode(page))
    if media_type in ("", "application/octet-stream", "binary/octet-stream") and b"\0" not in body[:8192]:
        try:
            return Text(body.decode("utf-8"))
        except UnicodeDecodeError:
            pass
    raise NotText(
        f"{page.url} is {media_type or 'of no stated type'} and not text: only text can be read here."
    )


def _decode(page: Page) -> str:
    if page.charset is not None:
        try:
            return page.body.decode(page.charset, errors="replace")
        except LookupError:
            pass  # a charset that nobody knows
    try:
        # A page that was cut may end in the middle of a character.
        return codecs.getincrementaldecoder("utf-8-sig")().decode(page.body, final=not page.truncated)
    except UnicodeDecodeError:
        return page.body.decode("cp1252", errors="replace")


def words_of(page: Page) -> Text:
    """The words of an HTML page without its structure, in time that grows with its length alone."""
    source = _decode(page)
    kept: list[str] = []
    at = 0
    while (tag := _TAG.search(source, at)) is not None:
        kept.append(source[at : tag.start()])
        opening = _HIDING.match(source, tag.start())
        if opening is not None:
            closing = _CLOSING[opening[1].lower()].search(source, opening.end())
            at = closing.end() if closing else len(source)
        else:
            # Up to the tag's end or the next tag: one that is never closed hides nothing else.
            end = _TAG_END.search(source, tag.end())
            at = len(source) if end is None else end.end() if end[0] == ">" else end.start()
    kept.append(source[at:])
    lines = (" ".join(line.split()) for line in html.unescape("".join(kept)).splitlines())
    return Text("\n".join(line for line in lines if line))
