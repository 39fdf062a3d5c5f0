"""Memory as a turn uses it: recall before, an episode after, neither of them fatal.

A turn without memory is worth more than no turn, so whatever memory cannot do becomes
a warning.
"""

from __future__ import annotations

import asyncio
import logging

from hub.agent.ports import Memory
from hub.agent.prompt import cut
from hub.calls import Caller, Json
from hub.errors import HubError
from hub.memory.episode import Provenance, Recall

log = logging.getLogger(__name__)

_QUERY_CHARS_MAX = 2000
_INTENT_CHARS_MAX = 2000
_EXPERIENCE_CHARS_MAX = 4000
_ARGUMENTS_CHARS_MAX = 200
_SMALL_TALK_CHARS_MAX = 80
_LOOKING = frozenset({"memory.recall", "tools.search"})
"""Tools by which the agent finds its way; calling them is no experience worth keeping."""


async def recall(
    memory: Memory, caller: Caller, run_id: str, message: str, deadline_s: float
) -> tuple[Recall | None, str | None]:
    """What memory has for a message: the project's episodes and the global ones; or why it has nothing."""
    try:
        async with asyncio.timeout(deadline_s):
            found = await memory.recall(
                message[:_QUERY_CHARS_MAX], project=caller.project, client=caller.name, run_id=run_id
            )
    except TimeoutError:
        return None, f"memory did not answer within {deadline_s:g} s; the turn went on without it"
    except HubError as error:
        log.warning("recall failed", extra={"run_id": run_id, "error": error.message})
        return None, f"memory could not be asked: {error.message}"
    return found, found.degraded


async def keep(
    memory: Memory,
    caller: Caller,
    run_id: str,
    session_id: str,
    message: str,
    found: Recall | None,
    tool_calls: list[Json],
    output: str,
    deadline_s: float,
) -> str | None:
    """Store what a turn did, unless that adds nothing; returns why it could not be stored.

    Args:
        message: What the user wanted.
        found: What was recalled for it.
        tool_calls: What was called for it.
        output: What was answered.
    """
    if adds_nothing(message, tool_calls, output):
        return None
    recalled = [hit.episode.episode_id for hit in found.hits] if found else []
    try:
        async with asyncio.timeout(deadline_s):
            await memory.store(
                experience(tool_calls, output),
                intent=cut(message, _INTENT_CHARS_MAX),
                provenance=Provenance(client=caller.name, run_id=run_id, project=caller.project),
                thread=session_id,
                # The prompt asks the model to name an episode that helped.
                parent_ids=[episode_id for episode_id in recalled if episode_id in output],
            )
    except TimeoutError:
        return f"memory did not store the turn within {deadline_s:g} s"
    except HubError as error:
        log.warning("episode not stored", extra={"run_id": run_id, "error": error.message})
        return f"the turn was not stored in memory: {error.message}"
    return None


def adds_nothing(message: str, tool_calls: list[Json], output: str) -> bool:
    """Whether a turn is not worth an episode: small talk, or one that stored its own."""
    if any(call["name"] == "memory.store" and call["ok"] for call in tool_calls):
        return True
    made = [call for call in tool_calls if call["name"] not in _LOOKING]
    return not made and len(message) + len(output) <= _SMALL_TALK_CHARS_MAX


def experience(tool_calls: list[Json], output: str) -> str:
    """What was done and answered, in the fewest words: never what was recalled."""
    lines = []
    for call in tool_calls:
        if call["name"] in _LOOKING:
            continue
        arguments = cut(str(call["arguments"]), _ARGUMENTS_CHARS_MAX)
        lines.append(f"Called {call['name']}({arguments}): {'ok' if call['ok'] else 'failed'}.")
    lines.append(f"Answered: {output}")
    return cut("\n".join(lines), _EXPERIENCE_CHARS_MAX)
