"""What a model answers: a message, the tools it asks for, and what it cost."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

from hub.calls import Json

Finish = Literal["stop", "tool_calls", "length", "content_filter"]
"""Why the model stopped: it was done, it wants tools, its token limit, its provider's filter."""


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """One tool call that the model asks for.

    Attributes:
        id: The model's name for this call; its result must carry the same.
        name: The tool's public name, or what the model wrote when no such tool was offered.
        arguments: The arguments as the model wrote them: usually, not always, a JSON object.
    """

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What one or more answers used.

    Attributes:
        input_tokens: Tokens read, those from a cache included.
        output_tokens: Tokens written.
        cached_tokens: Tokens of the input that the provider had cached.
        cost_usd: What it cost by LiteLLM's price list; None when a price is not known.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cost_usd: float | None = 0.0

    def __add__(self, other: Usage) -> Usage:
        costs = (self.cost_usd, other.cost_usd)
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
            None if None in costs else sum(cost for cost in costs if cost is not None),
        )

    @property
    def tokens(self) -> int:
        """Everything read and written."""
        return self.input_tokens + self.output_tokens

    def to_json(self) -> Json:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of a model.

    Attributes:
        message: The assistant's message in OpenAI's chat form, tools under public names,
            to be sent back unchanged in the next round.
        text: What it says; empty when it only asks for tools.
        tool_requests: The calls it asks for, in its order.
        finish: Why it stopped.
        usage: What this answer used.
        model: The model that answered, by its LiteLLM name.
    """

    message: Json
    text: str
    tool_requests: tuple[ToolRequest, ...]
    finish: Finish
    usage: Usage
    model: str
