"""Encoders whose towers were trained here, on disk (`run:PATH`): safetensors, configuration, preprocessing."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from openmofi.encoders.arrays import numpy_of, weights_fingerprint
from openmofi.encoders.fold import fold_batch_norm
from openmofi.encoders.heads import Head, apply_head
from openmofi.encoders.joint import JointEncoder, Towers
from openmofi.encoders.preprocess import preprocessing_from_json
from openmofi.encoders.projection import FORMAT_VERSION, read_encoder_json, without_texts
from openmofi.encoders.protocol import Array, Encoder, Preprocessing
from openmofi.encoders.tokens import Tokens
from openmofi.encoders.towers import rebuilt, stored_tokens
from openmofi.errors import OpenMofiError
from openmofi.storage import atomic_path, fingerprint, write_json

SPEC_FILE, WEIGHTS_FILE, TOKENIZER_FOLDER = "encoder.json", "model.safetensors", "tokenizer"
_FOLDED_EQUAL = 1e-4  # of the greatest output; what rounding leaves is a tenth of that
_AGAIN = "Train or copy the encoder again."
_Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Side:
    """One side of a trained encoder.

    Attributes:
        head: `linear`, `mlp` or `none`.
        architecture: of the trained tower, see `towers.Trunk`; `None` where it is locked.
        encoder: the locked encoder, whose features the head takes; `None` where the tower was trained.
    """

    head: str
    architecture: Mapping[str, Any] | None = None
    encoder: Encoder | None = None

    def told(self) -> dict[str, Any]:
        """What `encoder.json` says of it."""
        locked = self.encoder
        return {"head": self.head, "architecture": None if self.architecture is None else dict(self.architecture),
                "encoder": locked and locked.spec, "encoder_fingerprint": locked and locked.feature_fingerprint}


def save_trained_encoder(folder: str | Path, *, image: Side, text: Side | None, tensors: _Tensors, dim: int,
                         logit_scale: float, preprocessing: Preprocessing, tokens: Tokens | None,
                         recipe: Mapping[str, Any]) -> Path:
    """Write `encoder.json`, `model.safetensors` and, where it has files, the tokenizer; equal input, equal bytes.

    Args:
        folder: where; `open_encoder("run:" + folder)` opens it.
        image, text: the sides; no text side for a training without texts.
        tensors: `image.trunk.…`, `image.head.…`, `text.…`: every weight and buffer of what was trained.
        dim: of the joint space.
        logit_scale: the factor on cosines that it was trained with; 1.0 where there is none.
        preprocessing: of pictures.
        tokens: of a trained text tower.
        recipe: how it was trained; kept for readers, JSON values.

    Raises:
        OpenMofiError: the folder cannot be written.
    """
    from safetensors.torch import save_file

    folder = Path(folder)
    whole = {name: tensors[name].detach().cpu().contiguous().clone() for name in sorted(tensors)}
    told = _told(image.told(), text and text.told(), dim, logit_scale, asdict(preprocessing),
                 weights_fingerprint(whole))
    folder.mkdir(parents=True, exist_ok=True)
    if tokens is not None:
        tokens.save(folder / TOKENIZER_FOLDER)
    with atomic_path(folder / WEIGHTS_FILE) as path:
        save_file(whole, path)
    # Last: it names the weights, so a folder that is written half is recognised.
    write_json(folder / SPEC_FILE, {"format_version": FORMAT_VERSION, "kind": "trained", **told,
                                    "fingerprint": _fingerprint(told), "recipe": dict(recipe)})
    return folder


def load_trained_encoder(folder: str | Path, open_base: Callable[[str], Encoder], *, spec: str = "",
                         device: str = "cpu") -> JointEncoder:
    """Open what `save_trained_encoder` wrote; `open_base` opens a locked side's encoder by its spec.

    Batch normalisation is folded where that provably changes nothing. Nothing is fetched for a trained tower.

    Raises:
        OpenMofiError: the folder is no such encoder, is damaged or half-written, is of a newer format, or a locked
            side's encoder is not the one that it was trained on.
    """
    folder = Path(folder)
    raw, tensors = read_encoder_json(folder), _read_weights(folder)
    if weights_fingerprint(tensors) != raw["weights_fingerprint"]:
        raise OpenMofiError(f"{folder / WEIGHTS_FILE} is not what {SPEC_FILE} beside it describes.", _AGAIN)
    where = spec or f"run:{folder}"
    try:
        preprocessing = preprocessing_from_json(raw["preprocessing"], str(folder / SPEC_FILE))
        told = _told(raw["image"], raw["text"], int(raw["dim"]), float(raw["logit_scale"]), raw["preprocessing"],
                     raw["weights_fingerprint"])
        image = _image_side(folder, raw["image"], _part(tensors, "image."), open_base, device, preprocessing)
        tokens, text = _text_side(folder, where, raw["text"], _part(tensors, "text."), open_base, device)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise OpenMofiError(f"{folder / SPEC_FILE} is not understood ({type(error).__name__}: {error}).",
                            _AGAIN) from error
    return JointEncoder(where, Towers(image, tokens, text, told["dim"], _fingerprint(told)), preprocessing,
                        told["logit_scale"])


def _told(image: Any, text: Any, dim: int, logit_scale: float, preprocessing: Any, weights: str) -> dict[str, Any]:
    return {"image": image, "text": text, "dim": dim, "logit_scale": logit_scale, "preprocessing": preprocessing,
            "weights_fingerprint": weights}


def _fingerprint(told: Mapping[str, Any]) -> str:
    # Through JSON, so that what is written and what is read back are named alike (a tuple becomes a list). Where a
    # locked encoder lies does not matter, only which it is.
    named = json.loads(json.dumps({key: told[key] for key in told if key != "logit_scale"}))
    sides = {side: named[side] and {key: value for key, value in named[side].items() if key != "encoder"}
             for side in ("image", "text")}
    return fingerprint({**named, **sides})


def _part(tensors: _Tensors, prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _read_weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / WEIGHTS_FILE
    try:
        return dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise OpenMofiError(f"{path} cannot be read: {error}.", _AGAIN) from error


def _head(folder: Path, raw: Mapping[str, Any], tensors: _Tensors,
          device: str) -> Callable[[torch.Tensor], torch.Tensor]:
    found = _part(tensors, "head.")
    if (raw["head"] == "none") != (not found):
        raise OpenMofiError(f"{folder / WEIGHTS_FILE} and {SPEC_FILE} beside it disagree about the head.", _AGAIN)
    if not found:
        return lambda features: features
    head = Head.from_tensors(found).tensors(device)
    return lambda features: apply_head(head, features)


def _trunk(folder: Path, raw: Mapping[str, Any], tensors: _Tensors) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        module = rebuilt(raw["architecture"]).module
    try:
        module.load_state_dict(_part(tensors, "trunk."), strict=True)
    except RuntimeError as error:
        lines = " ".join(line.strip() for line in str(error).splitlines()[:2])
        raise OpenMofiError(f"{folder / WEIGHTS_FILE} does not fit the model that {SPEC_FILE} describes: {lines[:300]}",
                            "Install the versions that it was trained with, or train it again.") from error
    return module.eval().requires_grad_(False)


def _image_side(folder: Path, raw: Mapping[str, Any], tensors: _Tensors, open_base: Callable[[str], Encoder],
                device: str, preprocessing: Preprocessing) -> Callable[[Array], Array]:
    head = _head(folder, raw, tensors, device)
    if raw["encoder"] is not None:
        base = _base(folder, raw, open_base)
        if base.preprocessing != preprocessing:
            raise _another(folder, raw)
        return lambda pixels: _headed(head, base.image_features(pixels), device)
    module = folded(_trunk(folder, raw, tensors), preprocessing.size).to(device)

    @torch.inference_mode()
    def run(pixels: Array) -> Array:
        return numpy_of(head(module(torch.from_numpy(pixels).to(device)).float()))

    return run


def _text_side(folder: Path, spec: str, raw: Mapping[str, Any] | None, tensors: _Tensors,
               open_base: Callable[[str], Encoder], device: str) -> tuple[Callable[[list[str]], Any],
                                                                          Callable[[list[Any]], Array]]:
    if raw is None:
        def absent(_texts: list[Any]) -> Any:
            raise without_texts(spec)

        return absent, absent
    head = _head(folder, raw, tensors, device)
    if raw["encoder"] is not None:
        base = _base(folder, raw, open_base)
        return list, lambda texts: _headed(head, base.text_features(texts), device)
    module = _trunk(folder, raw, tensors).to(device)

    @torch.inference_mode()
    def run(tokens: list[torch.Tensor]) -> Array:
        return numpy_of(head(module(torch.stack(tokens).to(device)).float()))

    return stored_tokens(raw["architecture"], folder / TOKENIZER_FOLDER), run


@torch.inference_mode()
def _headed(head: Callable[[torch.Tensor], torch.Tensor], features: Array, device: str) -> Array:
    # A copy: features may be read-only memory of a file, which tensors cannot be made over.
    return numpy_of(head(torch.tensor(features, device=device)))


def _base(folder: Path, raw: Mapping[str, Any], open_base: Callable[[str], Encoder]) -> Encoder:
    if str(raw["encoder"]) == f"run:{folder}":
        raise OpenMofiError(f"The encoder {folder} stands on itself.", "Train it again.")
    base = open_base(str(raw["encoder"]))
    if base.feature_fingerprint != raw["encoder_fingerprint"]:
        raise _another(folder, raw)
    return base


def _another(folder: Path, raw: Mapping[str, Any]) -> OpenMofiError:
    return OpenMofiError(f"The encoder {folder} was trained on another {raw['encoder']!r} than the one installed here.",
                         "Install the versions that it was trained with, or train it again.")


@torch.inference_mode()
def folded(module: nn.Module, size: int) -> nn.Module:
    """`module` with batch normalisation folded and channels last; as it was where that would change its output.

    `fold_batch_norm` trusts the order of a module's children, which not every model follows: so both are run on two
    random pictures of `size` pixels and compared.
    """
    if not any(isinstance(child, nn.BatchNorm2d) for child in module.modules()):
        return module
    probe = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    expected = module(probe)
    try:
        made = fold_batch_norm(copy.deepcopy(module)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        found = made(probe)
    except (RuntimeError, ValueError, AttributeError, TypeError):
        return module
    return made if (found - expected).abs().max() <= _FOLDED_EQUAL * expected.abs().max() else module
