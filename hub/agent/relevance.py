"""Which tools a model is shown when there are more than it can use well.

Words of the request are matched against names and descriptions; a rare word counts
for more. No model and no index: it runs in every turn, over every tool.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Sequence

from hub.calls import Json

_WORD = re.compile(r"[a-z0-9]+")
_CAMEL_STEP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def most_relevant(
    tools: Sequence[Json], request: str, count: int, always: Collection[str] = ()
) -> list[Json]:
    """The tools that fit a request best, in the order of their names.

    The order is that of the names, so that the same tools make the same prompt.

    Args:
        tools: MCP tool definitions.
        request: What is wanted.
        count: How many at most.
        always: Names that are taken whatever is wanted.
    """
    if len(tools) <= count:
        return sorted(tools, key=_name)
    words = [_words(tool) for tool in tools]
    spread = Counter(word for found in words for word in set(found))
    wanted = set(_split(request))

    def score(n: int) -> float:
        found = words[n]
        return sum(
            found[word] * math.log(1 + len(tools) / spread[word]) for word in wanted if word in found
        ) / math.sqrt(1 + found.total())

    order = sorted(
        range(len(tools)), key=lambda n: (_name(tools[n]) not in always, -score(n), _name(tools[n]))
    )
    return sorted((tools[n] for n in order[:count]), key=_name)


def _words(tool: Json) -> Counter[str]:
    """The words of a tool; those of its name count threefold."""
    named = _split(_name(tool))
    described = _split(f"{tool.get('title') or ''} {tool.get('description') or ''}"[:1000])
    return Counter(named * 3 + described)


def _split(text: str) -> list[str]:
    return [_stem(word) for word in _WORD.findall(_CAMEL_STEP.sub(" ", text).lower())]


def _stem(word: str) -> str:
    """A crude stem, so that `files` finds `file` and `searching` finds `search`."""
    for ending in ("ing", "es", "ed", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def _name(tool: Json) -> str:
    return str(tool["name"])
