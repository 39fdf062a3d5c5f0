"""What the agent needs of the rest of the hub, and nothing more of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from hub.calls import Caller, Json
from hub.llm.answer import Answer
from hub.llm.choice import Choice
from hub.memory.episode import Episode, Provenance, Recall
from hub.settings import ToolNames

ProgressListener = Callable[[float, float | None, str | None], None]


class ToolSurface(Protocol):
    """Every tool of the hub; the router is one."""

    def tools(self, style: ToolNames | None = None, caller: Caller | None = None) -> Sequence[Json]:
        """The tools that a caller may see, under the names of a style. Never waits; do not change them."""
        ...

    async def call_tool(
        self,
        caller: Caller,
        name: str,
        arguments: Json,
        *,
        deadline_s: float | None = None,
        on_progress: ProgressListener | None = None,
    ) -> Json:
        """Call a tool by its public name; returns a `CallToolResult`.

        Raises:
            HubError: The call could not be made or finished.
            RpcError: The server answered with an error.
            TimeoutError: The deadline passed.
        """
        ...


class Model(Protocol):
    """A language model; `hub.llm.LiteLLM` is one, and documents what is asked of it."""

    async def choice(self) -> Choice: ...

    async def answer(
        self,
        messages: Sequence[Json],
        tools: Sequence[Json] = (),
        *,
        deadline_s: float,
        may_call_tools: bool = True,
        on_text: Callable[[str], None] | None = None,
        on_restart: Callable[[str], None] | None = None,
        temperature: float | None = None,
        tokens_max: int | None = None,
        response_format: Json | None = None,
    ) -> Answer: ...

    async def context_tokens_max(self) -> int | None: ...

    async def count_tokens(self, messages: Sequence[Json], tools: Sequence[Json] = ()) -> int: ...

    async def close(self) -> None: ...


class Memory(Protocol):
    """Episodic memory; `hub.memory.Memory` is one, and documents what is asked of it."""

    async def recall(
        self,
        query: str,
        *,
        project: str | None = None,
        client: str | None = None,
        run_id: str | None = None,
    ) -> Recall: ...

    async def store(
        self,
        experience: str,
        *,
        intent: str | None = None,
        provenance: Provenance | None = None,
        thread: str | None = None,
        parent_ids: Sequence[str] = (),
    ) -> Episode: ...
