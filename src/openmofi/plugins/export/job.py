"""Exports an encoder to ONNX or OpenVINO: folds, traces, converts, compares with the original, and only then writes.

Heads of ours stay heads: what is traced is the frozen encoder that they stand on, which becomes the folder `base/` of
the export. Folds are exported over that same base, and what lies beside the original (its companions) is copied. So
features, heads, folds and calibration are to each other what they are in the original.
"""

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from openmofi.encoders import Encoder, open_encoder
from openmofi.encoders.companions import CALIBRATION_FILE, CLASSES_FILE, FOLDS_FILE, GALLERY_FILE
from openmofi.encoders.folder import (
    HEAD_OUTPUTS,
    SPEC_FILE,
    TOKENIZER_FOLDER,
    encoder_with_heads,
    facts_of,
    read_description,
    write_heads,
)
from openmofi.encoders.graphs import (
    EMBEDDING,
    FEATURES,
    MASK,
    PIXELS,
    POSTPROCESSING,
    Graphs,
    GraphSource,
    digests,
    graph_format,
    imported,
    text_inputs,
    write_graphs_description,
)
from openmofi.encoders.networks import Headed, Networks, folded, image_probe
from openmofi.errors import UsageError
from openmofi.plugins.export import ExportSettings
from openmofi.plugins.export.agreement import Agreement, Samples, agreement, check_loss
from openmofi.plugins.export.portable import portable_tokens
from openmofi.plugins.export.sides import networks_of
from openmofi.plugins.export.tracing import quantise_linear, write_behind, write_onnx
from openmofi.storage import Outputs, claimed, finish_manifest, package_versions, write_json
from openmofi.storage.atomic import temporary_folder, write_error
from openmofi.storage.folders import written_folder

_PROBE_TEXTS = ["a photo of a crane", "two words"]
_CALIBRATION = 128
BASE_FOLDER = "base"


_FILES = (
    "*.onnx",
    "*.onnx.data",
    "*.xml",
    "*.bin",
    f"{TOKENIZER_FOLDER}/*",
    CALIBRATION_FILE,
    GALLERY_FILE,
    *HEAD_OUTPUTS,
)
OUTPUTS = Outputs((*_FILES, *(f"{BASE_FOLDER}/**/{pattern}" for pattern in _FILES)))


def export_encoder(
    encoder: Encoder, out: str | Path, settings: ExportSettings, samples: Samples, *, restart: bool = False
) -> Agreement:
    """Write a folder that opens as `onnx:FOLDER` or `openvino:FOLDER`; its files: see `openmofi.encoders.graphs`.

    The graphs are written into a hidden folder in `out`, opened, and compared with the encoder. Only where the loss is
    within `settings.max_loss` they are moved to `out`, and `encoder.json` last. For calibration every second sample is
    taken, and the others judge. The original's own calibration (of the label job), class vectors and folds are put
    beside the export. An export that is finished already is not made again.

    Args:
        encoder: opened again on the CPU, if it is elsewhere.
        out: where: a folder, or its address in a store.
        settings: see there.
        samples: to compare, and to calibrate `int8` of OpenVINO, on.
        restart: remove what was made in `out` before, and begin anew.

    Raises:
        UsageError: the encoder or the network does not go with the settings.
        MissingExtraError: a package of the extra `export` is not installed.
        OpenMofiError: the loss is too great, `out` was made with other settings, holds something else, or cannot be
            written.
    """
    for package in graph_format(settings.format).packages:
        imported(package)
    encoder = encoder.to("cpu")
    if not _on_graphs(encoder, settings):
        _networks(encoder)
    described = {"encoder": encoder.spec, "format": settings.format, "precision": settings.precision}
    inputs = {"/encoder": encoder.fingerprint, "/samples": samples.fingerprint}
    with claimed(out, "export", described, inputs, outputs=OUTPUTS, restart=restart, stores=True) as manifest:
        if manifest.finished:
            measured = Agreement.from_dict(manifest.counts)
            check_loss(measured, settings.max_loss)
            return measured
        with written_folder(str(out), SPEC_FILE) as folder:
            measured = _export(encoder, folder, settings, samples)
        finish_manifest(out, manifest, measured.as_dict())
        return measured


def _export(encoder: Encoder, out: Path, settings: ExportSettings, samples: Samples) -> Agreement:
    judged, calibration = _split(samples) if settings.calibrates else (samples, samples)
    try:
        with temporary_folder(out) as temporary:
            whole = temporary / "whole"
            made = _write(encoder, whole, settings, calibration, EMBEDDING)
            measured = agreement(encoder, made, judged, texts=encoder.has_texts)
            check_loss(measured, settings.max_loss)
            write_json(
                whole / SPEC_FILE,
                read_description(whole) | {"agreement": measured.as_dict(), "versions": package_versions()},
            )
            _copy_companions(whole, encoder, made, settings)
            move(whole, out, SPEC_FILE)
    except OSError as error:
        raise write_error(error, out) from error
    return measured


def _networks(encoder: Encoder) -> Networks:
    if not encoder.has_joint_space:
        raise UsageError(
            f"The encoder {encoder.spec!r} is a pair of backbones without projection heads.",
            "Export an encoder that stands on it.",
        )
    return networks_of(encoder)


def _split(samples: Samples) -> tuple[Samples, Samples]:
    if len(samples.images) < 2:
        raise UsageError(
            "int8 for OpenVINO needs images to calibrate on and others to judge by.",
            "Give shards with more images to --images.",
        )
    judged, calibration = (
        Samples(samples.source, samples.images[start::2], samples.texts[start::2], samples.paired) for start in (0, 1)
    )
    return judged, calibration


def _write(encoder: Encoder, folder: Path, settings: ExportSettings, calibration: Samples, output: str) -> Encoder:
    """Write an encoder, what it stands on first; opened again."""
    folder.mkdir(exist_ok=True)
    if _on_graphs(encoder, settings):
        _write_merged(encoder, folder)
        return open_encoder(f"{settings.format}:{folder}")
    if encoder.heads is not None:
        base = _write(encoder.heads.base, folder / BASE_FOLDER, settings, calibration, FEATURES)
        return _write_heads(encoder, base, folder, settings, BASE_FOLDER)
    _write_graphs(encoder, folder, settings, calibration, output)
    return open_encoder(f"{settings.format}:{folder}")


def _on_graphs(encoder: Encoder, settings: ExportSettings) -> bool:
    """Whether an encoder is heads on graphs of ONNX, behind which they are put as they are."""
    below = None if encoder.heads is None else encoder.heads.base.companions.folder
    return (
        (settings.format, settings.precision) == ("onnx", "fp32")
        and below is not None
        and (below / "image.onnx").is_file()
    )


def _write_merged(encoder: Encoder, folder: Path) -> None:
    """Write the graphs that `encoder` stands on with its heads in them; they keep their precision and tokenizer.

    Raises:
        UsageError: it has folds.
        OpenMofiError: the graphs do not go together with the heads.
    """
    heads = encoder.heads
    assert heads is not None
    below = heads.base.companions.folder
    assert below is not None
    if any(path.name == FOLDS_FILE for path in encoder.companions.files):
        raise UsageError(
            f"The encoder {encoder.spec!r} has folds, cross-fitted heads that no single graph holds.",
            "Use it as it is.",
        )
    raw = read_description(below, "onnx")
    sides = [("image", heads.image, heads.base.feature_dim)]
    if heads.text is not None:
        sides.append(("text", heads.text, heads.base.text_feature_dim))
        shutil.copytree(below / TOKENIZER_FOLDER, folder / TOKENIZER_FOLDER)
    tokenizer = None if heads.text is None else raw["tokenizer"]
    metadata = {
        **facts_of(encoder),
        "source": _source(encoder),
        "tokenizer": tokenizer,
        "precision": raw["precision"],
        "output": EMBEDDING,
        "postprocessing": POSTPROCESSING[EMBEDDING],
    }
    for side, head, dim in sides:
        behind = Headed(nn.Identity(), head, adapter=heads.adapter)
        path = folder / f"{side}.onnx"
        write_behind(below / path.name, raw["output"], behind, path, dim, {**metadata, "side": side})
    write_graphs_description(
        folder,
        replace(encoder, feature_dim=encoder.dim, text_feature_dim=encoder.dim),
        "onnx",
        Graphs(raw["precision"], EMBEDDING, tokenizer, digests(folder), GraphSource(encoder.spec, encoder.fingerprint)),
    )


def _write_heads(encoder: Encoder, base: Encoder, folder: Path, settings: ExportSettings, base_folder: str) -> Encoder:
    """Write the heads of `encoder` over its exported base, which lies in `base_folder`, relative to `folder`."""
    heads = encoder.heads
    assert heads is not None
    assert encoder.logit_scale is not None
    made = encoder_with_heads(encoder.spec, replace(heads, base=base), encoder.logit_scale)
    write_heads(folder, made, base_folder, settings.format, precision=settings.precision, source=_source(encoder))
    return made


def _source(encoder: Encoder) -> dict[str, str]:
    return {"spec": encoder.spec, "fingerprint": encoder.fingerprint}


def _copy_companions(folder: Path, encoder: Encoder, made: Encoder, settings: ExportSettings) -> None:
    """Put beside an export what lies beside the original, the heads of its folds among it."""
    for path in encoder.companions.files:
        shutil.copyfile(path, folder / path.name)
    if encoder.open_fold is None or made.heads is None or encoder.companions.folder is None:
        return
    for name in sorted(path.name for path in (encoder.companions.folder / "folds").glob("*")):
        fold, fold_folder = encoder.fold(int(name)), folder / "folds" / name
        _write_heads(fold, made.heads.base, fold_folder, settings, f"../../{BASE_FOLDER}")
        if fold.companions.folder and (classes := fold.companions.folder / CLASSES_FILE).exists():
            shutil.copyfile(classes, fold_folder / CLASSES_FILE)


def _write_graphs(encoder: Encoder, folder: Path, settings: ExportSettings, calibration: Samples, output: str) -> None:
    networks = encoder.networks
    assert networks is not None
    tokens, tokenizer = networks.tokens, networks.tokenizer
    if tokens is not None and tokenizer is not None:
        tokens, tokenizer = portable_tokens(tokens, tokenizer, [*_PROBE_TEXTS, *calibration.texts])
    common: dict[str, Any] = {
        "format": settings.format,
        "precision": settings.precision,
        "output": output,
        "dim": encoder.dim,
        "feature_dim": encoder.feature_dim,
        "logit_scale": encoder.logit_scale,
        "text_feature_dim": 0 if networks.text is None else encoder.text_feature_dim,
        "preprocessing": asdict(encoder.preprocessing),
        "tokenizer": tokenizer,
        "source": _source(encoder),
    }
    count = _CALIBRATION if settings.calibrates else 0
    inputs = [{PIXELS: encoder.preprocess(image)[None]} for image in calibration.images[:count]]
    _write_side(
        networks.image,
        {PIXELS: image_probe(encoder.preprocessing.size)},
        (0,),
        folder,
        "image",
        settings,
        inputs,
        common,
    )
    if networks.text is not None and tokens is not None and tokenizer is not None:
        masked = bool(tokenizer["masked"])
        rows = tokens([*_PROBE_TEXTS, *calibration.texts[:count]])
        probe = {name: torch.from_numpy(values) for name, values in text_inputs(rows[:2], masked=masked).items()}
        inputs = [text_inputs([row], masked=masked) for row in rows[2:]]
        _write_side(networks.text, probe, (0, 1) if masked else (0,), folder, "text", settings, inputs, common)
        tokens.save(folder / TOKENIZER_FOLDER)
    write_graphs_description(
        folder,
        encoder,
        settings.format,
        Graphs(settings.precision, output, tokenizer, digests(folder), GraphSource(encoder.spec, encoder.fingerprint)),
    )


def _write_side(
    network: nn.Module,
    probe: Mapping[str, torch.Tensor],
    dynamic: Sequence[int],
    folder: Path,
    side: str,
    settings: ExportSettings,
    calibration: Sequence[Mapping[str, Any]],
    common: Mapping[str, Any],
) -> None:
    metadata = {**common, "side": side, "postprocessing": POSTPROCESSING[common["output"]]}
    style = graph_format(settings.format)
    with tempfile.TemporaryDirectory(prefix="plain-", dir=folder.parent) as plain:
        source, target = Path(plain) / f"{side}.onnx", folder / f"{side}{style.suffix}"
        network = folded(network, next(iter(probe.values()))) if MASK not in probe else network
        write_onnx(network, probe, dynamic, source, metadata, common["output"])
        if style.write is not None:
            style.write(source, target, settings.precision, calibration, metadata)
        elif settings.precision == "int8":
            quantise_linear(source, target)
        else:
            for file in Path(plain).iterdir():
                shutil.move(file, folder / file.name)


def move(folder: Path, out: Path, last: str) -> None:
    """Move what is in `folder` to `out`, synced; the file `last` comes last, so that `out` opens whole or not."""
    paths = sorted((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path == folder / last)
    for path in paths:
        with open(path, "rb") as file:
            os.fsync(file.fileno())
    for path in paths:
        target = out / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
