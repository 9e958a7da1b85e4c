"""open_clip's models: encoders by `open_clip:ARCH/PRETRAINED`, and their towers to train by `open_clip:ARCH`.

open_clip 3.3 and 4.x.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.tokenizer import HFTokenizer
from open_clip.transform import PreprocessCfg

from openmofi.encoders.arrays import weights_fingerprint
from openmofi.encoders.encoder import Encoder
from openmofi.encoders.networks import Called, Networks, OnArrays
from openmofi.encoders.preprocess import Preprocessing, checked, three
from openmofi.encoders.tokens import OpenClipTokens
from openmofi.encoders.towers import Trunk, encoder_of
from openmofi.errors import OpenMofiError, UsageError, first_line
from openmofi.plugins.encoders.open_clip_sources import (
    TOKENIZER_PATTERNS,
    ModelSource,
    checked_side,
    folder_source,
    is_folder,
    model_config,
    source_of,
    tokenizer_folder,
)
from openmofi.plugins.hub import cached_folder, hub_file, hub_folder
from openmofi.plugins.hub.checkpoints import VOCABULARIES, loading
from openmofi.quiet import quiet_logging
from openmofi.storage import file_fingerprint, fingerprint
from openmofi.storage.foreign import allowed_options, require_own_files

# Of a model one half is wanted; the other is built as small as can be and thrown away.
_NO_VISION = {"image_size": 8, "patch_size": 8, "width": 64, "layers": 1}
_NO_TEXT = {"context_length": 4, "vocab_size": 4, "width": 8, "heads": 1, "layers": 1}


def open_open_clip(argument: str, device: str) -> Encoder:
    """Open an encoder of images and texts.

    Args:
        argument: `ARCH/TAG[@REVISION]`, a pretrained tag; `ARCH/FILE` or `ARCH/FILE?as=TAG`, local weights;
            `ARCH/none?seed=N`, random weights for tests and benchmarks; `local-dir:FOLDER` or
            `hf-hub:OWNER/NAME[@REVISION]`, with `open_clip_config.json`, as open_clip's `push_to_hf_hub` writes them.
        device: torch's name of it.

    Raises:
        UsageError: no such architecture or tag, or nothing says which preprocessing and activation a file needs.
        OpenMofiError: the weights or the tokenizer cannot be fetched, are missing or damaged, do not fit, or would have
            to be unpickled.
    """
    spec, (arch, _, weights) = f"open_clip:{argument}", argument.partition("/")
    source = folder_source(argument) if is_folder(argument) else source_of(arch, weights)
    with quiet_logging():
        model = build(source)
        _require_towers(model, spec)
        tokenizer = tokenizer_of(source)
    model = model.eval().requires_grad_(False).to(device)
    tokens = OpenClipTokens(tokenizer, bool(source.text.get("hf_tokenizer_name")))
    architecture = {"kind": "open_clip", "name": source.name, "config": source.text}
    networks = Networks(
        Called(model, "encode_image", "image"),
        Called(model, "encode_text", "text"),
        tokens,
        {"kind": "tower", "masked": False, "architecture": architecture},
    )
    return encoder_of(
        spec,
        preprocessing_of(model.visual.preprocess_cfg, spec),
        float(model.logit_scale.detach().exp()),
        image=OnArrays(model.encode_image, device),
        dim=int(source.config["embed_dim"]),
        weights=fingerprint([*_identity(source), weights_fingerprint(model.state_dict())]),
        tokens=tokenizer,
        text=OnArrays(model.encode_text, device),
        networks=networks,
    )


def _require_towers(model: Any, spec: str) -> None:
    if not all(hasattr(model, part) for part in ("visual", "encode_image", "encode_text", "logit_scale")):
        raise UsageError(
            f"{spec} has no image and text towers that end in one space.", "Choose a CLIP or SigLIP of open_clip."
        )


def _identity(source: ModelSource) -> list[Any]:
    """What decides the result besides weights and preprocessing."""
    name = source.config if is_folder(source.name) else source.name
    beside = tokenizer_folder(source)
    files = (
        {}
        if beside is None
        else {file: file_fingerprint(beside / file) for file in VOCABULARIES if (beside / file).is_file()}
    )
    return [name, bool(source.config.get("quick_gelu")), *([files] if files else [])]


def build(source: ModelSource, **options: Any) -> Any:
    """Build the model with its weights; `options` go to open_clip's `create_model`."""
    settings: dict[str, Any] = {
        "pretrained_text": False,
        "pretrained_image": False,
        "weights_only": True,
        "force_quick_gelu": bool(source.config.get("quick_gelu")),
        "force_preprocess_cfg": dict(source.preprocess),
        **options,
    }
    _fetch_text_config(source)
    path = weights_file(source)
    if path is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(source.seed)
            return open_clip.create_model(source.name, **settings)
    with loading(path, source.name):
        if not is_folder(source.name):
            return open_clip.create_model(source.name, pretrained=str(path), **settings)
        model = open_clip.create_model(source.name, load_weights=False, **settings)
        open_clip.load_checkpoint(model, str(path))
    return model


def _fetch_text_config(source: ModelSource) -> None:
    """Fetch the configuration of a text tower of transformers, which open_clip takes from the hub's cache."""
    name, needed = source.text.get("hf_model_name"), ["config.json"]
    if name and not source.local:
        hub_folder(name, needed, needed)
    elif name and cached_folder(name, needed, needed) is None:
        raise OpenMofiError(
            f"The text tower of {source.name} is built by the configuration of {name}, which is not in "
            "the hub's cache.",
            f"Fetch it: hf download {name} config.json.",
        )


def weights_file(source: ModelSource) -> Path | None:
    """The weights on this machine, fetched where a tag names them; `None` where they are random."""
    if source.file is not None or not source.hub:
        return source.file
    repository, _, name = source.hub.rpartition("/")
    if not name:
        return hub_file(repository, ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"])
    return hub_file(repository, [str(Path(name).with_suffix(".safetensors")), name])


def tokenizer_of(source: ModelSource) -> Callable[[list[str]], Sequence[Any]]:
    """The tokenizer of a model: texts → (n, context length) int64. Reaches for the hub unless the weights are local."""
    text = source.text
    name = text.get("hf_tokenizer_name")
    if not name:
        return open_clip.get_tokenizer(source.name)
    # An architecture that the user registered may name a folder.
    name_is_folder = not is_folder(source.name) and Path(name).is_dir()
    folder = tokenizer_folder(source) or (Path(name) if name_is_folder else None)
    if folder is None and source.local and source.file is not None:
        folder = cached_folder(name, TOKENIZER_PATTERNS, ["tokenizer*"])
        if folder is None:
            raise OpenMofiError(
                f"{source.file.parent} has no tokenizer files, which {source.name} needs.",
                f"Put tokenizer.json and tokenizer_config.json of {name} beside the weights.",
            )
    return _huggingface_tokenizer(folder or hub_folder(name, TOKENIZER_PATTERNS, ["tokenizer*"]), text)


def _huggingface_tokenizer(folder: Path, text: Mapping[str, Any]) -> Callable[[list[str]], Sequence[Any]]:
    require_own_files(folder)
    try:
        return HFTokenizer(
            str(folder),
            context_length=text.get("context_length", 77),
            tokenizer_mode=text.get("tokenizer_mode"),
            local_files_only=True,
            trust_remote_code=False,
            **_tokenizer_options(text, folder),
        )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError) as error:
        raise OpenMofiError(
            f"The tokenizer in {folder} cannot be opened: {first_line(error)}", "Copy its files again."
        ) from error


def _tokenizer_options(text: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    return allowed_options(
        "open_clip.tokenizer_kwargs", text.get("tokenizer_kwargs") or {}, f"The tokenizer in {folder}: tokenizer_kwargs"
    )


def preprocessing_of(raw: Mapping[str, Any], where: str) -> Preprocessing:
    """Convert open_clip's preprocessing configuration, which has a `size`, to ours."""
    size = raw["size"]
    height, width = size if isinstance(size, tuple | list) else (size, size)
    if height != width:
        raise OpenMofiError(f"{where} takes images of {height} × {width}; only square ones are supported.")
    return checked(
        Preprocessing(int(height), three(raw["mean"]), three(raw["std"]), raw["interpolation"], raw["resize_mode"]),
        where,
    )


def preprocessing(arch: str, pretrained: str, size: int) -> Preprocessing:
    """As open_clip evaluates the model with these weights, at `size` pixels where it is given."""
    source = _tower_source(arch, pretrained)
    raw = asdict(PreprocessCfg()) | dict(source.preprocess)
    return preprocessing_of(raw | {"size": size or source.config["vision_cfg"]["image_size"]}, f"open_clip:{arch}")


def image(arch: str, pretrained: str, size: int, _drop_path: float) -> Trunk:
    """See `towers.image_trunk`."""
    source = _tower_source(arch, pretrained)
    vision = {**source.config["vision_cfg"], "timm_model_pretrained": False, **({"image_size": size} if size else {})}
    return _tower(source, pretrained, "image", vision, {"force_image_size": size} if size else {})


def text(arch: str, pretrained: str) -> Trunk:
    """See `towers.text_trunk`."""
    source = _tower_source(arch, pretrained)
    if source.text.get("hf_model_name"):
        raise UsageError(
            f"The text tower of open_clip:{arch} is transformers' {source.text['hf_model_name']}, "
            "which cannot be trained here.",
            "Lock it: encoder:open_clip:ARCH/PRETRAINED.",
        )
    return _tower(source, pretrained, "text", dict(source.text), {})


def tokens(arch: str) -> OpenClipTokens:
    """See `towers.text_tokens`."""
    source = _tower_source(arch, "")
    with quiet_logging():
        return OpenClipTokens(tokenizer_of(source), bool(source.text.get("hf_tokenizer_name")))


def rebuilt(architecture: Mapping[str, Any]) -> Trunk:
    """See `towers.rebuilt`."""
    is_image = architecture["side"] == "image"
    # A tokenizer's files travel with the tower: where they came from does not matter here.
    half = {name: copy.deepcopy(value) for name, value in architecture["config"].items() if name != "hf_tokenizer_name"}
    half = checked_side(
        half, "vision_cfg" if is_image else "text_cfg", f"The description of the tower open_clip:{architecture['name']}"
    )
    half |= {"timm_model_pretrained": False} if is_image else {"hf_model_name": None}
    with quiet_logging():
        model = open_clip.CustomTextCLIP(
            architecture["dim"],
            half if is_image else _NO_VISION,
            _NO_TEXT if is_image else half,
            quick_gelu=architecture["quick_gelu"],
        )
    return Trunk(model.visual if is_image else model.text, int(architecture["dim"]), architecture)


def stored_tokens(architecture: Mapping[str, Any], folder: Path) -> OpenClipTokens:
    """See `towers.stored_tokens`."""
    config = architecture["config"]
    if config.get("hf_tokenizer_name"):
        if not folder.is_dir():
            raise OpenMofiError(f"The tokenizer folder {folder} does not exist.", "Train or copy the encoder again.")
        with quiet_logging():
            return OpenClipTokens(_huggingface_tokenizer(folder, config), True)
    with quiet_logging():
        return OpenClipTokens(
            open_clip.SimpleTokenizer(
                context_length=config.get("context_length", 77), **_tokenizer_options(config, folder)
            ),
            False,
        )


def _tower(source: ModelSource, pretrained: str, side: str, half: dict[str, Any], options: Mapping[str, Any]) -> Trunk:
    trunk = rebuilt(
        {
            "kind": "open_clip",
            "name": source.name,
            "side": side,
            "dim": int(source.config["embed_dim"]),
            "config": half,
            "quick_gelu": bool(source.config.get("quick_gelu")),
        }
    )
    if pretrained:
        with quiet_logging(), torch.random.fork_rng(devices=[]):
            model = build(source, force_custom_text=True, **options)
        trunk.module.load_state_dict((model.visual if side == "image" else model.text).state_dict(), strict=True)
    return trunk


def _tower_source(arch: str, pretrained: str) -> ModelSource:
    source = source_of(arch, pretrained) if pretrained else ModelSource(arch, model_config(arch))
    if "multimodal_cfg" in source.config:
        raise UsageError(
            f"open_clip:{arch} writes captions besides; its towers cannot be trained here.",
            "Choose a contrastive model.",
        )
    return source
