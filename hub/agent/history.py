"""A conversation that a client kept itself, as the turns it would have been here."""

from __future__ import annotations

from collections.abc import Sequence

from hub.calls import Json
from hub.sessions import Turn


def turns_of(session_id: str, history: Sequence[Json]) -> list[Turn]:
    """Messages as turns, a new one with each message of the user; they are on no record.

    Args:
        session_id: The session that they stand before.
        history: Messages of `user` and `assistant` with text, oldest first.
    """
    grouped: list[list[Json]] = []
    for message in history:
        if message["role"] == "user" or not grouped:
            grouped.append([])
        grouped[-1].append({"role": message["role"], "content": message["content"]})
    return [
        Turn(
            run_id="",
            session_id=session_id,
            started_at=0.0,
            ended_at=0.0,
            status="completed",
            caller={},
            input=str(messages[0]["content"]),
            output=str(messages[-1]["content"]),
            messages=messages,
        )
        for messages in grouped
    ]
