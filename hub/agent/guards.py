"""Loop guards: notice a model that goes in circles.

A call that has had the same result several times is not made again, and neither is
the next step of two calls that take turns without anything changing. The model reads
why; when it does not take the hint, the turn ends with what it has.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass

from hub.calls import Json

_WINDOW = 20
_REPEATS_MAX = 3
_PING_PONGS_MAX = 3
_HINTS_MAX = 3


@dataclass(frozen=True, slots=True)
class _Made:
    """A call that was made, and what came of it."""

    call: int
    result: int


class LoopGuard:
    """Watches the tool calls of one turn, the last twenty of them.

    Attributes:
        hints: How many calls were refused so far.
    """

    def __init__(self) -> None:
        self._made: deque[_Made] = deque(maxlen=_WINDOW)
        self.hints = 0

    @property
    def hopeless(self) -> bool:
        """Whether the model ignored every hint it can expect."""
        return self.hints >= _HINTS_MAX

    def refusal(self, name: str, arguments: Json) -> str | None:
        """Why a call would only go in a circle; None when it should be made."""
        call = _key(name, arguments)
        same = [made for made in self._made if made.call == call]
        if len(same) >= _REPEATS_MAX and len({made.result for made in same[-_REPEATS_MAX:]}) == 1:
            self.hints += 1
            return (
                f"Not called: {name} was called {len(same)} times with these arguments and gave the same "
                "result every time. Use that result, or do something different."
            )
        if self._ping_pong(call):
            self.hints += 1
            return (
                f"Not called: {name} and the call before it have taken turns {_PING_PONGS_MAX} times with "
                "the same results. Use those results, or do something different."
            )
        return None

    def record(self, name: str, arguments: Json, result: str) -> None:
        """Remember a call that was made."""
        self._made.append(_Made(_key(name, arguments), hash(result)))

    def _ping_pong(self, call: int) -> bool:
        """Whether the last calls were A B A B A B, each with one result, and `call` is A again."""
        length = 2 * _PING_PONGS_MAX
        if len(self._made) < length:
            return False
        latest = list(self._made)[-length:]
        first, second = latest[0], latest[1]
        return (
            first.call == call and first.call != second.call and latest == [first, second] * _PING_PONGS_MAX
        )


def _key(name: str, arguments: Json) -> int:
    return hash((name, json.dumps(arguments, sort_keys=True)))
