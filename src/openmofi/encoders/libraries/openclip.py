"""Encoders from open_clip: `open_clip:ARCH/PRETRAINED`."""

from __future__ import annotations

import difflib
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from openmofi.encoders.arrays import numpy_of, weights_fingerprint
from openmofi.encoders.encoder import Encoder, Towers
from openmofi.encoders.libraries.hub import hub_file, hub_folder
from openmofi.encoders.networks import Called, Networks, tower_tokenizer
from openmofi.encoders.preprocess import checked
from openmofi.encoders.protocol import Array, Preprocessing
from openmofi.encoders.tokens import OpenClipTokens
from openmofi.errors import OpenMofiError, UsageError
from openmofi.quiet import quiet_logging
from openmofi.storage import fingerprint

_FILES = (".safetensors", ".pt", ".pth", ".bin")
_PREPROCESS_KEYS = ("mean", "std", "interpolation", "resize_mode")
_UNTRAINED = "none?seed="


def open_open_clip(spec: str, rest: str, device: str) -> Encoder:
    """Open `ARCH/PRETRAINED`: a tag of open_clip, a weights file, or `none?seed=N` (untrained: tests, benchmarks).

    Raises:
        UsageError: no such architecture or tag.
        OpenMofiError: the weights cannot be fetched, are damaged, do not fit, or would have to be unpickled.
    """
    arch, _, source = rest.partition("/")
    config = model_config(arch)
    with quiet_logging():
        model = build(arch, source, config)
        tokenizer = tokenizer_of(arch, config)
    model = model.eval().requires_grad_(False).to(device)
    towers = Towers(_image_tower(model, device), tokenizer, _text_tower(model, device), _dimension(model),
                    fingerprint([arch, bool(config.get("quick_gelu")), weights_fingerprint(model.state_dict())]),
                    _networks(arch, config, model, tokenizer))
    return Encoder.of(spec, towers, preprocessing_of(model.visual.preprocess_cfg, spec),
                      float(model.logit_scale.detach().exp()))


def _networks(arch: str, config: dict[str, Any], model: Any, tokenizer: Any) -> Networks:
    text = config.get("text_cfg", {})
    tokens = OpenClipTokens(tokenizer, bool(text.get("hf_tokenizer_name")))
    return Networks(Called(model, "encode_image", "image"), Called(model, "encode_text", "text"), tokens,
                    tower_tokenizer({"kind": "open_clip", "name": arch, "config": text}))


def model_config(arch: str) -> dict[str, Any]:
    """open_clip's configuration of an architecture.

    Raises:
        UsageError: there is no such architecture.
    """
    import open_clip

    config = open_clip.get_model_config(arch)
    if config is None:
        near = difflib.get_close_matches(arch, open_clip.list_models(), n=3)
        raise UsageError(f"open_clip has no architecture {arch!r}.",
                         f"Did you mean {' or '.join(near)}?" if near else "See open_clip.list_models().")
    return dict(config)


def build(arch: str, source: str, config: dict[str, Any], **more: Any) -> Any:
    """The model with the weights of `source`, whose QuickGELU is noted in `config`; `more` goes to `create_model`."""
    import open_clip
    from safetensors import SafetensorError

    options: dict[str, Any] = {"pretrained_text": False, "pretrained_image": False, "weights_only": True, **more}
    if source.startswith(_UNTRAINED):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_seed(source))
            return open_clip.create_model(arch, **options)
    tag = open_clip.get_pretrained_cfg(arch, source)
    if tag:
        path = _fetched(tag["hf_hub"])
        # A model trained with QuickGELU loses accuracy silently under GELU; open_clip only warns.
        config["quick_gelu"] = bool(config.get("quick_gelu")) or bool(tag.get("quick_gelu"))
        options |= {"force_quick_gelu": config["quick_gelu"],
                    "force_preprocess_cfg": {key: tag[key] for key in _PREPROCESS_KEYS if key in tag}}
    else:
        path = _local_file(arch, source)
    try:
        return open_clip.create_model(arch, pretrained=str(path), **options)
    except pickle.UnpicklingError as error:
        raise OpenMofiError(f"{path} holds pickled code besides weights, which is never loaded.",
                            "Save its state dict as .safetensors and give that file.") from error
    except (RuntimeError, KeyError, ValueError, OSError, EOFError, AttributeError) as error:
        raise OpenMofiError(f"{path} cannot be loaded as weights of {arch}: {first_line(error)}",
                            "Check that architecture and file belong together.") from error
    except SafetensorError as error:
        raise OpenMofiError(f"{path} is no whole safetensors file: {error}.", "Fetch or save it again.") from error


def _seed(source: str) -> int:
    text = source.removeprefix(_UNTRAINED)
    if not text.isdecimal():
        raise UsageError(f"The seed {text!r} is no number.", "Write e.g. open_clip:ViT-B-32/none?seed=0.")
    return int(text)


def _fetched(place: str) -> Path:
    repository, _, name = place.rpartition("/")
    if not name:
        return hub_file(repository, ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"])
    return hub_file(repository, [str(Path(name).with_suffix(".safetensors")), name])


def _local_file(arch: str, source: str) -> Path:
    import open_clip

    path = Path(source).expanduser()
    if path.suffix in _FILES:
        if not path.is_file():
            raise OpenMofiError(f"There is no weights file {path}.", "Check the path.")
        return path
    tags = open_clip.list_pretrained_tags_by_model(arch)
    near = difflib.get_close_matches(source, tags, n=2) or tags[:4]
    hint = f"Its tags include {', '.join(near)}; " if near else "It has no pretrained tags; "
    raise UsageError(f"open_clip has no weights {source!r} for {arch}.",
                     f"{hint}or give a file: open_clip:{arch}/FILE.safetensors.")


def tokenizer_of(arch: str, config: dict[str, Any]) -> Callable[[list[str]], Sequence[Any]]:
    """The tokenizer of an architecture: texts → (n, context length) int64. May reach for the hub."""
    import open_clip
    from open_clip.tokenizer import HFTokenizer

    text = config.get("text_cfg", {})
    name = text.get("hf_tokenizer_name")
    if name:
        folder = Path(name) if Path(name).is_dir() else hub_folder(
            name, ["*.json", "*.txt", "*.model"], ["tokenizer*"])
        return HFTokenizer(str(folder), context_length=text.get("context_length", 77),
                           tokenizer_mode=text.get("tokenizer_mode"), **text.get("tokenizer_kwargs", {}))
    return open_clip.get_tokenizer(arch)


def _image_tower(model: Any, device: str) -> Callable[[Array], Array]:
    @torch.inference_mode()
    def run(pixels: Array) -> Array:
        return numpy_of(model.encode_image(torch.from_numpy(pixels).to(device)))

    return run


def _text_tower(model: Any, device: str) -> Callable[[list[Any]], Array]:
    @torch.inference_mode()
    def run(tokens: list[Any]) -> Array:
        return numpy_of(model.encode_text(torch.stack(tokens).to(device)))

    return run


def _dimension(model: Any) -> int:
    size = model.visual.image_size
    height, width = size if isinstance(size, tuple | list) else (size, size)
    device = next(model.parameters()).device
    with torch.inference_mode():
        return int(model.encode_image(torch.zeros(1, 3, height, width, device=device)).shape[1])


def preprocessing_of(raw: dict[str, Any], where: str) -> Preprocessing:
    """open_clip's preprocessing configuration with a `size`, as ours."""
    size = raw["size"]
    height, width = size if isinstance(size, tuple | list) else (size, size)
    if height != width:
        raise OpenMofiError(f"{where} takes images of {height} × {width}; only square ones are supported.")
    mean, std = (tuple(float(value) for value in raw[key]) for key in ("mean", "std"))
    return checked(Preprocessing(int(height), mean, std, raw["interpolation"],  # type: ignore[arg-type]
                                 raw["resize_mode"]), where)


def first_line(error: BaseException) -> str:
    """The beginning of what a library says, fit for one sentence."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{' '.join(lines[:2])[:300]}" if lines else type(error).__name__

