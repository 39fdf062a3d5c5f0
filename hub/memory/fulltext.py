"""Search by words, ranked by BM25.

SQLite's FTS5 does it here; another engine would get a class of the same methods. The
table has one row for each living episode, with the scope as a word of its own, so
that the scope narrows the search itself and not its result.
"""

from __future__ import annotations

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

_WORD = re.compile(r"\w+")
_STOPWORDS = frozenset(
    "a about after all also am an and any are as at be because been before being but by can could did "
    "do does doing for from had has have having he her here hers him his how i if in into is it its "
    "just me might more most my no nor not of on once only or other our out over own she should so some "
    "such than that the their them then there these they this those through to too under until up very "
    "was we were what when where which while who whom whose why will with would you your".split()
)
"""Words too common to tell one episode from another."""

_PUT = text("INSERT INTO episode_words (rowid, scope, text) VALUES (:id, :scope, :text)")
_DELETE = text("DELETE FROM episode_words WHERE rowid = :id")
_SEARCH = text(
    "SELECT rowid, -bm25(episode_words, 0.0, 1.0) AS score FROM episode_words "
    "WHERE episode_words MATCH :query ORDER BY bm25(episode_words, 0.0, 1.0) LIMIT :limit"
)


def terms(query: str) -> list[str]:
    """The words of a query that tell something, lower case, each once, at most `TERMS_MAX`."""
    words = dict.fromkeys(word.lower() for word in _WORD.findall(query))
    telling = [word for word in words if word not in _STOPWORDS]
    return (telling or list(words))[:TERMS_MAX]


def put(connection: Connection, key: int, scope: Scope, words: str) -> None:
    """Add an episode's text."""
    connection.execute(_PUT, {"id": key, "scope": _scope_word(scope), "text": words})


def delete(connection: Connection, keys: Sequence[int]) -> None:
    """Remove episodes; unknown ones are ignored."""
    if keys:
        connection.execute(_DELETE, [{"id": key} for key in keys])


def search(
    connection: Connection, query: str, scopes: Sequence[Scope], limit: int
) -> list[tuple[int, float]]:
    """The episodes that share a word with the query: keys and BM25 scores above 0, best first."""
    words = terms(query)
    if not words or not scopes:
        return []
    within = " OR ".join(_scope_word(scope) for scope in scopes)
    wanted = " OR ".join(f'"{word}"' for word in words)
    rows = connection.execute(
        _SEARCH, {"query": f"(scope : ({within})) AND (text : ({wanted}))", "limit": limit}
    )
    return [(row[0], row[1]) for row in rows]


def _scope_word(scope: Scope) -> str:
    return "s" + hashlib.sha256(str(scope).encode()).hexdigest()[:16]
