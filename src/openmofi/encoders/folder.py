"""Encoders of ours on disk: what `encoder.json` says, the weights beside it, and heads on a frozen encoder.

The folder of `run:FOLDER`, and of `onnx:FOLDER` and `openvino:FOLDER` (see `openmofi.encoders.graphs` for graphs):

    encoder.json          two sides, each a tower or a locked encoder, plus a head; what embeds, and how it was made
    model.safetensors     the weights of trained towers and their heads
    heads.safetensors     in its place where both sides are heads on one locked encoder: these stay a projection of
                          that encoder's features, which are kept and shared
    tokenizer/            of a trained text tower
    base/                 of exported heads: the encoder underneath, exported
    folds/0, folds/1 …    cross-fitted copies of the heads
    folds.parquet         the pairs that heads were fitted on, and the fold of each
"""

from __future__ import annotations

import hashlib
import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from openmofi.arrays import Array
from openmofi.encoders.arrays import normalised
from openmofi.encoders.companions import CLASSES_FILE, FITTED_FILE, FOLDS_FILE, Companions
from openmofi.encoders.encoder import Encoder, Heads
from openmofi.encoders.heads import Head, head_on_arrays
from openmofi.encoders.preprocess import preprocessing_from_json
from openmofi.errors import OpenMofiError, UsageError
from openmofi.extensions import extension_names
from openmofi.storage import as_type, fingerprint, read_json, write_bytes, write_json

if TYPE_CHECKING:
    from openmofi.encoders.networks import Networks

FORMAT_VERSION = 2
SPEC_FILE, HEADS_FILE, WEIGHTS_FILE, TOKENIZER_FOLDER = (
    "encoder.json",
    "heads.safetensors",
    "model.safetensors",
    "tokenizer",
)
HEAD_OUTPUTS = tuple(
    f"{folder}{pattern}"
    for folder in ("", "folds/*/")
    for pattern in (SPEC_FILE, HEADS_FILE, CLASSES_FILE, FITTED_FILE, FOLDS_FILE)
)
"""The files of heads and of their folds, as glob patterns."""
AGAIN = "Train or copy the encoder again."
_SIDES = ("image", "text")


@dataclass(frozen=True)
class Side:
    """One side of an encoder: a tower or a locked encoder, plus a head.

    Attributes:
        head: `linear`, `mlp`, `parts` (of a linear head) or `none`.
        architecture: of a tower, see `towers.Trunk`; of an exported one `{"kind": "graph"}`; `None` where it is locked.
        encoder: the locked encoder: its spec, or of an export its folder, relative to this one.
        encoder_fingerprint: that of its features; of heads alone its fingerprint.
    """

    head: str = "none"
    architecture: Mapping[str, Any] | None = None
    encoder: str | None = None
    encoder_fingerprint: str | None = None

    @classmethod
    def locked(cls, head: str, encoder: Encoder) -> Side:
        """A head (or none) on a locked encoder's features."""
        return cls(head, encoder=encoder.spec, encoder_fingerprint=encoder.with_precision("fp32").feature_fingerprint)


def write_description(
    folder: Path, image: Side, text: Side | None, facts: Mapping[str, Any], style: str = "run", **more: Any
) -> None:
    """Write `encoder.json`; the last file to be written, so that a folder that is written half is recognised.

    Args:
        folder: of the encoder.
        image, text: see `Side`.
        facts: as of `facts_of`.
        style: `run`, `onnx` or `openvino`, its key `format`.
        more: further JSON values.

    Raises:
        OpenMofiError: the folder cannot be written.
    """
    sides = {"image": asdict(image), "text": text and asdict(text)}
    write_json(folder / SPEC_FILE, {"format_version": FORMAT_VERSION, "format": style, **sides, **facts, **more})


def facts_of(encoder: Encoder) -> dict[str, Any]:
    """What `encoder.json` says of every encoder, JSON values."""
    names = ("dim", "feature_dim", "text_feature_dim", "logit_scale")
    return {
        **{name: getattr(encoder, name) for name in names},
        "preprocessing": asdict(encoder.preprocessing),
        "fingerprint": encoder.fingerprint,
    }


def read_description(folder: Path, style: str | None = None) -> dict[str, Any]:
    """What `encoder.json` says; the fields of `write_description` are there.

    Args:
        folder: of the encoder.
        style: the format that it must have.

    Raises:
        OpenMofiError: the folder is not an encoder of ours, is damaged, or of another format version.
        UsageError: it is of another format than `style`.
    """
    path = folder / SPEC_FILE
    missing = OpenMofiError(
        f"{folder} is not an encoder: it has no {SPEC_FILE}.",
        "Give a folder that `openmofi` wrote, or hf:PATH for a transformers checkpoint.",
    )
    raw = read_json(path, dict[str, Any], AGAIN, missing=missing)
    version = raw.get("format_version")
    if version != FORMAT_VERSION:
        raise OpenMofiError(
            f"{path} has format version {version}; this OpenMOFI reads {FORMAT_VERSION}.",
            "Use the version that wrote it, or train it again.",
        )
    described = as_type(raw, _Description, str(path), AGAIN)
    formats = ("run", "onnx", *extension_names("graph_formats"))
    if described.format not in formats:
        raise OpenMofiError(f"{path} is of unknown format {raw['format']!r}; known are {', '.join(formats)}.", AGAIN)
    if style not in (None, raw["format"]):
        what = "is not an exported encoder" if raw["format"] == "run" else f"is an encoder exported for {raw['format']}"
        raise UsageError(f"{folder} {what}.", f"Open it as {raw['format']}:{folder}.")
    return raw


class _Side(msgspec.Struct):
    head: str
    architecture: dict[str, Any] | None
    encoder: str | None
    encoder_fingerprint: str | None


class _Description(msgspec.Struct):
    """What `encoder.json` says of every encoder; each format adds more."""

    format: str
    image: _Side
    text: _Side | None
    dim: int
    feature_dim: int
    text_feature_dim: int
    logit_scale: float | None
    preprocessing: dict[str, Any]
    fingerprint: str


def is_heads(raw: Mapping[str, Any]) -> bool:
    """Whether every side is a head on one and the same locked encoder."""
    sides = [raw[side] for side in _SIDES if raw[side] is not None]
    return raw["image"]["encoder"] is not None and all(
        side["encoder"] == raw["image"]["encoder"] and side["head"] != "none" for side in sides
    )


def read_weights(folder: Path, name: str, library: str) -> dict[str, Any]:
    """The tensors of a safetensors file, as of `library` (`numpy` or `torch`).

    Raises:
        OpenMofiError: the file is missing or damaged.
    """
    from safetensors import SafetensorError

    try:
        return dict(importlib.import_module(f"safetensors.{library}").load_file(folder / name))
    except (OSError, SafetensorError) as error:
        raise OpenMofiError(f"{folder / name} cannot be read: {error}.", AGAIN) from error


def part(tensors: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the tensors whose names start with `prefix`, named without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def another_base(folder: Path, base: str) -> OpenMofiError:
    """Return the error for a base encoder that is not the one that `folder` was trained on."""
    return OpenMofiError(
        f"The encoder {folder} was trained on another {base!r} than the one installed here.",
        "Install the versions that it was trained with, or train it again; export an export again.",
    )


def encoder_with_heads(spec: str, heads: Heads, logit_scale: float) -> Encoder:
    """A frozen encoder with a head for each side, or for images alone.

    Args:
        spec: how it is opened.
        heads: see `Heads`.
        logit_scale: the factor on cosines that the heads were trained with.

    Raises:
        OpenMofiError: the heads do not fit the base.
    """
    base, both = heads.base, [head for head in (heads.image, heads.text) if head is not None]
    expected = ([base.dim] * 2 if heads.adapter else [base.feature_dim, base.text_feature_dim])[: len(both)]
    inputs, dims = [head.in_dim for head in both], [head.dim for head in both]
    if inputs != expected or len(set(dims)) > 1 or (heads.adapter and dims[0] != base.dim):
        raise OpenMofiError(
            f"The heads of {spec!r} take {inputs} features and give {dims}; its base {base.spec!r} has {expected}."
        )
    texts = heads.text is not None
    return Encoder(
        spec,
        fingerprint([base.fingerprint, heads_fingerprint(heads), heads.adapter, float(logit_scale)]),
        base.feature_fingerprint,
        dim=dims[0],
        feature_dim=base.feature_dim,
        text_feature_dim=base.text_feature_dim if texts else 0,
        logit_scale=float(logit_scale),
        preprocessing=base.preprocessing,
        image_tower=base.image_tower,
        text_tower=base.text_tower if texts else None,
        image_projection=_projection(heads.image, base.image_projection if heads.adapter else None),
        text_projection=None
        if heads.text is None
        else _projection(heads.text, base.text_projection if heads.adapter else None),
        device=base.device,
        networks=_networks(heads),
        heads=heads,
        runs_graphs=base.runs_graphs,
        takes_images=base.takes_images,
    )


def _projection(head: Head, base: Callable[[Array], Array] | None) -> Callable[[Array], Array]:
    """Features → joint space; `base` is the projection that an adapter adds to."""
    apply = head_on_arrays(head)
    if base is None:
        return lambda features: normalised(apply(features))

    def project(features: Array) -> Array:
        inputs = base(features)
        return normalised(inputs + apply(inputs))

    return project


def _networks(heads: Heads) -> Networks | None:
    """Return the base's networks with the heads on top; `None` where the base has none."""
    base = heads.base.networks
    if base is None or (heads.text is not None and base.text is None):
        return None
    from openmofi.encoders.networks import Headed, Networks

    image = Headed(base.image, heads.image, adapter=heads.adapter).eval()
    if heads.text is None or base.text is None:
        return Networks(image)
    return Networks(image, Headed(base.text, heads.text, adapter=heads.adapter).eval(), base.tokens, base.tokenizer)


def heads_fingerprint(heads: Heads) -> str:
    """16 hexadecimal digits for both heads' parameters."""
    digest = hashlib.blake2b(digest_size=8)
    for name, values in sorted(_tensors(heads).items()):
        digest.update(f"{name} {values.shape}\n".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def _tensors(heads: Heads) -> dict[str, Array]:
    return {
        f"{side}.{name}": np.ascontiguousarray(values, np.float32)
        for side, head in zip(_SIDES, (heads.image, heads.text), strict=True)
        if head is not None
        for name, values in sorted(head.parameters.items())
    }


def save_heads(
    folder: str | Path,
    *,
    base: Encoder,
    image_head: Head,
    text_head: Head | None,
    logit_scale: float,
    settings: Mapping[str, Any],
    adapter: bool = False,
) -> Path:
    """Write heads on a frozen encoder; equal input gives equal bytes. Returns the folder.

    Args:
        folder: where; made where it is missing. `open_encoder("run:" + folder)` opens it.
        base: the encoder underneath; its spec is stored, and its fingerprint is checked on opening.
        image_head, text_head, adapter: see `Heads`.
        logit_scale: the factor on cosines that the heads were trained with.
        settings: how the heads were trained; kept for readers, JSON values.

    Raises:
        OpenMofiError: the heads do not fit the base, or the folder cannot be written.
    """
    folder, base = Path(folder), base.with_precision("fp32")
    encoder = encoder_with_heads(f"run:{folder}", Heads(base, image_head, text_head, adapter), logit_scale)
    write_heads(folder, encoder, base.spec, recipe=dict(settings))
    return folder


def write_heads(folder: Path, encoder: Encoder, base: str, style: str = "run", **more: Any) -> None:
    """Write an encoder of heads.

    Args:
        folder: where; made where it is missing.
        encoder: has heads.
        base: spec of the encoder underneath, or of an export its folder, relative to `folder`.
        style, more: see `write_description`.

    Raises:
        OpenMofiError: the folder cannot be written.
    """
    from safetensors.numpy import save

    heads = encoder.heads
    assert heads is not None
    write_bytes(folder / HEADS_FILE, save(_tensors(heads)))
    image, text = (
        Side(head.kind if head else "linear", None, base, heads.base.fingerprint) for head in (heads.image, heads.text)
    )
    write_description(
        folder,
        image,
        None if heads.text is None else text,
        facts_of(encoder),
        style,
        adapter=heads.adapter,
        weights_fingerprint=heads_fingerprint(heads),
        **more,
    )


def open_heads(
    folder: Path, raw: Mapping[str, Any], spec: str, open_base: Callable[[str], Encoder], bases: Sequence[Encoder] = ()
) -> Encoder:
    """Open what `write_heads` wrote.

    Args:
        folder: of the encoder.
        raw: what `read_description` gives of it.
        spec: how it is opened.
        open_base: opens an encoder by its spec; can be pickled.
        bases: encoders that are already open, the one underneath perhaps among them.

    Raises:
        OpenMofiError: the heads are damaged, or the base is not the one that they were trained on.
    """
    tensors = read_weights(folder, HEADS_FILE, "numpy")
    base_spec = str(raw["image"]["encoder"])
    if raw["format"] != "run":
        base_spec = f"{raw['format']}:{os.path.normpath(folder / base_spec)}"
    if base_spec in (spec, f"run:{folder}"):
        raise OpenMofiError(f"The encoder {folder} is its own base.", "Train it again.")
    image, text = (part(tensors, f"{side}.") for side in _SIDES)
    preprocessing = preprocessing_from_json(raw["preprocessing"], str(folder / SPEC_FILE))
    expected = raw["image"]["encoder_fingerprint"]
    base = next((base for base in bases if base.fingerprint == expected), None) or open_base(base_spec)
    if base.fingerprint != expected or base.preprocessing != preprocessing:
        raise another_base(folder, base_spec)
    heads = Heads(base, Head(image), Head(text) if text else None, bool(raw.get("adapter")))
    if heads_fingerprint(heads) != raw.get("weights_fingerprint"):
        raise OpenMofiError(f"{folder / HEADS_FILE} is not what {SPEC_FILE} beside it describes.", AGAIN)
    try:
        source = "" if raw["format"] == "run" else str(raw["source"]["fingerprint"])
        encoder = encoder_with_heads(spec, heads, float(raw["logit_scale"]))
    except (KeyError, TypeError, ValueError) as error:
        raise OpenMofiError(
            f"{folder / SPEC_FILE} cannot be parsed ({type(error).__name__}: {error}).", AGAIN
        ) from error
    return replace(
        encoder,
        companions=Companions(folder, source),
        open_fold=partial(_open_fold, folder, str(raw["format"]), base, open_base),
    )


def _open_fold(folder: Path, style: str, base: Encoder, reopen: Callable[[str], Encoder], number: int) -> Encoder:
    path = folder / "folds" / str(number)
    raw, spec = read_description(path, style), f"{style}:{path}"
    if not is_heads(raw):
        raise OpenMofiError(f"The fold {path} does not consist of heads on a locked encoder.", AGAIN)
    return replace(open_heads(path, raw, spec, reopen, [base]), reopen=partial(reopen, spec))
