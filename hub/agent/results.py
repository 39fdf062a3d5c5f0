"""Long tool results: the model reads the beginning, and the rest by a reference when it needs it.

A result over the limit is kept with its session and named `hub://results/ID`. The
model then has one more tool, `results.read`, for further parts of it.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from hub.agent.prompt import cut
from hub.calls import Json
from hub.errors import HubError

if TYPE_CHECKING:
    from hub.sessions import Sessions

log = logging.getLogger(__name__)

NAME = "results.read"
URI_PREFIX = "hub://results/"

TOOL: Json = {
    "name": NAME,
    "title": "Read a long result",
    "description": f"Reads a part of a tool result that was too long to show whole ({URI_PREFIX}ID). "
    "Give `find` to begin at the next place that holds these words.",
    "inputSchema": {
        "type": "object",
        "properties": {
            "id": {"type": "string", "description": f"The ID, with or without {URI_PREFIX}."},
            "offset": {"type": "integer", "minimum": 0, "default": 0, "description": "Characters to skip."},
            "find": {"type": "string", "description": "Words to look for, from the offset on."},
        },
        "required": ["id"],
        "additionalProperties": False,
    },
    "annotations": {"readOnlyHint": True, "openWorldHint": False},
}

_BEFORE_CHARS = 200
"""How much is shown before the place that was found."""


class LongResults:
    """The long results of one session, as one of its turns sees them.

    Args:
        sessions: Keeps them.
        run_id: The turn.
        session_id: The session.
        chars_max: How much of a result the model reads at once.

    Attributes:
        any: Whether there is one that the model knows of.
    """

    def __init__(self, sessions: Sessions, run_id: str, session_id: str, chars_max: int) -> None:
        self._sessions = sessions
        self._run_id = run_id
        self._session_id = session_id
        self._chars_max = chars_max
        self.any = False

    async def shorten(self, name: str, text: str) -> str:
        """What the model reads of a result: all of it, or the beginning and where the rest is.

        Args:
            name: The tool it came from.
            text: The result.
        """
        if len(text) <= self._chars_max:
            return text
        try:
            result_id = await self._sessions.keep_result(self._session_id, self._run_id, name, text)
        except HubError as error:
            log.error("result not kept", extra={"run_id": self._run_id, "error": error.message})
            return cut(text, self._chars_max)
        self.any = True
        return (
            f"{text[: self._chars_max]}\n[cut: {self._chars_max:,} of {len(text):,} characters are shown; "
            f"the whole is {URI_PREFIX}{result_id}, and {NAME} reads further parts of it]"
        )

    async def read(self, arguments: Json) -> tuple[bool, str]:
        """Answer a call of `results.read`: whether it succeeded, and what the model reads."""
        result_id, offset, find = arguments.get("id"), arguments.get("offset", 0), arguments.get("find")
        if not isinstance(result_id, str) or not isinstance(offset, int) or offset < 0:
            return False, "Not read: `id` must be a string, and `offset` a whole number of at least 0."
        try:
            text = await self._sessions.result(result_id.removeprefix(URI_PREFIX), self._session_id)
        except HubError as error:
            return False, f"Not read: {error.message}"
        if isinstance(find, str) and find:
            found = re.compile(re.escape(find), re.IGNORECASE).search(text, offset)
            if found is None:
                return False, f"{find!r} does not occur after character {offset:,} of {len(text):,}."
            offset = max(0, found.start() - _BEFORE_CHARS)
        part = text[offset : offset + self._chars_max]
        return True, f"{part}\n[characters {offset:,} to {offset + len(part):,} of {len(text):,}]"
