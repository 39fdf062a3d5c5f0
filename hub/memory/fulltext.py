"""Search by words, ranked by BM25.

SQLite's FTS5 does it here; another engine would get a module of the same functions.
The table has one row for each living episode: its text, what stands next to it in its
thread as context, and its scope as a word of its own, so that the scope narrows the
search itself and not its result.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import text

from hub.memory.episode import Scope

if TYPE_CHECKING:
    from sqlalchemy import Connection

TERMS_MAX = 64
"""How many words of a query are searched; a pasted page does not become a thousand-way match."""
SCORED_MAX = 4_000
"""How many episodes one search scores, as far as leaving common words out can bound it."""
COUNTS_MAX = 10_000
"""How many words' counts are remembered."""
CONTEXT_WEIGHT = 0.4
"""What a word counts that stands next to an episode and not in it."""

_WORD = re.compile(r"\w+")
_STOPWORDS = frozenset(
    "a about after all also am an and any are as at be because been before being but by can could did "
    "do does doing for from had has have having he her here hers him his how i if in into is it its "
    "just me might more most my no nor not of on once only or other our out over own she should so some "
    "such than that the their them then there these they this those through to too under until up very "
    "was we were what when where which while who whom whose why will with would you your".split()
)
"""Words too common to tell one episode from another."""

_PUT = text("INSERT INTO episode_words (rowid, scope, text, context) VALUES (:id, :scope, :text, :context)")
_REWORD = text("UPDATE episode_words SET text = :text WHERE rowid = :id")
_SURROUND = text("UPDATE episode_words SET context = :context WHERE rowid = :id")
_DELETE = text("DELETE FROM episode_words WHERE rowid = :id")
_SEARCH = text(
    f"SELECT rowid, bm25(episode_words, 0.0, 1.0, {CONTEXT_WEIGHT}) AS score FROM episode_words "
    "WHERE episode_words MATCH :query ORDER BY score LIMIT :limit"
)
_NEWEST = text("SELECT max(rowid) FROM episode_words")
_COUNT = text(
    "SELECT count(*) FROM (SELECT 1 FROM episode_words WHERE episode_words MATCH :query LIMIT :limit)"
)


def words(passage: str) -> list[str]:
    """The words of a passage in order, lower case."""
    return _WORD.findall(passage.lower())


def terms(query: str) -> list[str]:
    """The words of a query that tell something, each once, at most `TERMS_MAX`; all when none does."""
    distinct = list(dict.fromkeys(words(query)))
    return ([word for word in distinct if word not in _STOPWORDS] or distinct)[:TERMS_MAX]


def stems(passage: str) -> set[str]:
    """The distinct words of a passage without their commonest endings."""
    return {_stem(word) for word in words(passage)}


def shared(wanted: Sequence[str], held: set[str]) -> list[str]:
    """Which of some words a passage holds, given its stems."""
    return [word for word in wanted if _stem(word) in held]


def put(connection: Connection, key: int, scope: Scope, passage: str, context: str) -> None:
    """Add an episode's text and what stands next to it."""
    row = {"id": key, "scope": _scope_word(scope), "text": passage, "context": context}
    connection.execute(_PUT, row)


def reword(connection: Connection, key: int, passage: str) -> None:
    """Replace an episode's text."""
    connection.execute(_REWORD, {"id": key, "text": passage})


def surround(connection: Connection, key: int, context: str) -> None:
    """Replace what stands next to an episode."""
    connection.execute(_SURROUND, {"id": key, "context": context})


def delete(connection: Connection, keys: Sequence[int]) -> None:
    """Remove episodes; unknown ones are ignored."""
    if keys:
        connection.execute(_DELETE, [{"id": key} for key in keys])


def search(
    connection: Connection, query: str, scopes: Sequence[Scope], limit: int, vocabulary: Vocabulary
) -> list[tuple[int, float]]:
    """The episodes that share a word with the query: keys and BM25 scores above 0, best first."""
    wanted = vocabulary.telling(connection, terms(query))
    if not wanted or not scopes:
        return []
    within = " OR ".join(_scope_word(scope) for scope in scopes)
    either = " OR ".join(f'"{word}"' for word in wanted)
    match = f"(scope : ({within})) AND ({{text context}} : ({either}))"
    return [(row[0], -row[1]) for row in connection.execute(_SEARCH, {"query": match, "limit": limit})]


class Vocabulary:
    """How common words are, to leave out those that cost much and tell little.

    Scoring takes a microsecond for each episode that shares any word with the query, so a
    word that stands everywhere makes a search slow and changes little in its order.
    """

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._newest = 0

    def telling(self, connection: Connection, wanted: Sequence[str]) -> list[str]:
        """The rarest words that together stand in at most `SCORED_MAX` episodes; at least one."""
        newest = connection.execute(_NEWEST).scalar() or 0
        if newest <= SCORED_MAX:
            return list(wanted)
        if newest > self._newest * 1.25 or len(self._counts) > COUNTS_MAX:
            self._counts.clear()
            self._newest = newest
        counts = {word: self._count(connection, word) for word in wanted}
        telling: list[str] = []
        total = 0
        for word in sorted(wanted, key=counts.__getitem__):
            total += counts[word]
            if telling and total > SCORED_MAX:
                break
            telling.append(word)
        return telling

    def _count(self, connection: Connection, word: str) -> int:
        """In how many episodes a word stands, counted no further than matters."""
        if word not in self._counts:
            count = connection.execute(_COUNT, {"query": f'text : "{word}"', "limit": SCORED_MAX}).scalar()
            self._counts[word] = count or 0
        return self._counts[word]


@functools.lru_cache(maxsize=20_000)
def _stem(word: str) -> str:
    """A word without the endings that English adds most."""
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            break
    return word.removesuffix("e")


def _scope_word(scope: Scope) -> str:
    return "s" + hashlib.sha256(str(scope).encode()).hexdigest()[:16]
