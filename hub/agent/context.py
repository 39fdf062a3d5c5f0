"""What the model reads in a turn, kept within what it can read.

While everything fits, nothing is left out. Otherwise there is one path: the oldest
turns become a summary, which later turns use as well; then the oldest results of this
turn's own tools are left out; then what was recalled. All of it happens on copies: what
was said stays on record as it was said.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Sequence

from hub.agent.events import Compacted, Emitter
from hub.agent.ports import Model
from hub.agent.prompt import conversation, cut, transcript
from hub.calls import Json
from hub.errors import ModelError
from hub.llm.answer import Usage
from hub.memory.episode import Recall
from hub.sessions import Summary, Turn

log = logging.getLogger(__name__)

_TOKENS_MAX = 32_000
"""The budget for a model whose own limit nobody knows."""

_FULL = 0.85
"""The part of the budget at which a prompt is compacted; the rest is for the answer."""

_KEPT = 0.4
"""The part of the budget that earlier turns may keep when others become a summary."""

_BYTES_PER_TOKEN = 2
"""Fewer than texts have on average, so that a prompt that fits by this measure need not be counted."""

_SUMMARY_TOKENS_MAX = 1500
_DROPPED = "[left out to make room; call the tool again if this is still needed]"

_SUMMARISE = """\
You keep the notes of a long conversation between a user and an assistant with tools. Write what the \
assistant must know to go on: what the user wants and decided, what was found out and done, with names, \
paths, numbers and ids as they are, what is still open. At most 400 words, no preamble.\
"""


class Context:
    """The prompts of one turn.

    Args:
        model: Counts tokens, and writes summaries.
        tokens_max: The budget; None for the model's own.
        system: The system prompt.
        summary: What stands for the turns before the earlier ones.
        earlier: The session's latest turns, oldest first.
        recall: What memory recalled for this turn.
        keep_summary: Keeps a new summary for later turns.
        emitter: Hears when something was left out.

    Attributes:
        earlier: The turns that are shown.
    """

    def __init__(
        self,
        model: Model,
        tokens_max: int | None,
        system: str,
        summary: Summary | None,
        earlier: Sequence[Turn],
        recall: Recall | None,
        keep_summary: Callable[[Summary], Awaitable[None]],
        emitter: Emitter,
    ) -> None:
        self._model = model
        self._tokens_max = tokens_max
        self._system = system
        self._summary = summary
        self.earlier = list(earlier)
        self._recall = recall
        self._keep_summary = keep_summary
        self._emitter = emitter
        self._shrunk = 1.0
        self._usage = Usage()

    def shrink(self) -> None:
        """Take the model's word that the last prompt was too long: half of the budget from now on."""
        self._shrunk /= 2

    def spent(self) -> Usage:
        """What writing summaries used since this was last asked."""
        usage, self._usage = self._usage, Usage()
        return usage

    async def around(self, messages: Sequence[Json], tools: Sequence[Json], deadline_s: float) -> list[Json]:
        """The messages of the next request.

        Args:
            messages: This turn's own, the user's first.
            tools: The tools that are shown beside them.
            deadline_s: How long writing a summary may take.
        """
        prompt = self._prompt(messages, self._recall)
        if await self._fits(prompt, tools):
            return prompt
        summarised = await self._summarise(deadline_s) if self.earlier else 0
        recall, dropped = self._recall, 0
        results = [n for n, message in enumerate(messages) if message["role"] == "tool"]
        while not await self._fits(prompt := self._prompt(messages, recall), tools):
            remaining = results[dropped:]
            if not remaining:
                if recall is None:
                    break
                recall = None
                continue
            dropped += max(1, len(remaining) // 2)
            messages = [
                {**message, "content": _DROPPED} if n in results[:dropped] else message
                for n, message in enumerate(messages)
            ]
        self._emitter.emit(Compacted(summarised, dropped))
        return prompt

    def _prompt(self, messages: Sequence[Json], recall: Recall | None) -> list[Json]:
        return conversation(self._system, self._summary, self.earlier, recall, messages)

    async def _budget(self) -> float:
        limit = self._tokens_max or await self._model.context_tokens_max() or _TOKENS_MAX
        return limit * self._shrunk

    async def _fits(self, messages: Sequence[Json], tools: Sequence[Json]) -> bool:
        budget = await self._budget() * _FULL
        if _bytes(messages, tools) <= budget * _BYTES_PER_TOKEN:
            return True
        return await self._model.count_tokens(messages, tools) <= budget

    async def _summarise(self, deadline_s: float) -> int:
        """Turn the oldest turns into a summary; how many they were."""
        bytes_max = await self._budget() * _KEPT * _BYTES_PER_TOKEN
        kept: list[Turn] = []
        for turn in reversed(self.earlier):
            bytes_max -= _bytes(turn.messages)
            if bytes_max < 0:
                break
            kept.insert(0, turn)
        old = self.earlier[: len(self.earlier) - len(kept)]
        self.earlier = kept
        if not old:
            return 0
        before = f"Notes so far:\n{self._summary.text}\n\n" if self._summary else ""
        text = cut(before + transcript(old), int(await self._budget() * _BYTES_PER_TOKEN))
        request: list[Json] = [{"role": "system", "content": _SUMMARISE}, {"role": "user", "content": text}]
        try:
            answer = await self._model.answer(request, deadline_s=deadline_s, tokens_max=_SUMMARY_TOKENS_MAX)
        except ModelError as error:
            # These turns are missing from this prompt; the next one has another chance at a summary.
            log.warning("no summary", extra={"error": error.message, "turns": len(old)})
            return len(old)
        self._usage += answer.usage
        if answer.text.strip():
            self._summary = Summary(old[-1].seq, answer.text.strip())
            # What a client brought along is no part of the session: its summary is for this turn alone.
            if self._summary.seq:
                await self._keep_summary(self._summary)
        return len(old)


def _bytes(messages: Sequence[Json], tools: Sequence[Json] = ()) -> int:
    return len(json.dumps([messages, tools], ensure_ascii=False).encode("utf-8", "replace"))
