"""Keeping the memory clean: what a text must not bring in, and when two texts say the same."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hub.memory import fulltext
from hub.redaction import hide_shapes

_INSTRUCTIONS = re.compile(
    r"\b(?:ignore|disregard|forget|override)\b[^.\n]{0,40}\b(?:previous|prior|above|earlier|all|your|any)\b"
    r"[^.\n]{0,40}\b(?:instructions?|prompts?|rules?|guidelines?|messages?|context)\b"
    r"|\byou are now\b|\bnew instructions\s*:|\bsystem prompt\b|\bdo not (?:tell|inform) the user\b"
    r"|<\s*/?\s*(?:system|assistant|im_start|im_end)\b|\[/?INST\]",
    re.IGNORECASE,
)
"""What a text says that speaks to the model that reads it, rather than about what happened."""

_NEGATIONS = frozenset(
    "not no never none nor cannot without isn aren wasn don doesn didn won can shouldn".split()
)
_SAME_WORDS = 0.8
"""Two texts with this share of words in common may say the same."""


@dataclass(frozen=True, slots=True)
class Cleaned:
    """A text as it may be kept, and what was found in it: `secret`, `instructions`."""

    text: str
    flags: frozenset[str]


def cleaned(text: str) -> Cleaned:
    """The text without anything that looks like a secret; what speaks to its reader is flagged."""
    shown = hide_shapes(text)
    flags = {"secret"} if shown != text else set()
    if _INSTRUCTIONS.search(text):
        flags.add("instructions")
    return Cleaned(shown, frozenset(flags))


def says_the_same(one: str, other: str) -> bool:
    """Whether two texts of nearly the same meaning also agree in what meaning models overlook.

    Port 8080 and port 8081, or can and cannot, lie close together for a sentence model.
    So numbers and negations must agree, and most of the words.
    """
    first, second = set(fulltext.words(one)), set(fulltext.words(other))
    if _particulars(first) != _particulars(second):
        return False
    return len(first & second) >= _SAME_WORDS * len(first | second)


def _particulars(words: set[str]) -> set[str]:
    return {word for word in words if word in _NEGATIONS or any(char.isdigit() for char in word)}
