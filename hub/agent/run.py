"""One run: a turn from the moment it has its session to the moment it is on record."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hub.agent import recollection
from hub.agent.context import Context
from hub.agent.events import Emitter, Listener, Recalled, Replied, RunFailed, RunFinished, RunStarted
from hub.agent.journal import Journal
from hub.agent.ports import Memory, Model, ToolSurface
from hub.agent.prompt import system_prompt
from hub.agent.result import Status, ToolCallReport, TurnResult
from hub.agent.results import URI_PREFIX, LongResults
from hub.agent.structured import Structure
from hub.agent.toolbelt import Toolbelt
from hub.agent.turn import Progress, TurnLoop
from hub.calls import Caller, Json
from hub.clock import Clock
from hub.errors import HubError, ModelTimeout, NotAllowed, TurnCancelled
from hub.memory.episode import Recall
from hub.sessions import Prompt, Summary, Turn
from hub.settings import AgentSettings

if TYPE_CHECKING:
    from hub.sessions import Sessions

log = logging.getLogger(__name__)

_MEMORY_DEADLINE_S = 15.0
_COMMIT_DEADLINE_S = 10.0
_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Parts:
    """What runs work with; `Agent` says what each of them is."""

    router: ToolSurface
    memory: Memory | None
    sessions: Sessions
    model: Model
    clock: Clock


class Run:
    """One turn from the moment it has its session to the moment it is on record."""

    def __init__(
        self,
        parts: Parts,
        caller: Caller,
        session_id: str,
        run_id: str,
        message: str,
        listener: Listener | None,
        settings: AgentSettings,
        structure: Structure | None,
        instructions: str | None = None,
        history: Sequence[Turn] = (),
    ) -> None:
        self._parts = parts
        self._settings = settings
        self._structure = structure
        self._instructions = instructions
        self._history = history
        self._caller = caller
        self.session_id = session_id
        self._run_id = run_id
        self._message = message
        self._emitter = Emitter(run_id, session_id, parts.clock, listener)
        self._started_at = parts.clock.now()
        self._progress = Progress([{"role": "user", "content": message}], model="")
        self._recall: Recall | None = None
        self._recall_s = 0.0
        self._prompt: Prompt | None = None
        self._context: Context | None = None
        self._journal = Journal(run_id, self._write_step)
        self._warnings: list[str] = []

    @property
    def inbox(self) -> deque[str]:
        """What the user says while the turn is running."""
        return self._progress.inbox

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

    def close(self) -> None:
        """Tell whoever listens that nothing comes, where the run ended before it had its session."""
        if not self._emitter.began:
            self._emitter.emit(RunFailed({"code": TurnCancelled.code, "message": "the run never began"}))

    async def _take(self, ends_at: float) -> tuple[str, Status]:
        parts, settings = self._parts, self._settings
        choice = await parts.model.choice()
        self._progress.model = choice.model
        self._journal.add(self._progress.messages)
        await self._check_budgets()
        summary, earlier = await parts.sessions.window(self.session_id, settings.prompt_turns)
        await self._remember()
        tool_caller = Caller(
            name=self._caller.name,
            face="agent",
            project=self._caller.project,
            hops=self._caller.hops + 1,
            run_id=self._run_id,
            profile=self._caller.profile,
        )
        results = LongResults(parts.sessions, self._run_id, self.session_id, settings.tool_result_chars_max)
        results.any = any(URI_PREFIX in str(turn.messages) for turn in earlier)
        belt = Toolbelt(
            parts.router,
            tool_caller,
            self._emitter,
            self._message,
            tools_max=settings.tools_max,
            results=results,
        )
        system = system_prompt(settings.system_prompt, self._caller, self._started_at)
        if self._instructions:
            system = f"{system}\n\n{self._instructions}"
        if self._structure is not None:
            system = f"{system}\n\n{self._structure.instruction}"
        self._context = Context(
            parts.model,
            settings.context_tokens_max,
            system,
            summary,
            [*self._history, *earlier],
            self._recall,
            self._keep_summary,
            self._emitter,
        )
        loop = TurnLoop(
            parts.model,
            belt,
            self._context,
            settings,
            self._structure,
            self._emitter,
            self._journal,
            ends_at,
            self._progress,
        )
        try:
            return await loop.run()
        finally:
            # At the end, because a search may have shown more tools than the turn began with.
            self._prompt = Prompt(system, belt.shown)

    async def _check_budgets(self) -> None:
        """Refuse a turn when its session or the day has cost what it may.

        Raises:
            NotAllowed: It has.
        """
        settings, sessions = self._settings, self._parts.sessions
        if settings.session_cost_usd_max is not None:
            spent = await sessions.cost_usd(session_id=self.session_id)
            if spent >= settings.session_cost_usd_max:
                raise NotAllowed(
                    f"session {self.session_id!r} has cost ${spent:.2f}, all that agent.session_cost_usd_max "
                    "in hub.toml allows. Begin another session, or raise it"
                )
        if settings.day_cost_usd_max is not None:
            midnight = self._started_at - self._started_at % _DAY_S
            spent = await sessions.cost_usd(since=midnight)
            if spent >= settings.day_cost_usd_max:
                raise NotAllowed(
                    f"today's turns have cost ${spent:.2f}, all that agent.day_cost_usd_max in hub.toml "
                    "allows. Go on tomorrow (UTC), or raise it"
                )

    async def _keep_summary(self, summary: Summary) -> None:
        await self._parts.sessions.summarise(self.session_id, summary)

    async def _remember(self) -> None:
        if self._parts.memory is None:
            return
        clock = asyncio.get_running_loop().time
        began = clock()
        self._recall, problem = await recollection.recall(
            self._parts.memory, self._caller, self._run_id, self._message, _MEMORY_DEADLINE_S
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
        await self._parts.sessions.keep_step(self._record("running", None, None, messages), n)

    async def _succeed(self, output: str, status: Status) -> TurnResult:
        self._emitter.emit(Replied(output))
        problem = await self._commit(self._record(status, output, None))
        if problem:
            self._warnings.append(f"the turn is not on record: {problem}")
        if self._parts.memory is not None:
            made = [outcome.to_json() for outcome in self._progress.outcomes]
            problem = await recollection.keep(
                self._parts.memory,
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
            structured=self._progress.structured,
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
                await self._journal.close()
                await self._parts.sessions.commit(turn, self._prompt)
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
        progress, recall, now = self._progress, self._recall, self._parts.clock.now()
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
                "turns": [turn.seq for turn in self._context.earlier if turn.seq] if self._context else [],
                **(
                    {"history": [m for turn in self._history for m in turn.messages]} if self._history else {}
                ),
            },
            timings={
                "recall_s": round(self._recall_s, 4),
                "model_s": round(progress.model_s, 4),
                "tools_s": round(progress.tools_s, 4),
                "total_s": round(now - self._started_at, 4),
            },
            error=error,
        )
