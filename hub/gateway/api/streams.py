"""What the API's event streams have in common: they end, whoever reads and whatever comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TypeVar

SEND_DEADLINE_S = 60.0
"""How long a reader may leave what was sent unread before its stream is ended."""

T = TypeVar("T")


async def until(closed: asyncio.Event, items: AsyncIterator[T]) -> AsyncIterator[T]:
    """Pass items on until they end, or the API closes; what is there by then is still passed on."""
    closing = asyncio.ensure_future(closed.wait())
    coming: asyncio.Future[T | None] | None = None
    try:
        while True:
            coming = asyncio.ensure_future(_next(items))
            # One step is enough to take an item that is there.
            await asyncio.sleep(0)
            await asyncio.wait({coming, closing}, return_when=asyncio.FIRST_COMPLETED)
            if not coming.done() or (item := coming.result()) is None:
                return
            yield item
    finally:
        closing.cancel()
        if coming is not None:
            coming.cancel()


async def _next(items: AsyncIterator[T]) -> T | None:
    return await anext(items, None)
