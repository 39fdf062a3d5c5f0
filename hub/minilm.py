"""all-MiniLM-L6-v2 as an ONNX graph, written from its safetensors file without PyTorch or `onnx`.

The weights are published for PyTorch; onnxruntime wants a graph. `build` rounds the
tensors to 8 bits and writes the graph around them, as one serialized model that
`onnxruntime.InferenceSession` accepts. The graph takes the token ids of one text,
`ids` int64 (tokens,), and returns `mean` float32 (384,): the mean of the last hidden
states, which is the sentence vector once it has unit length.

Weights are rounded symmetrically for each output channel (each row of an embedding
table), activations for each text while it runs. One scale for a whole matrix costs
visible accuracy; this costs none that the recall benchmark can see, and runs in a
quarter of the memory.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[Any]
    Tensors = Mapping[str, NDArray[Any]]

DIMENSION = 384
LAYERS = 6
HEADS = 12
TOKENS_MAX = 256
"""How much of a text the model was trained to read."""

_EPSILON = 1e-12
_FLOAT, _INT8, _INT64 = 1, 3, 7
"""ONNX's numbers for the element types used here."""
_CONTRIB = "com.microsoft"
"""The domain of onnxruntime's own operators."""


def read_safetensors(path: Path) -> dict[str, Floats]:
    """The float32 tensors of a safetensors file by name: views of one read-only map of the file.

    Raises:
        ValueError: The file is not safetensors.
    """
    import numpy as np

    mapped = np.memmap(path, dtype=np.uint8, mode="r")
    if mapped.size < 8:
        raise ValueError(f"{path}: too short to be a safetensors file")
    (length,) = struct.unpack("<Q", mapped[:8].tobytes())
    if length > mapped.size - 8:
        raise ValueError(f"{path}: its header is longer than the file")
    header = json.loads(mapped[8 : 8 + length].tobytes())
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            begin, end = (8 + length + offset for offset in entry["data_offsets"])
            tensors[name] = mapped[begin:end].view(np.float32).reshape(entry["shape"])
    return tensors


def build(tensors: Tensors) -> bytes:
    """The serialized ONNX model.

    Args:
        tensors: The weights under their published names.

    Raises:
        KeyError: A tensor is missing.
    """
    graph = _Graph(tensors)
    hidden = graph.embed()
    for layer in range(LAYERS):
        hidden = graph.layer(hidden, f"encoder.layer.{layer}.")
    graph.node("ReduceMean", [hidden, graph.constant([0])], "mean", keepdims=0)
    return graph.serialized()


class _Graph:
    """A graph under construction: every method adds nodes and returns the name of its result."""

    def __init__(self, tensors: Tensors) -> None:
        self._tensors = tensors
        self._nodes: list[bytes] = []
        self._initializers: list[bytes] = []
        self._names = 0

    def embed(self) -> str:
        """The first hidden states, float32 (tokens, 384): word plus position plus segment 0."""
        words, scales = _rounded(self._tensors["embeddings.word_embeddings.weight"])
        places = self._tensors["embeddings.position_embeddings.weight"][:TOKENS_MAX]
        segment = self._tensors["embeddings.token_type_embeddings.weight"][0]
        codes = self.node("Cast", [self.node("Gather", [self.tensor(words), "ids"])], to=_FLOAT)
        word = self.node("Mul", [codes, self.node("Gather", [self.tensor(scales[:, None]), "ids"])])
        tokens = self.node("Shape", ["ids"])
        start = self.constant([0])
        place = self.node("Slice", [self.tensor(places + segment), start, tokens, start])
        return self.normalised(self.node("Add", [word, place]), "embeddings.LayerNorm.")

    def layer(self, hidden: str, prefix: str) -> str:
        """One transformer layer, hidden states to hidden states."""
        import numpy as np

        parts = [f"{prefix}attention.self.{part}." for part in ("query", "key", "value")]
        weight = np.concatenate([self._tensors[part + "weight"] for part in parts])
        bias = np.concatenate([self._tensors[part + "bias"] for part in parts])
        first = self.constant([0])
        batch = self.node("Unsqueeze", [self.linear(hidden, weight, bias), first])
        heads = [self.fresh() for _ in parts]
        self.node("Split", [batch, self.constant([DIMENSION] * 3)], *heads, axis=2)
        context = self.node("MultiHeadAttention", heads, domain=_CONTRIB, num_heads=HEADS)
        attended = self.dense(self.node("Squeeze", [context, first]), f"{prefix}attention.output.dense.")
        hidden = self.normalised(self.node("Add", [attended, hidden]), f"{prefix}attention.output.LayerNorm.")
        wide = self.node("Gelu", [self.dense(hidden, f"{prefix}intermediate.dense.")], domain=_CONTRIB)
        narrow = self.dense(wide, f"{prefix}output.dense.")
        return self.normalised(self.node("Add", [narrow, hidden]), f"{prefix}output.LayerNorm.")

    def dense(self, source: str, name: str) -> str:
        return self.linear(source, self._tensors[name + "weight"], self._tensors[name + "bias"])

    def linear(self, source: str, weight: Floats, bias: Floats) -> str:
        """`source` times the transpose of `weight`, shape (out, in), plus `bias`."""
        codes, scales = _rounded(weight)
        zero_point = ""
        return self.node(
            "DynamicQuantizeMatMul",
            [source, self.tensor(codes.T), self.tensor(scales), zero_point, self.tensor(bias)],
            domain=_CONTRIB,
        )

    def normalised(self, source: str, name: str) -> str:
        weight, bias = self._tensors[name + "weight"], self._tensors[name + "bias"]
        inputs = [source, self.tensor(weight), self.tensor(bias)]
        return self.node("LayerNormalization", inputs, axis=-1, epsilon=_EPSILON)

    def node(
        self, operator: str, inputs: Sequence[str], *outputs: str, domain: str = "", **attributes: float
    ) -> str:
        """Add a node; returns its first output, freshly named unless given."""
        outputs = outputs or (self.fresh(),)
        self._nodes.append(
            b"".join(_text(1, name) for name in inputs)
            + b"".join(_text(2, name) for name in outputs)
            + _text(4, operator)
            + b"".join(_bytes(5, _attribute(name, value)) for name, value in attributes.items())
            + (_text(7, domain) if domain else b"")
        )
        return outputs[0]

    def tensor(self, values: Floats) -> str:
        """Add a constant tensor of float32, int8 or int64; returns its name."""
        import numpy as np

        kinds = {np.dtype(np.float32): _FLOAT, np.dtype(np.int8): _INT8, np.dtype(np.int64): _INT64}
        name = self.fresh()
        self._initializers.append(
            b"".join(_int(1, size) for size in values.shape)
            + _int(2, kinds[values.dtype])
            + _text(8, name)
            + _bytes(9, np.ascontiguousarray(values).tobytes())
        )
        return name

    def constant(self, values: Sequence[int]) -> str:
        import numpy as np

        return self.tensor(np.array(values, dtype=np.int64))

    def fresh(self) -> str:
        self._names += 1
        return f"t{self._names}"

    def serialized(self) -> bytes:
        """The graph as a `ModelProto` of IR version 8, operator set 18."""
        graph = (
            b"".join(_bytes(1, node) for node in self._nodes)
            + _text(2, "all-MiniLM-L6-v2")
            + b"".join(_bytes(5, tensor) for tensor in self._initializers)
            + _bytes(11, _value("ids", _INT64, _text(2, "tokens")))
            + _bytes(12, _value("mean", _FLOAT, _int(1, DIMENSION)))
        )
        operators = _bytes(8, _text(1, "") + _int(2, 18)) + _bytes(8, _text(1, _CONTRIB) + _int(2, 1))
        return _int(1, 8) + operators + _bytes(7, graph)


def _rounded(weight: Floats) -> tuple[Floats, Floats]:
    """`weight`, shape (rows, columns), as int8 codes and one float32 scale for each row."""
    import numpy as np

    scales = np.maximum(np.abs(weight).max(axis=1) / 127, np.float32(1e-12)).astype(np.float32)
    codes = np.rint(weight / scales[:, None]).astype(np.int8)
    return codes, scales


# Protocol buffers, as far as ONNX needs them: numbers, strings and nested messages by field number.


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _int(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())


def _attribute(name: str, value: float) -> bytes:
    """An `AttributeProto`: a float or an integer."""
    if isinstance(value, int):
        return _text(1, name) + _int(3, value) + _int(20, 2)
    return _text(1, name) + _varint(2 << 3 | 5) + struct.pack("<f", value) + _int(20, 1)


def _value(name: str, kind: int, dimension: bytes) -> bytes:
    """A `ValueInfoProto`: a tensor of one dimension."""
    shape = _bytes(1, dimension)
    return _text(1, name) + _bytes(2, _bytes(1, _int(1, kind) + _bytes(2, shape)))
