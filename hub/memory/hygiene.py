"""Keeping the memory clean: what a text must not bring in, and when two texts say the same."""

from __future__ import annotations

import hashlib
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

_FILLERS = frozenset("a an the this that these those also just really very please so then".split())
"""Words that can go without changing what a text says. Few: can and cannot, before and after must stay."""


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


def gist(text: str) -> str:
    """What a text says, the same for wordings that differ in fillers, case and punctuation alone.

    Sentence vectors cannot tell this: port 8080 and port 8081, or before and after, lie closer
    together than two wordings of the same.
    """
    words = [word for word in fulltext.words(text) if word not in _FILLERS]
    return hashlib.sha256(" ".join(words or [text]).encode()).hexdigest()
