"""The sentence model: what it says, where it is found, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from hub import embedder
from hub.errors import ConfigError


@pytest.fixture(scope="module")
def model() -> embedder.Embedder:
    found = embedder.find(None)
    assert found is not None, "a checkout has the weights"
    return found


def cosine(model: embedder.Embedder, one: str, other: str) -> float:
    return float(model.embed(one) @ model.embed(other))


def test_vectors_have_unit_length_and_the_published_similarities(model: embedder.Embedder) -> None:
    lovely, sunny, stadium = (
        "The weather is lovely today.",
        "It's so sunny outside!",
        "He drove to the stadium.",
    )
    assert model.dimension == 384
    assert model.embed(lovely).shape == (384,)
    assert cosine(model, lovely, lovely) == pytest.approx(1, abs=1e-5)
    # As published for the unrounded weights; rounding to 8 bits costs up to 0.02.
    assert cosine(model, lovely, sunny) == pytest.approx(0.6660, abs=0.02)
    assert cosine(model, lovely, stadium) == pytest.approx(0.1046, abs=0.02)
    assert cosine(model, sunny, stadium) == pytest.approx(0.1411, abs=0.02)


def test_any_text_has_a_vector(model: embedder.Embedder) -> None:
    for text in ("", " ", "word " * 5000, "日本語のテキスト", "\x00\ufffd🙂"):
        assert model.embed(text).shape == (384,)


def test_a_text_beyond_the_model_s_window_is_read_up_to_it(model: embedder.Embedder) -> None:
    start = "The nightly backup failed. " * 60
    assert cosine(model, start, start + "Ada likes tea. " * 500) == pytest.approx(1, abs=1e-5)


def test_weights_that_are_not_the_published_ones_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"\x00" * 1000)
    with pytest.raises(ConfigError, match="not the published weights"):
        embedder.find(None, weights=tmp_path)


def test_a_machine_without_a_model_has_none(tmp_path: Path) -> None:
    assert embedder.find(None, weights=tmp_path, cache=tmp_path) is None


def test_a_configured_folder_that_cannot_be_used_is_refused_and_not_replaced(
    tmp_path: Path, model: embedder.Embedder
) -> None:
    with pytest.raises(ConfigError, match="embedder_path"):
        embedder.find(tmp_path / "nothing here")
    (tmp_path / "model.onnx").write_bytes(b"no model")
    shutil.copy(Path(model.source) / "tokenizer.json", tmp_path)
    with pytest.raises(ConfigError, match="onnxruntime cannot load"):
        embedder.find(tmp_path)


def field(number: int, value: int | bytes) -> bytes:
    """One field of a protocol buffer; numbers and lengths here stay below 16,384."""

    def varint(number: int) -> bytes:
        return bytes([number]) if number < 128 else bytes([number & 127 | 128, number >> 7])

    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def lookup_model(rows: int) -> bytes:
    """An ONNX model that gives each token its row of a table: the least that is a sentence model."""
    table = np.random.default_rng(0).normal(size=(rows, 4)).astype(np.float32)
    float_, int64 = 1, 7
    tensor = field(1, rows) + field(1, 4) + field(2, float_) + field(8, b"table") + field(9, table.tobytes())
    node = field(1, b"table") + field(1, b"input_ids") + field(2, b"hidden") + field(4, b"Gather")

    def shaped(name: bytes, kind: int, *dimensions: bytes) -> bytes:
        shape = b"".join(field(1, field(2, dimension)) for dimension in dimensions)
        return field(1, name) + field(2, field(1, field(1, kind) + field(2, shape)))

    graph = (
        field(1, node)
        + field(2, b"lookup")
        + field(5, tensor)
        + field(11, shaped(b"input_ids", int64, b"batch", b"tokens"))
        + field(12, shaped(b"hidden", float_, b"batch", b"tokens", b"dimension"))
    )
    return field(1, 8) + field(8, field(1, b"") + field(2, 18)) + field(7, graph)


def test_a_model_of_one_s_own_is_run_from_its_folder_and_has_an_id_of_its_own(tmp_path: Path) -> None:
    vocabulary = {"[UNK]": 0, "tea": 1, "coffee": 2}
    tokenizer = {
        "version": "1.0",
        "pre_tokenizer": {"type": "Whitespace"},
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    (tmp_path / "model.onnx").write_bytes(lookup_model(len(vocabulary)))
    own = embedder.find(tmp_path)
    assert own is not None
    assert own.dimension == 4
    assert own.id.startswith(tmp_path.name)
    assert cosine(own, "tea", "tea tea") == pytest.approx(1, abs=1e-5)
    assert cosine(own, "tea", "coffee") < 0.99
