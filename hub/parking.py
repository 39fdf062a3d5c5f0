"""Parked calls: how a legacy server asks a modern client something in the middle of a call.

A modern client cannot be sent requests. When a server asks, the call is parked and
the client gets `input_required` with the questions and a token; its retry brings the
token and the answers, and the call goes on where it was. Parked calls are bounded in
number and time and belong to the caller that made them. The token is random and says
nothing, so there is nothing in it to forge.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from hub.calls import Call, Caller, Json
from hub.errors import INVALID_PARAMS, Busy, CallerError, RpcError

PARKED_MAX = 64
"""How many calls may be parked at once."""

PARKED_S = 600.0
"""How long a parked call waits for its client to come back."""

Run = Callable[[Call], Awaitable[Json]]


@dataclass(eq=False, slots=True)
class _Parked:
    """A call whose server waits for answers."""

    call: Call
    task: asyncio.Task[Json]
    questions: dict[str, tuple[Json, asyncio.Future[Json]]] = field(default_factory=dict)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    count: int = 0
    expiry: asyncio.TimerHandle | None = None


class Parking:
    """All parked calls of a hub.

    Args:
        parked_max: How many calls may be parked at once.
        parked_s: How long one waits for its client to come back.
    """

    def __init__(self, parked_max: int = PARKED_MAX, parked_s: float = PARKED_S) -> None:
        self._parked_max = parked_max
        self._parked_s = parked_s
        self._parked: dict[str, _Parked] = {}

    def holds(self, call: Call) -> bool:
        """Whether a request is the retry of a call that is parked here."""
        return call.params.get("requestState") in self._parked

    async def run(self, call: Call, run: Run) -> Json:
        """Run a modern caller's call, which its server may interrupt with questions.

        Returns:
            The result, or `input_required` with the questions.

        Raises:
            HubError, RpcError: As the call does.
        """
        parked: _Parked

        async def ask(method: str, params: Json) -> Json:
            answer: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
            parked.count += 1
            key = f"q{parked.count}"
            question = {key_: value for key_, value in params.items() if key_ != "elicitationId"}
            parked.questions[key] = ({"method": method, "params": question}, answer)
            parked.asked.set()
            try:
                return await answer
            finally:
                parked.questions.pop(key, None)

        call.ask = ask
        task = asyncio.ensure_future(run(call))
        parked = _Parked(call, task)
        return await self._wait(parked)

    async def resume(self, call: Call) -> Json:
        """Go on with a parked call.

        Args:
            call: The client's retry, for which `holds` is true.

        Raises:
            CallerError: It is another caller's.
            HubError, RpcError: As the call does.
        """
        token = call.params["requestState"]
        parked = self._parked[token]
        if not _same(parked.call.caller, call.caller) or call.method != parked.call.method:
            raise CallerError("this requestState belongs to another call")
        answers = call.params.get("inputResponses")
        if not isinstance(answers, dict) or not parked.questions.keys() <= answers.keys():
            raise RpcError(
                {"code": INVALID_PARAMS, "message": "inputResponses must answer every input request"}
            )
        del self._parked[token]
        if parked.expiry is not None:
            parked.expiry.cancel()
        # What the server sends from here on belongs to the retry.
        parked.call.notify, parked.call.log_level = call.notify, call.log_level
        parked.call.params = {**parked.call.params, "_meta": call.params.get("_meta", {})}
        parked.asked.clear()
        for key, (_, answer) in list(parked.questions.items()):
            if not answer.done():
                answer.set_result(answers[key])
        return await self._wait(parked)

    async def _wait(self, parked: _Parked) -> Json:
        """Wait for the call's end or its server's next questions."""
        asked = asyncio.ensure_future(parked.asked.wait())
        try:
            waits: set[asyncio.Future[Any]] = {parked.task, asked}
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            parked.task.cancel()
            raise
        finally:
            asked.cancel()
        if parked.task.done():
            return parked.task.result()
        return self._park(parked)

    def _park(self, parked: _Parked) -> Json:
        if len(self._parked) >= self._parked_max:
            parked.task.cancel()
            raise Busy(f"{self._parked_max} calls wait for their clients' answers already")
        token = f"hub.{secrets.token_urlsafe(24)}"
        self._parked[token] = parked
        parked.expiry = asyncio.get_running_loop().call_later(self._parked_s, self._expire, token)
        return {
            "resultType": "input_required",
            "inputRequests": {key: question for key, (question, _) in parked.questions.items()},
            "requestState": token,
        }

    def _expire(self, token: str) -> None:
        parked = self._parked.pop(token, None)
        if parked is not None:
            parked.task.cancel()

    def close(self) -> None:
        """Cancel everything that is parked."""
        for token, parked in list(self._parked.items()):
            if parked.expiry is not None:
                parked.expiry.cancel()
            self._expire(token)


def _same(one: Caller, other: Caller) -> bool:
    return (one.name, one.face, one.project) == (other.name, other.face, other.project)
