"""`/v1/chat/completions`: the agent, as OpenAI's clients ask for a model.

A request is one turn. Where it names a session, by `X-Session-Id` or `user`, the hub
keeps the conversation and only the last message of the user is said in it. Where it
names none, the conversation is the request's own: each gets a session of its own,
and its earlier messages stand before the turn.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import Request
from starlette.responses import Response

from hub.calls import Json
from hub.errors import InvalidArguments
from hub.gateway.api.bodies import read
from hub.gateway.api.problems import JsonAnswer, openai_error
from hub.gateway.api.streams import SEND_DEADLINE_S, until
from hub.gateway.api.turns import ApiHub, Begun, Turns, outcome
from hub.gateway.http import KEEPALIVE_S, Receive, Scope, Send
from hub.jsonrpc import encode

if TYPE_CHECKING:
    from hub.agent import Event

MODEL = "hub"
"""The one model there is, whatever a client calls it."""

_FINISH = {"cut": "length", "tokens_exhausted": "length"}


class _Part(BaseModel):
    # Clients send more than the agent reads, and mean no harm.
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class TextPart(_Part):
    """A text among the parts of a message."""

    type: Literal["text"]
    text: str


class ChatMessage(_Part):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[TextPart] | None = None

    @property
    def text(self) -> str:
        """All that it says."""
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content)
        return self.content or ""


class StreamOptions(_Part):
    """What a stream holds beside the text."""

    include_usage: bool | None = None


class JsonSchema(_Part):
    """A schema, as OpenAI's clients wrap it."""

    schema_: Json | None = Field(default=None, alias="schema")


class ResponseFormat(_Part):
    """How the answer must look."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    @property
    def output_schema(self) -> Json | None:
        """The JSON Schema that the answer must fit; None when any text does."""
        if self.type == "text":
            return None
        given = self.json_schema.schema_ if self.json_schema and self.type == "json_schema" else None
        return given or {"type": "object"}


class ChatRequest(_Part):
    """The body of `POST /v1/chat/completions`; what is not named here is ignored, `model` is too."""

    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None
    response_format: ResponseFormat | None = None
    n: Annotated[int, Field(ge=1, le=1)] | None = None
    tools: Annotated[list[Json], Field(max_length=0)] | None = None
    """The agent has the hub's tools, and no others."""


@dataclass(slots=True)
class _Conversation:
    """A request, taken apart.

    Attributes:
        message: What the user says now.
        instructions: What the client's system prompt says.
        history: What was said before.
    """

    message: str
    instructions: str | None = None
    history: list[Json] = field(default_factory=list)


class Chat:
    """The endpoints.

    Args:
        hub: The running hub.
        turns: Begins turns.
    """

    def __init__(self, hub: ApiHub, turns: Turns) -> None:
        self._hub = hub
        self._turns = turns

    async def models(self, request: Request) -> Response:
        """The one model there is."""
        return JsonAnswer(
            {
                "object": "list",
                "data": [{"id": MODEL, "object": "model", "created": 0, "owned_by": "omni-hub"}],
            }
        )

    async def complete(self, request: Request) -> Response:
        """Answer a conversation, whole or as it comes."""
        asked, _ = await read(ChatRequest, request, self._hub.settings.http.body_bytes_max)
        conversation = _conversation(asked.messages)
        session_id = request.headers.get("x-session-id") or asked.user
        if session_id:
            conversation.history.clear()
        schema = asked.response_format.output_schema if asked.response_format else None
        session_id = session_id or f"chat_{uuid.uuid4().hex}"
        begun = await self._turns.begin(
            request,
            session_id,
            conversation.message,
            output_schema=schema,
            instructions=conversation.instructions,
            history=conversation.history,
        )
        headers = {"x-run-id": begun.run_id, "x-session-id": session_id}
        if asked.stream:
            return await self._stream(asked, begun, headers, whole=schema is not None)
        result = (await outcome(request, begun)).to_json()
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": result["output"]},
            "finish_reason": _FINISH.get(result["status"], "stop"),
            "logprobs": None,
        }
        answer = {
            **_head(begun.run_id, "chat.completion", result["model"]),
            "choices": [choice],
            "usage": _usage(result["usage"]),
        }
        return JsonAnswer(answer, headers=headers)

    async def _stream(
        self, asked: ChatRequest, begun: Begun, headers: dict[str, str], *, whole: bool
    ) -> Response:
        """The answer as it comes.

        Raises:
            HubError: The turn failed before the model was asked.
        """
        events = until(self._turns.closed, begun.agent.events(begun.run_id))
        seen: list[Event] = []
        try:
            async for event in events:
                seen.append(event)
                if event.last or event.type == "model.asked":
                    break
        except BaseException:
            begun.stop()
            raise
        if not seen or seen[-1].type == "run.failed":
            # A response that has not begun can still say with its status what is wrong.
            await begun.result()
        usage = asked.stream_options is not None and bool(asked.stream_options.include_usage)
        return _TurnStream(
            begun,
            _chunks(begun, seen[-1], events, whole=whole, usage=usage),
            headers,
        )


class _TurnStream(EventSourceResponse):
    """A stream that owns its turn: whoever stops reading stops it."""

    def __init__(
        self, begun: Begun, content: AsyncIterator[ServerSentEvent], headers: dict[str, str]
    ) -> None:
        super().__init__(content, ping=KEEPALIVE_S, sep="\n", send_timeout=SEND_DEADLINE_S, headers=headers)
        self._begun = begun

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            # Not left to the content, which may never have begun.
            self._begun.stop()


async def _chunks(
    begun: Begun, first: Event, events: AsyncIterator[Event], *, whole: bool, usage: bool
) -> AsyncIterator[ServerSentEvent]:
    """A turn's events as chunks of a completion."""
    head = _head(begun.run_id, "chat.completion.chunk", first.to_json().get("model") or MODEL)
    if usage:
        head["usage"] = None
    yield _chunk(head, {"role": "assistant", "content": ""})
    text = _Text(whole)
    async for event in events:
        told = event.to_json()
        if piece := text.piece(told):
            yield _chunk(head, {"content": piece})
        if event.type == "run.finished":
            result = told["result"]
            yield _chunk(head, {}, _FINISH.get(result["status"], "stop"))
            if usage:
                yield _sse({**head, "choices": [], "usage": _usage(result["usage"])})
            yield ServerSentEvent("[DONE]", sep="\n")
        elif event.type == "run.failed":
            error = told["error"]
            kind = (error.get("data") or {}).get("error", "TurnCancelled")
            yield _sse({"error": openai_error(500, error["message"], kind)})


class _Text:
    """The text of a streamed answer, piece by piece.

    What the model says before it calls tools is passed on too, since nobody knows yet
    that it will; a blank line parts it from what it says after.

    Args:
        whole: Whether pieces may be void, so that only the answer itself counts.
    """

    def __init__(self, whole: bool) -> None:
        self._whole = whole
        self._said = False
        self._since_asked = False
        self._part = False

    def piece(self, event: Json) -> str:
        """What an event adds; empty when it adds nothing."""
        match event["type"]:
            case "model.delta" if not self._whole:
                parted = "\n\n" if self._part else ""
                self._said, self._since_asked, self._part = True, True, False
                return parted + str(event["text"])
            case "model.asked":
                self._since_asked = False
            case "tool.started":
                self._part = self._said
            case "model.restarted" if self._since_asked:
                self._part = True
            case "reply" if not self._since_asked:
                return ("\n\n" if self._part else "") + str(event["output"])
        return ""


def _conversation(messages: list[ChatMessage]) -> _Conversation:
    """What a request says.

    Raises:
        InvalidArguments: The user says nothing in it.
    """
    last = max((n for n, message in enumerate(messages) if message.role == "user"), default=None)
    if last is None or not messages[last].text.strip():
        raise InvalidArguments("messages: the last message of the user is missing or blank")
    instructions = [message.text for message in messages if message.role in ("system", "developer")]
    history: list[dict[str, Any]] = [
        {"role": message.role, "content": message.text}
        for message in messages[:last]
        if message.role in ("user", "assistant") and message.text
    ]
    return _Conversation(messages[last].text, "\n\n".join(filter(None, instructions)) or None, history)


def _head(run_id: str, kind: str, model: str) -> Json:
    return {
        "id": f"chatcmpl-{run_id.removeprefix('run_')}",
        "object": kind,
        "created": int(time.time()),
        "model": model,
    }


def _usage(usage: Json) -> Json:
    """Usage, under OpenAI's names."""
    read_, written = usage["input_tokens"], usage["output_tokens"]
    return {
        "prompt_tokens": read_,
        "completion_tokens": written,
        "total_tokens": read_ + written,
        "prompt_tokens_details": {"cached_tokens": usage["cached_tokens"]},
    }


def _chunk(head: Json, delta: Json, finish: str | None = None) -> ServerSentEvent:
    return _sse({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


def _sse(value: Json) -> ServerSentEvent:
    return ServerSentEvent(encode(value).decode(), sep="\n")
