"""Encoders whose towers were trained here, on disk (`run:PATH`): safetensors, configuration, preprocessing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from openmofi.arrays import Array
from openmofi.encoders.arrays import weights_fingerprint
from openmofi.encoders.companions import Companions
from openmofi.encoders.encoder import Encoder
from openmofi.encoders.folder import (
    AGAIN,
    SPEC_FILE,
    TOKENIZER_FOLDER,
    WEIGHTS_FILE,
    Side,
    another_base,
    part,
    read_weights,
    write_description,
)
from openmofi.encoders.heads import Head, head_on_arrays
from openmofi.encoders.networks import Headed, Networks, OnArrays, folded, image_probe
from openmofi.encoders.preprocess import Preprocessing, Tokens, preprocessing_from_json
from openmofi.encoders.towers import Trunk, encoder_of, rebuilt, stored_tokens
from openmofi.errors import OpenMofiError, first_line
from openmofi.storage import atomic_path, fingerprint

_PROBE_TEXTS = ["a photo", "of two words more"]
_Tensors = Mapping[str, torch.Tensor]


def save_trained_encoder(
    folder: str | Path,
    *,
    image: Side,
    text: Side | None,
    tensors: _Tensors,
    dim: int,
    logit_scale: float,
    preprocessing: Preprocessing,
    tokens: Tokens | None,
    recipe: Mapping[str, Any],
) -> Path:
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
    weights = weights_fingerprint(whole)
    named = _fingerprint(asdict(image), text and asdict(text), dim, asdict(preprocessing), weights)
    folder.mkdir(parents=True, exist_ok=True)
    if tokens is not None:
        tokens.save(folder / TOKENIZER_FOLDER)
    with atomic_path(folder / WEIGHTS_FILE) as path:
        save_file(whole, path)
    facts = {
        "dim": dim,
        "feature_dim": dim,
        "text_feature_dim": 0 if text is None else dim,
        "logit_scale": logit_scale,
        "preprocessing": asdict(preprocessing),
        "fingerprint": named,
    }
    write_description(folder, image, text, facts, weights_fingerprint=weights, recipe=dict(recipe))
    return folder


def open_trained(
    folder: Path, raw: Mapping[str, Any], spec: str, open_base: Callable[[str], Encoder], device: str
) -> Encoder:
    """Open what `save_trained_encoder` wrote.

    Train-time branches and batch normalisation are folded where that changes nothing, see `fold.folded`; the weights
    on disk stay as they were trained. Nothing is fetched for a trained tower.

    Args:
        folder: of the encoder.
        raw: what `read_description` gives of it.
        spec: how it is opened.
        open_base: opens a locked side's encoder by its spec.
        device: torch's name of it.

    Raises:
        OpenMofiError: the folder is damaged or half-written, or a locked side's encoder is not the one that it was
            trained on.
    """
    tensors = read_weights(folder, WEIGHTS_FILE, "torch")
    if weights_fingerprint(tensors) != raw.get("weights_fingerprint"):
        raise OpenMofiError(f"{folder / WEIGHTS_FILE} is not what {SPEC_FILE} beside it describes.", AGAIN)
    try:
        preprocessing = preprocessing_from_json(raw["preprocessing"], str(folder / SPEC_FILE))
        dim, scale, text = int(raw["dim"]), float(raw["logit_scale"]), None
        base = _base(folder, raw["image"], open_base)
        image = _image_side(folder, raw["image"], part(tensors, "image."), base, device, preprocessing)
        if raw["text"] is not None:
            same = raw["text"]["encoder"] == raw["image"]["encoder"]
            base = base if same else _base(folder, raw["text"], open_base)
            text = _text_side(folder, raw["text"], part(tensors, "text."), base, device)
        named = _fingerprint(raw["image"], raw["text"], dim, raw["preprocessing"], raw["weights_fingerprint"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise OpenMofiError(
            f"{folder / SPEC_FILE} cannot be parsed ({type(error).__name__}: {error}).", AGAIN
        ) from error
    tokenize, run = (text.tokenize, text.run) if text else (None, None)
    encoder = encoder_of(
        spec,
        preprocessing,
        scale,
        image=image.run,
        dim=dim,
        weights=named,
        tokens=tokenize,
        text=run,
        networks=_networks(image.network, text),
    )
    return replace(encoder, companions=Companions(folder))


def open_towers(folder: Path, raw: Mapping[str, Any]) -> dict[str, tuple[Trunk | None, Head | None]]:
    """The trained towers of a folder as they were trained, nothing folded, and their heads, by side.

    Args:
        folder: written by `save_trained_encoder`.
        raw: what `read_description` gives of it.

    Returns:
        `image` and, where there is one, `text`; the tower of a locked side is `None`.

    Raises:
        OpenMofiError: the folder is damaged.
    """
    tensors, sides = read_weights(folder, WEIGHTS_FILE, "torch"), {}
    for name in ("image", "text"):
        if raw[name] is not None:
            side_tensors = part(tensors, f"{name}.")
            trunk = None if raw[name]["architecture"] is None else _trunk(folder, raw[name], side_tensors)
            sides[name] = trunk, _head(folder, raw[name], side_tensors)
    return sides


def _networks(image: nn.Module | None, text: _Opened | None) -> Networks | None:
    if image is None or (text is not None and text.network is None):
        return None
    return Networks(image) if text is None else Networks(image, text.network, text.tokens, text.tokenizer)


def _fingerprint(image: Any, text: Any, dim: int, preprocessing: Any, weights: str) -> str:
    # Through JSON, so that what is written and what is read back are named alike (a tuple becomes a list). Where a
    # locked encoder lies does not matter, only which it is.
    sides = {
        side: value and {key: value[key] for key in value if key != "encoder"}
        for side, value in (("image", image), ("text", text))
    }
    return fingerprint(
        json.loads(json.dumps({**sides, "dim": dim, "preprocessing": preprocessing, "weights_fingerprint": weights}))
    )


def _head(folder: Path, raw: Mapping[str, Any], tensors: _Tensors) -> Head | None:
    parameters = part(tensors, "head.")
    if (raw["head"] == "none") != (not parameters):
        raise OpenMofiError(f"{folder / WEIGHTS_FILE} and {SPEC_FILE} beside it disagree about the head.", AGAIN)
    return Head.from_tensors(parameters) if parameters else None


def _trunk(folder: Path, raw: Mapping[str, Any], tensors: _Tensors) -> Trunk:
    with torch.random.fork_rng(devices=[]):
        trunk = rebuilt(raw["architecture"])
    try:
        trunk.module.load_state_dict(part(tensors, "trunk."), strict=True)
    except RuntimeError as error:
        raise OpenMofiError(
            f"{folder / WEIGHTS_FILE} does not fit the model that {SPEC_FILE} describes: {first_line(error)}",
            "Install the versions that it was trained with, or train it again.",
        ) from error
    trunk.module.eval().requires_grad_(False)
    return trunk


@dataclass(frozen=True)
class _Opened:
    """One side: what it computes, and its network where there is one (a locked encoder may have none)."""

    run: Callable[[Any], Array]
    network: nn.Module | None = None
    tokenize: Callable[[list[str]], Any] = list  # a locked encoder takes the texts themselves
    tokens: Any = None
    tokenizer: Mapping[str, Any] | None = None


def _image_side(
    folder: Path,
    raw: Mapping[str, Any],
    tensors: _Tensors,
    base: Encoder | None,
    device: str,
    preprocessing: Preprocessing,
) -> _Opened:
    head = _head(folder, raw, tensors)
    if base is not None:
        if base.preprocessing != preprocessing:
            raise another_base(folder, raw["encoder"])
        apply = head_on_arrays(head, device)
        return _Opened(
            lambda pixels: apply(base.image_features(pixels)),
            None if base.networks is None else _with_head(base.networks.image, head),
        )
    network = _with_head(folded(_trunk(folder, raw, tensors).module, image_probe(preprocessing.size)), head).to(device)

    return _Opened(OnArrays(network, device), network)


def _text_side(folder: Path, raw: Mapping[str, Any], tensors: _Tensors, base: Encoder | None, device: str) -> _Opened:
    head = _head(folder, raw, tensors)
    if base is not None:
        apply, networks = head_on_arrays(head, device), base.networks
        opened = _Opened(lambda texts: apply(base.text_features(texts)))
        if networks is None or networks.text is None:
            return opened
        return replace(
            opened, network=_with_head(networks.text, head), tokens=networks.tokens, tokenizer=networks.tokenizer
        )
    tokens = stored_tokens(raw["architecture"], folder / TOKENIZER_FOLDER)
    network = _with_head(folded(_trunk(folder, raw, tensors).module, tokens(_PROBE_TEXTS)), head).to(device)

    tokenizer = {"kind": "tower", "masked": False, "architecture": dict(raw["architecture"])}
    return _Opened(OnArrays(network, device), network, tokens, tokens, tokenizer)


def _with_head(network: nn.Module, head: Head | None) -> nn.Module:
    return network if head is None else Headed(network, head).eval()


def _base(folder: Path, raw: Mapping[str, Any], open_base: Callable[[str], Encoder]) -> Encoder | None:
    """The locked encoder of a side; `None` where its tower was trained."""
    if raw["encoder"] is None:
        return None
    if str(raw["encoder"]) == f"run:{folder}":
        raise OpenMofiError(f"The encoder {folder} is its own base.", "Train it again.")
    base = open_base(str(raw["encoder"]))
    if base.feature_fingerprint != raw["encoder_fingerprint"]:
        raise another_base(folder, raw["encoder"])
    return base
