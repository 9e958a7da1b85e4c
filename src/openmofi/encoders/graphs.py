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
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from openmofi.arrays import Array
from openmofi.encoders.arrays import padded
from openmofi.encoders.companions import Companions
from openmofi.encoders.devices import BOUND, LOW_BOUND, PROVIDERS, graph_devices
from openmofi.encoders.encoder import Encoder
from openmofi.encoders.folder import SPEC_FILE, TOKENIZER_FOLDER, Side, facts_of, write_description
from openmofi.encoders.preprocess import Preprocessing, preprocessing_from_json
from openmofi.encoders.towers import encoder_of
from openmofi.engine.protocol import cores
from openmofi.errors import MissingExtraError, OpenMofiError, UsageError, first_line
from openmofi.extensions import extension
from openmofi.storage import as_type, fingerprint

_GROUP = "graph_formats"
# PyTorch names values after operators, `embedding` among them, and names must differ.
PIXELS, TOKENS, MASK, EMBEDDING, FEATURES = "pixels", "tokens", "mask", "joint_embedding", "features"
POSTPROCESSING = {EMBEDDING: "L2-normalised, in the graph", FEATURES: "none: features, which heads take"}
_AGAIN = "Export it again."
_PROBES = ("a photo of a crane", "two", "a red apple on a table", "7")
_log = logging.getLogger(__name__)
Graph = Callable[[Mapping[str, Any]], Array]


Write = Callable[[Path, Path, str, Sequence[Mapping[str, Any]], Mapping[str, Any]], None]


@dataclass(frozen=True)
class GraphFormat:
    """A format of graphs; a package adds one as an entry point of `openmofi.graph_formats`.

    Attributes:
        suffix: of a graph's file.
        packages: that have to be installed to write one.
        open: opens a graph, given its file, the name of the output, the precision, the number of threads and the
            device, which is `cpu` or one of `devices`.
        write: makes one of an ONNX graph in fp32, given both files, the precision, inputs to calibrate `int8` on, and
            JSON values to store in the graph; `None` for ONNX itself.
        devices: returns those that it runs on here besides the CPU, the fastest first.
    """

    suffix: str
    packages: tuple[str, ...]
    open: Callable[[Path, str, str, int, str], Graph]
    write: Write | None
    devices: Callable[[], list[str]] = list


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


def open_graphs(folder: Path, raw: Mapping[str, Any], spec: str, device: str = "cpu") -> Encoder:
    """Open exported graphs with their engine.

    As many threads are used as `openmofi.engine.protocol` says. Another device than the CPU must give the CPU's
    features for four images and texts, to a thousandth of the greatest (five hundredths in lower precisions).

    Args:
        folder: of the encoder.
        raw: what `read_description` gives of it.
        spec: how it is opened.
        device: see `devices.graph_devices`; `auto` is the first that gives the CPU's features.

    Raises:
        UsageError: the engine has no such device here.
        OpenMofiError: the graphs do not run on the device, or give other features there.
        OpenMofiError: the folder is damaged or half-written.
        MissingExtraError: the engine is not installed.
    """
    style, graphs = str(raw["format"]), _checked(folder, raw)
    there = graph_format(style).devices()
    if device not in ("auto", "cpu", *there):
        hint = f"ONNX graphs take {PROVIDERS[device][1]} for it." if device in PROVIDERS else "Use --device auto."
        raise UsageError(f"{spec} runs on {', '.join(['cpu', *there])} here, not on {device}.", hint)
    on_cpu = _opened(folder, raw, spec, graphs, "cpu")
    for each in there if device == "auto" else {device} - {"cpu"}:
        try:
            encoder = _opened(folder, raw, spec, graphs, each)
            why = _difference(encoder, on_cpu, BOUND if graphs.precision == "fp32" else LOW_BOUND)
        except Exception as error:  # engines raise classes of their own
            why = first_line(error).rstrip(".")
        if not why:
            return replace(encoder, device=each)
        if device != "auto":
            raise OpenMofiError(f"{spec} cannot run on {each}: {why}.", "Use --device cpu.")
        _log.warning("%s is not run on %s: %s.", spec, each, why)
    return on_cpu


def _difference(encoder: Encoder, expected: Encoder, bound: float) -> str:
    """Return by how much an encoder's features differ from those expected, in words; "" where by no more than `bound`
    of the greatest.
    """
    size = encoder.preprocessing.size
    pixels = np.random.default_rng(0).standard_normal((len(_PROBES), 3, size, size)).astype(np.float32)
    pairs = [(encoder.image_tower(pixels), expected.image_tower(pixels))]
    if encoder.text_tower and expected.text_tower:
        pairs.append((encoder.text_tower(_PROBES), expected.text_tower(_PROBES)))
    differences = [float(np.abs(one - other).max() / max(np.abs(other).max(), 1e-30)) for one, other in pairs]
    # Also where it is no number.
    return next(
        (f"its features differ from the CPU's by {one:.2g} of the greatest" for one in differences if not one <= bound),
        "",
    )


def _opened(folder: Path, raw: Mapping[str, Any], spec: str, graphs: Graphs, device: str) -> Encoder:
    style = str(raw["format"])
    preprocessing: Preprocessing = preprocessing_from_json(raw["preprocessing"], str(folder / SPEC_FILE))
    image, tokens, text = _graph(folder, "image", style, graphs, raw["feature_dim"], device), None, None
    if graphs.tokenizer is not None:
        from openmofi.encoders.tokens import opened_tokens

        graph = _graph(folder, "text", style, graphs, raw["text_feature_dim"], device)
        masked = bool(graphs.tokenizer["masked"])
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
    return replace(encoder, companions=Companions(folder, str(graphs.source.fingerprint)), runs_graphs=True)


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
    with open(path, "rb") as file:
        return hashlib.file_digest(file, partial(hashlib.blake2b, digest_size=8)).hexdigest()


def _graph(folder: Path, side: str, style: str, graphs: Graphs, dim: int, device: str) -> Graph:
    path, threads = folder / f"{side}{graph_format(style).suffix}", cores()
    engine = graph_format(style).open(path, graphs.output, graphs.precision, threads, device)

    def run(inputs: Mapping[str, Any]) -> Array:
        rows = np.asarray(engine(inputs), np.float32)
        if rows.ndim != 2 or rows.shape[1] != dim:
            raise OpenMofiError(f"{path} gives rows of shape {rows.shape}, not {dim} a row.", _AGAIN)
        return rows

    return run


def _onnx(path: Path, output: str, precision: str, threads: int, device: str) -> Graph:
    runtime = imported("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    # Threads that wait sleep, as torch's do here: see `openmofi.encoders`.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers = [PROVIDERS[device][0]] if device in PROVIDERS else []
    try:
        session = runtime.InferenceSession(str(path), options, providers=[*providers, "CPUExecutionProvider"])
    except Exception as error:  # the engine raises classes of its own that share no base but this
        raise refused(path, error) from error
    # What a provider needs may be missing; ONNX Runtime then takes the CPU without a word.
    if missing := set(providers).difference(session.get_providers()):
        raise OpenMofiError(f"ONNX Runtime could not load {', '.join(missing)}.")
    return lambda inputs: session.run([output], dict(inputs))[0]


def refused(path: Path, error: Exception) -> OpenMofiError:
    """Return the error for a graph that an engine does not open."""
    return OpenMofiError(
        f"{path} cannot be opened: {first_line(error)}",
        "Install the versions that it was exported with, or export it again.",
    )


_ONNX = GraphFormat(".onnx", ("onnx", "onnxscript", "onnxruntime"), _onnx, None, graph_devices)


def graph_format(name: str) -> GraphFormat:
    """Return the format of this name."""
    return _ONNX if name == "onnx" else extension(_GROUP, name)
