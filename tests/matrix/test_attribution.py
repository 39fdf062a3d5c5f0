"""Nobody gets another's messages: what a server pushes is attributed, or refused, and never guessed."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import mcp_types as types
import pytest
from mcp import MCPError

from tests.matrix.conftest import NAMES, Scene
from tests.matrix.conversation import DEADLINE_S, Era, Person, Talker

pytestmark = pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")

ERAS: tuple[Era, ...] = ("legacy", "modern")
eras = pytest.mark.parametrize("era", ERAS)
servers = pytest.mark.parametrize("server", NAMES)


class Thinking(Person):
    """Answers when it is told to.

    Attributes:
        seen: Set once it has been asked.
        ready: Set when it may answer.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen = asyncio.Event()
        self.ready = asyncio.Event()

    async def elicit(self, context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        self.seen.set()
        async with asyncio.timeout(DEADLINE_S):
            await self.ready.wait()
        return await super().elicit(context, params)


def answered(result: types.CallToolResult) -> Any:
    """What a form was answered with, as the server saw it."""
    return json.loads(result.content[0].text)["form"]["content"]["name"]  # type: ignore[union-attr]


async def ask(talker: Talker, message: str) -> types.CallToolResult | MCPError:
    try:
        return await talker.call("ask", what=["form"], message=message)
    except MCPError as error:
        return error


@pytest.mark.parametrize("server", ["stdio_legacy", "stdio_both", "http_legacy", "http_modern"])
@pytest.mark.parametrize("second_era", ERAS)
@pytest.mark.parametrize("first_era", ERAS)
def test_two_clients_at_once_are_each_asked_their_own_questions_or_none(
    scene: Scene, first_era: Era, second_era: Era, server: str
) -> None:
    async def talk() -> None:
        first, second = Thinking(), Thinking()
        async with (
            scene.through_hub("http", first_era, server, first) as one,
            scene.through_hub("http", second_era, server, second) as two,
        ):
            of_one = asyncio.ensure_future(ask(one, "one"))
            async with asyncio.timeout(DEADLINE_S):
                await first.seen.wait()
            second.ready.set()
            of_two = await ask(two, "two")
            first.ready.set()
            result = await of_one
            assert isinstance(result, types.CallToolResult), result
            assert answered(result) == "one"
            assert first.asked == ["one"]
            if isinstance(of_two, MCPError) or of_two.is_error:
                # Two calls on the pipes of one legacy server: nothing on the wire says whose question it is.
                assert "stdio" in server
                assert second.asked == []
            else:
                assert answered(of_two) == "two"
                assert second.asked == ["two"]

    asyncio.run(talk())


@eras
@servers
def test_a_client_that_declared_nothing_is_asked_nothing(scene: Scene, era: Era, server: str) -> None:
    async def talk() -> None:
        async with scene.through_hub("http", era, server, None) as talker:
            for what in ("form", "url", "sample", "roots"):
                brought = await talker.observe(talker.call("ask", what=[what], message="?"))
                # A modern server that asks regardless gets the same through the hub as without it.
                assert not brought.asked or (era == "modern" and "legacy" not in server), brought
                assert not any("structuredContent" in answer.get("result", {}) for answer in brought.answers)

    asyncio.run(talk())


@pytest.mark.parametrize("transport", ["stdio", "http"])
@pytest.mark.parametrize("server_era", ["modern", "both"])
def test_a_modern_server_is_told_what_the_client_declared_and_no_more(
    scene: Scene, transport: str, server_era: str
) -> None:
    async def declared(era: Era, person: Person | None) -> str:
        async with scene.through_hub("http", era, f"{transport}_{server_era}", person) as talker:
            result = await talker.call("declared")
            return str(result.content[0].text)  # type: ignore[union-attr]

    assert asyncio.run(declared("modern", None)) == "nothing"
    assert asyncio.run(declared("modern", Person())) == "elicitation roots sampling"
    if server_era == "modern":
        assert asyncio.run(declared("legacy", None)) == "nothing"
