"""Opens an encoder by its spec string."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from dataclasses import asdict
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from openmofi.encoders.protocol import Encoder
from openmofi.errors import MissingExtraError, OpenMofiError, UsageError

SAMPLE_FOLDER_VARIABLE = "OPENMOFI_SAMPLE_ENCODERS"
BACKBONE = "backbone:efficientnet-lite0+minilm"
_SAMPLE_FOLDER = "runs/demo/encoders"
_FOLDERS = ("run", "onnx", "openvino")
_SAMPLES = {"sample": "partial-labels", "sample:alt-text": "alt-text"}
_Stamp = tuple[tuple[str, int, int], ...]
_EXAMPLES = ("sample, sample:alt-text, run:FOLDER, onnx:FOLDER, openvino:FOLDER, hf:FOLDER-OR-ID, mofi:FOLDER-OR-ID, "
             "open_clip:ARCH/PRETRAINED "
             "(e.g. open_clip:ViT-B-16/laion2b_s34b_b88k), timm:NAME (e.g. timm:vit_small_patch14_dinov2.lvd142m)")


def open_encoder(spec: str, *, device: str = "cpu") -> Encoder:
    """Open the encoder that `spec` names.

    Specs: `open_clip:ARCH/PRETRAINED` (a pretrained tag or a .safetensors/.pt file), `hf:PATH-OR-ID` (CLIP and SigLIP
    in transformers' layout; for images alone DINOv2 and DINOv3), `mofi:PATH-OR-ID` (MOFI's released checkpoints),
    `timm:NAME[/TAG-OR-FILE]` (images alone), `run:PATH` (ours), `onnx:PATH` and `openvino:PATH` (exported by
    `openmofi export`; on the CPU), `sample` and `sample:alt-text` (by the demo), and
    `backbone:efficientnet-lite0+minilm` (features only, to train heads on). Only a hub id or a pretrained tag
    reaches for the network.

    Raises:
        UsageError: no such kind of encoder, or no such device here.
        MissingExtraError: a package that it needs is not installed.
        OpenMofiError: the encoder is missing, damaged, or cannot be fetched.
    """
    spec = spec.strip()
    _check_device(device)
    if spec in _SAMPLES:
        return _open_sample(spec, device)
    prefix, _, rest = spec.partition(":")
    opener = _OPENERS.get(prefix)
    if opener is None or not rest:
        raise _unknown(spec, prefix)
    try:
        return opener(spec, rest, device)
    except ModuleNotFoundError as error:
        raise MissingExtraError.of(error.name or "torch", "torch") from error


def _check_device(device: str) -> None:
    if device == "cpu":
        return
    try:
        import torch
    except ModuleNotFoundError as error:
        raise MissingExtraError.of("torch", "torch") from error
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise UsageError(f"There is no device {device!r}.", "Use cpu, cuda, or cuda:1 and so on.") from error
    if kind == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"There is no CUDA device here for {device!r}.", "Use cpu, or a CUDA build of PyTorch.")


def sample_encoder_folder(spec: str = "sample") -> Path:
    """Where the encoder `sample` or `sample:alt-text` is expected: below $OPENMOFI_SAMPLE_ENCODERS or runs/demo."""
    return Path(os.environ.get(SAMPLE_FOLDER_VARIABLE) or _SAMPLE_FOLDER) / _SAMPLES[spec]


def encoder_folder(spec: str) -> Path | None:
    """The folder of an encoder of ours, where things that belong to it (its calibration) may lie beside; else none."""
    if spec in _SAMPLES:
        return sample_encoder_folder(spec)
    prefix, _, folder = spec.partition(":")
    return Path(folder) if prefix in _FOLDERS else None


def fold_spec(spec: str, fold: int) -> str:
    """The spec of a cross-fitted copy of an encoder that has an `encoder_folder`; see
    `openmofi.labeling.judge.evidence`.
    """
    prefix = spec.partition(":")[0]
    return f"{prefix if prefix in _FOLDERS else 'run'}:{encoder_folder(spec)}/folds/{fold}"


def _open_sample(spec: str, device: str) -> Encoder:
    folder = sample_encoder_folder(spec)
    if not (folder / "encoder.json").is_file():
        raise OpenMofiError(
            f"The sample encoder has not been trained here: there is no {folder}/encoder.json.",
            f"Run `make demo` or `openmofi sample encoder`, or set {SAMPLE_FOLDER_VARIABLE} to the folder it is in.")
    return _open_run(spec, str(folder), device)


def _open_run(spec: str, rest: str, device: str) -> Encoder:
    from openmofi.encoders.projection import load_projection_encoder, read_encoder_json

    raw = read_encoder_json(Path(rest))
    if raw["kind"].startswith("exported"):
        raise UsageError(f"{rest} is an exported encoder.", f"Open it as {raw['format']}:{rest}.")
    if raw["kind"] == "trained":
        return _trained(spec, rest, device, _stamp(Path(rest)))
    return load_projection_encoder(rest, partial(open_encoder, device=device), spec=spec)


@lru_cache(maxsize=2)
def _trained(spec: str, rest: str, device: str, stamp: _Stamp) -> Encoder:
    # Several stages of a job open the same encoder; see `_joint`.
    from openmofi.encoders.trained import load_trained_encoder

    return load_trained_encoder(rest, partial(open_encoder, device=device), spec=spec, device=device)


def _open_exported(spec: str, rest: str, device: str) -> Encoder:
    if device != "cpu":
        raise UsageError(f"{spec} runs on the CPU, not on {device}.", "Open the encoder that it was made of there.")
    from openmofi.encoders.projection import read_encoder_json

    if read_encoder_json(Path(rest))["kind"] == "exported_heads":
        from openmofi.encoders.export.heads import load_exported_heads

        return load_exported_heads(rest, spec.partition(":")[0], open_encoder, spec=spec)
    return _exported(spec, rest, _stamp(Path(rest)))


@lru_cache(maxsize=2)
def _exported(spec: str, rest: str, stamp: _Stamp) -> Encoder:
    # Several stages of a job open the same encoder, folds the same base; see `_joint`.
    from openmofi.encoders.export.opened import load_exported

    return load_exported(rest, spec.partition(":")[0], spec=spec)


def _open_backbone(spec: str, rest: str, device: str) -> Encoder:
    if spec != BACKBONE:
        raise UsageError(f"There is no pair of backbones {rest!r}.", f"There is one: {BACKBONE}.")
    return _backbones(device)


@lru_cache(maxsize=1)
def _backbones(device: str) -> Encoder:
    # A job opens several encoders (folds, an adapter) over these two, whose weights come from installed
    # packages. Features are computed in one thread of a process, see `EfficientNetLite0.features`.
    from openmofi.encoders.libraries.backbones import open_backbones

    return open_backbones(BACKBONE, device=device)


def _open_open_clip(spec: str, rest: str, device: str) -> Encoder:
    return _joint(spec, rest, device, _stamp(Path(rest.partition("/")[2])))


def _open_hf(spec: str, rest: str, device: str) -> Encoder:
    return _joint(spec, rest, device, _stamp(Path(rest.partition("?")[0])))


def _open_timm(spec: str, rest: str, device: str) -> Encoder:
    return _joint(spec, rest, device, _stamp(Path(rest.partition("?")[0].partition("/")[2])))


@lru_cache(maxsize=2)
def _joint(spec: str, rest: str, device: str, stamp: _Stamp) -> Encoder:
    # An adapter's folds stand on one base, and a job's stages open the same encoder: its weights are loaded once.
    if spec.startswith("open_clip:"):
        from openmofi.encoders.libraries.openclip import open_open_clip

        return open_open_clip(spec, rest, device)
    if spec.startswith("timm:"):
        from openmofi.encoders.libraries.timm import open_timm

        return open_timm(spec, rest, device)
    if spec.startswith("mofi:"):
        from openmofi.encoders.libraries.huggingface import open_mofi

        return open_mofi(spec, rest, device)
    from openmofi.encoders.libraries.huggingface import open_huggingface

    return open_huggingface(spec, rest, device)


def _stamp(path: Path) -> _Stamp:
    """Changes when a local checkpoint does; empty for what is on a hub."""
    files = sorted(path.iterdir()) if path.is_dir() else [path] if path.is_file() else []
    return tuple((file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files)


def describe(encoder: Encoder) -> dict[str, Any]:
    """What there is to know about an open encoder, as JSON values; `logit_scale` is `None` where it is unknown."""
    names = ("spec", "fingerprint", "feature_fingerprint", "dim", "feature_dim", "text_feature_dim")
    scale = encoder.logit_scale if getattr(encoder, "logit_scale_known", True) else None
    return {**{name: getattr(encoder, name) for name in names}, "logit_scale": scale,
            "preprocessing": asdict(encoder.preprocessing)}


_OPENERS: dict[str, Callable[[str, str, str], Encoder]] = {
    "backbone": _open_backbone, "hf": _open_hf, "mofi": _open_hf, "onnx": _open_exported, "open_clip": _open_open_clip,
    "openvino": _open_exported, "run": _open_run, "timm": _open_timm,
}


def _unknown(spec: str, prefix: str) -> UsageError:
    near = difflib.get_close_matches(spec if ":" not in spec else prefix, [*_OPENERS, *_SAMPLES], n=1)
    guess = f" Did you mean {near[0]!r}?" if near else ""
    return UsageError(f"There is no encoder {spec!r}.{guess}", f"Encoders are: {_EXAMPLES}.")
