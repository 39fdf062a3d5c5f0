"""Telling text from binary, and decoding it."""

from __future__ import annotations

import codecs

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark is how it begins
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE_BYTES = 8192
_CONTROL = frozenset(range(32)) - frozenset(b"\t\n\r\f\b\x1b")
_CONTROL_SHARE_MAX = 0.02


def decode(content: bytes) -> tuple[str, str] | None:
    """Decode a file's content.

    A byte order mark decides; else UTF-8 if all of it is; else, where it looks like
    text, Windows-1252, the commonest of the old encodings.

    Returns:
        The text and the encoding's name; None for binary content.
    """
    for bom, encoding in _BOMS:
        if content.startswith(bom):
            try:
                return content.decode(encoding), encoding.removesuffix("-sig")
            except UnicodeDecodeError:
                return None
    sample = content[:_SAMPLE_BYTES]
    if b"\0" in sample:
        return None
    try:
        return content.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        pass
    if sum(byte in _CONTROL for byte in sample) > len(sample) * _CONTROL_SHARE_MAX:
        return None
    try:
        return content.decode("cp1252"), "cp1252"
    except UnicodeDecodeError:
        return content.decode("latin-1"), "latin-1"
