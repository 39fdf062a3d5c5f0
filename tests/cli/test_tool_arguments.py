"""How typed words become a tool's arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hub.cli.tool_arguments import from_json, from_words, usage
from hub.errors import InvalidArguments

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "path": {"type": "string"},
        "limit": {"type": "integer"},
        "ratio": {"type": "number"},
        "deep": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "where": {"type": "object"},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "ids": {"anyOf": [{"type": "array", "items": {"type": "integer"}}, {"type": "null"}]},
        "zone": {"$ref": "#/$defs/Zone"},
        "free": {},
    },
    "required": ["path"],
    "additionalProperties": False,
    "$defs": {"Zone": {"enum": ["utc", "local"]}},
}


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("limit=5", 5),
        ("limit=-1", -1),
        ("ratio=0.5", 0.5),
        ("ratio=2", 2),
        ("deep=true", True),
        ("tags=a", ["a"]),
        ("tags=a=b", ["a=b"]),
        ('tags=["a", "b"]', ["a", "b"]),
        ("tags:=[]", []),
        ('where={"a": 1}', {"a": 1}),
        ("note=null", None),
        ("note=5", "5"),
        ("ids=5", [5]),
        ("zone=utc", "utc"),
        ("free=5", 5),
        ("free=five", "five"),
        ("free:=[5]", [5]),
    ],
)
def test_a_value_is_read_by_its_schema(word: str, value: object) -> None:
    key = word.partition("=")[0].rstrip(":")
    assert from_words("t", ["path=x", word], SCHEMA) == {"path": "x", key: value}


def test_text_that_looks_like_json_stays_text_where_the_schema_wants_text() -> None:
    assert from_words("t", ["path=123"], SCHEMA) == {"path": "123"}
    assert from_words("t", ["path=a=b"], SCHEMA) == {"path": "a=b"}


def test_a_repeated_key_fills_a_list() -> None:
    assert from_words("t", ["path=x", "tags=a", "tags=b"], SCHEMA)["tags"] == ["a", "b"]


def test_a_value_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "note.md").write_text("hello\n")
    assert from_words("t", [f"path=@{tmp_path / 'note.md'}"], SCHEMA) == {"path": "hello\n"}
    assert from_words("t", ["path=\\@ada"], SCHEMA) == {"path": "@ada"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "needs path"),
        (["README.md"], "is not key=value"),
        (["path=x", "pth=y"], "no argument 'pth'"),
        (["path=x", "limit=many"], "limit is integer"),
        (["path=x", "limit=1.5"], "limit is integer"),
        (["path=x", "deep=yes"], "deep is boolean"),
        (["path=x", "path=y"], "given twice"),
        (["path=@/no/such/file"], "cannot be read"),
        (["path=x", "where:={"], "where is JSON"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(words: list[str], said: str) -> None:
    with pytest.raises(InvalidArguments, match="t") as caught:
        from_words("t", words, SCHEMA)
    assert said in caught.value.message


def test_a_tool_that_allows_more_takes_more() -> None:
    assert from_words("t", ["anything=1"], {"type": "object"}) == {"anything": 1}


def test_usage_names_what_is_required_first_hand() -> None:
    assert usage("t", SCHEMA).startswith("t takes path=<string> [limit=<integer>]")
    assert usage("t", {}) == "t takes no arguments"


@pytest.mark.parametrize("text", ["[1]", "{", "5"])
def test_json_arguments_are_an_object(text: str) -> None:
    with pytest.raises(InvalidArguments, match="--arguments"):
        from_json(text, "--arguments")
