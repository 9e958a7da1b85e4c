"""Opens an encoder by its spec string."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from PIL import Image

from openmofi.arrays import Array
from openmofi.encoders.arrays import by_tokens, normalised
from openmofi.encoders.devices import check_precision, device_named, graph_devices
from openmofi.encoders.encoder import Encoder
from openmofi.encoders.folder import SPEC_FILE, is_heads, open_heads, read_description
from openmofi.encoders.preprocess import Preprocessing
from openmofi.errors import MissingExtraError, OpenMofiError, UsageError, did_you_mean, first_line
from openmofi.extensions import extension, extension_names
from openmofi.storage import fingerprint
from openmofi.storage.folders import local_folder
from openmofi.storage.foreign import guarded, require_inside

_BATCH = 64
_SIZE = 224
_TEXTS = ("a photo of a crane", "two", "a red apple on a table")
# What a user's encoder does to images is its own; JPEG files are decoded at twice this size or more.
_PREPROCESSING = Preprocessing(_SIZE, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


class CustomEncoder(Protocol):
    """What a user's encoder has. Optional attributes: `logit_scale` (float), `fingerprint` (str)."""

    def embed_images(self, images: list[Image.Image]) -> Any:
        """RGB images → (n, dim) numbers, normalised or not."""

    def embed_texts(self, texts: list[str]) -> Any:
        """Texts → (n, dim) numbers, normalised or not."""


EncoderLike: TypeAlias = str | Encoder | CustomEncoder | tuple[Callable[..., Any], Callable[..., Any]]


def as_encoder(value: EncoderLike) -> Encoder:
    """Return the encoder that a spec or an object stands for.

    Args:
        value: a spec (see `open_encoder`); an `Encoder`, which is returned as it is; an object with
            `embed_images(list of RGB PIL images)` and `embed_texts(list of str)`, each → (n, dim) arrays; or a pair of
            such functions. Images of more than 4 megapixels come made smaller by a whole factor. An object's
            attribute `logit_scale` is the factor on cosines of its training, and `fingerprint`
            identifies its weights; without it, a hash of what it gives for fixed inputs does.

    Raises:
        UsageError: it is none of these, or what it gives has not the shape (n, dim).
        OpenMofiError: see `open_encoder`.
    """
    if isinstance(value, Encoder):
        return value
    if isinstance(value, str):
        return open_encoder(value)
    images: Any
    texts: Any
    if isinstance(value, tuple) and len(value) == 2 and all(map(callable, value)):
        images, texts = value
        name = "custom:" + "+".join(str(getattr(each, "__name__", type(each).__name__)) for each in value)
    else:
        images, texts = (getattr(value, method, None) for method in ("embed_images", "embed_texts"))
        name = f"custom:{type(value).__name__}"
    if not callable(images) or not callable(texts):
        raise UsageError(
            f"A {type(value).__name__} is not an encoder.",
            "Give a spec such as hf:FOLDER, an object with embed_images and embed_texts, or a pair of "
            "functions (images, texts).",
        )
    noise = [np.random.default_rng(seed).integers(0, 256, (_SIZE, _SIZE, 3)).astype(np.uint8) for seed in range(2)]
    probes = [_checked(name, images, list(map(Image.fromarray, noise))), _checked(name, texts, list(_TEXTS))]
    if probes[0].shape[1] != probes[1].shape[1]:
        raise UsageError(
            f"The encoder {name} gives {probes[0].shape[1]} numbers an image and {probes[1].shape[1]} a text.",
            "Both sides must end in one space.",
        )
    scale = getattr(value, "logit_scale", None)
    scale = None if scale is None else float(scale)
    identity = getattr(value, "fingerprint", None) or fingerprint([np.round(probe, 4).tolist() for probe in probes])
    dim = probes[0].shape[1]
    return Encoder(
        name,
        fingerprint([str(identity), scale]),
        fingerprint(str(identity)),
        dim,
        dim,
        dim,
        scale,
        _PREPROCESSING,
        image_tower=partial(_checked, name, images),
        text_tower=lambda given: by_tokens(given, list, partial(_checked, name, texts), dim, _BATCH),
        image_projection=normalised,
        text_projection=normalised,
        takes_images=True,
        reopen=partial(as_encoder, value),
    )


def _checked(name: str, embed: Callable[[list[Any]], Any], items: list[Any]) -> Array:
    """What a user's function gives, float32 (n, dim); tensors of PyTorch on any device are taken too."""
    given = embed(items)
    rows = np.asarray(given.detach().float().cpu() if hasattr(given, "detach") else given, np.float32)
    if rows.ndim != 2 or len(rows) != len(items):
        raise UsageError(
            f"The encoder {name} gives an array of shape {rows.shape} for {len(items)} inputs.",
            "Return one row of numbers an image or text, (n, dim).",
        )
    if not np.isfinite(rows).all():
        raise OpenMofiError(f"The encoder {name} gives values that are not finite.")
    return rows


BACKBONE = "backbone:efficientnet-lite0+minilm"
NAMES_VARIABLE = "OPENMOFI_SAMPLE_ENCODERS"
"""Environment variable: the folder below which the named encoders lie; the command line sets it."""
TINY = "tiny"
"""The small encoder in the package: ONNX graphs of a few MB, which need no PyTorch."""
PHOTO = "photo"
"""The encoder for photographs and drawings whose heads are in the package, on backbones that are on PyPI."""
_PACKAGED = {TINY: "onnx", PHOTO: "run"}
_NAMES = {"sample": "partial-labels", "sample:alt-text": "alt-text"}
_EXAMPLES = (
    "tiny, photo, sample, sample:alt-text, run:FOLDER, onnx:FOLDER, openvino:FOLDER, hf:FOLDER-OR-ID, "
    "st:FOLDER-OR-ID, mofi:FOLDER-OR-ID, "
    "open_clip:ARCH/PRETRAINED "
    "(e.g. open_clip:ViT-B-16/laion2b_s34b_b88k), timm:NAME (e.g. timm:vit_small_patch14_dinov2.lvd142m)"
)


def open_encoder(spec: str, *, device: str = "cpu", precision: str = "fp32", bases: Sequence[Encoder] = ()) -> Encoder:
    """Open the encoder that `spec` names.

    Args:
        spec: `open_clip:ARCH/PRETRAINED` (a pretrained tag or a .safetensors/.pt file), `hf:PATH-OR-ID` (CLIP, SigLIP
            and others of transformers; for images alone DINOv2 and DINOv3), `st:PATH-OR-ID` (CLIPs in the layout of
            sentence-transformers), `mofi:PATH-OR-ID` (MOFI's released checkpoints), `timm:NAME[/TAG-OR-FILE]` (images
            alone), `run:PATH` (ours), `onnx:PATH` and `openvino:PATH` (exported by `openmofi export`; these
            three may lie in a store: `run:s3://…`), `sample` and `sample:alt-text` (by the demo; below the folder that
            $OPENMOFI_SAMPLE_ENCODERS names), `tiny` (in the package; of drawings), `photo` (of photographs and
            drawings; needs the extra `photo`), and `backbone:efficientnet-lite0+minilm` (features only, to train heads
            on; with `@160`, images of 160 pixels). Only a hub id or a pretrained tag reaches for the network;
            `@REVISION` after it names a commit, a tag or a branch of the repository.
        device: `cpu`, `cuda`, `cuda:1` …; of what was exported to ONNX `cpu`, `cuda`, `coreml`, `openvino` or
            `directml`. `auto` is the fastest that is there.
        precision: `fp32`, or `bf16` or `fp16` for autocast of the towers; the fingerprints differ from those of fp32.
        bases: encoders that are already open; heads in a folder stand on one of these where it is theirs, by
            fingerprint and device, and open their base otherwise.

    Raises:
        UsageError: an unknown kind of encoder, device or precision.
        MissingExtraError: a package that it needs is not installed.
        OpenMofiError: the encoder is missing, damaged, or cannot be fetched.
    """
    spec = str(spec).strip()
    prefix, _, rest = spec.partition(":")
    if spec in _NAMES:
        prefix, rest = "run", str(_named_folder(spec))
    elif spec in _PACKAGED:
        prefix, rest = _PACKAGED[spec], str(Path(__file__).parent / spec)
    opener = _open_folder if prefix == "run" or _is_graph(spec) else _added(prefix)
    if opener is None or not rest:
        raise _unknown(spec, prefix)
    check_precision(precision)
    try:
        # What was exported, and heads on it, need no PyTorch to say where they run.
        of_graphs = _is_graph(spec) or (prefix == "run" and device in graph_devices())
        device = device if of_graphs else device_named(device)
        with guarded(f"The encoder {spec!r}", spec):
            encoder = opener(spec, rest, device, bases)
    except ModuleNotFoundError as error:
        raise MissingExtraError.of(error.name or "torch", "torch") from error
    except (OpenMofiError, MemoryError):
        raise
    except Exception as error:
        # Checkpoints are read by many libraries, which raise anything on files that are damaged.
        raise OpenMofiError(
            f"The encoder {spec!r} cannot be opened: {first_line(error)}.",
            "Check that its files are whole and belong together.",
        ) from error
    device = encoder.device if encoder.runs_graphs else device
    reopen = partial(open_encoder, spec, device=device)
    return replace(encoder, device=device, reopen=reopen).with_precision(precision)


def _named_folder(name: str) -> Path:
    root = os.environ.get(NAMES_VARIABLE)
    if not root:
        raise UsageError(
            f"The encoder {name!r} lies below the folder that {NAMES_VARIABLE} names, which is not set.",
            f"Set {NAMES_VARIABLE}, or give run:FOLDER.",
        )
    folder = Path(root) / _NAMES[name]
    if not (folder / SPEC_FILE).is_file():
        raise OpenMofiError(
            f"The sample encoder has not been trained here: {folder}/{SPEC_FILE} does not exist.",
            f"Run `make world` or `openmofi sample encoder`, or set {NAMES_VARIABLE} to the folder it is in.",
        )
    return folder


def _open_folder(spec: str, rest: str, device: str, bases: Sequence[Encoder]) -> Encoder:
    folder, open_base = local_folder(rest), partial(_open_base, device=device)
    style = "run" if spec in _NAMES else _PACKAGED.get(spec) or spec.partition(":")[0]
    require_inside(folder)
    raw = read_description(folder, style)
    if is_heads(raw):
        exact = [base.with_precision("fp32") for base in bases if base.runs_graphs or base.device == device]
        return open_heads(folder, raw, spec, open_base, exact)
    if style != "run":
        from openmofi.encoders.graphs import open_graphs

        return open_graphs(folder, raw, spec, device)
    from openmofi.encoders.trained import open_trained

    return open_trained(folder, raw, spec, open_base, device)


def _open_base(spec: str, *, device: str) -> Encoder:
    """An encoder that a file names, which is therefore never fetched; graphs run where they can."""
    with guarded(f"The encoder {spec!r}", spec):
        there = not _is_graph(spec) or device in ("cpu", *graph_devices())
        return open_encoder(spec, device=device if there else "auto")


def _is_graph(spec: str) -> bool:
    """Whether a spec is of exported graphs."""
    return _PACKAGED.get(spec, spec.partition(":")[0]) in ("onnx", *extension_names("graph_formats"))


def _added(prefix: str) -> Callable[[str, str, str, Sequence[Encoder]], Encoder] | None:
    """Return the opener that a package adds to the entry points `openmofi.encoders`: takes argument and device."""
    opener: Callable[[str, str], Encoder] | None = extension("encoders", prefix)
    return opener and (lambda spec, argument, device, bases: opener(argument, device))


def _unknown(spec: str, prefix: str) -> UsageError:
    guess = did_you_mean(
        spec if ":" not in spec else prefix,
        ["run", "onnx", *extension_names("graph_formats"), *extension_names("encoders"), *_NAMES, *_PACKAGED],
    )
    return UsageError(f"Unknown encoder {spec!r}.{guess}", f"Encoders are: {_EXAMPLES}.")
