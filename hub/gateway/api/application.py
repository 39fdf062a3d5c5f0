"""The API: everything that can be asked of it, and its end."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from hub import __version__
from hub.calls import Json
from hub.errors import HubError
from hub.gateway.api import answers, bodies, openapi, problems
from hub.gateway.api.chat import Chat, ChatRequest
from hub.gateway.api.message import Messages
from hub.gateway.api.openapi import Operation
from hub.gateway.api.problems import JsonAnswer
from hub.gateway.api.runs import Runs
from hub.gateway.api.turns import ApiHub, ClientLeft, Turns
from hub.gateway.http import ClientGone, Receive, Scope, Send

_TURN_PROBLEMS = (403, 404, 409, 422, 429, 502, 504, 507)
"""What may go wrong in a turn: its caller, its session, its model, the disk."""


class Api:
    """The API as an ASGI application.

    Args:
        hub: The running hub.
    """

    def __init__(self, hub: ApiHub) -> None:
        self._turns = Turns(hub)
        self._document: Json | None = None
        self._operations = self._table(hub)
        self._app = Starlette(
            routes=openapi.routes(self._operations),
            exception_handlers={
                HubError: problems.told,
                HTTPException: problems.refused,
                ClientGone: problems.left,
                ClientLeft: problems.left,
                Exception: problems.broken,
            },
        )

    def _table(self, hub: ApiHub) -> list[Operation]:
        turns = self._turns
        messages, runs, chat = Messages(hub, turns), Runs(hub, turns), Chat(hub, turns)
        run = "/runs/{run_id}"
        return [
            Operation("GET", "/health", self._health, answers={200: answers.Health}, open=True),
            Operation(
                "POST",
                "/message",
                messages.post,
                bodies.Message,
                {200: answers.TurnAnswer, 202: answers.RunBegun},
                _TURN_PROBLEMS,
                headers={"Idempotency-Key": "The same key gets the same answer for an hour."},
            ),
            Operation("GET", "/runs", runs.list, answers={200: answers.RunList}),
            Operation("GET", run, runs.show, answers={200: answers.Run}, problems=(404, 507)),
            Operation("DELETE", run, runs.stop, answers={202: answers.RunTold}, problems=(404, 409, 507)),
            Operation(
                "GET",
                f"{run}/events",
                runs.events,
                answers={200: None, 204: None},
                problems=(400, 404),
                headers={"Last-Event-ID": "The sequence number of the last event that was seen."},
                query={"after": {"type": "integer", "minimum": 0, "default": 0}},
                streams=True,
            ),
            Operation(
                "POST",
                f"{run}/message",
                runs.add_message,
                bodies.FurtherMessage,
                {202: answers.RunTold},
                (404, 409, 429, 507),
            ),
            Operation(
                "POST",
                "/v1/chat/completions",
                chat.complete,
                ChatRequest,
                {200: answers.ChatCompletion},
                _TURN_PROBLEMS,
                headers={"X-Session-Id": "The conversation, when the hub keeps it; so does `user`."},
                streams=True,
            ),
            Operation("GET", "/v1/models", chat.models, answers={200: answers.Models}),
            Operation("GET", "/openapi.json", self._describe, answers={200: None}),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    async def drain(self, grace_s: float) -> None:
        """Begin nothing new, let turns finish, then stop what is left and end every stream.

        Args:
            grace_s: How long turns may take at most.
        """
        await self._turns.drain(grace_s)

    async def _health(self, request: Request) -> Response:
        """Whether the hub lives."""
        return JsonAnswer({"status": "ok", "version": __version__})

    async def _describe(self, request: Request) -> Response:
        """This document."""
        if self._document is None:
            self._document = openapi.document(self._operations)
        return JsonAnswer(self._document)
