"""`/runs`: every turn of the agent, whatever face it came in by, to be watched, followed and stopped."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import Request
from starlette.responses import Response

from hub.calls import Json
from hub.errors import CallerError, InvalidArguments, UnknownName
from hub.gateway.api.bodies import FurtherMessage, read
from hub.gateway.api.problems import JsonAnswer
from hub.gateway.api.streams import SEND_DEADLINE_S, until
from hub.gateway.api.turns import ApiHub, Turns
from hub.gateway.http import KEEPALIVE_S
from hub.jsonrpc import encode

if TYPE_CHECKING:
    from hub.agent import Agent, Event

CANCELLED_CODE = -32800


class RunEnded(CallerError):
    """The run has ended already."""

    http_status = 409


class Runs:
    """The endpoints.

    Args:
        hub: The running hub.
        turns: Says when the hub stops, which ends every stream.
    """

    def __init__(self, hub: ApiHub, turns: Turns) -> None:
        self._hub = hub
        self._turns = turns

    async def list(self, request: Request) -> Response:
        """The runs that have not ended."""
        agent = await self._hub.agent()
        return JsonAnswer(
            {
                "runs": [
                    {"run_id": run.run_id, "session_id": run.session_id, "status": "running"}
                    for run in agent.running()
                ]
            }
        )

    async def show(self, request: Request) -> Response:
        """How a run is, and what it came to."""
        run_id = request.path_params["run_id"]
        agent = await self._hub.agent()
        for run in agent.running():
            if run.run_id == run_id:
                return JsonAnswer({"run_id": run_id, "session_id": run.session_id, "status": "running"})
        sessions = await self._hub.sessions()
        try:
            turn = await sessions.turn(run_id)
        except UnknownName:
            return JsonAnswer(await self._unrecorded(agent, run_id))
        return JsonAnswer(
            {
                "run_id": run_id,
                "session_id": turn.session_id,
                "status": turn.status,
                "output": turn.output,
                "model": turn.model,
                "recall_id": turn.recall_id,
                "tool_calls": [
                    {key: call.get(key) for key in ("name", "ok", "duration_s")} for call in turn.tool_calls
                ],
                "usage": turn.usage,
                "started_at": turn.started_at,
                "ended_at": turn.ended_at,
                "error": turn.error,
            }
        )

    async def _unrecorded(self, agent: Agent, run_id: str) -> Json:
        """A run that ended before it had its session, or could not be put on record.

        Raises:
            UnknownName: There is no such run.
        """
        last = [event async for event in agent.events(run_id)][-1]
        told = last.to_json()
        if "result" in told:
            return {**told["result"], "error": None}
        error = told.get("error", {})
        status = "cancelled" if error.get("code") == CANCELLED_CODE else "failed"
        return {
            "run_id": run_id,
            "session_id": last.session_id,
            "status": status,
            "output": None,
            "error": error.get("message"),
        }

    async def stop(self, request: Request) -> Response:
        """Cancel a run; its events say when it has ended."""
        run_id = request.path_params["run_id"]
        agent = await self._hub.agent()
        try:
            agent.cancel(run_id)
        except UnknownName:
            await self._check_ended(agent, run_id)
        return JsonAnswer({"run_id": run_id, "status": "cancelling"}, 202)

    async def add_message(self, request: Request) -> Response:
        """Say something more to a run."""
        run_id = request.path_params["run_id"]
        asked, _ = await read(FurtherMessage, request, self._hub.settings.http.body_bytes_max)
        agent = await self._hub.agent()
        try:
            agent.add_message(run_id, asked.message)
        except UnknownName:
            await self._check_ended(agent, run_id)
        return JsonAnswer({"run_id": run_id, "status": "running"}, 202)

    async def _check_ended(self, agent: Agent, run_id: str) -> None:
        """Say of a run that is not running whether there ever was one.

        Raises:
            RunEnded: There was.
            UnknownName: There was none.
        """
        try:
            await (await self._hub.sessions()).turn(run_id)
        except UnknownName:
            agent.events(run_id)
        raise RunEnded(f"run {run_id!r} has ended")

    async def events(self, request: Request) -> Response:
        """What happened in a run and what happens, as server-sent events."""
        run_id = request.path_params["run_id"]
        agent = await self._hub.agent()
        events = agent.events(run_id, _after(request))
        if not any(run.run_id == run_id for run in agent.running()):
            first = await anext(events, None)
            if first is None:
                # Browsers come back for more after a stream's end, until they are told that there is none.
                return Response(status_code=204)
            events = _with_first(first, events)
        return EventSourceResponse(
            self._frames(events), ping=KEEPALIVE_S, sep="\n", send_timeout=SEND_DEADLINE_S
        )

    async def _frames(self, events: AsyncIterator[Event]) -> AsyncIterator[ServerSentEvent]:
        async for event in until(self._turns.closed, events):
            yield ServerSentEvent(
                encode(event.to_json()).decode(), id=str(event.seq), event=event.type, sep="\n"
            )


async def _with_first(first: Any, rest: AsyncIterator[Any]) -> AsyncIterator[Any]:
    yield first
    async for event in rest:
        yield event


def _after(request: Request) -> int:
    """The sequence number that a listener has seen last; 0 when it comes for the first time.

    Raises:
        InvalidArguments: It is no number.
    """
    name, value = "Last-Event-ID", request.headers.get("last-event-id")
    if value is None:
        name, value = "after", request.query_params.get("after", "0")
    # Digits alone, because `int` reads much else; as many as a number of events may have.
    if not (value.isascii() and value.isdigit() and len(value) <= 18):
        raise InvalidArguments(f"{name} is the sequence number of an event, a whole number from 0")
    return int(value)
