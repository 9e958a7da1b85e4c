"""Exported encoders on disk (`onnx:FOLDER`, `openvino:FOLDER`): graphs, what belongs to them, and opening both.

The folder:

    encoder.json      kind `exported`: format, precision, dimension, preprocessing, logit scale, source, files' digests
    image.onnx        pixels (batch, 3, size, size) float32 → joint_embedding (batch, dim) float32, L2-normalised
    text.onnx         tokens (batch, length) int64 [, mask] → joint_embedding; where the encoder has a text side
    tokenizer/        its files, where it has any

Of an encoder that exported heads stand on (`exported_heads`) the graphs give `features`, not normalised.
OpenVINO's graphs are `image.xml` with `image.bin`; an ONNX graph of more than 1 GiB has `image.onnx.data` beside it.
Nothing in the folder is code, and nothing is unpickled: graphs hold the engines' own operators.
"""

from __future__ import annotations

import hashlib
import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from openmofi.encoders.arrays import by_tokens, gathered, in_batches
from openmofi.encoders.embedding import JointEncoder, Towers
from openmofi.encoders.export.signal_stack import signal_stack_kept
from openmofi.encoders.features_only import FeaturesOnly
from openmofi.encoders.image_only import ImageEncoder
from openmofi.encoders.preprocess import preprocessing_from_json
from openmofi.encoders.projection import FORMAT_VERSION, read_encoder_json
from openmofi.encoders.protocol import Array
from openmofi.errors import MissingExtraError, OpenMofiError, UsageError
from openmofi.storage import fingerprint

SPEC_FILE, TOKENIZER_FOLDER = "encoder.json", "tokenizer"
GRAPHS = {"onnx": ".onnx", "openvino": ".xml"}
# PyTorch names values after operators, `embedding` among them, and names must differ.
PIXELS, TOKENS, MASK, EMBEDDING, FEATURES = "pixels", "tokens", "mask", "joint_embedding", "features"
POSTPROCESSING = {EMBEDDING: "L2-normalised, in the graph", FEATURES: "none: features, which heads take"}
_BATCH = 64
_AGAIN = "Export it again."
_READ = 1 << 20
Graph = Callable[[Mapping[str, Any]], Array]


@dataclass(frozen=True)
class Exported:
    """What `encoder.json` says of an export, besides its format version and kind.

    Attributes:
        format: of `GRAPHS`.
        precision: `fp32`, `bf16` or `int8`.
        output: of the graphs, `EMBEDDING` or, of what heads stand on, `FEATURES`, which are not normalised.
        dim: of the joint space; 0 of a pair of backbones, which has none.
        feature_dim, text_feature_dim: of what the graphs give; 0 without a text side.
        logit_scale: the factor on cosines of its training; `None` where it is unknown.
        preprocessing: `dataclasses.asdict` of a `Preprocessing`.
        tokenizer: see `networks.Networks`; `None` without a text side.
        files: path below the folder → digest of all bytes.
        source: `spec` and `fingerprint` of the encoder that it was made of.
    """

    format: str
    precision: str
    output: str
    dim: int
    feature_dim: int
    text_feature_dim: int
    logit_scale: float | None
    preprocessing: Mapping[str, Any]
    tokenizer: Mapping[str, Any] | None
    files: Mapping[str, str]
    source: Mapping[str, str]

    @property
    def fingerprint(self) -> str:
        """Names all that decides an embedding besides the preprocessing; where it lies does not matter."""
        return fingerprint([self.format, self.precision, self.dim, self.tokenizer, dict(self.files)])

    def as_json(self) -> dict[str, Any]:
        """The content of `encoder.json`."""
        return {"format_version": FORMAT_VERSION, "kind": "exported", "format": self.format,
                "precision": self.precision, "output": self.output, "dim": self.dim, "feature_dim": self.feature_dim,
                "text_feature_dim": self.text_feature_dim, "logit_scale": self.logit_scale,
                "preprocessing": dict(self.preprocessing), "postprocessing": POSTPROCESSING[self.output],
                "tokenizer": self.tokenizer, "files": dict(self.files), "source": dict(self.source),
                "fingerprint": self.fingerprint}


def load_exported(folder: str | Path, engine: str, *, spec: str = "") -> JointEncoder | ImageEncoder | FeaturesOnly:
    """Open an exported encoder with its engine, `onnx` or `openvino`, on the CPU.

    As many threads are used as OMP_NUM_THREADS says, or as there are cores for this process.

    Raises:
        OpenMofiError: the folder is no export, is damaged or half-written, or of a newer format.
        UsageError: it was exported for the other engine.
        MissingExtraError: the engine is not installed.
    """
    folder = Path(folder)
    where = spec or f"{engine}:{folder}"
    told = _read(folder, engine)
    preprocessing = preprocessing_from_json(told.preprocessing, str(folder / SPEC_FILE))
    image = _graph(folder, "image", told)

    def pictures(pixels: Array) -> Array:
        return image({PIXELS: np.ascontiguousarray(pixels, np.float32)})

    if told.tokenizer is None:
        return ImageEncoder(where, pictures, told.dim, told.fingerprint, preprocessing)
    text, masked = _graph(folder, "text", told), bool(told.tokenizer.get("masked"))
    tokens = _tokens(folder, told.tokenizer)

    def texts(rows: list[Any]) -> Array:
        return text(text_inputs(rows, masked=masked))

    if told.dim:
        return JointEncoder(where, Towers(pictures, tokens, texts, told.dim, told.fingerprint), preprocessing,
                            told.logit_scale, source_fingerprint=str(told.source["fingerprint"]))
    return FeaturesOnly(where, lambda pixels: gathered(map(pictures, in_batches(pixels, _BATCH)), told.feature_dim),
                        lambda found: by_tokens(found, tokens, texts, told.text_feature_dim, _BATCH),
                        (told.feature_dim, told.text_feature_dim),
                        fingerprint([told.fingerprint, asdict(preprocessing)]), preprocessing)


def text_inputs(rows: Sequence[Any], *, masked: bool) -> dict[str, Any]:
    """Token sequences → a text graph's inputs, (n, L) int64 each; shorter ones are padded with zeros."""
    length = max(map(len, rows))
    tokens, mask = np.zeros((len(rows), length), np.int64), np.zeros((len(rows), length), np.int64)
    for number, row in enumerate(rows):
        tokens[number, : len(row)] = row
        mask[number, : len(row)] = 1
    return {TOKENS: tokens, MASK: mask} if masked else {TOKENS: tokens}


def digests(folder: Path) -> dict[str, str]:
    """Every file below a folder but `encoder.json` → 16 hexadecimal digits for its bytes."""
    return {str(path.relative_to(folder)): _digest(path) for path in sorted(folder.rglob("*"))
            if path.is_file() and path.name != SPEC_FILE}


def imported(module: str) -> Any:
    """A package of the extra `export`.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtraError.of(error.name or module, "export") from error


def read_exported_json(folder: Path, engine: str) -> dict[str, Any]:
    """What `encoder.json` of an export says, of either kind.

    Raises:
        OpenMofiError: see `projection.read_encoder_json`, or it is no export.
        UsageError: it was exported for another engine.
    """
    raw = read_encoder_json(folder)
    if not raw["kind"].startswith("exported"):
        raise OpenMofiError(f"{folder} is no exported encoder.", f"Open it as run:{folder}, or export it first.")
    if raw["format"] != engine:
        raise UsageError(f"{folder} was exported for {raw['format']}, not for {engine}.",
                         f"Open it as {raw['format']}:{folder}.")
    if not isinstance(raw["source"], dict) or "fingerprint" not in raw["source"]:
        raise OpenMofiError(f"{folder / SPEC_FILE} is not understood: it names no source.", _AGAIN)
    return raw


def _read(folder: Path, engine: str) -> Exported:
    raw = read_exported_json(folder, engine)
    try:
        told = Exported(**{name: raw[name] for name in Exported.__dataclass_fields__})
        wrong = [name for name, digest in told.files.items() if not _inside(name) or _digest(folder / name) != digest]
        if wrong:
            raise OpenMofiError(f"{folder / wrong[0]} is not what {SPEC_FILE} beside it describes.", _AGAIN)
        if told.fingerprint != raw["fingerprint"] or f"image{GRAPHS[engine]}" not in told.files:
            raise OpenMofiError(f"{folder / SPEC_FILE} was changed after it was written.", _AGAIN)
    except (KeyError, TypeError, AttributeError) as error:
        raise OpenMofiError(f"{folder / SPEC_FILE} is not understood ({type(error).__name__}: {error}).",
                            _AGAIN) from error
    except OSError as error:
        raise OpenMofiError(f"{folder} is not whole: {error}.", _AGAIN) from error
    return told


def _inside(name: str) -> bool:
    path = Path(name)
    return not path.is_absolute() and ".." not in path.parts


def _digest(path: Path) -> str:
    digest = hashlib.blake2b(digest_size=8)
    with open(path, "rb") as file:
        while block := file.read(_READ):
            digest.update(block)
    return digest.hexdigest()


def _tokens(folder: Path, tokenizer: Mapping[str, Any]) -> Callable[[list[str]], Sequence[Any]]:
    try:
        from openmofi.encoders.networks import opened_tokens
    except ModuleNotFoundError as error:
        raise MissingExtraError.of(error.name or "torch", "torch") from error
    return opened_tokens(tokenizer, folder / TOKENIZER_FOLDER)


def _graph(folder: Path, side: str, told: Exported) -> Graph:
    path = folder / f"{side}{GRAPHS[told.format]}"
    threads, dim = _threads(), told.feature_dim if side == "image" else told.text_feature_dim
    made = (_onnx(path, told.output, threads) if told.format == "onnx"
            else _openvino(path, told.output, told.precision, threads))

    def run(inputs: Mapping[str, Any]) -> Array:
        found = np.asarray(made(inputs), np.float32)
        if found.ndim != 2 or found.shape[1] != dim:
            raise OpenMofiError(f"{path} gives rows of shape {found.shape}, not {dim} a row.", _AGAIN)
        return found

    return run


def _threads() -> int:
    told = os.environ.get("OMP_NUM_THREADS", "")
    if told.isdecimal() and int(told):
        return int(told)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _onnx(path: Path, output: str, threads: int) -> Graph:
    runtime = imported("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    # Threads that wait sleep, as torch's do here: see `openmofi.encoders`.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the engine raises classes of its own that share no base but this
        raise _refused(path, error) from error
    return lambda inputs: session.run([output], dict(inputs))[0]


def _openvino(path: Path, name: str, precision: str, threads: int) -> Graph:
    # On processors that have bfloat16 OpenVINO would use it unasked, so the precision is always said.
    settings = {"INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32", "INFERENCE_NUM_THREADS": threads,
                "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False}
    try:
        with signal_stack_kept():
            compiled = imported("openvino").Core().compile_model(str(path), "CPU", settings)
        output = compiled.output(name)
    except RuntimeError as error:
        raise _refused(path, error) from error
    return lambda inputs: compiled(dict(inputs))[output]


def _refused(path: Path, error: Exception) -> OpenMofiError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return OpenMofiError(f"{path} cannot be opened: {' '.join(lines[:2])[:300]}",
                         "Install the versions that it was exported with, or export it again.")
