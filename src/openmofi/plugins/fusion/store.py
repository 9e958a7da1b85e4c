"""Saves and opens fusion decoders.

A saved one is a folder: `fusion.json` (settings, configurations of transformers, temperature and weight of the prior),
`model.safetensors`, `tokenizer.json`. Nothing else is needed to open it; it contains no code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from openmofi.errors import OpenMofiError
from openmofi.plugins.fusion.build import Fusion, model_of_configs
from openmofi.plugins.fusion.fusion_settings import FusionSettings
from openmofi.plugins.fusion.model import FusionModel
from openmofi.plugins.fusion.text import FusionTokens
from openmofi.storage import atomic_path, file_fingerprint, fingerprint, read_json, write_json
from openmofi.storage.foreign import guarded, require_inside

SPEC_FILE, WEIGHTS_FILE, TOKENIZER_FILE = "fusion.json", "model.safetensors", "tokenizer.json"
FORMAT_VERSION = 1


def save_fusion(folder: str | Path, fusion: Fusion, recipe: Mapping[str, Any] | None = None) -> Path:
    """Save a fusion decoder; equal ones give equal bytes.

    Raises:
        OpenMofiError: the folder cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.detach().cpu().contiguous().clone() for name, value in sorted(_weights(fusion.model).items())}
    with atomic_path(folder / WEIGHTS_FILE) as path:
        save_file(state, path)
    with atomic_path(folder / TOKENIZER_FILE) as path:
        path.write_text(fusion.tokens.tokenizer.to_str(), "utf-8")
    # Last: it names the weights, so that a partly written folder is recognised.
    write_json(
        folder / SPEC_FILE,
        {
            "format_version": FORMAT_VERSION,
            "settings": asdict(fusion.tokens.settings),
            "configs": dict(fusion.configs),
            "temperature": fusion.temperature,
            "prior_weight": fusion.prior_weight,
            "nil": fusion.nil,
            "recipe": dict(recipe or {}),
            "weights": file_fingerprint(folder / WEIGHTS_FILE),
        },
    )
    return folder


def open_fusion(folder: str | Path, settings: FusionSettings | None = None) -> Fusion:
    """Open what `save_fusion` wrote; downloads nothing.

    Args:
        folder: of the decoder.
        settings: instead of its own; sizes and dropout stay its own.

    Raises:
        OpenMofiError: the folder is not a fusion decoder, is damaged or partly written, or is of a newer format.
    """
    folder = Path(folder)
    raw = _read_spec(folder)
    try:
        if raw["weights"] != file_fingerprint(folder / WEIGHTS_FILE):
            raise ValueError(f"{WEIGHTS_FILE} is not what {SPEC_FILE} beside it describes")
        settings = settings or FusionSettings(**raw["settings"])
        with guarded(f"The fusion decoder {folder}"):
            tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
            model = model_of_configs(settings, raw["configs"])
            missing, unexpected = model.load_state_dict(load_file(folder / WEIGHTS_FILE), strict=False)
        odd = [name for name in missing if name in _weights(model)] + list(unexpected)
        if odd:
            raise ValueError(f"its weights do not fit: {odd[0]}")
        return Fusion(
            model.eval(),
            FusionTokens(tokenizer, settings),
            raw["configs"],
            float(raw["temperature"]),
            float(raw.get("prior_weight", 0.0)),
            bool(raw["nil"]),
        )
    except OpenMofiError:
        raise
    except Exception as error:  # the library of tokenizers raises bare exceptions
        raise _damaged(folder, error) from error


def fusion_fingerprint(folder: str | Path) -> str:
    """Identifies a saved fusion decoder by its weights and settings.

    Raises:
        OpenMofiError: the folder is not a fusion decoder.
    """
    raw = _read_spec(Path(folder))
    names = ("format_version", "settings", "weights", "temperature", "prior_weight", "nil")
    return fingerprint({key: raw[key] for key in names if key in raw})


def fusion_settings(folder: str | Path) -> FusionSettings:
    """The settings of a saved fusion decoder.

    Raises:
        OpenMofiError: the folder is not a fusion decoder, or is damaged.
    """
    raw = _read_spec(Path(folder))
    try:
        return FusionSettings(**raw["settings"])
    except (KeyError, TypeError) as error:
        raise _damaged(folder, error) from error


def _damaged(folder: str | Path, error: Exception) -> OpenMofiError:
    return OpenMofiError(f"The fusion decoder {folder} is damaged: {error}.", "Train or copy it again.")


def _read_spec(folder: Path) -> dict[str, Any]:
    require_inside(folder)
    missing = OpenMofiError(
        f"{folder} is not a fusion decoder: it has no {SPEC_FILE}.",
        "Train one with `openmofi link train`; it is RUN/linker.",
    )
    raw = read_json(folder / SPEC_FILE, object, "Train or copy it again.", missing=missing)
    if not isinstance(raw, dict) or raw.get("format_version") != FORMAT_VERSION:
        raise OpenMofiError(
            f"{folder} has a format that this version does not read.", f"It reads format {FORMAT_VERSION}."
        )
    return raw


def _weights(model: FusionModel) -> dict[str, Any]:
    """The state without second names of a tensor: embeddings are shared."""
    weights, seen = {}, set()
    for name, value in model.state_dict().items():
        if value.data_ptr() not in seen or not value.numel():
            seen.add(value.data_ptr())
            weights[name] = value
    return weights
