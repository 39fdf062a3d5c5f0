"""The turn loop: ask the model, make the calls it wants, until it answers.

Rounds and time are bounded; when they run out the model is asked once more, without
tools, for what it can say by then. What completes is kept as it does, so that whatever
happens, the record says what was done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from hub.agent.events import Emitter, ModelAsked, ModelDelta, ModelRestarted
from hub.agent.journal import Journal
from hub.agent.ports import Model
from hub.agent.result import Status
from hub.agent.toolbelt import Toolbelt, ToolOutcome
from hub.calls import Json
from hub.errors import ModelError, ModelTimeout
from hub.llm.answer import Answer, Usage
from hub.settings import AgentSettings

_EMPTY_RETRIES_MAX = 2
_CUT_RETRIES_MAX = 3
_LAST_CALL_SHARE = 0.2
"""The part of a turn's time that is held back for a last answer."""

_LAST_CALL: dict[Status, str] = {
    "rounds_exhausted": "You have used every round of tools. Answer now with what you have.",
    "time_exhausted": "Time is nearly up. Answer now with what you have.",
    "going_in_circles": "These calls lead nowhere. Answer now with what you have, and say what is missing.",
}


@dataclass(slots=True)
class Progress:
    """What a turn has come to so far; true at every moment, also when it is cancelled.

    Attributes:
        messages: This turn's messages, the user's first.
        outcomes: The tool calls, in the order they were asked for.
        usage: What the model used.
        model: The model that answered last; its choice before the first answer.
        model_s: Seconds spent waiting for the model.
        tools_s: Seconds spent waiting for tools.
        rounds: How often the model was asked.
    """

    messages: list[Json]
    model: str
    outcomes: list[ToolOutcome] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    model_s: float = 0.0
    tools_s: float = 0.0
    rounds: int = 0


class TurnLoop:
    """One turn between the user's message and the answer.

    Args:
        model: Answers.
        belt: Its tools.
        settings: The bounds.
        emitter: Hears of each step.
        around: Puts the system prompt, earlier turns and recalled episodes around this turn's messages.
        journal: Keeps what is completed.
        ends_at: When the turn's time is over, by the loop's clock.
        progress: Holds the user's message; grows as the turn does.
    """

    def __init__(
        self,
        model: Model,
        belt: Toolbelt,
        settings: AgentSettings,
        emitter: Emitter,
        around: Callable[[Sequence[Json]], list[Json]],
        journal: Journal,
        ends_at: float,
        progress: Progress,
    ) -> None:
        self._model = model
        self._belt = belt
        self._settings = settings
        self._emitter = emitter
        self._around = around
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
            if self._remaining_s() <= self._held_back_s:
                return await self._last_answer("time_exhausted")
            answer = await self._ask()
            if not answer.tool_requests:
                return await self._finished(answer)
            self._add([answer.message])
            await self._call_tools(answer)
            if self._belt.going_in_circles:
                return await self._last_answer("going_in_circles")
        return await self._last_answer("rounds_exhausted")

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
        answer = await self._ask(instruction, may_call_tools=False)
        # A model may ask for tools all the same; that part of its answer would stay without results.
        text, _ = await self._finished(replace(answer, message=_text_only(answer), tool_requests=()))
        return text, why

    async def _finished(self, answer: Answer) -> tuple[str, Status]:
        """The answer as it stands, or completed when the model stopped at its length limit."""
        text = answer.text
        for _ in range(_CUT_RETRIES_MAX):
            if answer.finish != "length" or self._remaining_s() <= self._held_back_s:
                break
            instruction = {"role": "user", "content": "Go on exactly where you stopped."}
            answer = await self._ask(_text_only(answer, text), instruction, may_call_tools=False)
            text += answer.text
        # Not for the journal: the whole turn is put on record next.
        self._progress.messages.append(_text_only(answer, text))
        return text, "cut" if answer.finish == "length" else "completed"

    async def _ask(self, *further: Json, may_call_tools: bool = True) -> Answer:
        """One answer that says something or asks for something.

        Args:
            further: Messages of this request alone.
            may_call_tools: Whether it may ask for tools.
        """
        for _ in range(_EMPTY_RETRIES_MAX + 1):
            answer = await self._ask_once(further, may_call_tools)
            if answer.text.strip() or (answer.tool_requests and may_call_tools):
                return answer
        if answer.finish == "content_filter":
            raise ModelError(f"model {answer.model!r}: its provider's content filter stopped the answer")
        raise ModelError(
            f"model {answer.model!r} answered nothing {_EMPTY_RETRIES_MAX + 1} times. "
            "Ask again, or set another model with HUB_MODEL",
            model=answer.model,
        )

    async def _ask_once(self, further: Sequence[Json], may_call_tools: bool) -> Answer:
        progress, settings = self._progress, self._settings
        progress.rounds += 1
        self._emitter.emit(ModelAsked(progress.rounds, progress.model))
        clock = asyncio.get_running_loop().time
        began = clock()
        deadline_s = min(settings.model_deadline_s, self._remaining_s())
        if deadline_s <= 0:
            raise ModelTimeout(f"the turn took over {settings.turn_deadline_s:g} s")
        try:
            answer = await self._model.answer(
                self._around([*progress.messages, *further]),
                self._belt.shown,
                deadline_s=deadline_s,
                may_call_tools=may_call_tools,
                on_text=lambda text: self._emitter.emit(ModelDelta(text)),
                on_restart=lambda why: self._emitter.emit(ModelRestarted(why)),
                temperature=settings.temperature,
                tokens_max=settings.tokens_max,
            )
        finally:
            progress.model_s += clock() - began
        progress.usage += answer.usage
        progress.model = answer.model
        return answer

    def _add(self, messages: Sequence[Json]) -> None:
        self._progress.messages += messages
        self._journal.add(messages)

    def _remaining_s(self) -> float:
        return self._ends_at - asyncio.get_running_loop().time()

    @property
    def _held_back_s(self) -> float:
        return min(self._settings.model_deadline_s, self._settings.turn_deadline_s * _LAST_CALL_SHARE)


def _text_only(answer: Answer, text: str | None = None) -> Json:
    return {"role": "assistant", "content": answer.text if text is None else text}
