"""From a page's bytes to text that a model can read."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from urllib.parse import urljoin

from bs4 import BeautifulSoup, Tag
from fastmcp.exceptions import ToolError
from markdownify import MarkdownConverter
from web_client import Page

HTML_TYPES = frozenset({"text/html", "application/xhtml+xml"})
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
_NOT_CONTENT = ("script", "style", "noscript", "template", "svg", "iframe", "object", "canvas", "dialog")
_BLANK_LINES = re.compile(r"\n{3,}")
_MAIN_SHARE_MIN = 0.3


@dataclass(frozen=True, slots=True)
class Text:
    """A page as text; the title is None where the page has none."""

    text: str
    title: str | None = None


def to_text(page: Page) -> Text:
    """The text of a page: HTML as Markdown with absolute links, other text as it is.

    Raises:
        ToolError: It is neither HTML nor text.
    """
    body, media_type = page.body, page.media_type
    head = body[:512].lstrip().lower()
    looks_html = head.startswith((b"<!doctype html", b"<html"))
    if media_type in HTML_TYPES or (not media_type and looks_html):
        return _markdown(page)
    suffixed = media_type.endswith(("+json", "+xml", "+yaml"))
    if media_type.startswith("text/") or media_type in _TEXT_TYPES or suffixed:
        return Text(_decode(page))
    if media_type in ("", "application/octet-stream", "binary/octet-stream") and b"\0" not in body[:8192]:
        try:
            return Text(body.decode("utf-8"))
        except UnicodeDecodeError:
            pass
    raise ToolError(
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


def _language(element: Tag) -> str:
    """The language of a code block, from the class that highlighters give it."""
    code = element.find("code")
    classes = [*(element.get("class") or []), *((code.get("class") or []) if isinstance(code, Tag) else [])]
    return next((name.partition("-")[2] for name in classes if name.startswith(("language-", "lang-"))), "")


def _markdown(page: Page) -> Text:
    try:
        soup = BeautifulSoup(page.body, "html.parser", from_encoding=page.charset)
        title = " ".join(soup.title.get_text(" ").split()) if soup.title else None
        for element in soup(_NOT_CONTENT):
            element.decompose()
        _mend_links(soup, page.url)
        converter = MarkdownConverter(heading_style="ATX", bullets="-", code_language_callback=_language)
        text = converter.convert_soup(_main(soup))
    # Thousands of elements inside each other: of such a page only the words can be saved.
    except RecursionError:
        text, title = re.sub(r"<[^>]*>", " ", _decode(page)), None
    lines = "\n".join(line.rstrip() for line in text.splitlines())
    return Text(_BLANK_LINES.sub("\n\n", lines).strip(), title or None)


def _mend_links(soup: BeautifulSoup, url: str) -> None:
    """Make links work outside of the page, and leave out images that are part of it."""
    base = soup.find("base", href=True)
    if isinstance(base, Tag):
        url = urljoin(url, str(base["href"]))
    for element in soup.find_all(["a", "img"]):
        attribute = "href" if element.name == "a" else "src"
        value = str(element.get(attribute, "")).strip()
        if value.startswith("data:"):
            element.replace_with(str(element.get("alt", "")))
        elif value:
            try:
                element[attribute] = urljoin(url, value)
            except ValueError:
                del element[attribute]


def _main(soup: BeautifulSoup) -> Tag:
    """The part of a page that it marks as its content, if enough of the text is there."""
    body = soup.body or soup
    main = soup.find("main") or soup.find(None, {"role": "main"}) or soup.find("article")
    if isinstance(main, Tag) and len(main.get_text()) >= len(body.get_text()) * _MAIN_SHARE_MIN:
        return main
    return body
