"""Encoders in transformers' layout: `hf:PATH-OR-ID` of a CLIP or SigLIP, or of an encoder of images alone."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from openmofi.encoders.arrays import numpy_of, weights_fingerprint
from openmofi.encoders.encoder import Encoder, Towers
from openmofi.encoders.libraries.hub import hub_folder
from openmofi.encoders.libraries.huggingface_preprocessing import read_preprocessing
from openmofi.encoders.networks import Called, Networks, pooled, transformers_tokenizer
from openmofi.encoders.protocol import Array
from openmofi.encoders.tokens import HuggingFaceTokens
from openmofi.errors import OpenMofiError, UsageError
from openmofi.quiet import quiet_transformers
from openmofi.storage import file_fingerprint, fingerprint

_log = logging.getLogger(__name__)
_PATTERNS = ["model*.safetensors", "*.json", "*.txt", "*.model"]
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "spiece.model")


def open_huggingface(spec: str, rest: str, device: str) -> Encoder:
    """Open a folder or a repository of the hub. `?preprocessing=clip` or `=mofi` stands in for a missing file.

    Weights are read from safetensors only; code from the repository is never run. Where the checkpoint holds no logit
    scale, as MOFI's do not, the scale is 1.0 and a warning says so (transformers would fill in its initial value).

    Raises:
        UsageError: an unknown option.
        OpenMofiError: no such folder, another model type, pickled or damaged weights, preprocessing that is missing
            or cannot be followed, the hub cannot be reached.
    """
    from openmofi.encoders.libraries.huggingface_images import KINDS, open_images

    place, option = options_of(spec, rest)
    folder = checkpoint_folder(place)
    config = read_config(folder)
    if config.get("model_type") in KINDS:
        require_safetensors(folder)
        return open_images(spec, folder, config, option, device)
    return open_clip_checkpoint(spec, place, option, device)


def open_clip_checkpoint(spec: str, place: str, option: str, device: str, *, ids_alone: bool = False) -> Encoder:
    """Open a CLIP or SigLIP; see `open_huggingface`.

    Args:
        spec: what the encoder is to say it was opened by.
        place: a folder, or a repository of the hub.
        option: name of the preprocessing, or empty.
        device: torch's name of it.
        ids_alone: give the text tower no attention mask, whatever the tokenizer's configuration says.
    """
    folder = checkpoint_folder(place)
    config = checkpoint_config(folder)
    require_safetensors(folder)
    model, tokenizer = load_checkpoint(folder, config)
    size = int(config["vision_config"].get("image_size", 224))
    preprocessing = read_preprocessing(folder, str(config["model_type"]), size, option)
    model = model.eval().requires_grad_(False).to(device)
    # SigLIP's and MOFI's checkpoints take the ids alone; the tokenizer's configuration says so, if it is theirs.
    masked = "attention_mask" in tokenizer.model_input_names and model.config.model_type == "clip" and not ids_alone
    # SigLIP pools the last position, wherever a text ends.
    end = None if model.config.model_type == "siglip" else _added_end(tokenizer, model)
    towers = Towers(_image_tower(model, device), _tokens(tokenizer, model, end),
                    _text_tower(model, tokenizer, device, masked), dimension_of(model),
                    _fingerprint(folder, config, model), _networks(tokenizer, model, end))
    return Encoder.of(spec, towers, preprocessing, _logit_scale(folder, model))


def options_of(spec: str, rest: str) -> tuple[str, str]:
    """`PLACE?preprocessing=…` → the place and the preprocessing's name, empty where none is named."""
    place, mark, option = rest.partition("?")
    if not mark:
        return place, ""
    key, _, value = option.partition("=")
    if key != "preprocessing" or value not in ("clip", "mofi"):
        raise UsageError(f"The option {option!r} of {spec!r} is unknown.", "There is ?preprocessing=clip and =mofi.")
    return place, value


def checkpoint_folder(place: str) -> Path:
    """A local folder, or the local copy of a repository of the hub."""
    folder = Path(place).expanduser()
    if folder.is_dir():
        return folder
    # A mistyped path below a folder that exists here ("runs/clpi") is no repository's name.
    if folder.exists() or folder.parent.is_dir() or place.count("/") != 1:
        raise OpenMofiError(f"There is no folder {place}.", "Check the path, or name a repository as hf:OWNER/NAME.")
    return hub_folder(place, _PATTERNS, ["config.json", "*.safetensors"])


def read_config(folder: Path) -> dict[str, Any]:
    """The `config.json` of a checkpoint of any kind."""
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text("utf-8"))
        config.get("model_type")
    except FileNotFoundError as error:
        raise OpenMofiError(f"{folder} is no transformers checkpoint: it has no config.json.",
                            "For an encoder that openmofi wrote use run:FOLDER.") from error
    except (OSError, ValueError, AttributeError) as error:
        raise OpenMofiError(f"{folder}/config.json cannot be read: {error}.") from error
    return config


def checkpoint_config(folder: Path) -> dict[str, Any]:
    """A checked `config.json` of a CLIP or SigLIP."""
    config = read_config(folder)
    kind = config.get("model_type")
    if kind not in ("clip", "siglip"):
        raise OpenMofiError(f"{folder} is a {kind!r} model; hf: opens 'clip' and 'siglip', and for images alone "
                            "DINOv2 and DINOv3.", "Use open_clip:ARCH/PRETRAINED or timm:NAME for other families.")
    return {"text_config": {}, **config, "vision_config": config.get("vision_config") or {}}


def require_safetensors(folder: Path) -> None:
    """Raise unless the checkpoint has weights that need no unpickling."""
    if not any(folder.glob("*.safetensors")):
        raise OpenMofiError(f"{folder} has no safetensors weights; pickled weights are never loaded.",
                            "Convert them: load it where you trust it, then save_pretrained(FOLDER).")


def load_checkpoint(folder: Path, config: Mapping[str, Any]) -> tuple[Any, Any]:
    """Model and tokenizer of a local checkpoint."""
    from safetensors import SafetensorError
    from transformers import AutoTokenizer, CLIPModel, SiglipModel

    kind: Any = CLIPModel if config["model_type"] == "clip" else SiglipModel
    try:
        with quiet_transformers():
            model, report = kind.from_pretrained(str(folder), local_files_only=True, use_safetensors=True,
                                                 trust_remote_code=False, dtype=torch.float32,
                                                 output_loading_info=True)
            tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise OpenMofiError(f"{folder} cannot be loaded: {str(error).strip().splitlines()[0][:300]}",
                            "Check that it is a whole CLIP or SigLIP checkpoint with its tokenizer.") from error
    missing = sorted(set(report["missing_keys"]) - {"logit_scale", "logit_bias"})
    if missing:
        raise OpenMofiError(f"{folder} lacks {len(missing)} of the model's weights, {missing[0]} the first.",
                            "Fetch it again.")
    tokenizer.padding_side = "right"
    return model, tokenizer


def _tokens(tokenizer: Any, model: Any, end: int | None) -> Callable[[list[str]], list[list[int]]]:
    limit = _limit(tokenizer, model)
    # SigLIP was trained on texts padded to full length, without a mask.
    padding = "max_length" if model.config.model_type == "siglip" else False

    def run(texts: list[str]) -> list[list[int]]:
        if end is None:
            return list(tokenizer(texts, truncation=True, max_length=limit, padding=padding)["input_ids"])
        return [[*ids, end] for ids in tokenizer(texts, truncation=True, max_length=limit - 1)["input_ids"]]

    return run


def _limit(tokenizer: Any, model: Any) -> int:
    return min(int(tokenizer.model_max_length), int(model.config.text_config.max_position_embeddings))


def _networks(tokenizer: Any, model: Any, end: int | None) -> Networks:
    length = _limit(tokenizer, model)
    return Networks(Called(model, "get_image_features", "pixel_values"),
                    Called(model, "get_text_features", "input_ids"),
                    HuggingFaceTokens(tokenizer, length, end), transformers_tokenizer(length, end))


def _added_end(tokenizer: Any, model: Any) -> int | None:
    """The end token, if the model reads a text there and the tokenizer does not put it; else none."""
    end = int(model.config.text_config.eos_token_id)
    # 2 stands for OpenAI's first exports, whose models read a text at its greatest id, whatever that is.
    if end == 2 or end in tokenizer("a")["input_ids"]:
        return None
    _log.warning("The tokenizer does not end texts with the token %d, where the model reads them: it is added.", end)
    return end


def _text_tower(model: Any, tokenizer: Any, device: str, masked: bool) -> Callable[[list[Any]], Array]:
    pad = tokenizer.pad_token_id
    filler = int(pad if pad is not None else tokenizer.eos_token_id or 0)

    @torch.inference_mode()
    def run(tokens: list[list[int]]) -> Array:
        length = max(map(len, tokens))
        ids = torch.tensor([found + [filler] * (length - len(found)) for found in tokens], device=device)
        inputs = {"input_ids": ids}
        if masked:
            inputs["attention_mask"] = torch.tensor(
                [[1] * len(found) + [0] * (length - len(found)) for found in tokens], device=device)
        return numpy_of(pooled(model.get_text_features(**inputs)))

    return run


def _image_tower(model: Any, device: str) -> Callable[[Array], Array]:
    @torch.inference_mode()
    def run(pixels: Array) -> Array:
        return numpy_of(pooled(model.get_image_features(pixel_values=torch.from_numpy(pixels).to(device))))

    return run


def dimension_of(model: Any) -> int:
    """Dimension of the joint space of a transformers CLIP or SigLIP."""
    if model.config.model_type == "clip":
        return int(model.config.projection_dim)
    return int(model.config.vision_config.hidden_size)


def _fingerprint(folder: Path, config: Mapping[str, Any], model: Any) -> str:
    told = {key: value for key, value in config.items() if key not in ("transformers_version", "_name_or_path")}
    words = {name: file_fingerprint(folder / name) for name in _TOKENIZER_FILES if (folder / name).is_file()}
    return fingerprint([told, words, weights_fingerprint(model.state_dict())])


def _logit_scale(folder: Path, model: Any) -> float | None:
    from safetensors import safe_open

    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as weights:
            if "logit_scale" in weights.keys():  # noqa: SIM118 - safe_open is no mapping
                return float(model.logit_scale.detach().exp().reshape(()))
    _log.warning("%s holds no logit scale: 1.0 is used, so its logits are no probabilities.", folder)
    return None
