"""Finding tools by what they do, when there are more than a model should read.

Ranking is BM25 (Robertson and Zaragoza 2009, k1 = 1.2, b = 0.75) over a tool's
name, title, description and the names and descriptions of its arguments; a word in
the name counts three times.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from hub.calls import Json

_K1 = 1.2
_B = 0.75
_NAME_WEIGHT = 3
_WORD = re.compile(r"[a-z]+|[0-9]+")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def words(text: str) -> list[str]:
    """The words of a text, in lower case; `createIssue` and `create_issue` have two."""
    return [_stem(word) for word in _WORD.findall(_HUMP.sub(" ", text).lower())]


def _stem(word: str) -> str:
    """A word without the endings that most often keep two forms of it apart."""
    for ending in ("ing", "ies", "es", "ed", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)] + ("y" if ending == "ies" else "")
    return word


def _terms(tool: Json) -> Counter[str]:
    terms = Counter(words(str(tool.get("name", ""))) * _NAME_WEIGHT)
    terms.update(words(str(tool.get("title", ""))))
    terms.update(words(str(tool.get("description", ""))))
    schema = tool.get("inputSchema")
    properties: Any = schema.get("properties") if isinstance(schema, dict) else None
    if isinstance(properties, dict):
        for name, property_ in properties.items():
            terms.update(words(name))
            if isinstance(property_, dict):
                terms.update(words(str(property_.get("description", ""))))
    return terms


def rank_tools(query: str, tools: Sequence[Json], limit: int) -> list[Json]:
    """The tools that fit a query, best first; those that share no word with it are left out.

    Args:
        query: What is to be done, in words.
        tools: Tool definitions.
        limit: How many to return at most.
    """
    documents = [_terms(tool) for tool in tools]
    lengths = [terms.total() for terms in documents]
    mean = (sum(lengths) / len(lengths) if lengths else 0.0) or 1.0
    scores = [0.0] * len(tools)
    for word in set(words(query)):
        holders = [index for index, terms in enumerate(documents) if word in terms]
        rarity = math.log(1 + (len(tools) - len(holders) + 0.5) / (len(holders) + 0.5))
        for index in holders:
            count = documents[index][word]
            scores[index] += (
                rarity * count * (_K1 + 1) / (count + _K1 * (1 - _B + _B * lengths[index] / mean))
            )
    best = sorted(
        (index for index in range(len(tools)) if scores[index] > 0), key=lambda index: -scores[index]
    )
    return [tools[index] for index in best[:limit]]
