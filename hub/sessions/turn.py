"""What is kept of a conversation: turns, the prompts around them, summaries."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from hub.calls import Json
from hub.errors import InvalidArguments

_SESSION_ID_CHARS_MAX = 128


@dataclass(frozen=True, slots=True)
class Prompt:
    """What stood around the conversation in a turn's requests to the model.

    Attributes:
        system: The system prompt.
        tools: The definitions of the tools offered, as MCP has them.
    """

    system: str
    tools: Sequence[Json]

    @property
    def digest(self) -> str:
        """The SHA-256 under which equal prompts are kept once."""
        return hashlib.sha256(json.dumps([self.system, list(self.tools)]).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn, as it is kept.

    Attributes:
        run_id: Its name.
        session_id: The session it belongs to.
        seq: Its place in the session, from 1; 0 before it is committed.
        started_at: Seconds since the epoch.
        ended_at: Seconds since the epoch.
        status: How it ended: `completed`, `failed`, and so on.
        caller: Who asked: name, face, project, hops.
        input: The user's message.
        output: The answer; None when there is none.
        messages: Everything said in it, the user's message first, in OpenAI's chat form
            with tools under public names, and without what memory put beside it.
        tool_calls: What was called: name, arguments, ok, duration_s.
        usage: Tokens and cost.
        model: The model that answered last.
        recall_id: The recall whose episodes it saw.
        prompt: The digest of its system prompt and tools.
        context: What else the model saw: recalled episodes, earlier turns, summary.
        timings: Seconds spent waiting for memory, model and tools, and in all.
        error: Why it failed.
    """

    run_id: str
    session_id: str
    started_at: float
    ended_at: float
    status: str
    caller: Json
    input: str
    output: str | None
    messages: list[Json]
    tool_calls: list[Json] = field(default_factory=list)
    usage: Json = field(default_factory=dict)
    model: str | None = None
    recall_id: str | None = None
    prompt: str | None = None
    context: Json = field(default_factory=dict)
    timings: Json = field(default_factory=dict)
    error: str | None = None
    seq: int = 0


@dataclass(frozen=True, slots=True)
class TurnEntry:
    """One line of a list of turns; what `Turn` says of its members holds here, but `input` may be cut."""

    run_id: str
    session_id: str
    seq: int
    started_at: float
    ended_at: float
    status: str
    input: str
    tool_calls: list[Json]
    usage: Json
    model: str | None
    recall_id: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Found:
    """A turn that a search found.

    Attributes:
        turn: The turn.
        who: Who said what was looked for: `user`, `assistant`, `error`, or a tool by its name.
        excerpt: What stands around it.
    """

    turn: TurnEntry
    who: str
    excerpt: str


@dataclass(frozen=True, slots=True)
class Filter:
    """Which turns are wanted.

    Attributes:
        limit: How many at most.
        session_id: Only this session's; all when None.
        statuses: Only turns that ended so; all when empty.
        since: Only turns that started at or after this moment.
    """

    limit: int = 20
    session_id: str | None = None
    statuses: Sequence[str] = ()
    since: float | None = None


@dataclass(frozen=True, slots=True)
class SessionEntry:
    """One line of the list of sessions."""

    session_id: str
    title: str | None
    created_at: float
    updated_at: float
    turns: int


@dataclass(frozen=True, slots=True)
class Summary:
    """What a prompt says instead of a session's turns up to `seq`."""

    seq: int
    text: str


def checked_session_id(session_id: str) -> str:
    """A session id that can be kept and printed.

    Raises:
        InvalidArguments: It is blank, too long, or holds control characters.
    """
    if not session_id.strip():
        raise InvalidArguments("session_id is blank. Name the session, for example 'default'")
    if len(session_id) > _SESSION_ID_CHARS_MAX:
        raise InvalidArguments(f"session_id is longer than {_SESSION_ID_CHARS_MAX} characters")
    if not session_id.isprintable():
        raise InvalidArguments("session_id holds characters that cannot be printed")
    return session_id
