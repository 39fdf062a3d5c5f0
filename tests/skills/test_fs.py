"""The `fs` skill: what it reads, and what it will not."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.skills import shipped_folder

FS = shipped_folder() / "fs"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("allowed").resolve()


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outside").resolve()
    (folder / "secret.txt").write_text("nobody may see this")
    return folder


@pytest.fixture(scope="module")
def fs(start_worker: Callable[..., Any], root: Path) -> Iterator[Any]:
    env = {
        "HUB_SKILLS__FS_ROOTS": json.dumps([str(root)]),
        "HUB_SKILLS__FS_BYTES_MAX": "200000",
        "HUB_SKILLS__FS_SEARCH_DEADLINE_S": "1.5",
    }
    with start_worker(FS, env=env).running() as worker:
        yield worker


def test_tools_are_named_after_the_skill_and_say_that_they_only_read(fs: Any) -> None:
    tools = {tool.name: tool for tool in fs.tools()}
    assert set(tools) == {"fs.list", "fs.read", "fs.search"}
    for tool in tools.values():
        assert tool.annotations.read_only_hint is True
        assert tool.annotations.open_world_hint is False
        assert tool.output_schema["type"] == "object"


def test_listing_without_a_path_shows_the_allowed_folders(fs: Any, root: Path) -> None:
    listing = fs.call("fs.list")
    assert [(entry["name"], entry["kind"]) for entry in listing["entries"]] == [(str(root), "folder")]


def test_a_listing_goes_as_deep_as_asked_and_leaves_hidden_folders_closed(fs: Any, root: Path) -> None:
    project = root / "project"
    for file in ("src/app.py", "src/deep/er.py", ".git/config", "readme.md"):
        (project / file).parent.mkdir(parents=True, exist_ok=True)
        (project / file).write_text("x" * 5)
    names = [entry["name"] for entry in fs.call("fs.list", path="project", depth=2)["entries"]]
    assert names == [".git", "readme.md", "src", "src/app.py", "src/deep"]
    everything = fs.call("fs.list", path="project", depth=3, hidden=True)["entries"]
    assert {entry["name"] for entry in everything} >= {".git/config", "src/deep/er.py"}
    assert next(entry for entry in everything if entry["name"] == "readme.md")["bytes"] == 5
    assert fs.call("fs.list", path="project", depth=3, limit=2)["truncated"] is True


def test_a_long_file_is_read_in_pieces_that_make_it_whole(fs: Any, root: Path) -> None:
    text = "".join(f"line {number}\n" for number in range(25))
    (root / "long.txt").write_text(text)
    pieces: list[str] = []
    offset: int | None = 0
    while offset is not None:
        piece = fs.call("fs.read", path="long.txt", offset=offset, limit=10)
        pieces.append(piece["text"])
        assert piece["total"] == 25
        offset = piece["next_offset"]
    assert len(pieces) == 3
    assert "".join(pieces) == text
    assert fs.call("fs.read", path="long.txt", offset=-2)["text"] == "line 23\nline 24\n"
    assert fs.call("fs.read", path="long.txt", offset=99)["text"] == ""


def test_a_very_long_line_is_cut_and_can_be_read_by_characters(fs: Any, root: Path) -> None:
    (root / "minified.js").write_text("a" * 150_000 + "b" * 10)
    cut = fs.call("fs.read", path="minified.js")
    assert (cut["line_cut"], len(cut["text"])) == (True, 100_000)
    rest = fs.call("fs.read", path="minified.js", unit="characters", offset=-10, limit=100)
    assert (rest["text"], rest["next_offset"]) == ("b" * 10, None)


@pytest.mark.parametrize(
    ("content", "encoding", "text"),
    [
        (b"", "utf-8", ""),
        ("Grüße ✓".encode(), "utf-8", "Grüße ✓"),
        ("\ufeffmarked".encode(), "utf-8", "marked"),
        ("wide".encode("utf-16"), "utf-16", "wide"),
        ("Gr\xfc\xdfe, old".encode("cp1252"), "cp1252", "Grüße, old"),
    ],
)
def test_text_is_decoded_whatever_its_encoding(
    fs: Any, root: Path, content: bytes, encoding: str, text: str
) -> None:
    (root / "encoded.txt").write_bytes(content)
    read = fs.call("fs.read", path="encoded.txt")
    assert (read["kind"], read["encoding"], read["text"]) == ("text", encoding, text)


@pytest.mark.parametrize(
    "content", [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", bytes(range(1, 256)) * 4, b"\xff\xfe\x00"]
)
def test_of_a_binary_file_only_type_and_size_are_told(fs: Any, root: Path, content: bytes) -> None:
    (root / "picture.png").write_bytes(content)
    read = fs.call("fs.read", path="picture.png")
    assert (read["kind"], read["text"], read["mime_type"]) == ("binary", None, "image/png")
    assert read["bytes"] == len(content)


def test_a_search_by_name_and_by_text_finds_lines_with_their_numbers(fs: Any, root: Path) -> None:
    code = root / "code"
    for name, text in {
        "a.py": "import os\n\ndef find_me():\n    return os\n",
        "sub/b.py": "find_me()\nfind_me() and find_me()\n",
        "sub/c.ts": "find_me\n",
        "node_modules/d.py": "find_me\n",
        "data.bin": "find_me\0",
    }.items():
        (code / name).parent.mkdir(parents=True, exist_ok=True)
        (code / name).write_text(text)

    found = fs.call("fs.search", path="code", pattern=r"find_\w+\(", glob="*.py")
    lines = [
        (Path(file["path"]).name, [match["line"] for match in file["matches"]]) for file in found["files"]
    ]
    assert lines == [("a.py", [3]), ("b.py", [1, 2])]
    assert found["files"][0]["matches"][0]["text"] == "def find_me():"

    names = fs.call("fs.search", path="code", glob="**/*.{py,ts}")
    assert [Path(file["path"]).name for file in names["files"]] == ["a.py", "b.py", "c.ts"]
    assert fs.call("fs.search", path="code", glob="sub/*")["files_searched"] == 2
    assert fs.call("fs.search", path="code", pattern="FIND_ME", ignore_case=True)["files_skipped"] == 1
    hidden = fs.call("fs.search", path="code", pattern="find_me", hidden=True)
    assert any("node_modules" in file["path"] for file in hidden["files"])


def test_a_search_stops_at_its_limit_and_says_so(fs: Any, root: Path) -> None:
    (root / "many.txt").write_text("hit\n" * 50)
    found = fs.call("fs.search", path="many.txt", pattern="hit", limit=5)
    assert (len(found["files"][0]["matches"]), found["truncated"]) == (5, "limit")
    exactly = fs.call("fs.search", path="many.txt", pattern="hit", limit=50)
    assert exactly["truncated"] is None


def test_a_pattern_that_explodes_does_not_hold_up_the_worker(fs: Any, root: Path) -> None:
    (root / "evil.txt").write_text("a" * 5000 + "!")
    began = time.monotonic()
    running = fs.start("fs.search", path="evil.txt", pattern=r"^(a|aa)+$")
    fs.call("fs.list", path=str(root))
    assert not running.done()
    assert running.result(30).structured_content["truncated"] == "time"
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("path", ["../", "/etc/passwd", "~", "project/../../x", "/"])
def test_paths_outside_are_refused_with_what_is_allowed_and_how_to_allow_more(
    fs: Any, root: Path, path: str
) -> None:
    for tool in ("fs.read", "fs.list"):
        message = fs.refused(tool, path=path)
        assert str(root) in message
        assert "fs_roots" in message
        assert "hub.toml" in message


def test_what_is_missing_outside_is_refused_in_the_same_words_as_what_is_there(
    fs: Any, outside: Path
) -> None:
    there = fs.refused("fs.read", path=str(outside / "secret.txt"))
    missing = fs.refused("fs.read", path=str(outside / "nosuch.txt"))
    assert there.replace("secret", "nosuch") == missing


def test_links_that_lead_outside_are_refused_by_every_tool(fs: Any, root: Path, outside: Path) -> None:
    folder = root / "links"
    folder.mkdir()
    (folder / "file").symlink_to(outside / "secret.txt")
    (folder / "folder").symlink_to(outside)
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "good").symlink_to(folder / "real.txt")
    (folder / "real.txt").write_text("nobody minds")
    assert "outside" in fs.refused("fs.read", path="links/file")
    assert "outside" in fs.refused("fs.read", path="links/folder/secret.txt")
    assert "outside" in fs.refused("fs.list", path="links/folder")
    fs.refused("fs.read", path="links/loop")
    assert fs.call("fs.read", path="links/good")["text"] == "nobody minds"
    kinds = {entry["name"]: entry["kind"] for entry in fs.call("fs.list", path="links", depth=5)["entries"]}
    assert kinds == {"file": "link", "folder": "link", "loop": "link", "good": "file", "real.txt": "file"}
    found = fs.call("fs.search", path="links", pattern="nobody")
    assert [Path(file["path"]).name for file in found["files"]] == ["good", "real.txt"]
    named = fs.call("fs.search", path="links", glob="*")
    assert [Path(file["path"]).name for file in named["files"]] == ["good", "real.txt"]


def test_a_pipe_a_folder_a_missing_and_a_huge_file_each_get_a_clear_answer(fs: Any, root: Path) -> None:
    os.mkfifo(root / "pipe")
    (root / "huge.log").write_bytes(b"x" * 200_001)
    assert "not a regular file" in fs.refused("fs.read", path="pipe")
    assert "fs.list" in fs.refused("fs.read", path=".")
    assert "Nothing is at" in fs.refused("fs.read", path="nosuch.txt")
    assert "fs_bytes_max" in fs.refused("fs.read", path="huge.log")
    assert fs.call("fs.search", path="huge.log", pattern="x")["files_skipped"] == 1
    assert "NUL" in fs.refused("fs.read", path="a\0b")
    assert "not a folder" in fs.refused("fs.list", path="huge.log")
    assert "regular expression" in fs.refused("fs.search", pattern="(")
    assert "Say what to find" in fs.refused("fs.search")


def test_without_allowed_folders_nothing_is_read_and_the_message_says_how_to_allow_one(
    start_worker: Callable[..., Any],
) -> None:
    with start_worker(FS, env={}).running() as worker:
        for message in (worker.refused("fs.list"), worker.refused("fs.read", path="/etc/hostname")):
            assert "fs_roots" in message
            assert "HUB_SKILLS__FS_ROOTS" in message
