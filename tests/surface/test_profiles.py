"""What a client sees and may call: everything, its profile's tools, or a way to search for the rest."""

from __future__ import annotations

import pytest

from hub.surface import Surface
from tests.hub.running import Client, Hubs, Refused
from tests.surface.conftest import Attach


def names(client: Client, server: str | None = None) -> set[str]:
    return {name for name in client.tools() if server is None or name.startswith(f"{server}.")}


def found(client: Client, query: str) -> set[str]:
    result = client.call("tools.search", query=query, limit=50)
    return {tool["name"] for tool in result["structuredContent"]["tools"]}


def test_without_a_profile_everything_is_listed_but_the_call_by_name(attach: Attach) -> None:
    client = attach()
    assert {"files.echo", "notes.echo", "files.extra_0009", "hub.status", "tools.search"} <= names(client)
    assert "tools.call" not in names(client)


def test_a_profile_lists_what_it_allows_and_not_what_it_denies(attach: Attach) -> None:
    client = attach("reader")
    assert {"files.echo", "hub.status", "tools.search"} <= names(client)
    assert not names(client, "notes")
    assert not any(name.startswith("files.extra_") or name == "files.big" for name in names(client))


def test_what_a_profile_denies_cannot_be_called_by_any_name(attach: Attach) -> None:
    client = attach("reader")
    for name in ("notes.echo", "mcp__notes__echo", "files.big", "files.extra_0001"):
        with pytest.raises(Refused, match="profile"):
            client.call(name, text="hi", bytes=1)
    assert client.text("files.echo", text="hi") == "hi"


@pytest.mark.parametrize("profile", ["reader", "all-but-files", "one-server"])
def test_no_tool_of_the_hub_leads_around_a_profile(attach: Attach, profile: str) -> None:
    client = attach(profile)
    forbidden = "notes.echo" if profile == "reader" else "files.echo"
    result = client.call("tools.call", name=forbidden, arguments={"text": "hi"})
    assert result["isError"]
    assert "is not part of this profile" in result["content"][0]["text"]
    if profile != "one-server":
        assert forbidden not in found(client, "return the text echo")


def test_prompts_belong_to_profiles_too(attach: Attach) -> None:
    everybody, client = attach(), attach("all-but-files")
    assert [prompt["name"] for prompt in everybody.request("prompts/list")["prompts"]] == ["letters.greet"]
    assert everybody.request("prompts/get", {"name": "letters.greet"}) == {"messages": []}
    assert client.request("prompts/list")["prompts"] == []
    with pytest.raises(Refused, match="Unknown prompt"):
        client.request("prompts/get", {"name": "letters.greet"})


def test_a_profile_has_its_own_style_of_names(attach: Attach) -> None:
    client = attach("bare")
    # Other servers have an `echo` as well, so that a suffix tells them apart.
    (name,) = client.tools()
    assert name.startswith("echo")
    assert client.text(name, text="hi") == "hi"


def test_in_search_mode_the_hubs_own_and_the_pinned_tools_are_listed(attach: Attach) -> None:
    client = attach("search")
    assert names(client, "files") == {"files.extra_0007"}
    assert names(client, "notes") == {"notes.echo"}
    assert {"hub.status", "tools.search", "tools.call", "memory.recall"} <= names(client)
    definition = next(
        tool
        for tool in client.call("tools.search", query="echo text")["structuredContent"]["tools"]
        if tool["name"] == "files.echo"
    )
    assert definition["inputSchema"]["properties"]["text"] == {"type": "string"}
    result = client.call("tools.call", name="files.echo", arguments={"text": "hi"})
    assert result["content"][0]["text"] == "hi"


def test_searching_stays_within_the_profile(attach: Attach) -> None:
    client = attach("search-files")
    assert names(client) == {"files.extra_0007", "tools.search", "tools.call"}
    assert all(name.startswith(("files.", "tools.")) for name in found(client, "echo text"))


def test_auto_lists_everything_within_its_budget(attach: Attach) -> None:
    assert names(attach("auto")) == names(attach())


def test_a_profile_that_does_not_exist_is_refused_with_those_that_do(hubs: Hubs, attach: Attach) -> None:
    attach()
    client = hubs.attach("--profile", "nobody")
    with pytest.raises(Refused, match=r"no profile 'nobody'.*reader"):
        client.open()


def test_auto_searches_when_the_definitions_are_over_the_budget() -> None:
    own = {"name": "tools.search", "inputSchema": {"type": "object"}}
    pinned = {"name": "a.b", "inputSchema": {"type": "object"}}

    def listed(description: str) -> list[str]:
        long = {"name": "a.long", "description": description, "inputSchema": {"type": "object"}}
        tools = [own, {**own, "name": "tools.call"}, pinned, long]
        surface = Surface("dotted", "auto", 1000, ["a.b"])
        return [tool["name"] for tool in surface.shown(tools, [str(tool["name"]) for tool in tools])]

    assert listed("x" * 2_000) == ["tools.search", "a.b", "a.long"]
    assert listed("x" * 4_000) == ["tools.search", "tools.call", "a.b"]
