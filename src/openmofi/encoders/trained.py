"""Encoders whose towers were trained here, on disk (`run:PATH`): safetensors, configuration, preprocessing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from openmofi.encoders.arrays import numpy_of, weights_fingerprint
from openmofi.encoders.embedding import JointEncoder, Towers
from openmofi.encoders.fold import folded, picture_probe
from openmofi.encoders.heads import Head, apply_head
from openmofi.encoders.networks import Headed, Networks, tower_tokenizer
from openmofi.encoders.preprocess import preprocessing_from_json
from openmofi.encoders.projection import FORMAT_VERSION, read_encoder_json, without_texts
from openmofi.encoders.protocol import Array, Encoder, Preprocessing
from openmofi.encoders.tokens import Tokens
from openmofi.encoders.towers import rebuilt, stored_tokens
from openmofi.errors import OpenMofiError
from openmofi.storage import atomic_path, fingerprint, write_json

SPEC_FILE, WEIGHTS_FILE, TOKENIZER_FOLDER = "encoder.json", "model.safetensors", "tokenizer"
_PROBE_TEXTS = ["a photo", "of two words more"]
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
        preprocessing: of images.
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

    Train-time branches and batch normalisation are folded where that changes nothing, see `fold.folded`; the weights
    on disk stay as they were trained. Nothing is fetched for a trained tower.

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
        towers = _towers(folder, raw, tensors, open_base, device, preprocessing, where)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise OpenMofiError(f"{folder / SPEC_FILE} is not understood ({type(error).__name__}: {error}).",
                            _AGAIN) from error
    return JointEncoder(where, replace(towers, dim=told["dim"], weights=_fingerprint(told)), preprocessing,
                        told["logit_scale"])


def _towers(folder: Path, raw: Mapping[str, Any], tensors: _Tensors, open_base: Callable[[str], Encoder], device: str,
            preprocessing: Preprocessing, spec: str) -> Towers:
    """Both sides; dimension and fingerprint are the caller's to fill in."""
    image = _image_side(folder, raw["image"], _part(tensors, "image."), _base(folder, raw["image"], open_base), device,
                        preprocessing)
    told = raw["text"]
    if told is None:
        def absent(_texts: list[Any]) -> Any:
            raise without_texts(spec)

        return Towers(image.run, absent, absent, 0, "", None if image.network is None else Networks(image.network))
    base = _base(folder, told, open_base)
    tokens = None if base is not None else stored_tokens(told["architecture"], folder / TOKENIZER_FOLDER)
    text = _text_side(folder, told, _part(tensors, "text."), base, tokens, device)
    # A locked encoder takes the texts themselves.
    tokenize: Callable[[list[str]], Any] = list if tokens is None else tokens
    return Towers(image.run, tokenize, text.run, 0, "", _networks(told, image, text, tokens, base))


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


def _head(folder: Path, raw: Mapping[str, Any], tensors: _Tensors) -> Head | None:
    found = _part(tensors, "head.")
    if (raw["head"] == "none") != (not found):
        raise OpenMofiError(f"{folder / WEIGHTS_FILE} and {SPEC_FILE} beside it disagree about the head.", _AGAIN)
    return Head.from_tensors(found) if found else None


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


@dataclass(frozen=True)
class _Opened:
    """One side: what it computes, and its network where there is one (of a locked encoder there may be none)."""

    run: Callable[[Any], Array]
    network: nn.Module | None = None


def _image_side(folder: Path, raw: Mapping[str, Any], tensors: _Tensors, base: Encoder | None, device: str,
                preprocessing: Preprocessing) -> _Opened:
    head = _head(folder, raw, tensors)
    if base is not None:
        if base.preprocessing != preprocessing:
            raise _another(folder, raw)
        networks: Networks | None = getattr(base, "networks", None)
        apply = _applied(head, device)
        return _Opened(lambda pixels: apply(base.image_features(pixels)),
                       None if networks is None else _with_head(networks.image, head))
    network = _with_head(folded(_trunk(folder, raw, tensors), picture_probe(preprocessing.size)), head).to(device)

    @torch.inference_mode()
    def run(pixels: Array) -> Array:
        return numpy_of(network(torch.from_numpy(pixels).to(device)).float())

    return _Opened(run, network)


def _text_side(folder: Path, raw: Mapping[str, Any], tensors: _Tensors, base: Encoder | None, tokens: Tokens | None,
               device: str) -> _Opened:
    head = _head(folder, raw, tensors)
    if base is not None:
        networks: Networks | None = getattr(base, "networks", None)
        apply = _applied(head, device)
        text = None if networks is None else networks.text
        return _Opened(lambda texts: apply(base.text_features(texts)), None if text is None else _with_head(text, head))
    assert tokens is not None
    network = _with_head(folded(_trunk(folder, raw, tensors), tokens(_PROBE_TEXTS)), head).to(device)

    @torch.inference_mode()
    def run(rows: list[torch.Tensor]) -> Array:
        return numpy_of(network(torch.stack(rows).to(device)).float())

    return _Opened(run, network)


def _networks(raw: Mapping[str, Any], image: _Opened, text: _Opened, tokens: Tokens | None,
              base: Encoder | None) -> Networks | None:
    if image.network is None or text.network is None:
        return None
    if base is not None:
        locked: Networks | None = getattr(base, "networks", None)
        return locked and Networks(image.network, text.network, locked.tokens, locked.tokenizer)
    return Networks(image.network, text.network, tokens, tower_tokenizer(raw["architecture"]))


def _with_head(network: nn.Module, head: Head | None) -> nn.Module:
    return network if head is None else Headed(network, head).eval()


def _applied(head: Head | None, device: str) -> Callable[[Array], Array]:
    """A head on a locked encoder's features."""
    parameters = None if head is None else head.tensors(device)

    @torch.inference_mode()
    def apply(features: Array) -> Array:
        # A copy: features may be read-only memory of a file, which tensors cannot be made over.
        values = torch.tensor(features, device=device)
        return numpy_of(values if parameters is None else apply_head(parameters, values))

    return apply


def _base(folder: Path, raw: Mapping[str, Any], open_base: Callable[[str], Encoder]) -> Encoder | None:
    """The locked encoder of a side; `None` where its tower was trained."""
    if raw["encoder"] is None:
        return None
    if str(raw["encoder"]) == f"run:{folder}":
        raise OpenMofiError(f"The encoder {folder} stands on itself.", "Train it again.")
    base = open_base(str(raw["encoder"]))
    if base.feature_fingerprint != raw["encoder_fingerprint"]:
        raise _another(folder, raw)
    return base


def _another(folder: Path, raw: Mapping[str, Any]) -> OpenMofiError:
    return OpenMofiError(f"The encoder {folder} was trained on another {raw['encoder']!r} than the one installed here.",
                         "Install the versions that it was trained with, or train it again.")
