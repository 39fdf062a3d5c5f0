"""What is remembered: recalls, episodes, values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hub.calls import Json
from hub.cli.views.style import ago, count_line, facts, mark, plain, table

if TYPE_CHECKING:
    from rich.console import Console


EPISODE_CHARS_MAX = 200
"""How much of an episode a table shows."""


def recall(console: Console, answer: Json) -> None:
    hits = answer["hits"]
    if not hits:
        console.print("Nothing is remembered about that.")
        return
    rows = table(
        ("score", {"justify": "right", "no_wrap": True}),
        ("q", {"justify": "right", "no_wrap": True}),
        "what happened",
        *_id_column(console),
    )
    for hit in hits:
        episode = hit["episode"]
        cells = _with_id(console, _episode_text(episode), episode["episode_id"])
        rows.add_row(f"{hit['score']:.2f}", f"{episode['q_value']:.2f}", *cells)
    console.print(rows)
    console.print(f"[dim]Did it help?  hub memory feedback {plain(answer['recall_id'])} 1[/]")


def episodes(console: Console, answer: Json) -> None:
    listed = answer["episodes"]
    if not listed:
        console.print('Nothing is remembered yet. Try: hub memory store "…"')
        return
    rows = table(
        ("when", {"no_wrap": True}),
        ("q", {"justify": "right", "no_wrap": True}),
        "scope",
        "what happened",
        *_id_column(console),
    )
    for episode in listed:
        rows.add_row(
            ago(episode["created_at"]),
            f"{episode['q_value']:.2f}",
            plain(_scope(episode["scope"])),
            *_with_id(console, _episode_text(episode), episode["episode_id"]),
        )
    console.print(rows)


def stored(console: Console, answer: Json) -> None:
    scope = _scope(answer.get("scope"))
    console.print(f"Stored [cyan]{plain(answer['episode_id'])}[/]{f' in {plain(scope)}' if scope else ''}.")


def feedback(console: Console, answer: Json) -> None:
    console.print("Noted.")
    changed = answer.get("changed") or []
    if changed:
        rows = table(
            ("episode", {"style": "dim"}), ("q before", {"justify": "right"}), ("q now", {"justify": "right"})
        )
        for row in changed:
            rows.add_row(plain(row["episode_id"]), f"{row['before']:.2f}", f"{row['after']:.2f}")
        console.print(rows)


def forgotten(console: Console, answer: Json) -> None:
    count_line(console, len(answer["forgotten"]), "episode", "forgotten")
    for episode_id in answer["unknown"]:
        console.print(f"{mark('warning')} there is no episode {plain(episode_id)}")


def memory_stats(console: Console, answer: Json) -> None:
    scopes, judgements = answer["episodes"], answer["judgements"]
    count = sum(scopes.values())
    search = f"{answer['embedder']}, index {answer['index']}" if answer["embedder"] else "by words alone"
    judged = f"{answer['judged']} episodes, by {sum(judgements.values())} judgements"
    if answer["value_mean"] is not None:
        judged += f", mean value {answer['value_mean']:.2f}"
    facts(console, {"episodes": f"{count:,}", "searched with": search, "judged": judged})
    if answer["degraded"]:
        console.print(f"{mark('warning')} {plain(answer['degraded'])}", soft_wrap=True)
    if scopes:
        rows = table("scope", ("episodes", {"justify": "right"}))
        for scope, number in sorted(scopes.items(), key=lambda item: -item[1]):
            rows.add_row(plain(scope), f"{number:,}")
        console.print()
        console.print(rows)
    if answer["most_helpful"]:
        rows = table("most helpful", ("q", {"justify": "right"}))
        for episode_id, q_value in answer["most_helpful"]:
            rows.add_row(plain(episode_id), f"{q_value:.2f}")
        console.print()
        console.print(rows)


def _id_column(console: Console) -> list[tuple[str, Mapping[str, Any]]]:
    """A column for ids where a row must be one line; on a terminal they stand below the text."""
    return [] if console.is_terminal else [("episode", {"no_wrap": True})]


def _with_id(console: Console, text: str, episode_id: str) -> list[str]:
    if console.is_terminal:
        return [f"{plain(text)}\n[dim]{plain(episode_id)}[/]"]
    return [plain(text), plain(episode_id)]


def _episode_text(episode: Json) -> str:
    intent, experience, outcome = (str(episode.get(key) or "") for key in ("intent", "experience", "outcome"))
    text = experience if not intent or experience.startswith(intent) else f"{intent}: {experience}"
    text = " ".join(f"{text} → {outcome}".split() if outcome else text.split())
    return text if len(text) <= EPISODE_CHARS_MAX else text[: EPISODE_CHARS_MAX - 1] + "…"


def _scope(scope: Any) -> str:
    """A scope as a person knows it: a project by its folder's name."""
    kind, _, key = str(scope or "").partition(":")
    return f"{kind} {key.replace(chr(92), '/').rstrip('/').rsplit('/', 1)[-1]}" if key else kind
