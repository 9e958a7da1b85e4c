"""Exports an encoder to ONNX or OpenVINO: folds, traces, converts, compares with the original, and only then writes.

Heads of ours stay heads: what is traced is the frozen encoder that they stand on. See `exported_heads`.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from openmofi.encoders.export.agreement import Agreement, Samples, agreement
from openmofi.encoders.export.heads import BASE_FOLDER, copy_companions, save_exported_heads
from openmofi.encoders.export.onnx import quantise_linear, write_onnx
from openmofi.encoders.export.opened import (
    EMBEDDING,
    FEATURES,
    GRAPHS,
    MASK,
    PIXELS,
    POSTPROCESSING,
    SPEC_FILE,
    TOKENIZER_FOLDER,
    Exported,
    digests,
    imported,
    load_exported,
    text_inputs,
)
from openmofi.encoders.export.openvino import write_openvino
from openmofi.encoders.export.settings import ExportSettings
from openmofi.encoders.fold import folded, picture_probe
from openmofi.encoders.networks import Networks
from openmofi.encoders.projection import ProjectionEncoder, read_encoder_json
from openmofi.encoders.protocol import Encoder
from openmofi.errors import OpenMofiError, UsageError
from openmofi.storage import package_versions, write_json
from openmofi.storage.atomic import write_error

_PROBE_TEXTS = ["a photo of a crane", "two words"]
_CALIBRATION = 128
_PACKAGES = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("onnx", "onnxscript", "openvino")}


def export_encoder(encoder: Encoder, out: str | Path, settings: ExportSettings, samples: Samples) -> Agreement:
    """Write a folder that opens as `onnx:FOLDER` or `openvino:FOLDER`; its files: see `exported`, `exported_heads`.

    The graphs are written beside `out`, opened, and compared with the encoder. Only where the loss is within
    `settings.max_loss` they are renamed to `out`. For calibration every second sample is taken, and the others judge.
    The original's own calibration (of the label job), class vectors and folds are put beside the export.

    Args:
        encoder: on the CPU.
        out: where; must not exist, or be empty.
        settings: see there.
        samples: to compare, and to calibrate `int8` of OpenVINO, on.

    Raises:
        UsageError: the encoder or the network does not go with the settings.
        MissingExtraError: a package of the extra `export` is not installed.
        OpenMofiError: the loss is too great, or the folder cannot be written.
    """
    for package in _PACKAGES[settings.format]:
        imported(package)
    networks = _networks(encoder)
    out = Path(out)
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise OpenMofiError(f"{out} is there already.", "Choose another output with -o, or remove it.")
    judged, calibration = _split(samples) if settings.calibrates else (samples, samples)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".openmofi-tmp-export-", dir=out.parent) as temporary:
            whole = Path(temporary) / "whole"
            made = _write(encoder, whole, settings, calibration, EMBEDDING)
            found = agreement(encoder, made, judged, texts=networks.text is not None)
            _check(found, settings)
            write_json(whole / SPEC_FILE, read_encoder_json(whole) | {"agreement": found.as_dict(),
                                                                      "versions": package_versions()})
            copy_companions(whole, encoder, made, settings)
            _sync(whole)
            whole.replace(out)
    except OSError as error:
        raise write_error(error, out) from error
    return found


def _networks(encoder: Encoder) -> Networks:
    if not encoder.dim:
        raise UsageError(f"The encoder {encoder.spec!r} is a pair of backbones without projection heads.",
                         "Export an encoder that stands on it.")
    networks: Networks | None = getattr(encoder, "networks", None)
    if networks is None:
        raise UsageError(f"The encoder {encoder.spec!r} has no networks of PyTorch, or stands on one that has none.",
                         "Export the encoder that it was made of.")
    return networks


def _split(samples: Samples) -> tuple[Samples, Samples]:
    if len(samples.pictures) < 2:
        raise UsageError("int8 for OpenVINO needs images to calibrate on and others to judge by.",
                         "Give shards with more images to --images.")
    judged, kept = (Samples(samples.source, samples.pictures[start::2], samples.texts[start::2], samples.paired)
                    for start in (0, 1))
    return judged, kept


def _write(encoder: Encoder, folder: Path, settings: ExportSettings, calibration: Samples, output: str) -> Encoder:
    """Write an encoder, what it stands on first; opened again."""
    folder.mkdir(exist_ok=True)
    if isinstance(encoder, ProjectionEncoder):
        base = _write(encoder.base, folder / BASE_FOLDER, settings, calibration, FEATURES)
        return save_exported_heads(folder, encoder, base, settings)
    networks: Networks | None = getattr(encoder, "networks", None)
    assert networks is not None
    _write_graphs(encoder, networks, folder, settings, calibration, output)
    return load_exported(folder, settings.format)


def _write_graphs(encoder: Encoder, networks: Networks, folder: Path, settings: ExportSettings, calibration: Samples,
                  output: str) -> None:
    scale = encoder.logit_scale if getattr(encoder, "logit_scale_known", True) else None
    told: dict[str, Any] = {
        "format": settings.format, "precision": settings.precision, "output": output, "dim": encoder.dim,
        "feature_dim": encoder.feature_dim, "logit_scale": scale,
        "text_feature_dim": 0 if networks.text is None else encoder.text_feature_dim,
        "preprocessing": asdict(encoder.preprocessing), "tokenizer": networks.tokenizer,
        "source": {"spec": encoder.spec, "fingerprint": encoder.fingerprint}}
    count = _CALIBRATION if settings.calibrates else 0
    wanted = [{PIXELS: encoder.preprocess(picture)[None]} for picture in calibration.pictures[:count]]
    _write_side(networks.image, {PIXELS: picture_probe(encoder.preprocessing.size)}, (0,), folder, "image", settings,
                wanted, told)
    if networks.text is not None and networks.tokens is not None and networks.tokenizer is not None:
        masked = bool(networks.tokenizer["masked"])
        rows = networks.tokens([*_PROBE_TEXTS, *calibration.texts[:count]])
        probe = {name: torch.from_numpy(values) for name, values in text_inputs(rows[:2], masked=masked).items()}
        wanted = [text_inputs([row], masked=masked) for row in rows[2:]]
        _write_side(networks.text, probe, (0, 1) if masked else (0,), folder, "text", settings, wanted, told)
        networks.tokens.save(folder / TOKENIZER_FOLDER)
    write_json(folder / SPEC_FILE, Exported(**told, files=digests(folder)).as_json())


def _write_side(network: nn.Module, probe: Mapping[str, torch.Tensor], dynamic: Sequence[int], folder: Path, side: str,
                settings: ExportSettings, calibration: Sequence[Mapping[str, Any]], told: Mapping[str, Any]) -> None:
    metadata = {**told, "side": side, "postprocessing": POSTPROCESSING[told["output"]]}
    with tempfile.TemporaryDirectory(prefix="plain-", dir=folder.parent) as plain:
        source, target = Path(plain) / f"{side}.onnx", folder / f"{side}{GRAPHS[settings.format]}"
        network = folded(network, next(iter(probe.values()))) if MASK not in probe else network
        write_onnx(network, probe, dynamic, source, metadata, told["output"])
        if settings.format == "openvino":
            write_openvino(source, target, settings.precision, calibration, metadata)
        elif settings.precision == "int8":
            quantise_linear(source, target)
        else:
            for file in Path(plain).iterdir():
                shutil.move(file, folder / file.name)


def _sync(folder: Path) -> None:
    """Onto the disk, before the folder gets its name."""
    for path in folder.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file.fileno())


def _check(found: Agreement, settings: ExportSettings) -> None:
    # A comparison with what is no number is false, and no number is no agreement.
    if found.loss <= settings.max_loss:
        return
    sides = f"images {found.image_mean:.4f}" + ("" if found.text_mean is None else f", texts {found.text_mean:.4f}")
    raise OpenMofiError(
        f"The export loses {found.loss:.4f} (1 − mean cosine; {sides}) on {found.source}, more than "
        f"{settings.max_loss:g}: nothing was written.",
        "Choose a higher --precision, or allow the loss with --max-loss after you have measured what it costs you.")
