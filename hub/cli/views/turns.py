"""Turns of the agent: the reply, the steps on the way, and conversations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hub.calls import Json
from hub.cli.views.style import ago, duration, first_line, plain, table
from hub.cli.views.tools import progress_line

if TYPE_CHECKING:
    from rich.console import Console


def turn(console: Console, answer: Json) -> None:
    """The reply; on a terminal as Markdown, in a pipe and where it is JSON as it is."""
    output = answer.get("output") or ""
    if console.is_terminal and "structured" not in answer:
        from rich.markdown import Markdown

        console.print(Markdown(output))
    else:
        console.print(output, markup=False, soft_wrap=True)


_GIVEN_WITH_LESS = {
    "rounds_exhausted": "every round of tools was used (agent.rounds_max, --rounds)",
    "time_exhausted": "time was nearly up (agent.turn_deadline_s, --seconds)",
    "tokens_exhausted": "the budget of tokens was used up (agent.turn_tokens_max, --tokens)",
    "cost_exhausted": "the budget was used up (agent.turn_cost_usd_max, --cost)",
    "going_in_circles": "its calls led nowhere",
}


def remarks(answer: Json) -> list[str]:
    """What a person should know beside the reply: that it is short of something, and what went wrong."""
    status = answer.get("status", "completed")
    if status == "cut":
        said = ["the reply is cut: the model reached its own length limit (agent.tokens_max)"]
    elif status == "completed":
        said = []
    else:
        said = [f"it answered with what it had: {_GIVEN_WITH_LESS.get(status, status)}"]
    return said + list(answer.get("warnings") or ())


def event_line(event: Json) -> str | None:
    """A step of a turn as a line; None for one that a person need not see."""
    match event.get("type"):
        case "recall":
            count = len(event.get("episode_ids") or ())
            if event.get("problem"):
                return f"  ! nothing recalled: {event['problem']}"
            return f"  · recalled {count} episode{'' if count == 1 else 's'}" if count else None
        case "tool.started":
            arguments = ", ".join(
                f"{key}={_short(value)}" for key, value in (event.get("arguments") or {}).items()
            )
            return f"  → {event['name']}({arguments})"
        case "tool.progress":
            return progress_line(event)
        case "tool.finished":
            sign = "✓" if event.get("ok") else "✗"
            problem = "" if event.get("ok") else f": {_short(event.get('preview'), 120)}"
            return f"  {sign} {event['name']} ({duration(event['duration_s'])}){problem}"
        case "model.restarted":
            return f"  · asking the model again: {event.get('reason')}"
    return None


def _short(value: Any, chars_max: int = 40) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= chars_max else text[: chars_max - 1] + "…"


def sessions(console: Console, answer: Json) -> None:
    if not answer["sessions"]:
        console.print('No conversations yet. Try: hub run "…"')
        return
    rows = table(
        ("session", {"style": "cyan"}),
        ("turns", {"justify": "right"}),
        ("last", {"no_wrap": True}),
        "begins with",
    )
    for session in answer["sessions"]:
        rows.add_row(
            plain(session["session_id"]),
            str(session.get("turns", "")),
            ago(session.get("updated_at")),
            plain(first_line(session.get("title"))),
        )
    console.print(rows)


def session(console: Console, answer: Json) -> None:
    for one in answer["turns"]:
        console.print(f"[bold]> {plain(one.get('input', ''))}[/]", soft_wrap=True)
        for call in one.get("tool_calls") or ():
            console.print(f"[dim]  {'✓' if call.get('ok', True) else '✗'} {plain(call.get('name'))}[/]")
        console.print(plain(one.get("output") or f"({one.get('status')})"), soft_wrap=True)
        console.print()


def session_deleted(console: Console, answer: Json) -> None:
    console.print(f"Deleted the session {plain(answer['session_id'])}.", soft_wrap=True)
