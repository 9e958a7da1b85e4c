"""Where open_clip's weights come from, and what they were trained with.

Weights alone do not say how images were preprocessed and whether the activation was QuickGELU: a wrong choice opens and
is silently less accurate. What is right for local weights is taken, in this order, from `?as=TAG`, from
`open_clip_config.json` beside them, and from the pretrained tags of the architecture if these agree.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import open_clip
import timm
from open_clip.transform import PreprocessCfg

from openmofi.errors import OpenMofiError, UsageError
from openmofi.plugins.hub import weights_folder
from openmofi.plugins.hub.checkpoints import WEIGHT_FILES, has_vocabulary
from openmofi.storage import read_json
from openmofi.storage.foreign import allowed_options, require_inside

_PREPROCESS_KEYS = ("mean", "std", "interpolation", "resize_mode")
_CONFIG_FILE = "open_clip_config.json"
_FOLDER_FILES = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth",
)
TOKENIZER_PATTERNS = ("*.json", "*.txt", "*.model")
_UNTRAINED = "none?seed="
_SIDES = ("vision_cfg", "text_cfg")
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_Variant = tuple[dict[str, Any], list[str]]


@dataclass(frozen=True)
class ModelSource:
    """A model and where its weights come from.

    Attributes:
        name: what open_clip builds it by: an architecture, or `local-dir:FOLDER`.
        config: open_clip's configuration of the model; `quick_gelu` as these weights need it.
        preprocess: open_clip's preprocessing keys that were given with the weights; the others have its defaults.
        file: the weights, where they are on this machine.
        hub: REPOSITORY[@REVISION]/NAME of the weights on the hub; empty where they are not of a tag.
        seed: of random weights, where there are neither.
        local: whether tokenizer files are looked for beside `file` and never fetched.
    """

    name: str
    config: Mapping[str, Any]
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    file: Path | None = None
    hub: str = ""
    seed: int = 0
    local: bool = False

    @property
    def text(self) -> Mapping[str, Any]:
        """Configuration of the text tower."""
        return self.config["text_cfg"]


def model_config(arch: str) -> dict[str, Any]:
    """open_clip's configuration of an architecture.

    Raises:
        UsageError: there is no such architecture, or it has no image tower.
    """
    config = None if is_folder(arch) else open_clip.get_model_config(arch)
    if config is None:
        near = difflib.get_close_matches(arch, open_clip.list_models(), n=3)
        raise UsageError(
            f"open_clip has no architecture {arch!r}.",
            f"Did you mean {' or '.join(near)}?" if near else "See open_clip.list_models().",
        )
    return _checked_config(dict(config), f"open_clip:{arch}")


def _checked_config(config: dict[str, Any], where: str) -> dict[str, Any]:
    missing = [key for key in ("embed_dim", "vision_cfg", "text_cfg") if key not in config]
    if missing:
        raise UsageError(
            f"{where} is not a model of images and texts: its configuration has no {missing[0]}.",
            "Choose a CLIP or SigLIP of open_clip.",
        )
    return config


def source_of(arch: str, weights: str) -> ModelSource:
    """The source of `ARCH` and what follows it; fetches nothing.

    That is a tag with or without `@REVISION`, a file with or without `?as=TAG`, or `none?seed=N`.
    """
    config = model_config(arch)
    if weights.startswith(_UNTRAINED):
        return ModelSource(arch, config, seed=_seed(weights))
    name, at, revision = weights.partition("@")
    tag = open_clip.get_pretrained_cfg(arch, name)
    if tag:
        repository, _, file = str(tag["hf_hub"]).rpartition("/")
        return ModelSource(
            arch, _activated(config, tag), _preprocess(tag), hub=repository and f"{repository}{at}{revision}/{file}"
        )
    location, mark, option = weights.partition("?")
    if mark and not option.startswith("as="):
        raise UsageError(f"The option {option!r} of {weights!r} is unknown.", "Use ?as=TAG, or leave it out.")
    path = _local_file(arch, location)
    settings = _settings(arch, config, path, option.removeprefix("as="))
    return ModelSource(arch, _activated(config, settings), _preprocess(settings), path, local=True)


def _activated(config: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    quick = bool(config.get("quick_gelu")) or bool(settings.get("quick_gelu"))
    return {**config, "quick_gelu": True} if quick else dict(config)


def _preprocess(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: settings[key] for key in _PREPROCESS_KEYS if settings.get(key) is not None}


def _settings(arch: str, config: Mapping[str, Any], path: Path, tag: str) -> Mapping[str, Any]:
    """What says how `path` was trained; empty where the architecture has no tags: open_clip's defaults."""
    if tag:
        settings: Mapping[str, Any] = open_clip.get_pretrained_cfg(arch, tag)
        if not settings:
            raise UsageError(f"open_clip has no tag {tag!r} for {arch}.", _tags_hint(arch, tag))
        return settings
    beside = path.with_name(_CONFIG_FILE)
    if beside.is_file():
        model, preprocess = _read_config(beside)
        if other := _differences(config, model):
            raise UsageError(
                f"{beside} describes another model than {arch}: {other}.",
                f"Open its folder as it is: open_clip:local-dir:{path.parent}.",
            )
        return {**preprocess, "quick_gelu": model.get("quick_gelu")}
    variants = _variants(arch, config)
    if len(variants) > 1:
        choices = "; ".join(
            f"{', '.join(tags[:2])}{' …' if len(tags) > 2 else ''} ({name})" for name, tags in _named(variants).items()
        )
        raise UsageError(
            f"{path} does not say how it was trained, and the pretrained tags of {arch} differ.",
            f"Add the tag that it was trained like, as in open_clip:{arch}/{path.name}?as=TAG: {choices}; "
            f"or put its {_CONFIG_FILE} beside it.",
        )
    return open_clip.get_pretrained_cfg(arch, variants[0][1][0]) if variants else {}


def _differences(config: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Where two models differ, as `vision_cfg.image_size 336, not 224`; what names weights and tokenizers is no matter.

    Position embeddings fit any size, so open_clip loads such weights without a word.
    """
    pairs = [("", config, other), *((f"{side}.", config.get(side), other.get(side)) for side in _SIDES)]
    return ", ".join(
        f"{prefix}{key} {theirs[key]}, not {ours[key]}"
        for prefix, ours, theirs in pairs
        if ours and theirs
        for key in ours
        if key in theirs
        and key not in (*_SIDES, "quick_gelu", "custom_text")
        and "pretrained" not in key
        and "tokenizer" not in key
        and theirs[key] != ours[key]
    )


def _variants(arch: str, config: Mapping[str, Any]) -> list[_Variant]:
    """The distinct settings of an architecture's tags, each with its tags."""
    variants: list[_Variant] = []
    for tag in open_clip.list_pretrained_tags_by_model(arch):
        raw = open_clip.get_pretrained_cfg(arch, tag)
        values = {
            key: tuple(value) if isinstance(value, list | tuple) else value
            for key, value in (asdict(PreprocessCfg()) | _preprocess(raw)).items()
        }
        values["activation"] = "QuickGELU" if _activated(config, raw).get("quick_gelu") else "GELU"
        tags = next((tags for other, tags in variants if other == values), None)
        if tags is None:
            variants.append((values, [tag]))
        else:
            tags.append(tag)
    return variants


def _named(variants: Sequence[_Variant]) -> dict[str, list[str]]:
    """Variants by the values in which they differ."""
    first = variants[0][0]
    keys = [key for key in first if any(values[key] != first[key] for values, _ in variants)]
    return {
        ", ".join(str(values[key]) if key == "activation" else f"{key} {values[key]}" for key in keys): tags
        for values, tags in variants
    }


def is_folder(rest: str) -> bool:
    """Whether a spec or a `ModelSource.name` names a folder or a repository instead of an architecture."""
    return rest.startswith(("local-dir:", "hf-hub:"))


def folder_source(rest: str) -> ModelSource:
    """The source of `local-dir:FOLDER` or `hf-hub:OWNER/NAME`.

    Raises:
        UsageError: it names neither.
        OpenMofiError: the folder or the repository is missing, or has no configuration or no weights.
    """
    kind, _, location = rest.partition(":")
    if not location:
        raise UsageError(f"open_clip:{rest} names nothing.", "Write local-dir:FOLDER or hf-hub:OWNER/NAME[@REVISION].")
    local = kind == "local-dir"
    folder = (
        Path(location).expanduser()
        if local
        else weights_folder(
            location,
            [_CONFIG_FILE, *TOKENIZER_PATTERNS],
            _CONFIG_FILE,
            ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"],
        )
    )
    if not folder.is_dir():
        raise OpenMofiError(f"The folder {location} does not exist.", "Check the path, or use hf-hub:OWNER/NAME.")
    if not (folder / _CONFIG_FILE).is_file():
        raise OpenMofiError(
            f"{location} has no {_CONFIG_FILE}.", "Name the architecture and the file: open_clip:ARCH/FILE.safetensors."
        )
    require_inside(folder)
    config, preprocess = _read_config(folder / _CONFIG_FILE)
    return ModelSource(f"local-dir:{folder}", config, _preprocess(preprocess), _weights_in(folder), local=local)


def _read_config(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Model and preprocessing of an `open_clip_config.json`."""
    config = read_json(path, _Config, "Copy the file of open_clip that belongs to the weights.")
    return _allowed_model(_checked_config(config.model_cfg, str(path)), str(path)), config.preprocess_cfg or {}


class _Config(msgspec.Struct):
    model_cfg: dict[str, Any]
    preprocess_cfg: dict[str, Any] | None = None


def _allowed_model(config: dict[str, Any], where: str) -> dict[str, Any]:
    """A model's configuration in a file, whose options may all reach open_clip."""
    config = allowed_options("open_clip.model_cfg", config, f"{where}: model_cfg")
    for side in (side for side in (*_SIDES, "multimodal_cfg") if side in config):
        config[side] = checked_side(config[side], side, where)
    return config


def checked_side(half: Any, side: str, where: str) -> dict[str, Any]:
    """One tower's configuration in a file, whose options may all reach open_clip.

    Args:
        half: what the file says.
        side: `vision_cfg`, `text_cfg` or `multimodal_cfg`.
        where: the file.

    Raises:
        OpenMofiError: it sets an option that it may not, or names a model that timm or the hub cannot have.
    """
    half = allowed_options(f"open_clip.{side}", half, f"{where}: {side}")
    for kwargs in (name for name in ("tokenizer_kwargs", "act_kwargs", "norm_kwargs") if half.get(name)):
        half[kwargs] = allowed_options(f"open_clip.{kwargs}", half[kwargs], f"{where}: {side}.{kwargs}")
    name = half.get("timm_model_name")
    if name and not timm.is_model(str(name).partition(".")[0]):
        raise OpenMofiError(f"{where}: timm has no model {name!r}.", "Install the version that it was trained with.")
    for option in ("hf_tokenizer_name", "hf_model_name"):
        if half.get(option) and not _REPOSITORY.fullmatch(str(half[option])):
            raise OpenMofiError(
                f"{where}: {side}.{option} is {half[option]!r}, which no repository of the hub is called.",
                "Put the name of the repository there.",
            )
    return half


def _weights_in(folder: Path) -> Path:
    files = sorted(path for path in folder.iterdir() if path.suffix in WEIGHT_FILES)
    standard_files = [folder / name for name in _FOLDER_FILES if (folder / name).is_file()]
    if not standard_files and len(files) != 1:
        names = ", ".join(path.name for path in files[:4])
        raise OpenMofiError(
            f"{folder} has {f'several weights files: {names}' if files else 'no weights file'}.",
            f"Name the one to open {_FOLDER_FILES[0]}.",
        )
    return (standard_files or files)[0]


def _seed(weights: str) -> int:
    text = weights.removeprefix(_UNTRAINED)
    if not text.isdecimal():
        raise UsageError(f"The seed {text!r} is not a number.", "Write e.g. open_clip:ViT-B-32/none?seed=0.")
    return int(text)


def _local_file(arch: str, location: str) -> Path:
    path = Path(location).expanduser()
    if path.suffix not in WEIGHT_FILES:
        raise UsageError(
            f"open_clip has no weights {location!r} for {arch}.",
            f"{_tags_hint(arch, location)} Or give a file: open_clip:{arch}/FILE.safetensors.",
        )
    if not path.is_file():
        raise OpenMofiError(f"The weights file {path} does not exist.", "Check the path.")
    return path


def _tags_hint(arch: str, tag: str) -> str:
    tags = open_clip.list_pretrained_tags_by_model(arch)
    near = difflib.get_close_matches(tag, tags, n=2) or tags[:4]
    return f"Its tags include {', '.join(near)}." if near else "It has no pretrained tags."


def tokenizer_folder(source: ModelSource) -> Path | None:
    """Where tokenizer files of transformers lie beside local weights, if the model needs any."""
    if not source.local or source.file is None or not source.text.get("hf_tokenizer_name"):
        return None
    return source.file.parent if has_vocabulary(source.file.parent) else None
