"""Recorded turns: lists of them, and one with all that happened in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from hub.cli.views.style import ago, count_line, duration, facts, mark, plain, table

if TYPE_CHECKING:
    from rich.console import Console

    from hub.calls import Json

_TEXT_CHARS_MAX = 160
_RESULT_CHARS_MAX = 400
_RESULT_LINES_MAX = 6
_TOOLS_MAX = 12
_SESSION_COLUMNS_MAX = 16
_RUN_ID_CHARS = 16
"""How much of a run's id a terminal shows: enough to name it."""
_SIGNS = {"completed": "ok", "failed": "error", "cancelled": "off", "interrupted": "error"}


def turns(console: Console, answer: Json) -> None:
    if not answer["turns"]:
        console.print('No such turn is on record. Turns are made with: hub run "…"', soft_wrap=True)
        return
    _table(console, answer["turns"], "message", lambda turn: plain(_short(turn["input"])))
    console.print("[dim]More of one: hub traces show RUN[/]", soft_wrap=True)


def found(console: Console, answer: Json) -> None:
    if not answer["turns"]:
        console.print("Nothing like that was said in any turn on record.")
        return
    _table(
        console,
        answer["turns"],
        "found",
        lambda turn: f"[dim]{plain(turn['who'])}:[/] {plain(turn['excerpt'])}",
    )
    count_line(console, len(answer["turns"]), "turn")


def exported(console: Console, answer: Json) -> None:
    count_line(console, answer["turns"], "turn", f"written to {plain(answer['file'])}")


def turn(console: Console, answer: Json) -> None:
    """One turn, long results cut."""
    _turn(console, answer, full=False)


def full_turn(console: Console, answer: Json) -> None:
    """One turn with nothing cut, the system prompt and the tools' descriptions included."""
    _turn(console, answer, full=True)


def _table(console: Console, listed: list[Json], heading: str, text: Callable[[Json], str]) -> None:
    """Turns, a row each; the run stands below the text where a row may have several lines."""
    in_pipe = not console.is_terminal
    rows = table(
        ("when", {"no_wrap": True}),
        ("status", {"no_wrap": True}) if in_pipe else "",
        ("session", {"style": "cyan", "max_width": None if in_pipe else _SESSION_COLUMNS_MAX}),
        ("took", {"justify": "right", "no_wrap": True}),
        ("calls", {"justify": "right", "no_wrap": True}),
        heading,
        *([("run", {"no_wrap": True})] if in_pipe else []),
    )
    for one in listed:
        run_id = one["run_id"] if in_pipe else one["run_id"][:_RUN_ID_CHARS]
        cells = [text(one), plain(run_id)]
        rows.add_row(
            ago(one["started_at"]),
            plain(one["status"]) if in_pipe else _sign(one),
            plain(one["session_id"]),
            duration(one["ended_at"] - one["started_at"]),
            str(len(one["tool_calls"])),
            *(cells if in_pipe else [f"{cells[0]}\n[dim]{cells[1]}[/]"]),
        )
    console.print(rows)


def _turn(console: Console, answer: Json, *, full: bool) -> None:
    facts(console, _about(answer, full=full))
    if full and answer["prompt"]:
        _heading(console, "system prompt")
        _paragraph(console, plain(answer["prompt"]["system"]))
        _heading(console, "tools offered")
        for tool in answer["prompt"]["tools"]:
            _paragraph(console, f"[cyan]{plain(tool['name'])}[/]  {plain(tool.get('description'))}")
    _heading(console, "what was said and done")
    made = {call.get("id"): call for call in answer["tool_calls"]}
    for message in answer["messages"]:
        _message(console, message, made, full=full)
    if answer["error"]:
        _paragraph(console, f"{mark('error')} {plain(answer['error'])}")


def _about(answer: Json, *, full: bool) -> dict[str, Any]:
    """The facts of a turn, one line for each."""
    timings, usage, caller = answer["timings"] or {}, answer["usage"] or {}, answer["caller"]
    spent = {"model": "model_s", "tools": "tools_s", "memory": "recall_s"}
    parts = [f"{name} {duration(timings[key])}" for name, key in spent.items() if timings.get(key)]
    whole = duration(answer["ended_at"] - answer["started_at"])
    began = datetime.fromtimestamp(answer["started_at"]).astimezone()
    about: dict[str, Any] = {
        "run": answer["run_id"],
        "session": f"{answer['session_id']}, turn {answer['seq']}",
        "status": answer["status"],
        "when": f"{began:%Y-%m-%d %H:%M:%S %Z} ({ago(answer['started_at'])})",
        "asked by": f"{caller.get('name')} ({caller.get('face')})",
        "project": caller.get("project"),
        "model": answer["model"],
        "took": f"{whole} ({', '.join(parts)})" if parts else whole,
        "used": _used(usage),
        "recalled": _recalled(answer),
        "tools offered": _offered(answer, full=full),
        "reward": None if answer["reward"] is None else f"{answer['reward']:.2f}",
    }
    return {key: value for key, value in about.items() if value is not None}


def _used(usage: Json) -> str | None:
    if not usage:
        return None
    cached = f" ({usage['cached_tokens']:,} of them cached)" if usage.get("cached_tokens") else ""
    cost = f", ${usage['cost_usd']:.4f}" if usage.get("cost_usd") else ""
    read, written = usage.get("input_tokens", 0), usage.get("output_tokens", 0)
    return f"{read:,} tokens read{cached}, {written:,} written{cost}"


def _recalled(answer: Json) -> str | None:
    if not answer["recall_id"]:
        return None
    lines = [
        f"{one['episode_id']}  {_short(one['intent'] or '(forgotten since)')}" for one in answer["recalled"]
    ]
    return "\n".join([f"{answer['recall_id']}{'' if lines else ', nothing'}", *lines])


def _offered(answer: Json, *, full: bool) -> str | None:
    if not answer["prompt"]:
        return None
    names = [tool["name"] for tool in answer["prompt"]["tools"]]
    shown = names if full else names[:_TOOLS_MAX]
    more = f", and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return f"{len(names)}: {', '.join(shown)}{more}" if names else "none"


def _message(console: Console, message: Json, made: dict[str, Json], *, full: bool) -> None:
    """One message: what the user said, what the model said and called, what came back."""
    content = message.get("content")
    text = content if isinstance(content, str) else "" if content is None else json.dumps(content)
    match message["role"]:
        case "user":
            _paragraph(console, f"[bold]> {plain(text)}[/]")
        case "tool":
            call = made.get(message.get("tool_call_id", ""), {})
            sign = "✓" if call.get("ok", True) else "✗"
            took = duration(call["duration_s"]) if "duration_s" in call else ""
            _indented(console, f"[dim]{plain(call.get('name', ''))} {took}[/]", sign)
            shown = text if full else _clipped(text)
            _indented(console, f"[dim]{plain(shown)}[/]")
        case _:
            if text:
                _paragraph(console, plain(text))
            for request in message.get("tool_calls") or ():
                arguments = request["function"]["arguments"]
                shown = arguments if full else _short(arguments)
                _indented(console, f"[cyan]{plain(request['function']['name'])}[/] {plain(shown)}", "→")


def _indented(console: Console, text: str, sign: str = " ") -> None:
    """A text behind a sign, whose further lines stand where its first begins."""
    from rich.table import Table

    rows = Table.grid(padding=(0, 1))
    rows.add_column(width=3, justify="right", no_wrap=True)
    rows.add_column(overflow="fold")
    rows.add_row(sign, text)
    console.print(rows)


def _paragraph(console: Console, text: str) -> None:
    """A text that fits the terminal, and keeps its own lines in a pipe."""
    console.print(text, soft_wrap=not console.is_terminal)


def _excerpt(one: Json) -> str:
    return f"[dim]{plain(one['who'])}:[/] {plain(one['excerpt'])}"


def _heading(console: Console, text: str) -> None:
    console.print()
    if console.is_terminal:
        console.rule(f"[dim]{text}[/]", align="left", style="dim")
    else:
        console.print(f"{text}:")


def _sign(one: Json) -> str:
    return mark(_SIGNS.get(one["status"], "warning"))


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _TEXT_CHARS_MAX else text[: _TEXT_CHARS_MAX - 1] + "…"


def _clipped(text: str) -> str:
    """The beginning of a long result, and how much is left out."""
    lines = text[:_RESULT_CHARS_MAX].splitlines()[:_RESULT_LINES_MAX]
    shown = "\n".join(lines)
    left = len(text) - len(shown)
    return f"{shown}\n[{left:,} more characters: --full]" if left > 1 else shown
