"""What happens in a turn, as it happens.

Every event has a sequence number that counts from 1 in its run, so a listener that
was away knows what it missed. `Event.to_json` is the form that every face sends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import ClassVar

from hub.calls import Json
from hub.clock import Clock


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The turn has its session to itself and begins."""

    type: ClassVar[str] = "run.started"
    message: str


@dataclass(frozen=True, slots=True)
class Recalled:
    """Memory was asked; `episode_ids` best first, empty when nothing fits or `problem` says why not."""

    type: ClassVar[str] = "recall"
    recall_id: str | None
    episode_ids: tuple[str, ...]
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Compacted:
    """The prompt was too long: `turns` became a summary, `results` of this turn's tools were left out."""

    type: ClassVar[str] = "context.compacted"
    turns: int
    results: int


@dataclass(frozen=True, slots=True)
class MessageAdded:
    """The user said something more while the turn was running."""

    type: ClassVar[str] = "message.added"
    message: str


@dataclass(frozen=True, slots=True)
class ModelAsked:
    """A request to the model begins; `round` counts from 1."""

    type: ClassVar[str] = "model.asked"
    round: int
    model: str


@dataclass(frozen=True, slots=True)
class ModelDelta:
    """A piece of the model's text."""

    type: ClassVar[str] = "model.delta"
    text: str


@dataclass(frozen=True, slots=True)
class ModelRestarted:
    """The pieces since the last `model.asked` are void: the answer starts anew."""

    type: ClassVar[str] = "model.restarted"
    reason: str


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """A tool call begins; `call_id` ties it to its end."""

    type: ClassVar[str] = "tool.started"
    call_id: str
    name: str
    arguments: Json


@dataclass(frozen=True, slots=True)
class ToolProgress:
    """A tool reports how far it is."""

    type: ClassVar[str] = "tool.progress"
    call_id: str
    progress: float
    total: float | None
    message: str | None


@dataclass(frozen=True, slots=True)
class ToolFinished:
    """A tool call ended; `preview` is the beginning of what the model reads."""

    type: ClassVar[str] = "tool.finished"
    call_id: str
    name: str
    ok: bool
    duration_s: float
    preview: str


@dataclass(frozen=True, slots=True)
class Replied:
    """The turn's answer, whole."""

    type: ClassVar[str] = "reply"
    output: str


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The turn ended and is recorded; `result` is the `TurnResult` as JSON."""

    type: ClassVar[str] = "run.finished"
    result: Json


@dataclass(frozen=True, slots=True)
class RunFailed:
    """The turn ended without an answer; `error` has the form of a JSON-RPC error."""

    type: ClassVar[str] = "run.failed"
    error: Json


Step = (
    RunStarted
    | Recalled
    | Compacted
    | MessageAdded
    | ModelAsked
    | ModelDelta
    | ModelRestarted
    | ToolStarted
    | ToolProgress
    | ToolFinished
    | Replied
    | RunFinished
    | RunFailed
)


@dataclass(frozen=True, slots=True)
class Event:
    """One step of a run.

    Attributes:
        seq: Counts from 1 in the run.
        at: Seconds since the epoch, UTC.
        run_id: The run.
        session_id: The session it belongs to.
        step: What happened.
    """

    seq: int
    at: float
    run_id: str
    session_id: str
    step: Step

    @property
    def type(self) -> str:
        return self.step.type

    @property
    def last(self) -> bool:
        """Whether no event of the run follows."""
        return isinstance(self.step, RunFinished | RunFailed)

    def to_json(self) -> Json:
        """The event as one flat object, its `type` and the step's own members beside the rest."""
        return {
            "seq": self.seq,
            "type": self.type,
            "at": self.at,
            "run_id": self.run_id,
            "session_id": self.session_id,
            **asdict(self.step),
        }


Listener = Callable[[Event], None]
"""Hears events in order. It is called inside the turn: it must not block, and not raise."""


class Emitter:
    """Numbers the events of one run and hands them to its listener."""

    def __init__(self, run_id: str, session_id: str, clock: Clock, listener: Listener | None) -> None:
        self._run_id = run_id
        self._session_id = session_id
        self._clock = clock
        self._listener = listener
        self._seq = 0

    @property
    def began(self) -> bool:
        """Whether there was an event."""
        return self._seq > 0

    def emit(self, step: Step) -> None:
        """Tell the listener of the next step, if there is one."""
        self._seq += 1
        if self._listener is not None:
            self._listener(Event(self._seq, self._clock.now(), self._run_id, self._session_id, step))
