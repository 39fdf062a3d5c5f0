"""Bytes become the same lines and events however the network cuts them; names stay unique whatever they are.

Seeded random inputs: a failure is one integer.
"""

from __future__ import annotations

import json
import random
import re

import pytest

from hub.jsonrpc import decode, encode
from hub.lines import CUT_ENDS_BYTES, CutLine, LineSplitter
from hub.names import CHARS_MAX, STYLES, NameTables, Target, fold
from hub.sse import SseEvent, SseReader, SseTooLong, sse_frame

SEEDS = range(60)


def cut(content: bytes, rng: random.Random) -> list[bytes]:
    """The same bytes in random pieces, empty ones too."""
    places = sorted(rng.randint(0, len(content)) for _ in range(rng.randint(0, 12)))
    return [content[start:end] for start, end in zip([0, *places], [*places, len(content)], strict=True)]


@pytest.mark.parametrize("seed", SEEDS)
def test_lines_are_the_same_however_they_are_cut(seed: int) -> None:
    rng = random.Random(seed)
    content = bytes(rng.choice(b"ab\n\r") for _ in range(rng.randint(0, 60)))
    splitter = LineSplitter(1000)
    lines = [line for piece in cut(content, rng) for line in splitter.feed(piece)]
    *whole, rest = content.split(b"\n")
    assert lines == whole
    assert splitter.rest() == rest


@pytest.mark.parametrize("seed", SEEDS)
def test_a_line_is_dropped_exactly_when_it_is_over_the_bound(seed: int) -> None:
    rng = random.Random(seed)
    content = b"".join(b"x" * rng.randint(0, 12) + b"\n" for _ in range(rng.randint(0, 8)))
    splitter = LineSplitter(6)
    lines = [line for piece in cut(content, rng) for line in splitter.feed(piece)]
    assert lines == [line if len(line) <= 6 else CutLine(line, line) for line in content.split(b"\n")[:-1]]


@pytest.mark.parametrize("seed", SEEDS)
def test_of_a_line_over_the_bound_the_ends_are_kept(seed: int) -> None:
    rng = random.Random(seed)
    line = rng.randbytes(rng.randint(501, 2000)).replace(b"\n", b" ")
    splitter = LineSplitter(500)
    (cut_line,) = [each for piece in cut(line + b"\n", rng) for each in splitter.feed(piece)]
    assert cut_line == CutLine(line[:CUT_ENDS_BYTES], line[-CUT_ENDS_BYTES:])


@pytest.mark.parametrize(
    ("message", "request_id"),
    [
        ('{"jsonrpc":"2.0","id":7,"method":"m","params":{"id":1}}', 7),
        ('{"jsonrpc": "2.0", "id": "a\\"b", "result": {"text": "…"}}', 'a"b'),
        ('{"method":"tools/call","params":{"text":"…"},"jsonrpc":"2.0","id":9}', 9),
        ('{"result":{"content":[],"id":3},"jsonrpc":"2.0","id":10}', 10),
        ('{"result":{},"id":11,"jsonrpc":"2.0"}', 11),
        ('{"result":{"id":3}}', None),
        ('{"params":{"id":3},"method":"notifications/x","jsonrpc":"2.0"}', None),
        ('{"id":"\\x","result":{}}', None),
        ("no message at all", None),
    ],
)
def test_the_id_of_a_message_is_known_by_its_ends(message: str, request_id: object) -> None:
    line = CutLine(message.encode(), message.encode())
    assert line.request_id == request_id
    assert line.asks == ('"method"' in message and not message.startswith('{"params"'))


@pytest.mark.parametrize("seed", SEEDS)
def test_events_are_the_same_however_they_are_cut(seed: int) -> None:
    rng = random.Random(seed)
    newline = rng.choice([b"\n", b"\r\n", b"\r"])
    expected, content = [], b"\xef\xbb\xbf" if rng.random() < 0.3 else b""
    last_id = None
    for _ in range(rng.randint(0, 5)):
        data = [
            rng.choice(["", "x", "größe", ": no comment", " two spaces"]) for _ in range(rng.randint(1, 3))
        ]
        type_ = rng.choice([None, "message", "endpoint"])
        event_id = rng.choice([None, "7", "an id"])
        lines = [b": keepalive", b"unknown: field", *(b"data: " + line.encode() for line in data)]
        if type_ is not None:
            lines.insert(rng.randint(0, len(lines)), b"event: " + type_.encode())
        if event_id is not None:
            last_id = event_id
            lines.insert(rng.randint(0, len(lines)), b"id:" + event_id.encode())
        content += newline.join(lines) + newline * 2
        expected.append(SseEvent("\n".join(data), type_ or "message", last_id))
    reader = SseReader(10_000)
    assert [event for piece in cut(content, rng) for event in reader.feed(piece)] == expected


def test_what_one_side_writes_as_an_event_the_other_reads() -> None:
    message = {"text": "line\nbreak \r \u2028 ü", "n": 2**70}
    (event,) = SseReader(1000).feed(sse_frame(encode(message), type="message", id="3"))
    assert decode(event.data.encode()) == message
    assert (event.type, event.id) == ("message", "3")


def test_an_event_over_the_bound_is_refused_in_one_line_or_many() -> None:
    for content in (b"data: " + b"x" * 200, b"data: xxxxxxxx\n" * 30):
        with pytest.raises(SseTooLong):
            SseReader(100).feed(content)


@pytest.mark.parametrize("seed", SEEDS)
def test_json_is_read_and_written_without_loss(seed: int) -> None:
    rng = random.Random(seed)

    def value(depth: int) -> object:
        kind = rng.randint(0, 8 if depth < 4 else 6)
        if kind == 0:
            return rng.choice([None, True, False])
        if kind == 1:
            return rng.choice([0, -1, 2**53 + 1, 2**63, -(2**64) - 1, 10**40])
        if kind == 2:
            return rng.choice([0.1, -1e300, 5e-324, 1.0, 123456789.123456789])
        if kind <= 6:
            return "".join(rng.choice('a"\\\n\t\0\u2028ü€\U0001f600\x7f') for _ in range(rng.randint(0, 6)))
        if kind == 7:
            return [value(depth + 1) for _ in range(rng.randint(0, 4))]
        return {str(value(9)): value(depth + 1) for _ in range(rng.randint(0, 4))}

    sent = {"params": value(0)}
    line = encode(sent)
    assert b"\n" not in line
    assert decode(line) == sent == json.loads(line)
    assert json.dumps(decode(line)) == json.dumps(sent), "also the kinds of numbers"


def test_text_that_has_no_utf8_form_passes() -> None:
    message = decode(b'{"text": "\\ud800 and \\udfff"}')
    assert message == {"text": "\ud800 and \udfff"}
    assert decode(encode(message)) == message


@pytest.mark.parametrize("line", [b"", b"{", b"nul", b"\xff", b'{"a": "\xc3"}', b"[1] 2", b"[" * 10**6])
def test_what_is_not_json_is_a_value_error(line: bytes) -> None:
    with pytest.raises(ValueError):
        decode(line)


def random_targets(rng: random.Random) -> list[Target]:
    """Names that are likely to meet: the same words with other punctuation, and very long ones."""
    words = ["a", "b", "a_b", "a.b", "a-b", "A", "größe", "x y", "", "n" * 60, "n" * 60 + "1", "mcp__a__b"]
    return [
        Target(
            rng.choice(["a", "b", "a.b", "a-b", "s" * 45]), rng.choice(words) + rng.choice(["", "_b", ".b"])
        )
        for _ in range(rng.randint(1, 25))
    ]


@pytest.mark.parametrize("seed", SEEDS)
def test_public_names_are_unique_for_every_client_and_lead_back(seed: int) -> None:
    targets = list(dict.fromkeys(random_targets(random.Random(seed))))
    names = NameTables(targets)
    for style in STYLES:
        public = [names.public(target, style) for target in targets]
        assert len({fold(name) for name in public}) == len(targets)
        assert all(re.fullmatch(rf"[A-Za-z0-9_.]{{1,{CHARS_MAX}}}", name) for name in public)
        assert [names.resolve(name, style) for name in public] == targets


@pytest.mark.parametrize("seed", SEEDS)
def test_a_new_server_renames_nothing_that_was_there(seed: int) -> None:
    rng = random.Random(seed)
    targets = list(dict.fromkeys(random_targets(rng)))
    before = NameTables(targets)
    after = NameTables([*targets, *(Target("newcomer", target.item) for target in targets)])
    assert [before.public(target, "dotted") for target in targets] == [
        after.public(target, "dotted") for target in targets
    ]


def test_a_name_is_understood_in_every_style_while_it_means_one_thing() -> None:
    names = NameTables([Target("fs", "read"), Target("git", "log"), Target("svn", "log")])
    for name in ("fs.read", "mcp__fs__read", "read"):
        assert names.resolve(name, "dotted") == Target("fs", "read")
    assert names.resolve("log", "dotted") is None, "it could mean two"
    assert names.resolve("log", "bare") == Target("git", "log"), "it is what this style calls the first"
    assert names.resolve("svn.log", "bare") == Target("svn", "log")
    assert names.resolve("fs_read", "dotted") is None


def test_qualified_names_are_bare_when_there_is_one_server() -> None:
    assert NameTables([Target("fs", "read")]).public(Target("fs", "read"), "qualified") == "read"
