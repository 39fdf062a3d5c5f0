"""Changes reach whoever asked for them: of lists and of resources, in both eras on both sides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.matrix.conftest import NAMES, Scene
from tests.matrix.conversation import Era, Person, Talker
from tests.matrix.script import all_pages

pytestmark = pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")

TOOLS, PROMPTS, RESOURCES = (
    f"notifications/{kind}/list_changed" for kind in ("tools", "prompts", "resources")
)
GROWING = {"tools": TOOLS, "prompts": PROMPTS, "resources": RESOURCES, "resourceTemplates": RESOURCES}


@asynccontextmanager
async def listening(talker: Talker, *uris: str) -> AsyncIterator[None]:
    """Have the changes of all lists and of these resources announced."""
    if talker.era == "legacy":
        for uri in uris:
            await talker.client.subscribe_resource(uri)
        yield
        for uri in uris:
            await talker.client.unsubscribe_resource(uri)
        return
    async with talker.client.listen(
        tools_list_changed=True,
        prompts_list_changed=True,
        resources_list_changed=True,
        resource_subscriptions=uris,
    ):
        yield


async def listed(talker: Talker, key: str) -> set[str]:
    """The names on a list, as the client sees it now."""
    fetch = {
        "tools": talker.client.list_tools,
        "prompts": talker.client.list_prompts,
        "resources": talker.client.list_resources,
        "resourceTemplates": talker.client.list_resource_templates,
    }[key]
    brought = await talker.observe(all_pages(fetch))
    return {item["name"] for item in brought.answers[0]["result"][key]}


@pytest.mark.parametrize("server", NAMES)
@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_a_list_that_grows_is_announced_and_then_reads_longer(scene: Scene, era: Era, server: str) -> None:
    async def talk() -> None:
        async with scene.through_hub("http", era, server, Person()) as talker, listening(talker):
            await talker.call("echo", text="the conversation with the server is settled")
            for key, announcement in GROWING.items():
                mark = talker.mark
                result = await talker.call("grow", list=key)
                await talker.wait_for_change(announcement, since=mark)
                added = result.content[0].text  # type: ignore[union-attr]
                assert added in await listed(talker, key)

    asyncio.run(talk())


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_what_a_server_announces_is_passed_on_even_if_its_list_reads_the_same(scene: Scene, era: Era) -> None:
    async def talk() -> None:
        async with scene.through_hub("http", era, "http_legacy", Person()) as talker, listening(talker):
            mark = talker.mark
            await talker.call("grow", list="tools", really=False)
            await talker.wait_for_change(TOOLS, since=mark)

    asyncio.run(talk())


@pytest.mark.parametrize("server", NAMES)
@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_an_update_reaches_who_subscribed_and_nobody_else(scene: Scene, era: Era, server: str) -> None:
    async def talk() -> None:
        async with (
            scene.through_hub("http", era, server, Person()) as talker,
            scene.through_hub("http", era, server, Person()) as other,
        ):
            watched, unwatched = talker.uri("watched"), talker.uri("text")
            async with listening(talker, watched), listening(other):
                mark = talker.mark
                await talker.call("touch", uri=unwatched)
                await talker.call("touch", uri=watched)
                await talker.wait_for_change(watched, since=mark)
                assert unwatched not in talker.changes(since=mark)
                assert not {watched, unwatched} & other.changes()
            async with listening(talker):
                mark = talker.mark
                await talker.call("touch", uri=watched)
                await talker.call("grow", list="prompts")
                await talker.wait_for_change(PROMPTS, since=mark)
                assert watched not in talker.changes(since=mark)

    asyncio.run(talk())
