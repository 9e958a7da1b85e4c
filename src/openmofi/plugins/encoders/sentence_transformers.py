"""CLIPs in the layout of sentence-transformers, images and texts, by `st:PATH-OR-ID`; that library is not needed.

`modules.json` names the classes that it would run. Here it may name a model of transformers that embeds images and
texts, and a normalisation after it; anything else is refused, and no class of a file is imported.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from openmofi.arrays import Array
from openmofi.encoders.arrays import normalised
from openmofi.encoders.encoder import Encoder
from openmofi.encoders.towers import options_of
from openmofi.errors import OpenMofiError, UsageError
from openmofi.plugins.encoders.huggingface import PATTERNS, PICKLES, open_dual
from openmofi.plugins.hub import hub_folder, weights_folder
from openmofi.storage import fingerprint, read_json
from openmofi.storage.foreign import require_inside

_MODULES, _CONFIG = "modules.json", "config_sentence_transformers.json"
_MODELS, _AFTER = ("CLIPModel", "Transformer"), ("Normalize",)
_HINT = "Copy the whole folder."


def open_sentence_transformers(argument: str, device: str) -> Encoder:
    """Open a folder or a repository of the hub; `?truncate_dim=N` keeps the first N numbers of nested embeddings.

    Raises:
        UsageError: an unknown option, or more dimensions than the model has.
        OpenMofiError: modules besides a CLIP and a normalisation, a prompt before every text; see `open_huggingface`.
    """
    spec = f"st:{argument}"
    location, options = options_of(spec, argument, ("truncate_dim",), "Use ?truncate_dim=256, or leave it out.")
    folder = Path(location).expanduser()
    local = folder.is_dir()
    if not local:
        folder = hub_folder(location, PATTERNS, (_MODULES,))
    require_inside(folder)
    _require_no_prompt(folder)
    part = _model_in(folder)
    if not local:
        weights = [str(PurePosixPath(part, pattern)) for pattern in ("model*.safetensors", PICKLES)]
        folder = weights_folder(location, PATTERNS, str(PurePosixPath(part, "config.json")), weights)
    encoder = open_dual(spec, folder / part, "", device)
    return _prefix(encoder, options["truncate_dim"]) if options else encoder


def _model_in(folder: Path) -> str:
    """Return the path of the model below the folder; empty where it lies in the folder itself."""
    path = folder / _MODULES
    missing = OpenMofiError(f"{folder} has no {_MODULES}: it is not of sentence-transformers.", "Try hf:FOLDER.")
    modules = read_json(path, list[dict[str, Any]], _HINT, missing=missing)
    kinds = [str(module.get("type", "")) for module in modules]
    first = [kind for kind in kinds[:1] if _is(kind, _MODELS)]
    other = next((kind for kind in kinds[len(first) :] if not first or not _is(kind, _AFTER)), "" if first else "none")
    part = PurePosixPath(str(modules[0].get("path", ""))) if first else PurePosixPath()
    if other or part.is_absolute() or ".." in part.parts:
        raise OpenMofiError(
            f"{path} asks for {other or str(part)!r:.80}; st: opens a CLIP ({' or '.join(_MODELS)}) and a "
            f"{_AFTER[0]} after it.",
            "Use another encoder, or one of your own with embed_images and embed_texts (docs/guides/own-encoder.md).",
        )
    return "" if part == PurePosixPath() else str(part)


def _is(kind: str, names: tuple[str, ...]) -> bool:
    return kind.startswith("sentence_transformers.") and kind.rpartition(".")[2] in names


def _require_no_prompt(folder: Path) -> None:
    config = read_json(folder / _CONFIG, dict[str, Any], _HINT, missing={})
    if prompt := (config.get("prompts") or {}).get(config.get("default_prompt_name")):
        raise OpenMofiError(
            f"{folder / _CONFIG} puts the prompt {prompt!r:.80} before every text, which st: does not.",
            "Name a template for entities (--template) instead, and take default_prompt_name out of the file.",
        )


def _prefix(encoder: Encoder, dim: int) -> Encoder:
    """The encoder whose embeddings are the first `dim` numbers, normalised again."""
    if not 1 <= dim <= encoder.dim:
        raise UsageError(f"truncate_dim is {dim}; {encoder.spec} has {encoder.dim} dimensions.", "Give 1 to as many.")

    def project(features: Array) -> Array:
        return normalised(features[:, :dim])

    return replace(
        encoder,
        dim=dim,
        fingerprint=fingerprint([encoder.fingerprint, dim]),
        image_projection=project,
        text_projection=project,
        networks=None,
    )
