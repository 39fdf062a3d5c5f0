"""What responses hold: the shapes that the OpenAPI document promises, and tests hold responses to."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from hub.calls import Json


class Answer(BaseModel):
    """A JSON object that the API answers with."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class Problem(Answer):
    """What went wrong (RFC 9457)."""

    title: str
    status: int
    detail: str
    """What was wrong, where, and what to do next."""
    error: str
    """The kind of error, for programs."""


class Health(Answer):
    """That the hub lives."""

    status: Literal["ok"]
    version: str


class ToolCall(Answer):
    """One tool call of a turn."""

    name: str
    ok: bool
    duration_s: float


class Usage(Answer):
    """What the model used in a turn."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cost_usd: float | None
    """By LiteLLM's price list; null when a price is not known."""


class TurnAnswer(Answer):
    """A turn's answer, complete in itself."""

    output: str
    session_id: str
    run_id: str
    """By which events, feedback and the record refer to the turn."""
    status: str
    """`completed`, or which bound was reached before the answer."""
    model: str
    recall_id: str | None
    tool_calls: list[ToolCall]
    usage: Usage
    warnings: list[str]
    structured: Any = None
    """The answer's value, when a schema was asked for."""


class RunBegun(Answer):
    """A turn that nobody waits for."""

    run_id: str
    session_id: str
    status: Literal["running"]
    run: str
    """Where to see how it is."""
    events: str
    """Where to follow it."""


class RunningRun(Answer):
    """A run that has not ended."""

    run_id: str
    session_id: str
    status: Literal["running"]


class RunList(Answer):
    """The runs that have not ended."""

    runs: list[RunningRun]


class Run(Answer):
    """How a run is; while it runs, only the first three members are there."""

    run_id: str
    session_id: str
    status: str
    """`running`, `completed`, `failed`, `cancelled`, `interrupted`, or which bound was reached."""
    output: str | None = None
    model: str | None = None
    recall_id: str | None = None
    tool_calls: list[ToolCall] = []
    usage: Usage | Json = {}
    warnings: list[str] = []
    structured: Any = None
    started_at: float | None = None
    """Seconds since the epoch."""
    ended_at: float | None = None
    """Seconds since the epoch."""
    error: str | None = None


class RunTold(Answer):
    """A run that was told something."""

    run_id: str
    status: Literal["running", "cancelling"]


class OpenAiError(BaseModel):
    """What went wrong, in OpenAI's shape."""

    error: Json


class ChatCompletion(BaseModel):
    """A completion, in OpenAI's shape."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Json]
    usage: Json


class Models(BaseModel):
    """The models, in OpenAI's shape."""

    object: Literal["list"]
    data: list[Json]
