"""The agent: a turn that anyone can call.

`run_turn` has the session to itself, recalls, lets the turn loop work, commits the
turn with everything that happened, and stores an episode of it. Whatever way a turn
ends, it is on record before its caller hears of it.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hub.agent.events import Event, Listener
from hub.agent.feeds import Feeds
from hub.agent.history import turns_of
from hub.agent.lanes import Lanes
from hub.agent.limits import Limits
from hub.agent.ports import Memory, Model, ToolSurface
from hub.agent.result import TurnResult
from hub.agent.run import Parts, Run
from hub.agent.structured import Structure
from hub.calls import Caller, Json
from hub.clock import Clock
from hub.errors import Busy, InvalidArguments, NotAllowed, TurnCancelled, UnknownName
from hub.sessions import checked_session_id
from hub.settings import AgentSettings

if TYPE_CHECKING:
    from hub.sessions import Sessions

log = logging.getLogger(__name__)

_INBOX_MAX = 8
_CLOSE_DEADLINE_S = 15.0


@dataclass(frozen=True, slots=True)
class Running:
    """A run that has not ended."""

    run_id: str
    session_id: str
    task: asyncio.Task[TurnResult]
    inbox: deque[str]


class Agent:
    """Takes turns.

    Args:
        router: Every tool of the hub.
        memory: Recalls before a turn and stores after it; None for an agent without memory.
        sessions: Where turns are kept.
        model: Answers.
        settings: The bounds of a turn.
        clock: Tells when.
    """

    def __init__(
        self,
        router: ToolSurface,
        memory: Memory | None,
        sessions: Sessions,
        model: Model,
        settings: AgentSettings,
        clock: Clock,
    ) -> None:
        self._parts = Parts(router, memory, sessions, model, clock)
        self._settings = settings
        self._lanes = Lanes(settings.lane_queue_max, settings.turn_deadline_s)
        self._running: dict[str, Running] = {}
        self._feeds = Feeds()
        self._recovered = False

    async def run_turn(
        self,
        caller: Caller,
        session_id: str,
        message: str,
        *,
        on_event: Listener | None = None,
        run_id: str | None = None,
        limits: Limits | None = None,
        output_schema: Json | None = None,
        instructions: str | None = None,
        history: Sequence[Json] = (),
    ) -> TurnResult:
        """Answer a message in a session.

        Args:
            caller: Who asks; tools are called in its name.
            session_id: The session; it comes into being with its first turn.
            message: What the user says.
            on_event: Hears each step; must not block and not raise.
            run_id: The run's name, when the caller has given it one.
            limits: Bounds of this turn that are tighter than the settings'.
            output_schema: A JSON Schema that the answer must fit.
            instructions: What the system prompt says beside the hub's own.
            history: What was said before the session's first turn, in OpenAI's chat form, where a
                client keeps the conversation itself: messages of `user` and `assistant` with text.

        Raises:
            InvalidArguments: The session's id, the message or the schema will not do.
            NotAllowed: The request has passed through too many agents, or a budget is used up.
            Busy: The session has too many turns waiting.
            TurnCancelled: Somebody stopped the turn.
            ModelError: The model could not answer; among them `ModelNotConfigured` and `ModelTimeout`.
            StorageError: The session could not be read.
        """
        checked_session_id(session_id)
        if not message.strip():
            raise InvalidArguments("message is blank. Say what the agent should do")
        if caller.hops >= self._settings.hops_max:
            raise NotAllowed(
                f"the request has passed through {caller.hops} agents, which is the most that "
                "agent.hops_max allows: a loop between hubs?"
            )
        run_id = run_id or f"run_{uuid.uuid4().hex}"
        if run_id in self._running:
            raise InvalidArguments(f"run_id {run_id!r} is taken by a turn that is running")
        self._lanes.check(session_id)
        structure = Structure(output_schema) if output_schema is not None else None
        settings = (limits or Limits()).within(self._settings)
        feed = self._feeds.open(run_id)

        def listen(event: Event) -> None:
            feed.add(event)
            if on_event is not None:
                on_event(event)

        run = Run(
            self._parts,
            caller,
            session_id,
            run_id,
            message,
            listen,
            settings,
            structure,
            instructions,
            turns_of(session_id, history),
        )
        # A task of its own, so that `cancel` stops the turn and not its caller.
        task = asyncio.create_task(self._in_lane(run), name=run_id)
        self._running[run_id] = Running(run_id, session_id, task, run.inbox)
        try:
            return await task
        except asyncio.CancelledError:
            caller_task = asyncio.current_task()
            if caller_task is not None and caller_task.cancelling():
                raise
            raise TurnCancelled("the turn was cancelled", run_id=run_id) from None
        finally:
            del self._running[run_id]
            run.close()
            self._feeds.close(run_id)

    async def _in_lane(self, run: Run) -> TurnResult:
        async with self._lanes.turn(run.session_id):
            await self._recover()
            return await run.finish()

    async def _recover(self) -> None:
        """Put on record, once, what a hub that died had left running."""
        if self._recovered:
            return
        # Set at once: the store works in order, so no later turn's steps can be among those found.
        self._recovered = True
        for turn in await self._parts.sessions.close_interrupted():
            log.warning("turn was interrupted", extra={"run_id": turn.run_id, "session_id": turn.session_id})

    def events(self, run_id: str, after_seq: int = 0) -> AsyncIterator[Event]:
        """The events of a run: those that were, then each as it comes, until the run ends.

        Args:
            run_id: A run that is running, or one of the latest that ended.
            after_seq: Only events after this sequence number.

        Raises:
            UnknownName: There is no such run, or it ended too long ago.
        """
        return self._feeds.feed(run_id).follow(after_seq)

    def running(self) -> list[Running]:
        """The runs that have not ended, those that wait for their session included."""
        return list(self._running.values())

    def cancel(self, run_id: str) -> None:
        """Stop a run: its model's connection is closed, its tools are cancelled.

        Whoever awaits it sees `TurnCancelled`, once the run is on record.

        Raises:
            UnknownName: No such run is running.
        """
        if run_id not in self._running:
            raise UnknownName(f"no run {run_id!r} is running")
        self._running[run_id].task.cancel()

    async def close(self) -> None:
        """Cancel what runs, each with its record, and let go of the model's connections."""
        tasks = [running.task for running in self._running.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_CLOSE_DEADLINE_S)
        await self._parts.model.close()

    def add_message(self, run_id: str, message: str) -> None:
        """Say something more to a run; the model reads it before its next answer.

        Raises:
            UnknownName: No such run is running.
            InvalidArguments: The message is blank.
            Busy: The run has too many such messages waiting.
        """
        if run_id not in self._running:
            raise UnknownName(f"no run {run_id!r} is running")
        if not message.strip():
            raise InvalidArguments("message is blank")
        inbox = self._running[run_id].inbox
        if len(inbox) >= _INBOX_MAX:
            raise Busy(f"run {run_id!r} has {len(inbox)} messages waiting already")
        inbox.append(message)
