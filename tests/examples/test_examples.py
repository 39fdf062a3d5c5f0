"""The example servers, as real processes behind the official client."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from mcp import Client, StdioServerParameters

DEADLINE_S = 30.0


def run(module: str, *args: str, scene: Callable[[Client], Awaitable[None]]) -> None:
    """Play a scene with a server that runs as its own process."""

    async def play() -> None:
        parameters = StdioServerParameters(
            command=sys.executable, args=["-m", f"hub.examples.{module}", *args]
        )
        async with asyncio.timeout(DEADLINE_S), Client(parameters) as client:
            await scene(client)

    asyncio.run(play())


async def call(client: Client, name: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(name, arguments)
    assert not result.is_error, result.content
    assert isinstance(result.structured_content, dict)
    return result.structured_content


async def failure(client: Client, name: str, **arguments: Any) -> str:
    result = await client.call_tool(name, arguments)
    assert result.is_error
    return " ".join(getattr(block, "text", "") for block in result.content)


def test_notes_are_added_found_listed_and_deleted_and_outlive_the_server(tmp_path: Path) -> None:
    file = tmp_path / "kept" / "notes.json"

    async def first(client: Client) -> None:
        milk = await call(client, "add", text="Buy milk and bread", tags=["shopping"])
        await call(client, "add", text="The bread recipe needs rye", tags=["recipes"])
        assert milk["id"] == 1
        found = await call(client, "search", query="rye bread")
        assert [note["id"] for note in found["notes"]] == [2, 1]

    async def second(client: Client) -> None:
        listed = await call(client, "list", tag="shopping")
        assert [note["text"] for note in listed["notes"]] == ["Buy milk and bread"]
        assert await call(client, "delete", id=1) == {"id": 1, "deleted": True}
        assert await call(client, "delete", id=1) == {"id": 1, "deleted": False}
        assert (await call(client, "list"))["total"] == 1

    run("notes", "--file", str(file), scene=first)
    run("notes", "--file", str(file), scene=second)
    assert [note["id"] for note in json.loads(file.read_text())] == [2]


def test_an_import_reports_progress_and_skips_what_is_known_already(tmp_path: Path) -> None:
    source = tmp_path / "texts"
    source.mkdir()
    (source / "a.md").write_text("# First")
    (source / "b.txt").write_text("Second")
    (source / "c.md").write_bytes(b"\xff\xfe\x00broken")
    (source / "d.png").write_bytes(b"no note")
    steps: list[str] = []

    async def report(progress: float, total: float | None, message: str | None) -> None:
        steps.append(f"{progress:g}/{total:g} {message}")

    async def scene(client: Client) -> None:
        await call(client, "add", text="Second")
        result = await client.call_tool("import_folder", {"folder": str(source)}, progress_callback=report)
        assert result.structured_content == {"added": [2], "skipped": ["b.txt", "c.md"]}

    run("notes", "--file", str(tmp_path / "notes.json"), scene=scene)
    assert steps[0] == "0/3 a.md"
    assert steps[-1] == "3/3 done"


def test_a_damaged_notes_file_is_named_and_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "notes.json"
    file.write_text("{ not notes")

    async def scene(client: Client) -> None:
        assert str(file) in await failure(client, "list")
        assert str(file) in await failure(client, "add", text="anything")

    run("notes", "--file", str(file), scene=scene)
    assert file.read_text() == "{ not notes"


def test_calls_at_the_same_time_lose_no_note(tmp_path: Path) -> None:
    async def scene(client: Client) -> None:
        added = await asyncio.gather(*(call(client, "add", text=f"note {n}") for n in range(20)))
        assert sorted(note["id"] for note in added) == list(range(1, 21))
        assert (await call(client, "list"))["total"] == 20

    run("notes", "--file", str(tmp_path / "notes.json"), scene=scene)


def test_a_note_is_a_resource_and_a_review_is_a_prompt(tmp_path: Path) -> None:
    async def scene(client: Client) -> None:
        await call(client, "add", text="*Remember* me")
        read = await client.read_resource("notes://1")
        assert [getattr(content, "text", None) for content in read.contents] == ["*Remember* me"]
        prompt = await client.get_prompt("review", {"tag": "work"})
        assert "'work'" in getattr(prompt.messages[0].content, "text", "")

    run("notes", "--file", str(tmp_path / "notes.json"), scene=scene)


def test_the_almanac_converts_shifts_counts_and_tells_the_time_elsewhere() -> None:
    async def scene(client: Client) -> None:
        assert (await call(client, "convert", value=26.2, from_unit="mi", to_unit="km"))[
            "value"
        ] == 42.1648128
        assert (await call(client, "convert", value=212, from_unit="F", to_unit="C"))["value"] == 100
        leap = await call(client, "shift_date", day="2028-02-29", years=1)
        assert leap == {
            "date": "2029-02-28",
            "weekday": "Wednesday",
            "iso_week": "2029-W09",
            "day_of_year": 59,
        }
        span = await call(client, "days_between", start="2026-11-20", end="2026-11-30")
        assert span == {"days": 10, "weeks": 1.43, "workdays": 6}
        told = await call(
            client,
            "world_time",
            moment="2026-07-01T09:00",
            from_zone="Europe/Berlin",
            to_zones=["Asia/Tokyo"],
        )
        assert told["times"][0]["time"] == "2026-07-01T16:00:00+09:00"

    run("almanac", scene=scene)


def test_the_almanac_says_what_is_wrong_with_a_question() -> None:
    async def scene(client: Client) -> None:
        assert "measures" in await failure(client, "convert", value=1, from_unit="kg", to_unit="m")
        assert "'GiB'" in await failure(client, "convert", value=1, from_unit="gib", to_unit="B")
        assert "absolute zero" in await failure(client, "convert", value=-1, from_unit="K", to_unit="C")
        assert "Europe/Berlin" in await failure(
            client, "world_time", moment="2026-07-01T09:00", to_zones=["Berlin"]
        )
        assert "9999" in await failure(client, "shift_date", day="9999-12-31", days=1)

    run("almanac", scene=scene)


def test_every_example_tool_says_truthfully_what_it_may_do(tmp_path: Path) -> None:
    async def scene(client: Client) -> None:
        tools = (await client.list_tools()).tools
        for tool in tools:
            assert tool.annotations is not None, tool.name
            assert tool.annotations.read_only_hint is not None, tool.name
            assert tool.annotations.open_world_hint is False, tool.name
            assert tool.output_schema is not None, tool.name
            assert tool.description, tool.name
        writing = {tool.name for tool in tools if tool.annotations and not tool.annotations.read_only_hint}
        assert writing <= {"add", "delete", "import_folder"}

    run("notes", "--file", str(tmp_path / "notes.json"), scene=scene)
    run("almanac", scene=scene)
