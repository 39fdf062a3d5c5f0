"""The turn loop: ask the model, make the calls it wants, until it answers.

Rounds, time, tokens and cost are bounded; when one runs out the model is asked once
more, without tools, for what it can say by then. What completes is kept as it does, so
that whatever happens, the record says what was done.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hub.agent.context import Context
from hub.agent.events import Emitter, MessageAdded, ModelAsked, ModelDelta, ModelRestarted
from hub.agent.journal import Journal
from hub.agent.ports import Model
from hub.agent.result import Status
from hub.agent.structured import Structure
from hub.agent.toolbelt import Toolbelt, ToolOutcome
from hub.calls import Json
from hub.errors import ModelError, ModelTimeout
from hub.llm.answer import Answer, Usage
from hub.llm.failures import CONTEXT_EXCEEDED
from hub.settings import AgentSettings

_EMPTY_RETRIES_MAX = 2
_CUT_RETRIES_MAX = 3
_SHRINKS_MAX = 3
_REPAIRS_MAX = 2
_LAST_CALL_SHARE = 0.2
"""The part of a turn's time that is held back for a last answer."""

_LAST_CALL: dict[Status, str] = {
    "rounds_exhausted": "You have used every round of tools. Answer now with what you have.",
    "time_exhausted": "Time is nearly up. Answer now with what you have.",
    "tokens_exhausted": "The budget of tokens is used up. Answer now with what you have.",
    "cost_exhausted": "The budget is used up. Answer now with what you have.",
    "going_in_circles": "These calls lead nowhere. Answer now with what you have, and say what is missing.",
}


@dataclass(slots=True)
class Progress:
    """What a turn has come to so far; true at every moment, also when it is cancelled.

    Attributes:
        messages: This turn's messages, the user's first.
        model: The model that answered last; its choice before the first answer.
        inbox: What the user said while the turn was running.
        outcomes: The tool calls, in the order they were asked for.
        usage: What the model used.
        model_s: Seconds spent waiting for the model.
        tools_s: Seconds spent waiting for tools.
        rounds: How often the model was asked.
        structured: The answer's value, when it has a structure.
    """

    messages: list[Json]
    model: str
    inbox: deque[str] = field(default_factory=deque)
    outcomes: list[ToolOutcome] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    model_s: float = 0.0
    tools_s: float = 0.0
    rounds: int = 0
    structured: Any = None


class TurnLoop:
    """One turn between the user's message and the answer.

    Args:
        model: Answers.
        belt: Its tools.
        context: Puts system prompt, earlier turns and recalled episodes around this turn's messages.
        settings: The bounds.
        structure: What the answer must fit, if anything.
        emitter: Hears of each step.
        journal: Keeps what is completed.
        ends_at: When the turn's time is over, by the loop's clock.
        progress: Holds the user's message; grows as the turn does.
    """

    def __init__(
        self,
        model: Model,
        belt: Toolbelt,
        context: Context,
        settings: AgentSettings,
        structure: Structure | None,
        emitter: Emitter,
        journal: Journal,
        ends_at: float,
        progress: Progress,
    ) -> None:
        self._model = model
        self._belt = belt
        self._context = context
        self._settings = settings
        self._structure = structure
        self._emitter = emitter
        self._journal = journal
        self._ends_at = ends_at
        self._progress = progress

    async def run(self) -> tuple[str, Status]:
        """Go on until there is an answer.

        Returns:
            The answer, and how it came about.

        Raises:
            ModelError: The model cannot answer, or answers nothing.
        """
        for _ in range(self._settings.rounds_max):
            if (exhausted := self._exhausted()) is not None:
                return await self._last_answer(exhausted)
            self._take_messages()
            answer = await self._ask()
            if answer.tool_requests:
                self._add([answer.message])
                await self._call_tools(answer)
                if self._belt.going_in_circles:
                    return await self._last_answer("going_in_circles")
                continue
            text, status = await self._finished(answer)
            if not self._progress.inbox:
                return text, status
            self._journal.add(self._progress.messages[-1:])
        return await self._last_answer("rounds_exhausted")

    def _exhausted(self) -> Status | None:
        """Which bound the turn has reached."""
        settings, usage = self._settings, self._progress.usage
        if self._remaining_s() <= self._held_back_s:
            return "time_exhausted"
        if settings.turn_tokens_max is not None and usage.tokens >= settings.turn_tokens_max:
            return "tokens_exhausted"
        cost_max = settings.turn_cost_usd_max
        if cost_max is not None and usage.cost_usd is not None and usage.cost_usd >= cost_max:
            return "cost_exhausted"
        return None

    def _take_messages(self) -> None:
        """Put what the user said meanwhile into the conversation."""
        while self._progress.inbox:
            message = self._progress.inbox.popleft()
            self._emitter.emit(MessageAdded(message))
            self._add([{"role": "user", "content": message}])

    async def _call_tools(self, answer: Answer) -> None:
        # Should the hub die in a call, the record must say that it was made.
        await self._journal.settled()
        clock = asyncio.get_running_loop().time
        began = clock()
        time_left_s = max(0.1, self._remaining_s() - self._held_back_s)
        try:
            outcomes = await self._belt.call(
                answer.tool_requests, min(self._settings.tool_deadline_s, time_left_s)
            )
        finally:
            self._progress.tools_s += clock() - began
        self._progress.outcomes += outcomes
        self._add([outcome.message for outcome in outcomes])

    async def _last_answer(self, why: Status) -> tuple[str, Status]:
        # The instruction is no part of the conversation: the status says the same to whoever reads it.
        instruction = {"role": "user", "content": _LAST_CALL[why]}
        text, _ = await self._finished(await self._ask(instruction, may_call_tools=False))
        return text, why

    async def _finished(self, answer: Answer) -> tuple[str, Status]:
        """The answer as it stands; completed when the model stopped at its length limit; in its structure."""
        text = answer.text
        for _ in range(_CUT_RETRIES_MAX):
            if answer.finish != "length" or self._exhausted() is not None:
                break
            instruction = {"role": "user", "content": "Go on exactly where you stopped."}
            answer = await self._ask(_said(text), instruction, may_call_tools=False)
            text += answer.text
        if self._structure is not None:
            text = await self._structured(text, self._structure)
        # Not for the journal: the whole turn is put on record next.
        self._progress.messages.append(_said(text))
        return text, "cut" if answer.finish == "length" else "completed"

    async def _structured(self, text: str, structure: Structure) -> str:
        """The answer as JSON that fits its schema, mended where it does not.

        Raises:
            ModelError: It does not fit, whatever was tried.
        """
        value, problem = structure.read(text)
        for _ in range(_REPAIRS_MAX):
            if problem is None:
                break
            answer = await self._request(
                structure.repair(text, problem), (), True, response_format=structure.response_format
            )
            text = answer.text
            value, problem = structure.read(text)
        if problem is not None:
            raise ModelError(
                f"model {self._progress.model!r} gave no answer that fits output_schema: {problem}. "
                "Make the schema simpler, or set another model with HUB_MODEL"
            )
        self._progress.structured = value
        return json.dumps(value, ensure_ascii=False)

    async def _ask(self, *further: Json, may_call_tools: bool = True) -> Answer:
        """One answer that says something or asks for something.

        Args:
            further: Messages of this request alone.
            may_call_tools: Whether it may ask for tools.
        """
        shrinks = empty = 0
        while True:
            messages = [*self._progress.messages, *further]
            prompt = await self._context.around(messages, self._belt.shown, self._deadline_s())
            self._progress.usage += self._context.spent()
            try:
                answer = await self._request(prompt, self._belt.shown, may_call_tools)
            except ModelError as error:
                if not error.details.get(CONTEXT_EXCEEDED) or shrinks == _SHRINKS_MAX:
                    raise
                shrinks += 1
                self._context.shrink()
                continue
            if answer.text.strip() or (answer.tool_requests and may_call_tools):
                return answer
            if answer.finish == "content_filter":
                raise ModelError(f"model {answer.model!r}: its provider's content filter stopped the answer")
            empty += 1
            if empty > _EMPTY_RETRIES_MAX:
                raise ModelError(
                    f"model {answer.model!r} answered nothing {empty} times. "
                    "Ask again, or set another model with HUB_MODEL",
                    model=answer.model,
                )

    async def _request(
        self,
        prompt: Sequence[Json],
        tools: Sequence[Json],
        may_call_tools: bool,
        response_format: Json | None = None,
    ) -> Answer:
        progress, settings = self._progress, self._settings
        progress.rounds += 1
        self._emitter.emit(ModelAsked(progress.rounds, progress.model))
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            answer = await self._model.answer(
                prompt,
                tools,
                deadline_s=self._deadline_s(),
                may_call_tools=may_call_tools,
                on_text=lambda text: self._emitter.emit(ModelDelta(text)),
                on_restart=lambda why: self._emitter.emit(ModelRestarted(why)),
                temperature=settings.temperature,
                tokens_max=settings.tokens_max,
                response_format=response_format,
            )
        finally:
            progress.model_s += clock() - began
        progress.usage += answer.usage
        progress.model = answer.model
        return answer

    def _add(self, messages: Sequence[Json]) -> None:
        self._progress.messages += messages
        self._journal.add(messages)

    def _deadline_s(self) -> float:
        """How long the next answer may take.

        Raises:
            ModelTimeout: There is no time left.
        """
        remaining_s = self._remaining_s()
        if remaining_s <= 0:
            raise ModelTimeout(f"the turn took over {self._settings.turn_deadline_s:g} s")
        return min(self._settings.model_deadline_s, remaining_s)

    def _remaining_s(self) -> float:
        return self._ends_at - asyncio.get_running_loop().time()

    @property
    def _held_back_s(self) -> float:
        return min(self._settings.model_deadline_s, self._settings.turn_deadline_s * _LAST_CALL_SHARE)


def _said(text: str) -> Json:
    return {"role": "assistant", "content": text}
