"""The agent: a turn that anyone can call.

`run_turn` has the session to itself, recalls, lets the turn loop work, commits the
turn with everything that happened, and stores an episode of it. Whatever way a turn
ends, it is on record before its caller hears of it.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from hub.agent import recollection
from hub.agent.events import Emitter, Listener, Recalled, Replied, RunFailed, RunFinished, RunStarted
from hub.agent.journal import Journal
from hub.agent.lanes import Lanes
from hub.agent.ports import Memory, Model, ToolSurface
from hub.agent.prompt import conversation, system_prompt
from hub.agent.result import Status, ToolCallReport, TurnResult
from hub.agent.toolbelt import Toolbelt
from hub.agent.turn import Progress, TurnLoop
from hub.calls import Caller, Json
from hub.clock import Clock
from hub.errors import (
    HubError,
    InvalidArguments,
    ModelTimeout,
    NotAllowed,
    TurnCancelled,
    UnknownName,
)
from hub.memory.episode import Recall
from hub.sessions import Prompt, Sessions, Turn, checked_session_id
from hub.settings import AgentSettings

log = logging.getLogger(__name__)

_MEMORY_DEADLINE_S = 15.0
_COMMIT_DEADLINE_S = 10.0


@dataclass(frozen=True, slots=True)
class Running:
    """A run that has not ended."""

    run_id: str
    session_id: str
    task: asyncio.Task[TurnResult]


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
        self._router = router
        self._memory = memory
        self._sessions = sessions
        self._model = model
        self._settings = settings
        self._clock = clock
        self._lanes = Lanes(settings.lane_queue_max, settings.turn_deadline_s)
        self._running: dict[str, Running] = {}
        self._recovered = False

    async def run_turn(
        self,
        caller: Caller,
        session_id: str,
        message: str,
        *,
        on_event: Listener | None = None,
        run_id: str | None = None,
    ) -> TurnResult:
        """Answer a message in a session.

        Args:
            caller: Who asks; tools are called in its name.
            session_id: The session; it comes into being with its first turn.
            message: What the user says.
            on_event: Hears each step; must not block and not raise.
            run_id: The run's name, when the caller has given it one.

        Raises:
            InvalidArguments: The session's id or the message will not do.
            NotAllowed: The request has passed through too many agents.
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
        run = _Run(self, caller, session_id, run_id, message, on_event)
        # A task of its own, so that `cancel` stops the turn and not its caller.
        task = asyncio.create_task(self._in_lane(run), name=run_id)
        self._running[run_id] = Running(run_id, session_id, task)
        try:
            return await task
        except asyncio.CancelledError:
            caller_task = asyncio.current_task()
            if caller_task is not None and caller_task.cancelling():
                raise
            raise TurnCancelled("the turn was cancelled", run_id=run_id) from None
        finally:
            del self._running[run_id]

    async def _in_lane(self, run: _Run) -> TurnResult:
        async with self._lanes.turn(run.session_id):
            await self._recover()
            return await run.finish()

    async def _recover(self) -> None:
        """Put on record, once, what a hub that died had left running."""
        if self._recovered:
            return
        # Set at once: the store works in order, so no later turn's steps can be among those found.
        self._recovered = True
        for turn in await self._sessions.close_interrupted():
            log.warning("turn was interrupted", extra={"run_id": turn.run_id, "session_id": turn.session_id})

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


class _Run:
    """One turn from the moment it has its session to the moment it is on record."""

    def __init__(
        self,
        agent: Agent,
        caller: Caller,
        session_id: str,
        run_id: str,
        message: str,
        listener: Listener | None,
    ) -> None:
        self._agent = agent
        self._settings = agent._settings
        self._caller = caller
        self.session_id = session_id
        self._run_id = run_id
        self._message = message
        self._emitter = Emitter(run_id, session_id, agent._clock, listener)
        self._started_at = agent._clock.now()
        self._progress = Progress([{"role": "user", "content": message}], model="")
        self._recall: Recall | None = None
        self._recall_s = 0.0
        self._prompt: Prompt | None = None
        self._earlier: Sequence[Turn] = ()
        self._journal = Journal(run_id, self._write_step)
        self._warnings: list[str] = []

    async def finish(self) -> TurnResult:
        """Take the turn, and put it on record however it ends."""
        self._emitter.emit(RunStarted(self._message))
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self._settings.turn_deadline_s):
                output, status = await self._take(began + self._settings.turn_deadline_s)
        except TimeoutError:
            late = ModelTimeout(
                f"the turn took over {self._settings.turn_deadline_s:g} s. "
                "Ask for less at once, or raise agent.turn_deadline_s in hub.toml",
                run_id=self._run_id,
            )
            await self._fail("failed", late)
            raise late from None
        except asyncio.CancelledError:
            # The record is short work; a caller that is gone must not take it along.
            await asyncio.shield(self._fail("cancelled", None))
            raise
        except HubError as error:
            error.details.setdefault("run_id", self._run_id)
            await self._fail("failed", error)
            raise
        except Exception as error:
            # A bug. It goes on to the caller, but not before it is on record and whoever listens knows.
            await self._fail("failed", HubError(f"internal error: {type(error).__name__}"))
            raise
        return await self._succeed(output, status)

    async def _take(self, ends_at: float) -> tuple[str, Status]:
        agent, settings = self._agent, self._settings
        choice = await agent._model.choice()
        self._progress.model = choice.model
        self._journal.add(self._progress.messages)
        summary, self._earlier = await agent._sessions.window(self.session_id, settings.prompt_turns)
        await self._remember()
        tool_caller = Caller(
            name=self._caller.name,
            face="agent",
            project=self._caller.project,
            hops=self._caller.hops + 1,
            run_id=self._run_id,
        )
        belt = Toolbelt(
            agent._router,
            tool_caller,
            self._emitter,
            self._message,
            tools_max=settings.tools_max,
            result_chars_max=settings.tool_result_chars_max,
        )
        system = system_prompt(settings.system_prompt, self._caller, self._started_at)
        self._prompt = Prompt(system, belt.shown)

        def around(messages: Sequence[Json]) -> list[Json]:
            return conversation(system, summary, self._earlier, self._recall, messages)

        loop = TurnLoop(
            agent._model, belt, settings, self._emitter, around, self._journal, ends_at, self._progress
        )
        try:
            return await loop.run()
        finally:
            # A search may have shown more tools than the turn began with.
            self._prompt = Prompt(system, belt.shown)

    async def _remember(self) -> None:
        if self._agent._memory is None:
            return
        clock = asyncio.get_running_loop().time
        began = clock()
        self._recall, problem = await recollection.recall(
            self._agent._memory, self._caller, self._run_id, self._message, _MEMORY_DEADLINE_S
        )
        self._recall_s = clock() - began
        if problem:
            self._warnings.append(problem)
        hits = self._recall.hits if self._recall else ()
        self._emitter.emit(
            Recalled(
                self._recall.recall_id if self._recall else None,
                tuple(hit.episode.episode_id for hit in hits),
                problem,
            )
        )

    async def _write_step(self, messages: Sequence[Json], n: int) -> None:
        await self._agent._sessions.keep_step(self._record("running", None, None, messages), n)

    async def _succeed(self, output: str, status: Status) -> TurnResult:
        self._emitter.emit(Replied(output))
        problem = await self._commit(self._record(status, output, None))
        if problem:
            self._warnings.append(f"the turn is not on record: {problem}")
        if self._agent._memory is not None:
            made = [outcome.to_json() for outcome in self._progress.outcomes]
            problem = await recollection.keep(
                self._agent._memory,
                self._caller,
                self._run_id,
                self.session_id,
                self._message,
                self._recall,
                made,
                output,
                _MEMORY_DEADLINE_S,
            )
            if problem:
                self._warnings.append(problem)
        result = TurnResult(
            output=output,
            session_id=self.session_id,
            run_id=self._run_id,
            status=status,
            model=self._progress.model,
            recall_id=self._recall.recall_id if self._recall else None,
            tool_calls=tuple(
                ToolCallReport(outcome.request.name, outcome.ok, outcome.duration_s)
                for outcome in self._progress.outcomes
            ),
            usage=self._progress.usage,
            warnings=tuple(self._warnings),
        )
        self._emitter.emit(RunFinished(result.to_json()))
        return result

    async def _fail(self, status: str, error: HubError | None) -> None:
        why = error.message if error else "the turn was cancelled"
        await self._commit(self._record(status, None, why))
        told = error.to_json_rpc() if error else {"code": -32800, "message": why}
        self._emitter.emit(RunFailed(told))

    async def _commit(self, turn: Turn) -> str | None:
        """Put the turn on record; returns why that was not possible."""
        try:
            async with asyncio.timeout(_COMMIT_DEADLINE_S):
                await self._journal.settled()
                await self._agent._sessions.commit(turn, self._prompt)
        except TimeoutError:
            problem = f"the store did not answer within {_COMMIT_DEADLINE_S:g} s"
        except HubError as error:
            problem = error.message
        else:
            return None
        log.error("turn not recorded", extra={"run_id": self._run_id, "error": problem})
        return problem

    def _record(
        self, status: str, output: str | None, error: str | None, messages: Sequence[Json] | None = None
    ) -> Turn:
        progress, recall, now = self._progress, self._recall, self._agent._clock.now()
        return Turn(
            run_id=self._run_id,
            session_id=self.session_id,
            started_at=self._started_at,
            ended_at=now,
            status=status,
            caller={
                "name": self._caller.name,
                "face": self._caller.face,
                "project": self._caller.project,
                "hops": self._caller.hops,
            },
            input=self._message,
            output=output,
            messages=list(progress.messages if messages is None else messages),
            tool_calls=[outcome.to_json() for outcome in progress.outcomes],
            usage=progress.usage.to_json(),
            model=progress.model or None,
            recall_id=recall.recall_id if recall else None,
            prompt=self._prompt.digest if self._prompt else None,
            context={
                "recalled": [hit.episode.episode_id for hit in recall.hits] if recall else [],
                "turns": [turn.seq for turn in self._earlier],
            },
            timings={
                "recall_s": round(self._recall_s, 4),
                "model_s": round(progress.model_s, 4),
                "tools_s": round(progress.tools_s, 4),
                "total_s": round(now - self._started_at, 4),
            },
            error=error,
        )
