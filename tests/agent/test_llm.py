"""Which model answers, one answer from it, and what is told when there is none."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest

from hub.calls import Json
from hub.errors import ModelError, ModelNotConfigured, ModelTimeout
from hub.llm import LiteLLM, choose
from hub.llm.names import NameMap
from hub.simulation.scripted_model import (
    BreakOff,
    Call,
    Fail,
    Garbage,
    Hang,
    Say,
    Script,
    ScriptedModel,
    Step,
)

pytestmark = pytest.mark.anyio

HELLO: list[Json] = [{"role": "user", "content": "hello"}]
READ: Json = {"name": "fs.read", "description": "Reads.", "inputSchema": {"type": "object"}}

NOBODY = {"OLLAMA_HOST": "127.0.0.1:9"}
"""An environment in which no Ollama is found, even where one runs."""


@asynccontextmanager
async def scripted(script: Script, **options: object) -> AsyncIterator[tuple[LiteLLM, ScriptedModel]]:
    async with ScriptedModel(script, label="") as server:
        llm = LiteLLM("openai/scripted", server.url, dict, rng=random.Random(1), **options)  # type: ignore[arg-type]
        yield llm, server
        await llm.close()


@asynccontextmanager
async def http_json(answers: Mapping[str, Json]) -> AsyncIterator[str]:
    """A server that answers GET requests with JSON by their path."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1].decode()
        body = json.dumps(answers.get(path, {})).encode()
        status = b"200 OK" if path in answers else b"404 Not Found"
        writer.write(b"HTTP/1.1 " + status + b"\r\nconnection: close\r\ncontent-length: ")
        writer.write(str(len(body)).encode() + b"\r\n\r\n" + body)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


# -- which model


async def test_the_model_that_is_set_is_taken_with_its_key() -> None:
    environment = {"MISTRAL_API_KEY": "m", "ANTHROPIC_API_KEY": "a"}
    choice = await choose("anthropic/claude-opus-5", None, environment)
    assert (choice.model, choice.api_key, choice.api_base) == ("anthropic/claude-opus-5", "a", None)


async def test_without_a_model_the_first_provider_with_a_key_is_taken() -> None:
    choice = await choose(None, None, {"HOME": "/root", "MISTRAL_API_KEY": "m", "OPENAI_API_KEY": "o"})
    assert (choice.model.split("/")[0], choice.api_key) == ("mistral", "m")
    assert "MISTRAL_API_KEY" in choice.why


async def test_an_empty_key_is_no_key() -> None:
    choice = await choose(None, None, {"MISTRAL_API_KEY": "", "OPENAI_API_KEY": "o"})
    assert choice.model.startswith("openai/")


async def test_a_proxy_is_asked_for_what_is_set_and_else_for_its_first_model() -> None:
    async with http_json({"/v1/models": {"data": [{"id": "team-model"}]}}) as url:
        environment = {"LITELLM_PROXY_URL": url, "LITELLM_PROXY_API_KEY": "p", "OPENAI_API_KEY": "o"}
        found = await choose(None, None, environment)
        named = await choose("gpt-5.4", None, environment)
    assert (found.model, found.api_base, found.api_key) == ("litellm_proxy/team-model", url, "p")
    assert (named.model, named.api_base, named.api_key) == ("litellm_proxy/gpt-5.4", url, "p")


async def test_an_ollama_on_this_machine_is_taken_when_nothing_is_set() -> None:
    listed = {"models": [{"name": "nomic-embed-text:latest"}, {"name": "qwen3:8b"}]}
    async with http_json({"/api/tags": listed}) as url:
        choice = await choose(None, None, {"OLLAMA_HOST": url.removeprefix("http://")})
    assert (choice.model, choice.api_base) == ("ollama_chat/qwen3:8b", url)


async def test_without_any_model_the_error_says_what_to_set() -> None:
    with pytest.raises(ModelNotConfigured, match="HUB_MODEL"):
        await choose(None, None, NOBODY)


async def test_a_model_that_is_set_up_while_the_hub_runs_is_taken_at_once() -> None:
    environment = dict(NOBODY)
    async with ScriptedModel([Say("here I am")], label="") as server:
        llm = LiteLLM(None, None, lambda: environment)
        with pytest.raises(ModelNotConfigured):
            await llm.answer(HELLO, deadline_s=30)
        environment |= {"HUB_MODEL": "openai/scripted", "HUB_API_BASE": server.url}
        assert (await llm.answer(HELLO, deadline_s=30)).text == "here I am"
        await llm.close()


async def test_a_key_never_shows_in_a_choice() -> None:
    assert "sk-verysecret" not in repr(await choose(None, None, {"OPENAI_API_KEY": "sk-verysecret"}))


# -- names


def test_names_come_back_as_they_were_and_suit_every_api() -> None:
    names = ["fs.read", "fs_read", "a" * 80 + ".x", "a" * 80 + ".y", "größe", "memory.recall"]
    mapping = NameMap(names)
    wires = [mapping.wire(name) for name in names]
    assert len(set(wires)) == len(names)
    assert all(len(wire) <= 64 and wire.replace("_", "").replace("-", "").isascii() for wire in wires)
    assert [mapping.public(wire) for wire in wires] == names
    assert mapping.wire("memory.recall") == "memory_recall"


# -- one answer


async def test_text_is_passed_on_piece_by_piece() -> None:
    pieces: list[str] = []
    async with scripted([Say("a text of several pieces")]) as (llm, _):
        answer = await llm.answer(HELLO, deadline_s=30, on_text=pieces.append)
    assert answer.text == "".join(pieces) == "a text of several pieces"
    assert len(pieces) > 1
    assert (answer.finish, answer.model) == ("stop", "openai/scripted")


@pytest.mark.parametrize("stream", [True, False])
async def test_tool_calls_come_under_public_names(stream: bool) -> None:
    script: Script = [Call("fs.read", {"path": "a.txt"}, also=(Call("fs.read", "{broken"),), text="I look.")]
    async with scripted(script, stream=stream) as (llm, server):
        answer = await llm.answer(HELLO, [READ], deadline_s=30)
        assert server.requests[0].body.get("stream", False) is stream
        assert server.requests[0].tools == ["fs_read"]
    assert [(call.name, call.arguments) for call in answer.tool_requests] == [
        ("fs.read", '{"path": "a.txt"}'),
        ("fs.read", "{broken"),
    ]
    assert answer.text == "I look."
    assert answer.finish == "tool_calls"


async def test_tools_may_be_shown_and_forbidden() -> None:
    async with scripted([Say("ok")]) as (llm, server):
        await llm.answer(HELLO, [READ], deadline_s=30, may_call_tools=False)
        assert server.requests[0].tools == ["fs_read"]
        assert server.requests[0].body["tool_choice"] == "none"


# -- what goes wrong


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (Fail(401, "Incorrect API key provided: sk-abcdefghijklmnop1234"), "refused the key"),
        (Fail(403, "not for you"), "refused the key"),
        (Fail(404, "no such model"), "does not exist"),
        (Fail(400, "context too long"), "context too long"),
    ],
)
async def test_what_only_a_person_can_mend_is_told_at_once(step: Step, said: str) -> None:
    async with scripted([step]) as (llm, server):
        with pytest.raises(ModelError, match=said) as caught:
            await llm.answer(HELLO, deadline_s=30)
        assert len(server.requests) == 1
    assert "sk-abcdefghijklmnop1234" not in str(caught.value)


@pytest.mark.parametrize(
    "step",
    [
        Fail(500),
        Fail(503),
        Fail(429),
        Garbage(),
        Garbage(b""),
        Garbage(b"{}"),
        BreakOff("half"),
        Garbage(b'data: {"oops\n\n'),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_what_may_pass_is_tried_again(step: Step, stream: bool) -> None:
    async with scripted([step, Say("well")], stream=stream) as (llm, _):
        assert (await llm.answer(HELLO, deadline_s=30)).text == "well"


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (Fail(500, "boom"), "status 500.*boom"),
        (Fail(429, "slow down"), "rate limit.*slow down"),
        (Garbage(), "no answer"),
        (Garbage(b"{}"), "no answer"),
    ],
)
async def test_what_does_not_pass_is_an_error_after_bounded_retries(step: Step, said: str) -> None:
    async with scripted([step] * 9, retries_max=1) as (llm, server):
        with pytest.raises(ModelError, match=said):
            await llm.answer(HELLO, deadline_s=30)
        assert len(server.requests) == 2


async def test_a_listener_hears_that_pieces_are_void_when_an_answer_breaks_off() -> None:
    heard: list[str] = []
    async with scripted([BreakOff("half an answer"), Say("whole")]) as (llm, _):
        await llm.answer(
            HELLO, deadline_s=30, on_text=heard.append, on_restart=lambda why: heard.append(f"! {why}")
        )
    [restart] = [piece for piece in heard if piece.startswith("! ")]
    assert "broke off" in restart
    assert heard[-1] == "whole"


async def test_a_model_that_wants_a_long_wait_is_an_error_now() -> None:
    async with scripted([Fail(429, headers=(("retry-after", "60"),))]) as (llm, server):
        with pytest.raises(ModelError, match="rate limit"):
            await llm.answer(HELLO, deadline_s=30)
        assert len(server.requests) == 1


async def test_a_model_that_hangs_times_out_at_the_deadline_and_its_connection_closes() -> None:
    async with scripted([Say("warm"), Hang()]) as (llm, server):
        await llm.answer(HELLO, deadline_s=30)
        with pytest.raises(ModelTimeout, match=r"0\.3 s"):
            await llm.answer(HELLO, deadline_s=0.3)
        await server.wait_for_abandoned(1)


async def test_a_cancelled_answer_closes_its_stream() -> None:
    async with scripted([Say("a long story " * 100, piece_delay_s=0.02)]) as (llm, server):
        begun = asyncio.Event()
        asking = asyncio.create_task(llm.answer(HELLO, deadline_s=30, on_text=lambda text: begun.set()))
        async with asyncio.timeout(30):
            await begun.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await server.wait_for_abandoned(1)


async def test_an_endpoint_that_refuses_is_named_without_its_secrets() -> None:
    llm = LiteLLM("openai/scripted", "http://127.0.0.1:9/v1?token=verysecret", dict, retries_max=0)
    with pytest.raises(ModelError, match="cannot be reached") as caught:
        await llm.answer(HELLO, deadline_s=30)
    assert "127.0.0.1:9" in str(caught.value)
    assert "verysecret" not in str(caught.value)


async def test_a_fallback_answers_when_the_first_model_cannot() -> None:
    def script(request: object) -> Step:
        body = request.body  # type: ignore[attr-defined]
        return Fail(401, "no") if body["model"] == "scripted" else Say(f"from {body['model']}")

    async with scripted(script, fallbacks=["openai/second"]) as (llm, _):
        answer = await llm.answer(HELLO, deadline_s=30)
    assert (answer.text, answer.model) == ("from second", "openai/second")


async def test_when_the_fallbacks_fail_too_both_are_told() -> None:
    async with scripted(lambda request: Fail(401, "no"), fallbacks=["openai/second"]) as (llm, _):
        with pytest.raises(ModelError, match=r"openai/scripted.*openai/second"):
            await llm.answer(HELLO, deadline_s=30)
