"""What the hub's own tools work on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from hub.calls import Call, Caller, Json

if TYPE_CHECKING:
    from hub.agent import Agent
    from hub.memory import Memory
    from hub.sessions import Sessions


class Parts(Protocol):
    """What the tools work on; the heavy parts are opened by the first tool that needs them."""

    def status(self) -> Json: ...

    def search_tools(self, query: str, limit: int, caller: Caller | None = None) -> list[Json]: ...

    async def call_tool(self, call: Call) -> Json: ...

    async def memory(self) -> Memory: ...

    async def sessions(self) -> Sessions: ...

    async def agent(self) -> Agent: ...
