"""Reading what is piped in, without holding the program up when it wants to end.

A thread reads, because neither a file nor a terminal can be waited for on every
platform. It is a daemon that touches no buffer of Python's: an interpreter that ends
while such a thread holds one aborts.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

from hub.errors import TooLarge
from hub.lines import CutLine, LineSplitter

LINE_BYTES_MAX = 4 * 1024 * 1024
"""The longest line that is read."""

T = TypeVar("T")


async def lines() -> AsyncIterator[str]:
    """The lines of stdin as they come, without their ends, until its end.

    Raises:
        TooLarge: A line was longer than `LINE_BYTES_MAX`.
    """
    stdin = sys.stdin.fileno()
    splitter = LineSplitter(LINE_BYTES_MAX)
    while data := await _in_thread(lambda: os.read(stdin, 65_536)):
        for line in splitter.feed(data):
            if isinstance(line, CutLine):
                raise TooLarge(f"a line was longer than {LINE_BYTES_MAX:,} bytes")
            yield line.decode(errors="replace").rstrip("\r")
    if rest := splitter.rest():
        yield rest.decode(errors="replace").rstrip("\r")


async def _in_thread(work: Callable[[], T]) -> T:
    """Run something that blocks in a thread that nobody waits for at the end."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(outcome: T | None, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(outcome)  # type: ignore[arg-type]

    def run() -> None:
        outcome: T | None = None
        problem: BaseException | None = None
        try:
            outcome = work()
        except (OSError, EOFError, ValueError) as error:
            problem = error
        with contextlib.suppress(RuntimeError):  # the loop may have ended meanwhile
            loop.call_soon_threadsafe(settle, outcome, problem)

    threading.Thread(target=run, daemon=True, name="keyboard").start()
    return await done
