"""Exported encoders on disk (`onnx:FOLDER`, `openvino:FOLDER`): graphs, what belongs to them, and opening both.

The folder:

    encoder.json      as of `encoders.folder`, its towers graphs; and precision, tokenizer, source, files' digests
    image.onnx        pixels (batch, 3, size, size) float32 → joint_embedding (batch, dim) float32, L2-normalised
    text.onnx         tokens (batch, length) int64 [, mask] → joint_embedding; where the encoder has a text side
    tokenizer/        its files, where it has any

Of an encoder that exported heads stand on the graphs give `features`, not normalised.
OpenVINO's graphs are `image.xml` with `image.bin`; an ONNX graph of more than 1 GiB has `image.onnx.data` beside it.
Nothing in the folder is code, and nothing is unpickled: graphs hold the engines' own operators.
"""

import hashlib
import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from openmofi.arrays import Array
from openmofi.encoders.arrays import padded
from openmofi.encoders.companions import Companions
from openmofi.encoders.encoder import Encoder
from openmofi.encoders.folder import SPEC_FILE, TOKENIZER_FOLDER, Side, facts_of, write_description
from openmofi.encoders.preprocess import Preprocessing, preprocessing_from_json
from openmofi.encoders.towers import encoder_of
from openmofi.engine.protocol import cores
from openmofi.errors import MissingExtraError, OpenMofiError, first_line
from openmofi.extensions import extension
from openmofi.storage import as_type, fingerprint

_GROUP = "graph_formats"
# PyTorch names values after operators, `embedding` among them, and names must differ.
PIXELS, TOKENS, MASK, EMBEDDING, FEATURES = "pixels", "tokens", "mask", "joint_embedding", "features"
POSTPROCESSING = {EMBEDDING: "L2-normalised, in the graph", FEATURES: "none: features, which heads take"}
_AGAIN = "Export it again."
_READ = 1 << 20
Graph = Callable[[Mapping[str, Any]], Array]


Write = Callable[[Path, Path, str, Sequence[Mapping[str, Any]], Mapping[str, Any]], None]


@dataclass(frozen=True)
class GraphFormat:
    """A format of graphs; a package adds one as an entry point of `openmofi.graph_formats`.

    Attributes:
        suffix: of a graph's file.
        packages: that have to be installed to write one.
        open: opens a graph, given its file, the name of the output, the precision and the number of threads.
        write: makes one of an ONNX graph in fp32, given both files, the precision, inputs to calibrate `int8` on, and
            JSON values to store in the graph; `None` for ONNX itself.
    """

    suffix: str
    packages: tuple[str, ...]
    open: Callable[[Path, str, str, int], Graph]
    write: Write | None


@dataclass(frozen=True)
class GraphSource:
    """The encoder that graphs were made of."""

    spec: str
    fingerprint: str


@dataclass(frozen=True)
class Graphs:
    """What `encoder.json` says of graphs, besides what it says of every encoder.

    Attributes:
        precision: `fp32`, `bf16` or `int8`.
        output: of the graphs, `EMBEDDING` or, of what heads stand on, `FEATURES`, which are not normalised.
        tokenizer: see `networks.Networks`; `None` without a text side.
        files: path below the folder → digest of all bytes.
        source: `spec` and `fingerprint` of the encoder that it was made of.
    """

    precision: str
    output: str
    tokenizer: Mapping[str, Any] | None
    files: Mapping[str, str]
    source: GraphSource


def write_graphs_description(folder: Path, encoder: Encoder, style: str, graphs: Graphs) -> None:
    """Write `encoder.json` of the graphs that `encoder` became; see `folder.write_description`."""
    graph, texts = Side(architecture={"kind": "graph"}), graphs.tokenizer is not None
    facts = facts_of(encoder) | {"fingerprint": _fingerprint(style, encoder.dim, graphs)}
    if not texts:
        facts["text_feature_dim"] = 0
    postprocessing = POSTPROCESSING[graphs.output]
    write_description(
        folder, graph, graph if texts else None, facts, style, postprocessing=postprocessing, **asdict(graphs)
    )


def _fingerprint(style: str, dim: int, graphs: Graphs) -> str:
    """Names all that decides an embedding besides the preprocessing; where it lies does not matter."""
    return fingerprint([style, graphs.precision, dim, graphs.tokenizer, dict(graphs.files)])


def open_graphs(folder: Path, raw: Mapping[str, Any], spec: str) -> Encoder:
    """Open exported graphs with their engine, on the CPU.

    As many threads are used as `openmofi.engine.protocol` says.

    Args:
        folder: of the encoder.
        raw: what `read_description` gives of it.
        spec: how it is opened.

    Raises:
        OpenMofiError: the folder is damaged or half-written.
        MissingExtraError: the engine is not installed.
    """
    style, graphs = str(raw["format"]), _checked(folder, raw)
    preprocessing: Preprocessing = preprocessing_from_json(raw["preprocessing"], str(folder / SPEC_FILE))
    image, tokens, text = _graph(folder, "image", style, graphs, raw["feature_dim"]), None, None
    if graphs.tokenizer is not None:
        from openmofi.encoders.tokens import opened_tokens

        graph, masked = _graph(folder, "text", style, graphs, raw["text_feature_dim"]), bool(graphs.tokenizer["masked"])
        tokens = opened_tokens(graphs.tokenizer, folder / TOKENIZER_FOLDER)

        def text(rows: list[Any]) -> Array:
            return graph(text_inputs(rows, masked=masked))

    encoder = encoder_of(
        spec,
        preprocessing,
        raw["logit_scale"] if tokens else None,
        image=lambda pixels: image({PIXELS: np.ascontiguousarray(pixels, np.float32)}),
        dim=raw["feature_dim"],
        weights=str(raw["fingerprint"]),
        tokens=tokens,
        text=text,
        text_dim=raw["text_feature_dim"],
        joint=bool(raw["dim"]),
    )
    return replace(encoder, companions=Companions(folder, str(graphs.source.fingerprint)))


def text_inputs(rows: Sequence[Any], *, masked: bool) -> dict[str, Any]:
    """Token sequences → a text graph's inputs, (n, L) int64 each; shorter ones are padded with zeros."""
    ids, mask = padded(rows)
    return {TOKENS: ids, MASK: mask} if masked else {TOKENS: ids}


def digests(folder: Path) -> dict[str, str]:
    """Every file below a folder but `encoder.json` → 16 hexadecimal digits for its bytes."""
    return {
        str(path.relative_to(folder)): _digest(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != SPEC_FILE
    }


def imported(module: str) -> Any:
    """Import a package of the extra `export`.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtraError.of(error.name or module, "export") from error


def _checked(folder: Path, raw: Mapping[str, Any]) -> Graphs:
    described = {name: raw[name] for name in Graphs.__dataclass_fields__ if name in raw}
    graphs = as_type(described, Graphs, str(folder / SPEC_FILE), _AGAIN)
    try:
        wrong = [
            name
            for name, digest in graphs.files.items()
            if Path(name).is_absolute() or ".." in Path(name).parts or _digest(folder / name) != digest
        ]
        if wrong:
            raise OpenMofiError(f"{folder / wrong[0]} is not what {SPEC_FILE} beside it describes.", _AGAIN)
        if (
            _fingerprint(raw["format"], raw["dim"], graphs) != raw["fingerprint"]
            or f"image{graph_format(raw['format']).suffix}" not in graphs.files
        ):
            raise OpenMofiError(f"{folder / SPEC_FILE} was changed after it was written.", _AGAIN)
    except OSError as error:
        raise OpenMofiError(f"{folder} is not whole: {error}.", _AGAIN) from error
    return graphs


def _digest(path: Path) -> str:
    digest = hashlib.blake2b(digest_size=8)
    with open(path, "rb") as file:
        while block := file.read(_READ):
            digest.update(block)
    return digest.hexdigest()


def _graph(folder: Path, side: str, style: str, graphs: Graphs, dim: int) -> Graph:
    path, threads = folder / f"{side}{graph_format(style).suffix}", cores()
    engine = graph_format(style).open(path, graphs.output, graphs.precision, threads)

    def run(inputs: Mapping[str, Any]) -> Array:
        rows = np.asarray(engine(inputs), np.float32)
        if rows.ndim != 2 or rows.shape[1] != dim:
            raise OpenMofiError(f"{path} gives rows of shape {rows.shape}, not {dim} a row.", _AGAIN)
        return rows

    return run


def _onnx(path: Path, output: str, precision: str, threads: int) -> Graph:
    runtime = imported("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    # Threads that wait sleep, as torch's do here: see `openmofi.encoders`.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the engine raises classes of its own that share no base but this
        raise refused(path, error) from error
    return lambda inputs: session.run([output], dict(inputs))[0]


def refused(path: Path, error: Exception) -> OpenMofiError:
    """Return the error for a graph that an engine does not open."""
    return OpenMofiError(
        f"{path} cannot be opened: {first_line(error)}",
        "Install the versions that it was exported with, or export it again.",
    )


_ONNX = GraphFormat(".onnx", ("onnx", "onnxscript", "onnxruntime"), _onnx, None)


def graph_format(name: str) -> GraphFormat:
    """Return the format of this name."""
    return _ONNX if name == "onnx" else extension(_GROUP, name)
