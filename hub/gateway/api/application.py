"""The routes of the API, and its end."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hub import __version__
from hub.errors import HubError
from hub.gateway.api import problems
from hub.gateway.api.chat import Chat
from hub.gateway.api.message import Messages
from hub.gateway.api.problems import JsonAnswer
from hub.gateway.api.runs import Runs
from hub.gateway.api.turns import ApiHub, ClientLeft, Turns
from hub.gateway.http import ClientGone, Receive, Scope, Send


class Api:
    """The API as an ASGI application.

    Args:
        hub: The running hub.
    """

    def __init__(self, hub: ApiHub) -> None:
        self._turns = turns = Turns(hub)
        messages, runs, chat = Messages(hub, turns), Runs(hub, turns), Chat(hub, turns)
        self._app = Starlette(
            routes=[
                Route("/health", _health, methods=["GET"]),
                Route("/message", messages.post, methods=["POST"]),
                Route("/runs", runs.list, methods=["GET"]),
                Route("/runs/{run_id}", runs.show, methods=["GET"]),
                Route("/runs/{run_id}", runs.stop, methods=["DELETE"]),
                Route("/runs/{run_id}/events", runs.events, methods=["GET"]),
                Route("/runs/{run_id}/message", runs.add_message, methods=["POST"]),
                Route("/v1/chat/completions", chat.complete, methods=["POST"]),
                Route("/v1/models", chat.models, methods=["GET"]),
            ],
            exception_handlers={
                HubError: problems.told,
                HTTPException: problems.refused,
                ClientGone: problems.left,
                ClientLeft: problems.left,
                Exception: problems.broken,
            },
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    async def drain(self, grace_s: float) -> None:
        """Begin nothing new, let turns finish, then stop what is left and end every stream.

        Args:
            grace_s: How long turns may take at most.
        """
        await self._turns.drain(grace_s)


async def _health(request: Request) -> Response:
    """Whether the hub lives; needs no key."""
    return JsonAnswer({"status": "ok", "version": __version__})
