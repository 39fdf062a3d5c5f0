"""From HTML to Markdown: a program that reads a page from stdin and writes its text as JSON.

`web_convert` runs it, so that a page which takes for ever can be stopped.
"""

from __future__ import annotations

import json
import re
import sys
from urllib.parse import urljoin

from bs4 import BeautifulSoup, Tag
from bs4.exceptions import ParserRejectedMarkup
from markdownify import MarkdownConverter
from web_page import NOT_CONTENT, Page, Text

_BLANK_LINES = re.compile(r"\n{3,}")
_MAIN_SHARE_MIN = 0.3


def to_markdown(page: Page) -> Text:
    """The content of an HTML page as Markdown, with links that work outside of it.

    Raises:
        RecursionError: It has thousands of elements inside each other.
        ParserRejectedMarkup: It is no HTML at all.
    """
    soup = BeautifulSoup(page.body, "html.parser", from_encoding=page.charset)
    title = " ".join(soup.title.get_text(" ").split()) if soup.title else None
    for element in soup(NOT_CONTENT):
        element.decompose()
    _mend_links(soup, page.url)
    converter = MarkdownConverter(heading_style="ATX", bullets="-", code_language_callback=_language)
    text = converter.convert_soup(_content(soup))
    lines = "\n".join(line.rstrip() for line in text.splitlines())
    return Text(_BLANK_LINES.sub("\n\n", lines).strip(), title or None)


def _language(element: Tag) -> str:
    """The language of a code block, from the class that highlighters give it."""
    code = element.find("code")
    classes = [*(element.get("class") or []), *((code.get("class") or []) if isinstance(code, Tag) else [])]
    return next((name.partition("-")[2] for name in classes if name.startswith(("language-", "lang-"))), "")


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


def _content(soup: BeautifulSoup) -> Tag:
    """The part of a page that it marks as its content, if enough of the text is there."""
    body = soup.body or soup
    main = soup.find("main") or soup.find(None, {"role": "main"}) or soup.find("article")
    if isinstance(main, Tag) and len(main.get_text()) >= len(body.get_text()) * _MAIN_SHARE_MIN:
        return main
    return body


def main() -> int:
    """Convert one page.

    Returns:
        0; 1 when it cannot be converted.
    """
    head = json.loads(sys.stdin.buffer.readline())
    try:
        text = to_markdown(Page(status=200, reason="", body=sys.stdin.buffer.read(), **head))
    except (RecursionError, ParserRejectedMarkup):
        return 1
    sys.stdout.write(json.dumps({"text": text.text, "title": text.title}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
