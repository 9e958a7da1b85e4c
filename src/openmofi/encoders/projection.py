"""Our own encoders on disk (`run:PATH`): a base encoder, by its spec, and two heads trained on top of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL.Image import Image

from openmofi.encoders.arrays import normalised
from openmofi.encoders.heads import Head, apply_head
from openmofi.encoders.preprocess import preprocessing_from_json
from openmofi.encoders.protocol import Array, Encoder
from openmofi.errors import OpenMofiError
from openmofi.storage import fingerprint, write_bytes, write_json

if TYPE_CHECKING:
    from openmofi.encoders.networks import Networks

FORMAT_VERSION = 1
SPEC_FILE, HEADS_FILE = "encoder.json", "heads.safetensors"
_SIDES = ("image", "text")
_PROJECTION_FIELDS = ("base", "base_fingerprint", "heads_fingerprint", "logit_scale", "preprocessing")
_FIELDS = {
    "projection": _PROJECTION_FIELDS,
    "adapter": _PROJECTION_FIELDS,
    "trained": ("image", "text", "dim", "logit_scale", "preprocessing", "weights_fingerprint"),
    "exported": ("format", "precision", "output", "dim", "feature_dim", "text_feature_dim", "logit_scale",
                 "preprocessing", "tokenizer", "files", "source", "fingerprint"),
    "exported_heads": ("format", "precision", "adapter", "base", "base_fingerprint", "heads_fingerprint", "logit_scale",
                       "source"),
}


class ProjectionEncoder:
    """A frozen base encoder with a projection head for each side.

    Args:
        spec: what it is opened by.
        base: the encoder underneath; a pair of backbones, or any encoder when `adapter`.
        image_head, text_head: map to the joint space. Of an adapter they take the base's embedding and their result
            is added to it: normalise(e + head(e)). Without a text head, of a training without texts, there are no
            embeddings of texts.
        logit_scale: the factor on cosines that the heads were trained with.
        adapter: see above.
        source_fingerprint: see `JointEncoder`.
    """

    def __init__(self, spec: str, base: Encoder, image_head: Head, text_head: Head | None, *, logit_scale: float,
                 adapter: bool = False, source_fingerprint: str = "") -> None:
        heads = [image_head] if text_head is None else [image_head, text_head]
        expected = ([base.dim] * 2 if adapter else [base.feature_dim, base.text_feature_dim])[:len(heads)]
        found, dims = [head.in_dim for head in heads], [head.dim for head in heads]
        if found != expected or len(set(dims)) > 1 or (adapter and dims != [base.dim] * 2):
            raise OpenMofiError(f"The heads of {spec!r} take {found} features and give {dims}; its base {base.spec!r} "
                                f"has {expected}.")
        self.spec, self.base, self.adapter, self.source_fingerprint = spec, base, adapter, source_fingerprint
        self.image_head, self.text_head = image_head, text_head
        self.dim, self.logit_scale = image_head.dim, float(logit_scale)
        self.feature_dim, self.text_feature_dim = base.feature_dim, base.text_feature_dim
        self.preprocessing, self.feature_fingerprint = base.preprocessing, base.feature_fingerprint
        self.fingerprint = fingerprint([base.fingerprint, heads_fingerprint(image_head, text_head), adapter,
                                        self.logit_scale])
        self._image = image_head.tensors()
        self._text = None if text_head is None else text_head.tensors()

    @property
    def networks(self) -> Networks | None:
        """The base's with the heads on top; `None` where the base has none. See `networks.Networks`."""
        base: Networks | None = getattr(self.base, "networks", None)
        if base is None or (self.text_head is not None and base.text is None):
            return None
        from openmofi.encoders.networks import Headed, Networks

        image = Headed(base.image, self.image_head, adapter=self.adapter).eval()
        if self.text_head is None or base.text is None:
            return Networks(image)
        return Networks(image, Headed(base.text, self.text_head, adapter=self.adapter).eval(), base.tokens,
                        base.tokenizer)

    def preprocess(self, image: Image) -> Array:
        """See `Encoder`."""
        return self.base.preprocess(image)

    def image_features(self, pixels: Array) -> Array:
        """See `Encoder`; the base's."""
        return self.base.image_features(pixels)

    def text_features(self, texts: Sequence[str]) -> Array:
        """See `Encoder`; the base's."""
        return self.base.text_features(texts)

    def project_images(self, features: Array) -> Array:
        """See `Encoder`."""
        return self._project(features, self._image, self.base.project_images)

    def project_texts(self, features: Array) -> Array:
        """See `Encoder`.

        Raises:
            OpenMofiError: it was trained without texts.
        """
        if self._text is None:
            raise without_texts(self.spec)
        return self._project(features, self._text, self.base.project_texts)

    def embed_texts(self, texts: Sequence[str]) -> Array:
        """See `Encoder` and `project_texts`."""
        return self.project_texts(self.text_features(texts))

    def _project(self, features: Array, head: Mapping[str, Any], base: Callable[[Array], Array]) -> Array:
        import torch

        # A copy: features may be read-only memory of a file, which tensors cannot be made over.
        inputs = np.array(base(features) if self.adapter else features, np.float32)
        with torch.inference_mode():
            out = apply_head(head, torch.from_numpy(inputs)).numpy()
        return normalised(inputs + out if self.adapter else out)


def without_texts(spec: str) -> OpenMofiError:
    """What an encoder without a text side says when it is asked for texts."""
    return OpenMofiError(f"The encoder {spec!r} was trained without texts: it embeds images only.",
                         "Train with a text tower (`model.text` of the recipe), or choose another encoder.")


def heads_fingerprint(image_head: Head, text_head: Head | None) -> str:
    """16 hexadecimal digits for both heads' parameters."""
    import hashlib

    digest = hashlib.blake2b(digest_size=8)
    for name, values in sorted(_tensors(image_head, text_head).items()):
        digest.update(f"{name} {values.shape}\n".encode())
        digest.update(np.ascontiguousarray(values, np.float32).tobytes())
    return digest.hexdigest()


def save_projection_encoder(folder: str | Path, *, base: Encoder, image_head: Head, text_head: Head | None,
                            logit_scale: float, settings: Mapping[str, Any], adapter: bool = False) -> Path:
    """Write `encoder.json` and `heads.safetensors`; equal input gives equal bytes. Returns the folder.

    Args:
        folder: where; made where it is missing. `open_encoder("run:" + folder)` opens it.
        base: the encoder underneath; its spec is stored, and its fingerprint is checked on opening.
        image_head, text_head, logit_scale, adapter: see `ProjectionEncoder`.
        settings: how the heads were trained; kept for readers, JSON values.

    Raises:
        OpenMofiError: the heads do not fit the base, or the folder cannot be written.
    """
    folder = Path(folder)
    made = ProjectionEncoder(f"run:{folder}", base, image_head, text_head, logit_scale=logit_scale, adapter=adapter)
    write_heads(folder, image_head, text_head)
    write_json(folder / SPEC_FILE, {
        "format_version": FORMAT_VERSION,
        "kind": "adapter" if adapter else "projection",
        "base": base.spec,
        "base_fingerprint": base.fingerprint,
        "heads_fingerprint": heads_fingerprint(image_head, text_head),
        "fingerprint": made.fingerprint,
        "dim": made.dim,
        "feature_dim": made.feature_dim,
        "text_feature_dim": made.text_feature_dim,
        "logit_scale": made.logit_scale,
        "preprocessing": asdict(made.preprocessing),
        "settings": dict(settings),
    })
    return folder


def load_projection_encoder(folder: str | Path, open_base: Callable[[str], Encoder], *,
                            spec: str = "") -> ProjectionEncoder:
    """Open what `save_projection_encoder` wrote; `open_base` opens the encoder underneath by its spec.

    Raises:
        OpenMofiError: the folder is no encoder of ours, is damaged or half-written, is of a newer format, or the base
            is not the one that the heads were trained on.
    """
    folder = Path(folder)
    raw = read_encoder_json(folder)
    image_head, text_head = read_heads(folder, raw["heads_fingerprint"])
    if str(raw["base"]) in (spec, f"run:{folder}"):
        raise OpenMofiError(f"The encoder {folder} stands on itself.", "Train it again.")
    base = open_base(str(raw["base"]))
    wanted = preprocessing_from_json(raw["preprocessing"], str(folder / SPEC_FILE))
    if base.fingerprint != raw["base_fingerprint"] or base.preprocessing != wanted:
        raise OpenMofiError(f"The encoder {folder} was trained on another {raw['base']!r} than the one installed here.",
                            "Install the versions that it was trained with, or train it again.")
    return ProjectionEncoder(spec or f"run:{folder}", base, image_head, text_head,
                             logit_scale=float(raw["logit_scale"]), adapter=raw["kind"] == "adapter")


def _tensors(image_head: Head, text_head: Head | None) -> dict[str, Array]:
    return {f"{side}.{name}": values for side, head in zip(_SIDES, (image_head, text_head), strict=True)
            if head is not None for name, values in head.parameters.items()}


def read_encoder_json(folder: Path) -> dict[str, Any]:
    """What `encoder.json` says, whatever kind of encoder it is of; fields that its kind needs are there.

    Raises:
        OpenMofiError: see `load_projection_encoder`.
    """
    path = folder / SPEC_FILE
    try:
        raw = json.loads(path.read_text("utf-8"))
        version = raw["format_version"]
        missing = set(_FIELDS.get(str(raw.get("kind")), ("a known kind",))) - set(raw)
    except FileNotFoundError as error:
        raise OpenMofiError(f"{folder} is not an encoder: it has no {SPEC_FILE}.",
                            "Give a folder that `openmofi` wrote, or hf:PATH for a transformers checkpoint.") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OpenMofiError(f"{path} cannot be read: {error}.", "Train or copy the encoder again.") from error
    if version != FORMAT_VERSION:
        raise OpenMofiError(f"{path} has format version {version}; this OpenMOFI reads {FORMAT_VERSION}.",
                            "Use the version that wrote it, or train it again.")
    if missing:
        raise OpenMofiError(f"{path} lacks {', '.join(sorted(missing))}.", "Train or copy the encoder again.")
    return dict(raw)


def write_heads(folder: Path, image_head: Head, text_head: Head | None) -> None:
    """Write `heads.safetensors`; equal heads give equal bytes.

    Raises:
        OpenMofiError: the folder cannot be written.
    """
    from safetensors.numpy import save

    write_bytes(folder / HEADS_FILE, save({name: np.ascontiguousarray(values, np.float32)
                                           for name, values in sorted(_tensors(image_head, text_head).items())}))


def read_heads(folder: Path, wanted: str) -> tuple[Head, Head | None]:
    """What `write_heads` wrote, of images and of texts.

    Raises:
        OpenMofiError: the file is missing or damaged, or its fingerprint is not `wanted`.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = folder / HEADS_FILE
    try:
        tensors = load_file(path)
        image, text = ({name.removeprefix(f"{side}."): values for name, values in tensors.items()
                        if name.startswith(f"{side}.")} for side in _SIDES)
    except (OSError, SafetensorError) as error:
        raise OpenMofiError(f"{path} cannot be read: {error}.", "Train or copy the encoder again.") from error
    heads = Head(image), Head(text) if text else None
    if heads_fingerprint(*heads) != wanted:
        raise OpenMofiError(f"{path} is not what {SPEC_FILE} beside it describes.", "Train or copy the encoder again.")
    return heads
