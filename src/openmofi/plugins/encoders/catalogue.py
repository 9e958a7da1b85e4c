"""Recommended encoders by need, and the kinds of specs that the installed packages open."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from openmofi.extensions import extension_names
from openmofi.storage import as_type


@dataclass(frozen=True)
class RecommendedEncoder:
    """An encoder that is recommended for a need.

    Attributes:
        need: what it is recommended for.
        spec: opens it, see `openmofi.load_encoder`.
        dim: dimensions of its embeddings.
        parameters: of its towers together, in millions.
        image_size: height and width of the images that it takes, in pixels.
        languages: of the texts that it was trained on; empty where it embeds images alone.
        licence: of the weights, as their authors state it.
        extra: the extra of OpenMOFI that opens it; empty where none is needed.
        fetched: whether the weights are fetched from the Hugging Face hub when it is first opened.
        installed: whether what `extra` brings is installed.
    """

    need: str
    spec: str
    dim: int
    parameters: int
    image_size: int
    languages: str
    licence: str
    extra: str = ""
    fetched: bool = False
    installed: bool = True


def list_encoders() -> list[RecommendedEncoder]:
    """List recommended encoders, from the one that needs least to the largest; nothing is opened or fetched.

    Raises:
        OpenMofiError: the table in the package is damaged.
    """
    table = _table()
    modules = table["modules"]
    return [
        as_type(
            {**row, "installed": all(map(find_spec, modules.get(row.get("extra", ""), ())))},
            RecommendedEncoder,
            f"The encoder {row['spec']!r} in the table of the package",
            "Install OpenMOFI again.",
        )
        for row in table["encoder"]
    ]


def encoder_kinds() -> dict[str, str]:
    """Return each kind of spec that is installed, as the `hf` of `hf:FOLDER`, and what it opens."""
    described = _table()["kinds"]
    kinds = ["run", "onnx", *extension_names("graph_formats"), *extension_names("encoders")]
    return {kind: described.get(kind, "added by another package") for kind in kinds}


def _table() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("recommended.toml").read_text("utf-8"))
