"""`POST /message`: one turn of the agent, for whoever can send JSON."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from hub.errors import InvalidArguments
from hub.gateway.api.bodies import Message, read
from hub.gateway.api.idempotency import Answers
from hub.gateway.api.problems import JsonAnswer
from hub.gateway.api.turns import ApiHub, Begun, Turns, outcome


class Messages:
    """The endpoint.

    Args:
        hub: The running hub.
        turns: Begins turns.
    """

    def __init__(self, hub: ApiHub, turns: Turns) -> None:
        self._hub = hub
        self._turns = turns
        self._answers = Answers()

    async def post(self, request: Request) -> Response:
        """Run a turn; its answer is the response, or says at once where to find it."""
        asked, body = await read(Message, request, self._hub.settings.http.body_bytes_max)
        if not asked.message.strip():
            raise InvalidArguments("message is blank. Say what the agent should do")
        key = request.headers.get("idempotency-key")
        if key is None:
            begun = await self._begin(request, asked)
            if not asked.wait:
                return _begun(begun, asked)
            # Without a key nobody can ask for this answer again.
            return JsonAnswer((await outcome(request, begun)).to_json())

        async def answer() -> JsonAnswer:
            begun = await self._begin(request, asked)
            return JsonAnswer((await begun.result()).to_json()) if asked.wait else _begun(begun, asked)

        answered, again = await self._answers.once(key, body, answer)
        headers = {name: value for name, value in answered.headers.items() if name == "location"}
        if again:
            headers["idempotency-replayed"] = "true"
        return Response(answered.body, answered.status_code, headers, answered.media_type)

    async def _begin(self, request: Request, asked: Message) -> Begun:
        from hub.agent import Limits

        return await self._turns.begin(
            request,
            asked.session_id,
            asked.message,
            limits=Limits(**asked.limits.model_dump()),
            output_schema=asked.output_schema,
        )


def _begun(begun: Begun, asked: Message) -> JsonAnswer:
    where = f"/runs/{begun.run_id}"
    return JsonAnswer(
        {
            "run_id": begun.run_id,
            "session_id": asked.session_id,
            "status": "running",
            "run": where,
            "events": f"{where}/events",
        },
        202,
        {"location": where},
    )
