"""What a turn comes to, for whoever asked for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from hub.calls import Json
from hub.llm.answer import Usage

Status = Literal[
    "completed",
    "rounds_exhausted",
    "time_exhausted",
    "tokens_exhausted",
    "cost_exhausted",
    "going_in_circles",
    "cut",
]
"""How a turn that has an answer ended: done; or answered with what it had when a bound was reached,
when the model repeated itself, when the answer reached the model's length limit."""


@dataclass(frozen=True, slots=True)
class ToolCallReport:
    """One tool call of a turn.

    Attributes:
        name: The tool's public name.
        ok: Whether it succeeded.
        duration_s: How long it took.
    """

    name: str
    ok: bool
    duration_s: float

    def to_json(self) -> Json:
        return {"name": self.name, "ok": self.ok, "duration_s": round(self.duration_s, 4)}


@dataclass(frozen=True, slots=True)
class TurnResult:
    """A turn's answer, complete in itself.

    Attributes:
        output: The answer.
        session_id: The session it was given in.
        run_id: The run, by which events, feedback and the record refer to it.
        status: How the turn ended.
        model: The model that answered, by its LiteLLM name.
        recall_id: The recall whose episodes it saw, for feedback; None when memory was not asked.
        tool_calls: What was called, in the order it was asked for.
        usage: What all answers of the model used.
        structured: The answer's value, when a schema was asked for.
        warnings: What went wrong beside the answer, for a person.
    """

    output: str
    session_id: str
    run_id: str
    status: Status
    model: str
    recall_id: str | None
    tool_calls: tuple[ToolCallReport, ...]
    usage: Usage
    structured: Any = None
    warnings: tuple[str, ...] = ()

    def to_json(self) -> Json:
        return {
            "output": self.output,
            "session_id": self.session_id,
            "run_id": self.run_id,
            "status": self.status,
            "model": self.model,
            "recall_id": self.recall_id,
            "tool_calls": [call.to_json() for call in self.tool_calls],
            "usage": self.usage.to_json(),
            "warnings": list(self.warnings),
            **({"structured": self.structured} if self.structured is not None else {}),
        }
