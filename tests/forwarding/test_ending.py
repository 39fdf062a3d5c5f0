"""A supervisor that is told to end ends, whatever its server does at that moment."""

from __future__ import annotations

import asyncio

import pytest

from hub.calls import Json
from hub.downstream.handshake import shake_hands
from hub.jsonrpc import Peer, PeerClosed, Request

pytestmark = pytest.mark.anyio


class Silence:
    """A channel that carries nothing, and whoever is behind it."""

    full = False

    def send(self, message: Json, headers: object = None) -> None:
        """It goes nowhere."""

    async def drain(self) -> None:
        """Nothing is queued."""

    def close(self) -> None:
        """There is nothing to close."""

    async def on_request(self, request: Request) -> Json:
        return {}

    def on_notification(self, method: str, params: Json) -> None:
        """Nobody listens."""


@pytest.mark.parametrize("steps", range(8))
async def test_a_handshake_that_is_cancelled_as_it_fails_is_cancelled(steps: int) -> None:
    peer = Peer(Silence(), Silence())
    handshake = asyncio.ensure_future(shake_hands(peer, None, deadline_s=10))
    await asyncio.sleep(0.01)
    peer.close("the server refuses everybody")
    for _ in range(steps):
        await asyncio.sleep(0)
    cancelled = handshake.cancel()
    with pytest.raises(asyncio.CancelledError if cancelled else PeerClosed):
        await handshake
