"""Edits of JSON files that others write too."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest

from hub.json_text import parse_json, remove_member, set_member, write_atomically

COMMENTED = """\
{
    // my servers
    "mcpServers": {
        "a": {"command": "x"}, // the first
        /* "b" is next */
        "b": {
            "command": "y",
        },
    },
    "theme": "dark" // keep
}
"""


def test_a_member_is_added_in_the_files_own_style_and_nothing_else_changes() -> None:
    added = set_member(COMMENTED, ["mcpServers", "c"], {"command": "z"})
    assert parse_json(added)["mcpServers"]["c"] == {"command": "z"}
    lines = added.splitlines()
    assert [line for line in COMMENTED.splitlines() if line not in lines] == []
    assert '        "c": {' in lines
    assert '            "command": "z"' in lines
    # And it comes out again as if it had never been there.
    removed = remove_member(added, ["mcpServers", "c"])
    assert removed == COMMENTED.replace("        },\n", "        }\n")


def test_a_value_is_replaced_in_place() -> None:
    changed = set_member(COMMENTED, ["mcpServers", "a", "command"], "other")
    assert changed == COMMENTED.replace('"x"', '"other"')


@pytest.mark.parametrize(
    ("text", "path", "result"),
    [
        ("", ["a"], '{\n  "a": 1\n}\n'),
        ("{}", ["a"], '{\n  "a": 1\n}'),
        ("{}", ["a", "b"], '{\n  "a": {\n    "b": 1\n  }\n}'),
        ('{"b": 2}', ["a"], '{"b": 2, "a": 1}'),
        ('{ "b": 2, }', ["a"], '{ "b": 2, "a": 1, }'),
        ('{ "b": 2 /* two */ }', ["a"], '{ "b": 2, "a": 1 /* two */ }'),
        ('{\n\t"b": {}\n}', ["b", "a"], '{\n\t"b": {\n\t\t"a": 1\n\t}\n}'),
        ('{\r\n  "b": 2\r\n}\r\n', ["a"], '{\r\n  "b": 2,\r\n  "a": 1\r\n}\r\n'),
        ("{\n  // none yet\n}", ["a"], '{\n  // none yet\n  "a": 1\n}'),
        ('{\n  "b": 2, // two\n}', ["a"], '{\n  "b": 2, // two\n  "a": 1\n}'),
        ('{"a": 0, "a": {"x": [1]}}', ["a"], '{"a": 0, "a": 1}'),
        ('\ufeff{"b": 2}', ["b"], '\ufeff{"b": 1}'),
    ],
)
def test_where_a_member_is_put(text: str, path: list[str], result: str) -> None:
    assert set_member(text, path, 1) == result


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ('{"a": 1}', "{}"),
        ('{"a": 1, "b": 2}', '{"b": 2}'),
        ('{"b": 2, "a": 1}', '{"b": 2}'),
        ('{"b": 2, "a": 1, "c": 3}', '{"b": 2, "c": 3}'),
        ('{\n  "a": 1\n}', "{\n}"),
        ('{\n  "a": {\n    "x": 1\n  },\n  "b": 2\n}', '{\n  "b": 2\n}'),
        ('{\n  "b": 2, // two\n  "a": 1 // one\n}', '{\n  "b": 2 // two\n}'),
        ('{\n  "b": 2\n  , "a": 1\n}', '{\n  "b": 2\n  \n}'),
        ('{\n  "a": 1,\n  // of b\n  "b": 2\n}', '{\n  // of b\n  "b": 2\n}'),
        ('{"b": 2}', '{"b": 2}'),
    ],
)
def test_a_member_leaves_with_its_line_and_its_comma(text: str, result: str) -> None:
    removed = remove_member(text, ["a"])
    assert removed == result
    assert "a" not in parse_json(removed)


def test_text_with_everything_in_its_strings_survives() -> None:
    odd = {'a"//,}': ["/* no */", "\\", "\u2028\n", {"deep": "// no,]"}], "é": None}
    text = json.dumps(odd)
    assert parse_json(text) == odd
    assert parse_json(set_member(text, ["é"], "☃")) == {**odd, "é": "☃"}


def test_whatever_the_layout_an_edit_changes_one_member_and_no_comment() -> None:
    rng = random.Random(20_26)
    for _ in range(2_000):
        document = {
            key: rng.choice([1, "//,}", [], {"x": {}}]) for key in rng.sample("abcdef", rng.randint(0, 5))
        }
        text, comments = _scattered(document, rng)
        assert parse_json(text) == document, text
        key = rng.choice("abcdef")
        put = set_member(text, [key], {"new": [1]})
        assert parse_json(put) == {**document, key: {"new": [1]}}, text
        gone = remove_member(text, [key])
        assert parse_json(gone) == {one: value for one, value in document.items() if one != key}, text
        assert all(comment in put for comment in comments)


def _scattered(document: dict[str, object], rng: random.Random) -> tuple[str, list[str]]:
    """The document as JSON with comments, line breaks and trailing commas in random places."""
    comments: list[str] = []

    def gap() -> str:
        made = rng.choice(["", "", " ", "\n  ", "\r\n", "//", "/*"])
        if made in ("//", "/*"):
            comments.append(f'{made} "{len(comments)}", }}' + (" */" if made == "/*" else ""))
            return comments[-1] + ("\n" if made == "//" else "")
        return made

    members = [
        f"{gap()}{json.dumps(key)}{gap()}:{gap()}{json.dumps(one)}{gap()}" for key, one in document.items()
    ]
    trailing = "," + gap() if members and rng.random() < 0.3 else ""
    return f"{gap()}{{{','.join(members)}{trailing}{gap()}}}{gap()}", comments


@pytest.mark.parametrize("text", ["[]", "{", '{"a": [1]}', '{"a": "b"}', "nonsense"])
def test_what_cannot_be_edited_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        set_member(text, ["a", "b"], 1)


def test_an_error_tells_the_place_in_the_text_as_written() -> None:
    with pytest.raises(json.JSONDecodeError) as caught:
        parse_json('{ // one\n  "a": 1,\n  /* two\n */ "b": oops\n}')
    assert (caught.value.lineno, caught.value.colno) == (4, 10)


@pytest.mark.skipif(os.name == "nt", reason="modes and links are POSIX")
def test_a_file_keeps_its_mode_and_its_link_and_a_new_one_is_private(tmp_path: Path) -> None:
    real = tmp_path / "dotfiles" / "mcp.json"
    write_atomically(real, "{}")
    assert real.stat().st_mode & 0o777 == 0o600
    real.chmod(0o644)
    link = tmp_path / "mcp.json"
    link.symlink_to(real)
    write_atomically(link, '{"a": 1}\r\n')
    assert link.is_symlink()
    assert real.read_bytes() == b'{"a": 1}\r\n'
    assert real.stat().st_mode & 0o777 == 0o644
    assert [file.name for file in real.parent.iterdir()] == ["mcp.json"]
