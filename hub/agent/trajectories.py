"""Trajectories: recorded turns as lines for other programs, one JSON object for each turn.

- `jsonl`: everything that is on record, system prompt and tools included.
- `openai`: OpenAI's chat fine-tuning format.
- `art`: what ART (openpipe-art) trains on, with the reward that feedback gave.

What people said about a turn afterwards is kept apart from it, and put beside it here.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Literal, get_args

from hub.agent.prompt import answered
from hub.calls import Json
from hub.errors import InvalidArguments
from hub.llm.chat_form import function
from hub.llm.names import NameMap
from hub.sessions import Prompt, Turn

if TYPE_CHECKING:
    from hub.sessions import Sessions

Format = Literal["jsonl", "openai", "art"]

Place = tuple[float, str]
"""Where a part of an export ends: the last turn's start and run."""
BEGINNING: Place = (0.0, "")

_PAGE_TURNS = 50
_PAGE_CHARS = 4_000_000
"""A part of an export ends with the turn that takes it over this."""


async def export(
    sessions: Sessions,
    style: str = "jsonl",
    *,
    session_id: str | None = None,
    statuses: Sequence[str] = (),
    reward_min: float | None = None,
) -> AsyncIterator[str]:
    """Lines of JSON, the oldest turn first, each without its newline.

    Args:
        sessions: Where the turns are.
        style: One of `Format`.
        session_id: Only this session's turns; all when None.
        statuses: Only turns that ended so; all when empty.
        reward_min: Only turns whose feedback came to at least this.

    Raises:
        InvalidArguments: There is no such format.
    """
    after: Place | None = BEGINNING
    while after is not None:
        lines, after = await export_page(
            sessions, style, after, session_id=session_id, statuses=statuses, reward_min=reward_min
        )
        for line in lines:
            yield line


async def export_page(
    sessions: Sessions,
    style: str,
    after: Place,
    *,
    session_id: str | None = None,
    statuses: Sequence[str] = (),
    reward_min: float | None = None,
) -> tuple[list[str], Place | None]:
    """A part of an export that is small enough to be held and sent at once; `export` says the rest.

    Args:
        sessions: Where the turns are.
        style: One of `Format`.
        after: Where the part before ended; `BEGINNING` for the first.
        session_id: Only this session's turns.
        statuses: Only turns that ended so.
        reward_min: Only turns with at least this reward.

    Returns:
        Its lines, perhaps none, and where it ended; None when nothing follows.

    Raises:
        InvalidArguments: There is no such format.
    """
    if style not in get_args(Format):
        raise InvalidArguments(
            f"there is no export format {style!r}; there are {', '.join(get_args(Format))}"
        )
    page = await sessions.page(after, _PAGE_TURNS, session_id=session_id)
    rewards = await sessions.rewards(page)
    prompts: dict[str, Prompt] = {}
    lines: list[str] = []
    chars = 0
    for turn in page:
        if chars > _PAGE_CHARS:
            return lines, after
        after = (turn.started_at, turn.run_id)
        reward = rewards.get(turn.run_id)
        if statuses and turn.status not in statuses:
            continue
        if reward_min is not None and (reward is None or reward < reward_min):
            continue
        prompt = None
        if turn.prompt is not None:
            # Few distinct prompts stand behind many turns.
            prompt = prompts.get(turn.prompt) or await sessions.prompt(turn.prompt)
            prompts = {turn.prompt: prompt}
        lines.append(json.dumps(_line(style, turn, prompt, reward), ensure_ascii=False))
        chars += len(lines[-1])
    return lines, after if len(page) == _PAGE_TURNS else None


def _line(style: str, turn: Turn, prompt: Prompt | None, reward: float | None) -> Json:
    if style == "jsonl":
        return {
            **asdict(turn),
            "prompt": {"system": prompt.system, "tools": list(prompt.tools)} if prompt else None,
            "reward": reward,
        }
    messages, tools = _chat(turn, prompt)
    if style == "openai":
        return {"messages": messages, **({"tools": tools, "parallel_tool_calls": True} if tools else {})}
    return {
        "messages_and_choices": messages,
        "tools": tools,
        "reward": reward if reward is not None else 0.0,
        "metrics": {
            "tool_calls": len(turn.tool_calls),
            "tool_failures": sum(not call["ok"] for call in turn.tool_calls),
            "duration_s": turn.timings.get("total_s", 0.0),
            **{key: value for key, value in turn.usage.items() if value is not None},
        },
        "metadata": {
            "run_id": turn.run_id,
            "session_id": turn.session_id,
            "model": turn.model,
            "status": turn.status,
            "judged": reward is not None,
        },
    }


def _chat(turn: Turn, prompt: Prompt | None) -> tuple[list[Json], list[Json]]:
    """A turn as a model was shown it: messages and functions under the names that models see."""
    tools = list(prompt.tools) if prompt else []
    names = NameMap(
        [tool["name"] for tool in tools]
        + [call["function"]["name"] for message in turn.messages for call in message.get("tool_calls") or ()]
    )
    system: list[Json] = [{"role": "system", "content": prompt.system}] if prompt else []
    messages = [names.to_wire(message) for message in answered(turn.messages)]
    return system + messages, [function(tool, names) for tool in tools]
