"""The same key gets the same answer: a client that is not sure can ask again, and nothing runs twice.

Whoever comes with a key that is being answered waits for that answer. An error that
says "again later" is not kept. Keys are kept in memory, for a while, and bounded.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from hub.errors import Busy, CallerError, InvalidArguments
from hub.gateway.api.problems import JsonAnswer

KEYS_MAX = 512
"""How many keys are known at once; the oldest that are answered are forgotten for new ones."""
ANSWERS_BYTES_MAX = 16 * 1024 * 1024
"""How much all kept answers may hold."""
KEPT_S = 3600.0
"""How long a key is known."""
KEY_CHARS_MAX = 255

_RETRYABLE = (429, 503)


class KeyReused(CallerError):
    """A key came again with another body."""

    http_status = 422


@dataclass(slots=True)
class _Known:
    """One key."""

    digest: bytes
    task: asyncio.Task[JsonAnswer]
    expires_at: float
    body_bytes: int = 0


class Answers:
    """Answers by key."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._bytes = 0

    async def once(
        self, key: str, body: bytes, answer: Callable[[], Awaitable[JsonAnswer]]
    ) -> tuple[JsonAnswer, bool]:
        """The answer to a key, and whether it was there before.

        Args:
            key: The key.
            body: What it came with.
            answer: Makes the answer; goes on when whoever asked first leaves.

        Raises:
            InvalidArguments: It is no key.
            KeyReused: It came with another body before.
            Busy: Every key that may be known is being answered.
            HubError: As `answer` does.
        """
        if not (0 < len(key) <= KEY_CHARS_MAX and key.isprintable()):
            raise InvalidArguments(f"Idempotency-Key is 1 to {KEY_CHARS_MAX} printable characters")
        self._expire()
        digest = hashlib.sha256(body).digest()
        known = self._known.get(key)
        if known is not None:
            if known.digest != digest:
                raise KeyReused(
                    "this Idempotency-Key came with another body before; a new request needs a new key"
                )
            return await asyncio.shield(known.task), True
        self._make_room()
        loop = asyncio.get_running_loop()
        task = loop.create_task(_made(answer), name="answer to an idempotency key")
        self._known[key] = known = _Known(digest, task, loop.time() + KEPT_S)
        task.add_done_callback(lambda _: self._settle(key, known))
        return await asyncio.shield(task), False

    def _settle(self, key: str, known: _Known) -> None:
        task = known.task
        error = None if task.cancelled() else task.exception()
        if task.cancelled() or getattr(error, "http_status", 500 if error else 200) in _RETRYABLE:
            self._known.pop(key, None)
        elif error is None:
            known.body_bytes = len(task.result().body)
            self._bytes += known.body_bytes
            while self._bytes > ANSWERS_BYTES_MAX and self._forget_oldest():
                pass

    def _expire(self) -> None:
        now = asyncio.get_running_loop().time()
        for key in [
            key for key, known in self._known.items() if known.expires_at < now and known.task.done()
        ]:
            self._forget(key)

    def _make_room(self) -> None:
        if len(self._known) >= KEYS_MAX and not self._forget_oldest():
            raise Busy(f"{KEYS_MAX} requests with an Idempotency-Key are being answered")

    def _forget_oldest(self) -> bool:
        for key, known in self._known.items():
            if known.task.done():
                self._forget(key)
                return True
        return False

    def _forget(self, key: str) -> None:
        self._bytes -= self._known.pop(key).body_bytes


async def _made(answer: Callable[[], Awaitable[JsonAnswer]]) -> JsonAnswer:
    return await answer()
