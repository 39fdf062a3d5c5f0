"""What bounds a turn: budgets, the length of a prompt, the structure of an answer; and what a user adds."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from hub.agent import Limits
from hub.agent.prompt import answered
from hub.calls import Json
from hub.errors import Busy, InvalidArguments, ModelError, NotAllowed, UnknownName
from hub.llm import Answer, LiteLLM, Usage
from hub.sessions import Turn
from hub.settings import AgentSettings
from hub.simulation.scripted_model import Call, Fail, Garbage, Request, Say, Script, Step
from tests.agent.parts import CALLER, Notebook, Tools, scene, text

pytestmark = pytest.mark.anyio


LONG = " ".join(f"word{n}" for n in range(1000))
"""A text that no tokenizer makes short, and that LiteLLM does not take for a model that is stuck."""


async def _echo(arguments: Json) -> Json:
    return text(f"echo {arguments.get('x')}")


def _greedy(request: Request) -> Step:
    """Asks for tools for as long as it may."""
    if request.body.get("tool_choice") == "none":
        return Say("what I have")
    return Call("fs.read", {"x": len(request.messages)})


class Priced(LiteLLM):
    """A model each of whose answers costs a dollar."""

    async def answer(self, *arguments: object, **options: object) -> Answer:
        answer = await super().answer(*arguments, **options)  # type: ignore[arg-type]
        return replace(answer, usage=replace(answer.usage, cost_usd=1.0))


# -- budgets


async def test_a_turn_that_used_up_its_tokens_answers_with_what_it_has(tmp_path: Path) -> None:
    async with scene(tmp_path, _greedy, Tools().add("fs.read", _echo)) as here:
        result = await here.agent.run_turn(CALLER, "s", "go", limits=Limits(tokens_max=1000))
    assert (result.output, result.status) == ("what I have", "tokens_exhausted")
    assert 1 <= len(result.tool_calls) < 10


async def test_a_turn_that_cost_what_it_may_answers_with_what_it_has(tmp_path: Path) -> None:
    settings = AgentSettings(turn_cost_usd_max=2.5)
    async with scene(
        tmp_path, _greedy, Tools().add("fs.read", _echo), settings=settings, kind=Priced
    ) as here:
        result = await here.say("go")
    assert (result.status, len(result.tool_calls), result.usage.cost_usd) == ("cost_exhausted", 3, 4.0)


@pytest.mark.parametrize("bound", ["session_cost_usd_max", "day_cost_usd_max"])
async def test_a_session_or_day_that_cost_what_it_may_takes_no_further_turn(
    tmp_path: Path, bound: str
) -> None:
    settings = AgentSettings(**{bound: 1.5})
    async with scene(tmp_path, [Say("1"), Say("2"), Say("3")], settings=settings, kind=Priced) as here:
        await here.say("one")
        await here.say("two")
        with pytest.raises(NotAllowed, match=bound):
            await here.say("three")
        here.clock.advance(86_400)
        if bound == "day_cost_usd_max":
            assert (await here.say("tomorrow")).output == "3"
        else:
            assert (await here.say("another session", "t")).output == "3"


async def test_a_caller_can_tighten_the_bounds_but_not_loosen_them(tmp_path: Path) -> None:
    settings = AgentSettings(rounds_max=3)
    async with scene(tmp_path, _greedy, Tools().add("fs.read", _echo), settings=settings) as here:
        tight = await here.agent.run_turn(CALLER, "s", "go", limits=Limits(rounds_max=1))
        loose = await here.agent.run_turn(CALLER, "s", "go", limits=Limits(rounds_max=50))
    assert (len(tight.tool_calls), len(loose.tool_calls)) == (1, 3)
    with pytest.raises(InvalidArguments):
        Limits(rounds_max=0)


def test_costs_add_up_and_an_unknown_price_stays_unknown() -> None:
    assert (Usage(1, 2, 3, 0.5) + Usage(1, 1, 0, 0.25)) == Usage(2, 3, 3, 0.75)
    assert (Usage(cost_usd=0.5) + Usage(cost_usd=None)).cost_usd is None


# -- the length of a prompt


async def test_the_oldest_turns_become_a_summary_when_the_prompt_gets_long(tmp_path: Path) -> None:
    def script(request: Request) -> Step:
        if request.messages[0]["content"].startswith("You keep the notes"):
            return Say("NOTES: the code word is heron")
        return Say(f"answer {LONG[:2000]}")

    settings = AgentSettings(context_tokens_max=3000)
    async with scene(tmp_path, script, settings=settings) as here:
        for n in range(8):
            await here.say(f"question {n}")
        turns = await here.sessions.show("s")
        prompt = here.model.requests[-1].messages

    assert any(event.type == "context.compacted" for event in here.events)
    assert "NOTES: the code word is heron" in str(prompt)
    assert "question 0" not in str(prompt)
    assert prompt[-1]["content"] == "question 7"
    # What was said is still on record as it was said.
    assert [turn.input for turn in turns] == [f"question {n}" for n in range(8)]
    sizes = [len(str(request.messages)) for request in here.model.requests]
    assert max(sizes) < 4 * 3000


async def test_a_failed_summary_costs_the_old_turns_and_not_the_answer(tmp_path: Path) -> None:
    def script(request: Request) -> Step:
        if request.messages[0]["content"].startswith("You keep the notes"):
            return Fail(400, "no summaries today")
        return Say(f"answer {LONG[:4000]}")

    async with scene(tmp_path, script, settings=AgentSettings(context_tokens_max=3000)) as here:
        for n in range(5):
            assert (await here.say(f"question {n}")).output.startswith("answer")


async def test_old_results_of_a_long_turn_are_left_out_when_the_prompt_gets_long(tmp_path: Path) -> None:
    count = iter(range(100))

    async def large(arguments: Json) -> Json:
        return text(f"part {next(count)} " + "word " * 1000)

    script: Script = [*[Call("fs.read", {"x": n}) for n in range(6)], Say("read it all")]
    settings = AgentSettings(context_tokens_max=5000)
    async with scene(tmp_path, script, Tools().add("fs.read", large), settings=settings) as here:
        result = await here.say("read the book")
        prompt = str(here.model.requests[-1].messages)
        [turn] = await here.sessions.show("s")
    assert result.output == "read it all"
    assert "left out to make room" in prompt
    assert "part 5" in prompt
    assert "part 0" not in prompt
    assert "part 0" in str(turn.messages)


async def test_a_prompt_that_the_model_finds_too_long_is_shortened_and_asked_again(tmp_path: Path) -> None:
    def script(request: Request) -> Step:
        if request.messages[0]["content"].startswith("You keep the notes"):
            return Say("short notes")
        if len(str(request.messages)) > 12_000:
            return Fail(400, "This model's maximum context length is 4096 tokens.")
        return Say(LONG[:5000])

    async with scene(tmp_path, script, settings=AgentSettings(context_tokens_max=12_000)) as here:
        for n in range(5):
            assert (await here.say(f"question {n}")).output == LONG[:5000]


def test_every_call_gets_a_result_and_every_result_has_a_call() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "t", "arguments": "{}"}}
    other = {**call, "id": "b"}
    messages: list[Json] = [
        {"role": "tool", "tool_call_id": "z", "content": "of nobody"},
        {"role": "assistant", "content": "", "tool_calls": [call, other]},
        {"role": "tool", "tool_call_id": "b", "content": "done"},
        {"role": "user", "content": "well?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
    ]
    before = json.dumps(messages)
    repaired = answered(messages)
    assert [(m["role"], m.get("tool_call_id")) for m in repaired] == [
        ("assistant", None),
        ("tool", "b"),
        ("tool", "a"),
        ("user", None),
        ("assistant", None),
        ("tool", "a"),
    ]
    assert json.dumps(messages) == before


# -- the structure of an answer

SCHEMA: Json = {
    "type": "object",
    "properties": {"port": {"type": "integer"}},
    "required": ["port"],
    "additionalProperties": False,
}


async def test_an_answer_in_a_structure_is_a_value(tmp_path: Path) -> None:
    script: Script = [Call("fs.read", {"x": 1}), Say('```json\n{"port": 8787}\n```')]
    async with scene(tmp_path, script, Tools().add("fs.read", _echo)) as here:
        result = await here.agent.run_turn(CALLER, "s", "which port?", output_schema=SCHEMA)
    assert result.structured == {"port": 8787}
    assert json.loads(result.output) == {"port": 8787}
    assert '"port"' in here.model.requests[0].messages[0]["content"]


async def test_an_answer_that_does_not_fit_is_mended(tmp_path: Path) -> None:
    script: Script = [Say("It is 8787."), Say('{"port": "8787"}'), Say('{"port": 8787}')]
    async with scene(tmp_path, script) as here:
        result = await here.agent.run_turn(CALLER, "s", "which port?", output_schema=SCHEMA)
        second, third = here.model.requests[1:]
    assert result.structured == {"port": 8787}
    assert "It is 8787." in second.user
    assert "is not of type 'integer'" in third.user
    assert second.body["response_format"]["type"] == "json_schema"


async def test_an_answer_that_never_fits_is_an_error_that_says_why(tmp_path: Path) -> None:
    async with scene(tmp_path, lambda request: Say("no")) as here:
        with pytest.raises(ModelError, match="output_schema: it is not JSON"):
            await here.agent.run_turn(CALLER, "s", "which port?", output_schema=SCHEMA)


@pytest.mark.parametrize("schema", [{"type": "nonsense"}, {"$ref": "https://example.com/schema.json"}])
async def test_a_schema_that_will_not_do_is_refused(tmp_path: Path, schema: Json) -> None:
    async with scene(tmp_path, []) as here:
        with pytest.raises(InvalidArguments, match="output_schema"):
            await here.agent.run_turn(CALLER, "s", "go", output_schema=schema)


# -- what a user adds


async def test_what_the_user_says_during_a_turn_is_read_before_the_next_answer(tmp_path: Path) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    async def wait(arguments: Json) -> Json:
        started.set()
        await go_on.wait()
        return text("waited")

    script: Script = [Call("slow.tool"), lambda request: Say(f"read: {request.user}")]
    async with scene(tmp_path, script, Tools().add("slow.tool", wait)) as here:
        turn = asyncio.create_task(here.say("go"))
        async with asyncio.timeout(30):
            await started.wait()
        [running] = here.agent.running()
        here.agent.add_message(running.run_id, "and be quick")
        for n in range(7):
            here.agent.add_message(running.run_id, f"more {n}")
        with pytest.raises(Busy):
            here.agent.add_message(running.run_id, "one too many")
        go_on.set()
        result = await turn
        assert result.output == "read: more 6"
        [kept] = await here.sessions.show("s")
        with pytest.raises(UnknownName):
            here.agent.add_message(running.run_id, "too late")
    assert [message["role"] for message in kept.messages][:4] == ["user", "assistant", "tool", "user"]
    assert "and be quick" in str(kept.messages)


async def test_what_the_user_says_while_the_model_answers_is_answered_too(tmp_path: Path) -> None:
    async with scene(tmp_path, [Say("first", delay_s=0.3), lambda r: Say(f"also: {r.user}")]) as here:
        turn = asyncio.create_task(here.say("go"))
        await here.model.wait_for_requests(1)
        here.agent.add_message(here.agent.running()[0].run_id, "wait, another thing")
        assert (await turn).output == "also: wait, another thing"


# -- memory that is away


class NoMemory(Notebook):
    async def recall(self, *arguments: object, **options: object) -> object:  # type: ignore[override]
        raise Busy("memory is busy")

    async def store(self, *arguments: object, **options: object) -> object:  # type: ignore[override]
        raise Busy("memory is busy")


async def test_a_turn_goes_on_without_memory_and_says_so(tmp_path: Path) -> None:
    answer = "A long answer that would be worth an episode, if only memory were there to take it in."
    async with scene(tmp_path, [Say(answer)], memory=NoMemory()) as here:
        result = await here.say("what is there to say about memory?")
    assert result.output == answer
    assert len(result.warnings) == 2
    assert all("memory is busy" in warning for warning in result.warnings)


async def test_garbage_from_a_model_ends_in_an_error_and_the_session_goes_on(tmp_path: Path) -> None:
    script: Script = [*[Garbage()] * 3, Say("well again")]
    async with scene(tmp_path, script) as here:
        with pytest.raises(ModelError):
            await here.say("go")
        assert (await here.say("go on")).output == "well again"
        first, _ = await here.sessions.show("s")
        assert isinstance(first, Turn)
        assert first.status == "failed"
