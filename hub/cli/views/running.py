"""The hub as a process: how it is, where it serves, what the doctor found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hub.calls import Json
from hub.cli.views.servers import servers
from hub.cli.views.style import duration, facts, mark, plain, table

if TYPE_CHECKING:
    from rich.console import Console


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
