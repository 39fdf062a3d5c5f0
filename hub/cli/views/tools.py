"""Tools: lists of them, one in full, and what a call gave."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hub.calls import Json
from hub.cli.views.style import count_line, first_line, mark, plain, table

if TYPE_CHECKING:
    from rich.console import Console


def tools(console: Console, answer: Json) -> None:
    rows = table(("tool", {"style": "cyan", "no_wrap": True}), "what it does")
    changed = frozenset(answer.get("changed", ()))
    for definition in answer["tools"]:
        sign = f"{mark('warning')} [yellow]changed[/] " if definition["name"] in changed else ""
        rows.add_row(plain(definition["name"]), sign + plain(first_line(definition.get("description"))))
    console.print(rows)
    count_line(console, len(answer["tools"]), "tool")
    if changed:
        console.print(
            f"{mark('warning')} {len(changed)} say something else than when they were first seen: "
            "hub servers approve NAME"
        )
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


def _default(of: Mapping[str, Any]) -> str:
    default = of.get("default")
    return "" if default is None else f"[dim]default {plain(default)}[/]"
