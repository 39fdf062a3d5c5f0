"""A turn with one tool call, through each provider's own API, streaming and not."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.agent import Agent, Event
from hub.calls import Json
from hub.clock import ManualClock
from hub.llm import LiteLLM
from hub.sessions import Sessions
from hub.settings import AgentSettings
from hub.simulation.scripted_model import Call, Say, Script, ScriptedModel
from hub.store import Store
from tests.agent.dialects import Anthropic, Dialect, Gemini, Ollama
from tests.agent.parts import CALLER, Tools, text

pytestmark = pytest.mark.anyio


KEYS = {"ANTHROPIC_API_KEY": "a", "GEMINI_API_KEY": "g"}


async def _echo(arguments: Json) -> Json:
    return text(f"echo {arguments.get('x')}")


async def _turn(folder: Path, llm: LiteLLM, events: list[Event]) -> tuple[Agent, Store]:
    store = Store(folder / "hub.sqlite3")
    await store.open()
    clock = ManualClock()
    tools = Tools().add("fs.read", _echo, description="Reads.")
    agent = Agent(tools, None, Sessions(store, clock), llm, AgentSettings(), clock)
    result = await agent.run_turn(CALLER, "s", "what does it say?", on_event=events.append)
    assert result.output == "It says: echo 1"
    assert [(call.name, call.ok) for call in result.tool_calls] == [("fs.read", True)]
    assert result.usage.input_tokens >= 20
    assert result.usage.output_tokens >= 14
    return agent, store


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("kind", [Anthropic, Gemini, Ollama])
async def test_a_turn_works_in_every_dialect(tmp_path: Path, kind: type[Dialect], stream: bool) -> None:
    events: list[Event] = []
    async with kind() as provider:
        llm = LiteLLM(
            provider.model,
            provider.url,
            lambda: {"ANTHROPIC_API_KEY": "a", "GEMINI_API_KEY": "g"},
            stream=stream,
        )
        agent, store = await _turn(tmp_path, llm, events)
        # Another turn: the first one's messages, calls and results are its history.
        assert (await agent.run_turn(CALLER, "s", "and again?")).output == "It says: echo 1"
        await llm.close()
    await store.close()
    pieces = [event.to_json()["text"] for event in events if event.type == "model.delta"]
    assert "".join(pieces) == ("It says: echo 1" if stream else "")
    assert len(pieces) > 1 or not stream


async def test_a_turn_works_through_a_litellm_proxy(tmp_path: Path) -> None:
    script: Script = [Call("fs.read", {"x": 1}), lambda request: Say(f"It says: {request.results[0]}")]
    async with ScriptedModel(script, label="") as proxy:
        llm = LiteLLM(
            "team-model", None, lambda: {"LITELLM_PROXY_URL": proxy.url, "LITELLM_PROXY_API_KEY": "p"}
        )
        _, store = await _turn(tmp_path, llm, [])
        assert proxy.requests[0].body["model"] == "team-model"
        await llm.close()
    await store.close()


async def test_what_gemini_signed_goes_back_to_it_within_the_turn(tmp_path: Path) -> None:
    async with Gemini() as provider:
        llm = LiteLLM(provider.model, provider.url, lambda: {"GEMINI_API_KEY": "g"})
        _, store = await _turn(tmp_path, llm, [])
        await llm.close()
        assert "c2lnbmVk" in str(provider.requests[1][1])
    await store.close()


async def test_anthropic_is_told_what_to_cache_and_no_text_is_made_up(tmp_path: Path) -> None:
    async with Anthropic() as provider:
        llm = LiteLLM(provider.model, provider.url, lambda: {"ANTHROPIC_API_KEY": "a"})
        _, store = await _turn(tmp_path, llm, [])
        await llm.close()
        second = provider.requests[1][1]
    await store.close()
    assert second["system"][-1]["cache_control"] == {"type": "ephemeral"}
    assert "cache_control" in str(second["messages"][-1])
    assert [block["type"] for block in second["messages"][1]["content"]] == ["tool_use"]


async def test_ollama_is_not_shown_tools_that_it_may_not_call() -> None:
    async with Ollama() as provider:
        llm = LiteLLM(provider.model, provider.url, dict)
        tool: Json = {"name": "fs.read", "inputSchema": {"type": "object"}}
        messages: list[Json] = [{"role": "user", "content": "hello"}]
        await llm.answer(messages, [tool], deadline_s=30, may_call_tools=False)
        await llm.answer(messages, [tool], deadline_s=30)
        await llm.close()
        chats = [body for path, body in provider.requests if path == "/api/chat"]
    assert ["tools" in body for body in chats] == [False, True]
