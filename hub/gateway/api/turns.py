"""The turns that HTTP clients began: their bound, their owner, their end."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from starlette.requests import Request

from hub.calls import Caller, Json
from hub.errors import Busy, HubError, Stopping

if TYPE_CHECKING:
    from hub.agent import Agent, Limits, TurnResult
    from hub.sessions import Sessions
    from hub.settings import Settings

log = logging.getLogger(__name__)

_CALLER_CHARS_MAX = 100


class ApiHub(Protocol):
    """What the API needs of a running hub."""

    @property
    def settings(self) -> Settings: ...

    async def agent(self) -> Agent: ...

    async def sessions(self) -> Sessions: ...

    def status(self) -> Json: ...


class ClientLeft(Exception):
    """Nobody waits for the response any more."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A turn that has begun.

    Attributes:
        agent: Runs it.
        run_id: Its name.
        task: Ends with its result.
    """

    agent: Agent
    run_id: str
    task: asyncio.Task[TurnResult]

    def stop(self) -> None:
        """Cancel it, if it has not ended."""
        self.task.cancel()

    async def result(self) -> TurnResult:
        """Its result, once it has ended; whoever is cancelled here leaves it running.

        Raises:
            Stopping: The hub ended first.
            HubError: As `Agent.run_turn` does.
        """
        await asyncio.wait({self.task})
        if self.task.cancelled():
            raise Stopping(
                "the hub is stopping, and the turn took longer than http.drain_s", run_id=self.run_id
            )
        return self.task.result()


class Turns:
    """Begins turns for HTTP clients and sees them out.

    A turn has a task of its own, so it outlives the request that began it, where it should.

    Args:
        hub: The running hub.

    Attributes:
        closed: Set when every stream must end.
    """

    def __init__(self, hub: ApiHub) -> None:
        self._hub = hub
        self._tasks: set[asyncio.Task[TurnResult]] = set()
        self._starting = 0
        self._stopping = False
        self.closed = asyncio.Event()

    async def begin(
        self,
        request: Request,
        session_id: str,
        message: str,
        *,
        limits: Limits | None = None,
        output_schema: Json | None = None,
        instructions: str | None = None,
        history: Sequence[Json] = (),
    ) -> Begun:
        """Begin a turn; `Agent.run_turn` says what the arguments mean.

        Raises:
            Stopping: The hub is about to end.
            Busy: Too many turns are running, in all or in this session.
            HubError: As `Agent.run_turn` does before a turn has begun.
        """
        if self._stopping:
            raise Stopping("the hub is stopping")
        turns_max = self._hub.settings.http.concurrency_max
        running = len(self._tasks) + self._starting
        if running >= turns_max:
            raise Busy(f"{running} turns are running for HTTP clients; http.concurrency_max allows no more")
        self._starting += 1
        try:
            agent = await self._hub.agent()
        finally:
            self._starting -= 1
        run_id = f"run_{uuid.uuid4().hex}"
        turn = agent.run_turn(
            Caller(request.headers.get("user-agent", "http")[:_CALLER_CHARS_MAX], face="http"),
            session_id,
            message,
            run_id=run_id,
            limits=limits,
            output_schema=output_schema,
            instructions=instructions,
            history=history,
        )
        task = asyncio.get_running_loop().create_task(turn, name=f"http {run_id}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        # The task takes its first steps before this one goes on; a turn that is refused has ended by then.
        await asyncio.sleep(0)
        begun = Begun(agent, run_id, task)
        if task.done():
            await begun.result()
        return begun

    def _ended(self, task: asyncio.Task[TurnResult]) -> None:
        self._tasks.discard(task)
        # A run that nobody waits for has told its followers; only a bug is told here.
        if not task.cancelled() and (error := task.exception()) and not isinstance(error, HubError):
            log.error("a turn failed inside the hub", exc_info=error, extra={"run": task.get_name()})

    async def drain(self, grace_s: float) -> None:
        """Begin nothing new, let turns finish, then stop those that have not.

        Args:
            grace_s: How long they may take at most.
        """
        self._stopping = True
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=grace_s)
        left = tuple(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        self.closed.set()


async def outcome(request: Request, begun: Begun) -> TurnResult:
    """A turn's result, for a client that stays; if it leaves, the turn is stopped.

    Args:
        request: The client's request, its body read.
        begun: The turn.

    Raises:
        ClientLeft: The client left before the turn ended.
        HubError: As `Agent.run_turn` does.
    """
    gone = asyncio.ensure_future(departure(request))
    try:
        await asyncio.wait({begun.task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not begun.task.done():
            raise ClientLeft
    except (ClientLeft, asyncio.CancelledError):
        begun.stop()
        raise
    finally:
        gone.cancel()
    return await begun.result()


async def departure(request: Request) -> None:
    """Return when the client has left; the request's body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
