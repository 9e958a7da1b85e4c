"""Models in transformers' layout: encoders by `hf:PATH-OR-ID` and `mofi:PATH-OR-ID`, and their towers to train.

CLIP, SigLIP, SigLIP 2, MetaCLIP 2, AIMv2 and Chinese-CLIP embed images and texts; DINOv2 (with registers or without)
and DINOv3 embed images alone. Weights are read from safetensors, or from `pytorch_model.bin` as tensors only; code of a
repository is never run.
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from openmofi.arrays import Array
from openmofi.encoders.arrays import numpy_of, padded, weights_fingerprint
from openmofi.encoders.devices import on_device
from openmofi.encoders.encoder import Encoder
from openmofi.encoders.networks import Called, Networks, OnArrays, pooled
from openmofi.encoders.preprocess import Preprocessing
from openmofi.encoders.tokens import HuggingFaceTokens, opened_tokenizer
from openmofi.encoders.towers import Trunk, encoder_of
from openmofi.errors import OpenMofiError, UsageError
from openmofi.plugins.encoders.huggingface_patches import PatchedImages, preprocessing_of, read_patches
from openmofi.plugins.encoders.huggingface_preprocessing import read_preprocessing
from openmofi.plugins.hub import weights_folder
from openmofi.plugins.hub.checkpoints import VOCABULARIES, config_of, has_vocabulary, loading
from openmofi.quiet import quiet_logging, quiet_transformers
from openmofi.storage import file_fingerprint, fingerprint, read_json
from openmofi.storage.foreign import require_inside, require_own_files

_log = logging.getLogger(__name__)
PATTERNS = ("*.json", "*.txt", "*.model")
PICKLES = "pytorch_model*.bin"
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "spiece.model")
_TRAINED = ("clip", "siglip")
"""Model types whose towers can be trained."""
_SIGMOID = ("siglip", "siglip2")
"""Those whose texts are padded to full length, without a mask, and read at the last position."""
_READ_AT_END = ("clip", "metaclip_2", "aimv2")
"""Those whose texts are read at the end token."""
_MASKED = ("aimv2", "chinese_clip")
"""Those whose texts need a mask, which an export of these tokenizers does not have: they bring no `Networks`."""
_KINDS = (*_SIGMOID, *_READ_AT_END, "chinese_clip")
_IMAGE_KINDS = ("dinov2", "dinov2_with_registers", "dinov3_vit", "dinov3_convnext")
"""Their pooled output is the class token after the last normalisation (of a ConvNeXt: the normalised mean)."""


def open_huggingface(argument: str, device: str) -> Encoder:
    """Open a folder or a repository of the hub. `?preprocessing=clip` or `=mofi` stands in for a missing file.

    Where the checkpoint holds no logit scale, as MOFI's do not, it is unknown and a warning says so (transformers would
    fill in its initial value).

    Raises:
        UsageError: an unknown option.
        OpenMofiError: no such folder, another model type, pickled code or damaged weights, tokenizer files or
            preprocessing that are missing or cannot be followed, the hub cannot be reached.
    """
    spec = f"hf:{argument}"
    location, option = options_of(spec, argument)
    folder = checkpoint_folder(location)
    config = read_config(folder)
    if config.get("model_type") in _IMAGE_KINDS:
        return _open_images(spec, folder, config, option, device)
    return open_dual(spec, folder, option, device)


def open_mofi(argument: str, device: str) -> Encoder:
    """Open one of MOFI's released checkpoints (apple/mofi-b16-hf, -l14-hf, -h14-hf on the hub); see `open_huggingface`.

    They are a CLIPModel of transformers with OPT's tokenizer and its own special tokens. What the files leave open is
    filled in: images are resized bilinearly without antialias, texts go in as ids alone, without a mask. The export
    holds no logit scale.
    """
    spec = f"mofi:{argument}"
    if "?" in argument:
        raise UsageError(f"{spec!r}: mofi: takes no options.", "Use hf:PATH?preprocessing=… for another preprocessing.")
    return open_dual(spec, checkpoint_folder(argument), "mofi", device, ids_alone=True)


def open_dual(spec: str, folder: Path, option: str, device: str, *, ids_alone: bool = False) -> Encoder:
    """Open a model that embeds images and texts; with `ids_alone` without a mask, whatever the tokenizer says."""
    config = checkpoint_config(folder, _KINDS)
    model, missing = _load_clip(folder, config)
    tokenizer = checkpoint_tokenizer(folder)
    model = model.eval().requires_grad_(False).to(device)
    kind = model.config.model_type
    # SigLIP's and MOFI's checkpoints take the ids alone; the tokenizer's configuration says so, if it is theirs.
    named = "attention_mask" in tokenizer.model_input_names and not ids_alone
    masked = kind in _MASKED or (named and kind not in _SIGMOID)
    end = _added_end(tokenizer, model) if kind in _READ_AT_END else None
    tokens = _cut_tokens(tokenizer, model.config.text_config.max_position_embeddings, end)
    _require_range(tokens, int(model.config.text_config.vocab_size))
    networks = Networks(
        Called(model, "get_image_features", "pixel_values"),
        Called(model, "get_text_features", "input_ids"),
        tokens,
        {"kind": "transformers", "masked": False, "length": tokens.length, "end": end},
    )
    files = {name: file_fingerprint(folder / name) for name in _TOKENIZER_FILES if (folder / name).is_file()}
    rows: Callable[[list[str]], Any] = tokens if kind in _SIGMOID else tokens.rows
    described = [_stable(config), files, weights_fingerprint(model.state_dict())]
    opened = partial(
        encoder_of,
        spec,
        logit_scale=_logit_scale(folder, model, missing),
        dim=dimension_of(model),
        tokens=rows,
        text=_on_tokens(Called(model, "get_text_features", "input_ids"), device, tokens.filler, masked=masked),
    )
    if kind == "siglip2":
        patches = read_patches(folder, int(model.config.vision_config.patch_size))
        weights = fingerprint([*described, patches])
        encoder = opened(preprocessing_of(patches), image=PatchedImages(model, patches, device), weights=weights)
        return replace(encoder, takes_images=True)
    preprocessing, image = _preprocessing(folder, config, option), OnArrays(networks.image, device)
    weights = fingerprint(described)
    return opened(preprocessing, image=image, weights=weights, networks=None if kind in _MASKED else networks)


def _on_tokens(
    network: Callable[..., torch.Tensor], device: str, filler: int, *, masked: bool
) -> Callable[[list[Any]], Array]:
    """A network of ids and, where `masked`, of the mask, as a function of token sequences, padded with `filler`."""

    @torch.inference_mode()
    def run(rows: list[Any]) -> Array:
        inputs = [on_device(values, device) for values in padded(rows, filler)]
        return numpy_of(network(*inputs[: 1 + masked]))

    return run


def _open_images(spec: str, folder: Path, config: Mapping[str, Any], option: str, device: str) -> Encoder:
    """Open one of `_IMAGE_KINDS`.

    Images have the size that the checkpoint's preprocessing gives, which need not be that of its training (DINOv2:
    224 against 518): position embeddings are interpolated.
    """
    from transformers import AutoModel

    if option:
        raise UsageError(f"{spec!r}: a {config['model_type']} has a preprocessing of its own.", "Leave the option out.")
    model, _ = load_checkpoint(AutoModel, folder, str(config["model_type"]))
    module = model.eval().requires_grad_(False).to(device)
    preprocessing = read_preprocessing(folder, str(config["model_type"]), 0)
    patch = int(getattr(model.config, "patch_size", 1))
    if preprocessing.size % patch:
        raise OpenMofiError(
            f"{folder} makes images of {preprocessing.size} px, no multiple of its patches' {patch}.",
            "Correct its preprocessor_config.json.",
        )

    network = Called(module, "forward", "pixel_values")
    sizes = getattr(model.config, "hidden_sizes", None) or [model.config.hidden_size]
    weights = fingerprint([_stable(config), weights_fingerprint(model.state_dict())])
    image, networks = OnArrays(network, device), Networks(network)
    return encoder_of(spec, preprocessing, None, image=image, dim=int(sizes[-1]), weights=weights, networks=networks)


def options_of(spec: str, rest: str) -> tuple[str, str]:
    """`PLACE?preprocessing=…` → the location and the preprocessing's name, empty where none is named."""
    location, mark, option = rest.partition("?")
    if not mark:
        return location, ""
    key, _, value = option.partition("=")
    if key != "preprocessing" or value not in ("clip", "mofi"):
        raise UsageError(f"The option {option!r} of {spec!r} is unknown.", "Use ?preprocessing=clip or =mofi.")
    return location, value


def checkpoint_folder(location: str) -> Path:
    """A local folder, or the local copy of a repository of the hub."""
    folder = Path(location).expanduser()
    if folder.is_dir():
        require_inside(folder)
        return folder
    # A mistyped path below a folder that exists here ("runs/clpi") is no repository's name.
    if folder.exists() or folder.parent.is_dir() or location.partition("@")[0].count("/") != 1:
        raise OpenMofiError(
            f"The folder {location} does not exist.",
            "Check the path, or name a repository as hf:OWNER/NAME[@REVISION].",
        )
    return weights_folder(location, PATTERNS, "config.json", ["model*.safetensors", PICKLES])


def read_config(folder: Path) -> dict[str, Any]:
    """The `config.json` of a checkpoint of any kind."""
    missing = OpenMofiError(
        f"{folder} is not a transformers checkpoint: it has no config.json.",
        "For an encoder that openmofi wrote use run:FOLDER.",
    )
    return read_json(folder / "config.json", dict[str, Any], "Copy the whole checkpoint.", missing=missing)


def checkpoint_config(folder: Path, kinds: Sequence[str] = _TRAINED) -> dict[str, Any]:
    """A checked `config.json` of a model that embeds images and texts, of one of the model types `kinds`."""
    config = read_config(folder)
    kind = config.get("model_type")
    if kind not in kinds:
        raise OpenMofiError(
            f"{folder} is a {kind!r} model; hf: opens {', '.join(map(repr, kinds))} here, and for images alone DINOv2 "
            "and DINOv3.",
            "Use open_clip:ARCH/PRETRAINED or timm:NAME for other families.",
        )
    return {"text_config": {}, **config, "vision_config": config.get("vision_config") or {}}


def require_safetensors(folder: Path) -> None:
    """Raise unless the checkpoint has weights that are no pickle."""
    if not any(folder.glob("*.safetensors")):
        raise OpenMofiError(
            f"{folder} has no safetensors weights.",
            "Convert them: load it where you trust it, then save_pretrained(FOLDER).",
        )


def _load_clip(folder: Path, config: Mapping[str, Any]) -> tuple[Any, list[str]]:
    from transformers import AutoModel

    return load_checkpoint(AutoModel, folder, str(config["model_type"]), ("logit_scale", "logit_bias"))


def load_checkpoint(model_class: Any, folder: Path, kind: str, optional: tuple[str, ...] = ()) -> tuple[Any, list[str]]:
    """The model of a local checkpoint, and which of the `optional` weights it lacks.

    Raises:
        OpenMofiError: its weights are missing, pickled code, damaged, or of another model.
    """
    safe = any(folder.glob("*.safetensors"))
    if not safe and not any(folder.glob(PICKLES)):
        raise OpenMofiError(
            f"{folder} has no weights: neither *.safetensors nor pytorch_model.bin.", "Copy the whole checkpoint."
        )
    require_own_files(folder)
    raw = read_config(folder)
    with quiet_transformers(), quiet_logging(), loading(folder, f"a {kind} model of transformers"):
        # Without safetensors transformers reads by torch.load(weights_only=True), which runs no code.
        model, report = model_class.from_pretrained(
            str(folder),
            config=config_of(raw, f"{folder}/config.json"),
            local_files_only=True,
            use_safetensors=safe,
            trust_remote_code=False,
            dtype=torch.float32,
            output_loading_info=True,
        )
    missing = sorted(set(report["missing_keys"]) - set(optional))
    if missing:
        raise OpenMofiError(
            f"{folder} lacks {len(missing)} of the model's weights, {missing[0]} the first.", "Fetch it again."
        )
    return model, [name for name in optional if name in report["missing_keys"]]


def checkpoint_tokenizer(folder: Path) -> Any:
    """The tokenizer of a local checkpoint.

    Raises:
        OpenMofiError: it has none, or one that cannot be read.
    """
    if not has_vocabulary(folder):
        # transformers would open an empty vocabulary, by which all texts embed alike.
        raise OpenMofiError(
            f"{folder} has no tokenizer files.",
            f"Put tokenizer_config.json and a vocabulary there: one of {', '.join(VOCABULARIES)}.",
        )
    return opened_tokenizer(folder)


def _added_end(tokenizer: Any, model: Any) -> int | None:
    """The end token, if the model reads a text there and the tokenizer does not put it; else none."""
    end = int(model.config.text_config.eos_token_id)
    # 2 stands for OpenAI's first exports, whose models read a text at its greatest id, whatever that is.
    if end == 2 or end in tokenizer("a")["input_ids"]:
        return None
    _log.warning("The tokenizer does not end texts with the token %d, where the model reads them: it is added.", end)
    return end


def dimension_of(model: Any) -> int:
    """Dimension of the joint space of a model that embeds images and texts."""
    sigmoid = model.config.model_type in _SIGMOID
    return int(model.config.vision_config.hidden_size if sigmoid else model.config.projection_dim)


def _stable(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without what changes when a checkpoint is saved again."""
    return {key: value for key, value in config.items() if key not in ("transformers_version", "_name_or_path")}


def _logit_scale(folder: Path, model: Any, missing: list[str]) -> float | None:
    if "logit_scale" not in missing:
        return float(model.logit_scale.detach().exp().reshape(()))
    _log.warning("%s holds no logit scale; a label job fits one to its own pairs.", folder)
    return None


class HalfClip(nn.Module):
    """One tower of a CLIP or SigLIP: `tower`, then `projection` where there is one."""

    def __init__(self, tower: nn.Module, projection: nn.Module | None) -> None:
        super().__init__()
        self.tower = tower
        self.projection = projection if projection is not None else nn.Identity()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Pixels (B, 3, H, W) or token ids (B, L) → (B, dim)."""
        return self.projection(pooled(self.tower(inputs)))


def preprocessing(rest: str, _pretrained: str, size: int) -> Preprocessing:
    """Return the checkpoint's own preprocessing."""
    location, option = options_of(f"hf:{rest}", rest)
    folder = checkpoint_folder(location)
    config = checkpoint_config(folder)
    native_size = _image_size(config)
    if size not in (0, native_size):
        raise UsageError(
            f"hf:{location} takes images of {native_size} px; model.image.size is {size}.",
            "Set it to 0, or choose a timm or open_clip model.",
        )
    return _preprocessing(folder, config, option)


def _preprocessing(folder: Path, config: Mapping[str, Any], option: str) -> Preprocessing:
    return read_preprocessing(folder, str(config["model_type"]), _image_size(config), option)


def _image_size(config: Mapping[str, Any]) -> int:
    return int(config["vision_config"].get("image_size", 224))


def image(rest: str, pretrained: str, size: int, _drop_path: float) -> Trunk:
    """See `towers.image_trunk`; the checkpoint's weights."""
    preprocessing(rest, pretrained, size)
    return _half(rest, pretrained, "image")


def text(rest: str, pretrained: str) -> Trunk:
    """See `towers.text_trunk`; the checkpoint's weights."""
    return _half(rest, pretrained, "text")


def tokens(rest: str) -> HuggingFaceTokens:
    """See `towers.text_tokens`."""
    folder = checkpoint_folder(options_of(f"hf:{rest}", rest)[0])
    return _cut_tokens(
        checkpoint_tokenizer(folder), checkpoint_config(folder)["text_config"].get("max_position_embeddings", 77)
    )


def rebuilt(architecture: Mapping[str, Any]) -> Trunk:
    """See `towers.rebuilt`."""
    from transformers import AutoModel

    with quiet_transformers():
        model = AutoModel.from_config(config_of(architecture["config"], "The description of a tower of transformers"))
    return _trunk(model, str(architecture["side"]), architecture)


def stored_tokens(architecture: Mapping[str, Any], folder: Path) -> HuggingFaceTokens:
    """See `towers.stored_tokens`."""
    return _cut_tokens(checkpoint_tokenizer(folder), architecture["config"]["text_config"]["max_position_embeddings"])


def _cut_tokens(tokenizer: Any, positions: int, end: int | None = None) -> HuggingFaceTokens:
    length = min(int(tokenizer.model_max_length), int(positions))
    if length < 2:
        raise OpenMofiError(
            f"The tokenizer in {tokenizer.name_or_path} cuts texts to {length} tokens.",
            "Correct model_max_length in its tokenizer_config.json.",
        )
    return HuggingFaceTokens(tokenizer, length, end)


def _require_range(tokens: HuggingFaceTokens, size: int) -> None:
    """Check that the tokenizer's special tokens, and those of a text, are in a vocabulary of `size` tokens."""
    ids = {*tokens.tokenizer.all_special_ids, tokens.filler, *tokens.rows(["a photo of a crane"])[0]}
    if beyond := sorted(number for number in ids if not 0 <= number < size):
        raise OpenMofiError(
            f"The tokenizer in {tokens.tokenizer.name_or_path} gives the token {beyond[0]}; the model "
            f"knows {size} tokens.",
            "Put the tokenizer files there that belong to the weights.",
        )


def _half(rest: str, pretrained: str, side: str) -> Trunk:
    if pretrained not in ("", "default"):
        raise UsageError(
            f"hf:{rest} names its weights; {pretrained!r} cannot stand in for them.",
            f"Leave model.{side}.pretrained empty.",
        )
    folder = checkpoint_folder(options_of(f"hf:{rest}", rest)[0])
    config = checkpoint_config(folder)
    model, _ = _load_clip(folder, config)
    full_config = json.loads(model.config.to_json_string(use_diff=False))
    full_config.pop("_name_or_path", None)
    return _trunk(model, side, {"kind": "hf", "name": config["model_type"], "side": side, "config": full_config})


def _trunk(model: Any, side: str, architecture: Mapping[str, Any]) -> Trunk:
    half, projection = ("vision_model", "visual_projection") if side == "image" else ("text_model", "text_projection")
    return Trunk(HalfClip(getattr(model, half), getattr(model, projection, None)), dimension_of(model), architecture)
