"""What one call of the agent may use: the settings, or less."""

from __future__ import annotations

from dataclasses import dataclass

from hub.errors import InvalidArguments
from hub.settings import AgentSettings


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one turn. A caller can tighten the settings' bounds, never loosen them.

    Attributes:
        rounds_max: How many times it may go back to the model with tool results.
        deadline_s: How long it may take.
        tokens_max: How many tokens it may read and write in all.
        cost_usd_max: What it may cost.
    """

    rounds_max: int | None = None
    deadline_s: float | None = None
    tokens_max: int | None = None
    cost_usd_max: float | None = None

    def __post_init__(self) -> None:
        for name in ("rounds_max", "deadline_s", "tokens_max", "cost_usd_max"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InvalidArguments(f"{name} must be greater than 0")

    def within(self, settings: AgentSettings) -> AgentSettings:
        """The settings with each of these bounds that is tighter."""
        return settings.model_copy(
            update={
                "rounds_max": _tighter(settings.rounds_max, self.rounds_max),
                "turn_deadline_s": _tighter(settings.turn_deadline_s, self.deadline_s),
                "turn_tokens_max": _tighter(settings.turn_tokens_max, self.tokens_max),
                "turn_cost_usd_max": _tighter(settings.turn_cost_usd_max, self.cost_usd_max),
            }
        )


def _tighter(one: float | None, other: float | None) -> float | None:
    bounds = [bound for bound in (one, other) if bound is not None]
    return min(bounds) if bounds else None
