"""Converting pages without letting one of them hold up the worker.

Parsing HTML in Python takes seconds for a large page and, for one that was made to,
practically for ever; a thread could not be stopped. So HTML is converted in a process
of its own, which ends with the page or at the deadline and gives its memory back.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from pathlib import Path

from web_page import Page, Text
from web_plain import plain_text, words_of

_PROGRAM = Path(__file__).with_name("web_markdown.py")

logger = logging.getLogger("web")


async def convert(page: Page, deadline_s: float) -> Text:
    """The text of a page: HTML as Markdown, other text as it is.

    Of HTML that cannot be converted in time only the words are kept.

    Raises:
        NotText: It is neither HTML nor text.
    """
    if not page.is_html:
        return plain_text(page)
    try:
        async with asyncio.timeout(deadline_s):
            converted = await _in_child(page)
    except TimeoutError:
        converted = None
    if converted is None:
        logger.warning("%s cannot be converted: only its words are kept", page.url)
        return await asyncio.to_thread(words_of, page)
    return converted


async def _in_child(page: Page) -> Text | None:
    """The Markdown as a child process makes it; None when it cannot."""
    head = {
        "url": page.url,
        "media_type": page.media_type,
        "charset": page.charset,
        "truncated": page.truncated,
    }
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        str(_PROGRAM),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        output, _ = await child.communicate(json.dumps(head).encode() + b"\n" + page.body)
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    return Text(**json.loads(output)) if child.returncode == 0 else None
