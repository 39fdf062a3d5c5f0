"""How answers look on a terminal.

Each view takes a console and an answer as the hub gave it. Tables have no vertical
lines and no fixed widths, so they stay readable at 80 columns, and in a pipe each
row is one line. Text that came from elsewhere is never read as markup.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hub.calls import Json

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

EPISODE_CHARS_MAX = 200
"""How much of an episode a table shows."""

_MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "error": ("✗", "red"), "off": ("–", "dim")}


def table(*columns: str | tuple[str, Mapping[str, Any]]) -> Table:
    """An empty table in the house style.

    Args:
        columns: Each a heading, or a heading with options of `rich.table.Table.add_column`.
    """
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold", padding=(0, 1))
    for column in columns:
        heading, options = (column, {}) if isinstance(column, str) else column
        made.add_column(heading, **{"overflow": "fold", **options})
    return made


def mark(state: str) -> str:
    """A coloured sign for a state: ok, warning, error or off."""
    sign, colour = _MARKS.get(state, ("·", "dim"))
    return f"[{colour}]{sign}[/]"


def plain(text: Any) -> str:
    """Text from elsewhere, so that rich does not read it as markup."""
    from rich.markup import escape

    return escape("" if text is None else str(text))


def first_line(text: Any) -> str:
    """The first sentence or line of a description."""
    line = str(text or "").strip().split("\n", 1)[0]
    sentence, stop, _ = line.partition(". ")
    return sentence + stop.strip()


def ago(moment: Any, now: float | None = None) -> str:
    """How long ago a moment was, shortly: `now`, `5 min`, `3 h`, `2 days`."""
    if not isinstance(moment, int | float):
        return ""
    return f"{duration((time.time() if now is None else now) - moment)} ago"


def duration(seconds: float) -> str:
    """A length of time, shortly."""
    for unit, length in (("days", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        if seconds >= 2 * length or (unit != "days" and seconds >= length):
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0) * 1000:.0f} ms"


# -- tools


def tools(console: Console, answer: Json) -> None:
    rows = table(("tool", {"style": "cyan", "no_wrap": True}), "what it does")
    for definition in answer["tools"]:
        rows.add_row(plain(definition["name"]), plain(first_line(definition.get("description"))))
    console.print(rows)
    _count(console, len(answer["tools"]), "tool")
    if answer.get("starting"):
        console.print(f"{mark('warning')} still starting: {plain(', '.join(answer['starting']))}")


def tools_found(console: Console, answer: Json) -> None:
    if not answer["tools"]:
        console.print("Nothing fits. All tools: hub tools list")
        return
    tools(console, answer)


def tool(console: Console, definition: Json) -> None:
    from hub.cli import tool_arguments

    console.print(f"[bold cyan]{plain(definition['name'])}[/]")
    if definition.get("description"):
        console.print(plain(definition["description"].strip()))
    hints = definition.get("annotations") or {}
    said = [
        word
        for key, word in (
            ("readOnlyHint", "read-only"),
            ("destructiveHint", "destructive"),
            ("idempotentHint", "idempotent"),
            ("openWorldHint", "reaches the outside world"),
        )
        if hints.get(key)
    ]
    if said:
        console.print(f"[dim]{', '.join(said)}[/]")
    schema = definition.get("inputSchema") or {}
    properties = schema.get("properties") or {}
    if properties:
        console.print()
        required = schema.get("required") or []
        rows = table(("argument", {"style": "cyan", "no_wrap": True}), "type", "", "meaning")
        for key, of in properties.items():
            of = of if isinstance(of, dict) else {}
            rows.add_row(
                plain(key),
                plain(tool_arguments.type_name(of, schema)),
                "required" if key in required else _default(of),
                plain(of.get("description", "")),
            )
        console.print(rows)
    words = tool_arguments.usage(definition["name"], schema).partition(" takes ")[2]
    words = "" if words == "no arguments" else " " + words
    console.print(f"\n[dim]hub tools call {plain(definition['name'])}{plain(words)}[/]")


def tool_result(console: Console, result: Json) -> None:
    """A tool's result: its text as it is, everything else by name and size."""
    blocks = result.get("content") or []
    for block in blocks:
        console.print(block_text(block), markup=False, soft_wrap=True)
    if not blocks and "structuredContent" in result:
        import json

        text = json.dumps(result["structuredContent"], ensure_ascii=False, indent=2)
        console.print(text, markup=False, soft_wrap=True)


def block_text(block: Any) -> str:
    """A content block as text."""
    if not isinstance(block, dict):
        return str(block)
    match block.get("type"):
        case "text":
            return str(block.get("text", ""))
        case "image" | "audio" as kind:
            size = len(str(block.get("data", ""))) * 3 // 4
            return f"[{kind}: {block.get('mimeType', 'unknown type')}, {size:,} bytes; --json prints it]"
        case "resource":
            resource = block.get("resource") or {}
            return str(resource.get("text") or f"[resource: {resource.get('uri')}; --json prints it]")
        case "resource_link":
            return f"[resource: {block.get('name', '')} {block.get('uri')}]"
    return f"[{block.get('type', 'unknown content')}; --json prints it]"


def text_of(result: Json) -> str:
    """All the text of a tool's result."""
    return "\n".join(block_text(block) for block in result.get("content") or ()) or "(no text)"


def progress_line(progress: Json) -> str:
    """One progress report as a line."""
    done, total, message = progress.get("progress"), progress.get("total"), progress.get("message")
    amount = (
        f"{done:g}/{total:g}"
        if isinstance(done, int | float) and isinstance(total, int | float)
        else f"{done}"
    )
    return f"  … {amount}{f'  {message}' if message else ''}"


# -- servers


def servers(console: Console, answer: Json) -> None:
    rows = table(
        "",
        ("server", {"style": "cyan", "no_wrap": True}),
        ("state", {"no_wrap": True}),
        ("tools", {"justify": "right"}),
        ("calls", {"justify": "right"}),
        "what it is, or what is wrong",
    )
    for server in answer["servers"]:
        rows.add_row(
            mark(_SERVER_MARKS.get(server["state"], "warning")),
            plain(server["name"]),
            plain(server["state"]),
            str(server["tools"]),
            _calls(server),
            plain(server["problem"] or _target(server)),
        )
    console.print(rows)
    for problem in answer["problems"]:
        console.print(f"{mark('warning')} {plain(problem)}", soft_wrap=True)


def _calls(server: Json) -> str:
    failures = server["failures"]
    return f"{server['calls']:,}{f', {failures:,} failed' if failures else ''}"


def _target(server: Json) -> str:
    """What is started or reached; of a program only its name."""
    target = str(server["target"])
    return target if "://" in target else target.replace("\\", "/").rsplit("/", 1)[-1]


_SERVER_MARKS = {"ready": "ok", "idle": "ok", "down": "error", "disabled": "off", "stopped": "off"}


# -- memory


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


def _id_column(console: Console) -> list[tuple[str, Mapping[str, Any]]]:
    """A column for ids where a row must be one line; on a terminal they stand below the text."""
    return [] if console.is_terminal else [("episode", {"no_wrap": True})]


def _with_id(console: Console, text: str, episode_id: str) -> list[str]:
    if console.is_terminal:
        return [f"{plain(text)}\n[dim]{plain(episode_id)}[/]"]
    return [plain(text), plain(episode_id)]


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
    _count(console, len(answer["forgotten"]), "episode", "forgotten")
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


def _episode_text(episode: Json) -> str:
    intent, experience, outcome = (str(episode.get(key) or "") for key in ("intent", "experience", "outcome"))
    text = experience if not intent or experience.startswith(intent) else f"{intent}: {experience}"
    text = " ".join(f"{text} → {outcome}".split() if outcome else text.split())
    return text if len(text) <= EPISODE_CHARS_MAX else text[: EPISODE_CHARS_MAX - 1] + "…"


def _scope(scope: Any) -> str:
    """A scope as a person knows it: a project by its folder's name."""
    kind, _, key = str(scope or "").partition(":")
    return f"{kind} {key.replace(chr(92), '/').rstrip('/').rsplit('/', 1)[-1]}" if key else kind


# -- turns and sessions


def turn(console: Console, answer: Json) -> None:
    """The reply; on a terminal as Markdown, in a pipe as it is."""
    output = answer.get("output") or ""
    if console.is_terminal:
        from rich.markdown import Markdown

        console.print(Markdown(output))
    else:
        console.print(output, markup=False, soft_wrap=True)


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


# -- anything else


def facts(console: Console, answer: Any) -> None:
    """An object as two columns, nested objects as dotted keys."""
    from rich.table import Table

    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim", no_wrap=True)
    rows.add_column(overflow="fold")
    for key, value in _flat(answer):
        rows.add_row(plain(key.replace("_", " ")), plain(value))
    console.print(rows)


def _flat(value: Any, prefix: str = "") -> Iterable[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(item, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        yield prefix, ", ".join(str(item) for item in value) if value else "none"
    elif isinstance(value, float):
        yield prefix, f"{value:,.2f}"
    else:
        yield prefix, "none" if value is None else str(value)


def _count(console: Console, count: int, noun: str, what: str = "") -> None:
    console.print(f"[dim]{count} {noun}{'' if count == 1 else 's'} {what}[/]".replace(" [/]", "[/]"))


def _default(of: Mapping[str, Any]) -> str:
    default = of.get("default")
    return "" if default is None else f"[dim]default {plain(default)}[/]"


# -- the hub itself


def status(console: Console, answer: Json) -> None:
    if not answer["running"]:
        console.print(
            f"No hub runs for {plain(answer['home'])}. Clients and commands start it when they need it."
        )
        return
    clients = answer["clients"]
    facts(
        console,
        {
            "hub": f"{answer['version']}, process {answer['pid']}, up {duration(answer['uptime_s'])}",
            "home": answer["home"],
            "clients": clients,
            "tools": answer["tools"],
            "model": answer["model"] or "none set",
        },
    )
    console.print()
    servers(console, answer)


def serving(console: Console, answer: Json) -> None:
    import json

    url = answer["url"]
    console.print(f"The hub serves [bold cyan]{plain(url)}[/]\n")
    facts(
        console,
        {
            "MCP, Streamable HTTP": answer["mcp"],
            "MCP, SSE for older clients": answer["sse"],
            "a turn of the agent": f"POST {url}/message",
            "health": f"{url}/health",
        },
    )
    console.print("\nFor a client's configuration:\n")
    console.print(json.dumps(answer["client_entry"], indent=2), markup=False, soft_wrap=True)
    if answer["auth"]:
        console.print(
            f"\n[dim]The key stands in {plain(answer['key_file'])}. Ctrl+C stops.[/]", soft_wrap=True
        )
    else:
        console.print(
            "\n[bold red]No key is asked for:[/] every program on this machine can use every tool. "
            "[dim]Ctrl+C stops.[/]"
        )


def stopped(console: Console, answer: Json) -> None:
    console.print("Stopped." if answer["stopped"] else "No hub was running.")


def server_test(console: Console, answer: Json) -> None:
    name = plain(answer["name"])
    if answer["ok"]:
        took = f" in {duration(answer['duration_s'])}" if "duration_s" in answer else ""
        console.print(f"{mark('ok')} {name} answers{took}, {answer['tools']} tools")
    else:
        console.print(f"{mark('error')} {name}: {plain(answer.get('problem'))}", soft_wrap=True)


def checks(console: Console, answer: Json) -> None:
    rows = table("", ("what", {"no_wrap": True}), "found")
    for check in answer["checks"]:
        found = plain(check["message"])
        if check.get("advice"):
            found += f"\n[dim]→ {plain(check['advice'])}[/]"
        rows.add_row(mark(check["state"]), plain(check["name"]), found)
    console.print(rows)
    count = sum(check["state"] != "ok" for check in answer["checks"])
    console.print("[green]All is well.[/]" if not count else f"[dim]{count} to look at[/]")


def skills(console: Console, answer: Json) -> None:
    rows = table(("skill", {"style": "cyan", "no_wrap": True}), "what it is for", ("from", {"no_wrap": True}))
    for skill in answer["skills"]:
        rows.add_row(
            plain(skill["name"]),
            plain(first_line(skill["description"])),
            "the hub" if skill["shipped"] else "you",
        )
    console.print(rows)
    _problems(console, answer)


def _problems(console: Console, answer: Json) -> None:
    for problem in answer["problems"]:
        console.print(f"{mark(problem['severity'])} {plain(problem['message'])}", soft_wrap=True)


def skill_created(console: Console, answer: Json) -> None:
    console.print(f"Wrote {plain(answer['folder'])}", soft_wrap=True)
    console.print("[dim]Change SKILL.md and tools.py, then: hub skills check[/]")


def skills_checked(console: Console, answer: Json) -> None:
    _problems(console, answer)
    if not answer["problems"]:
        count = len(answer["checked"])
        console.print(f"{mark('ok')} {count} skill{'' if count == 1 else 's'} checked, nothing wrong")


# -- clients


def clients(console: Console, answer: Json) -> None:
    rows = table("", ("client", {"style": "cyan", "no_wrap": True}), "", ("its file", {"style": "dim"}))
    for client in answer["clients"]:
        sign = mark("ok" if client["present"] else "off")
        rows.add_row(sign, plain(client["name"]), plain(client["title"]), plain(client["file"]))
    console.print(rows)
    console.print("[dim]hub install CLIENT adds the hub, hub import CLIENT takes its servers over[/]")


def installed(console: Console, answer: Json) -> None:
    if not answer["changed"]:
        console.print(
            f"{plain(answer['client'])} has the hub already ({plain(answer['file'])}).", soft_wrap=True
        )
        return
    _diff(console, answer)
    if not answer["dry_run"]:
        console.print(f"{mark('ok')} {plain(answer['client'])} has the hub: restart it to see the tools.")


def uninstalled(console: Console, answer: Json) -> None:
    if not answer["changed"]:
        console.print(f"{plain(answer['client'])} has no hub ({plain(answer['file'])}).", soft_wrap=True)
        return
    _diff(console, answer)
    if not answer["dry_run"]:
        console.print(f"{mark('ok')} {plain(answer['client'])} has no hub any more.")


def imported(console: Console, answer: Json) -> None:
    word = "would be added to" if answer["dry_run"] else "added to"
    for name in answer["added"]:
        console.print(f"{mark('ok')} {plain(name)} {word} {plain(answer['file'])}", soft_wrap=True)
    for name, why in answer["skipped"].items():
        console.print(f"{mark('off')} {plain(name)} {plain(why)}", soft_wrap=True)
    if not answer["added"] and not answer["skipped"]:
        console.print(f"There are no servers in {plain(answer['from'])}.", soft_wrap=True)


def _diff(console: Console, answer: Json) -> None:
    console.print(f"[bold]{plain(answer['file'])}[/]", soft_wrap=True)
    for line in answer["diff"].splitlines():
        style = "green" if line.startswith("+") else "red" if line.startswith("-") else "dim"
        console.print(f"[{style}]{plain(line)}[/]", soft_wrap=True)
    if answer["backup"]:
        console.print(f"[dim]what was there before: {plain(answer['backup'])}[/]", soft_wrap=True)
    if answer["dry_run"]:
        console.print("[dim]nothing was changed[/]")
