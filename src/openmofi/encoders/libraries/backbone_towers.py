"""The sample world's image backbone as a tower: `backbone:efficientnet-lite0`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from openmofi.encoders.libraries.backbones import LITE0_SIZE, Lite0, lite0_preprocessing, pretrained_lite0
from openmofi.encoders.protocol import Preprocessing
from openmofi.encoders.towers import Trunk
from openmofi.errors import UsageError

_NAME = "efficientnet-lite0"
_LEAST_SIZE = 64


def preprocessing(name: str, _pretrained: str, size: int) -> Preprocessing:
    """That of `EfficientNetLite0`."""
    _require(name, "")
    if 0 < size < _LEAST_SIZE:
        raise UsageError(f"backbone:{_NAME} takes deviations over its last map, which has one place at {size} px.",
                         f"Set model.image.size to {_LEAST_SIZE} or more.")
    return lite0_preprocessing(size or LITE0_SIZE)


def image(name: str, pretrained: str, _size: int, _drop_path: float) -> Trunk:
    """See `towers.image_trunk`; ImageNet's weights, from an installed package."""
    _require(name, pretrained)
    return Trunk(pretrained_lite0(), Lite0.dim, {"kind": "backbone", "name": _NAME})


def rebuilt(architecture: Mapping[str, Any]) -> Trunk:
    """See `towers.rebuilt`."""
    _require(str(architecture["name"]), "")
    return Trunk(Lite0(), Lite0.dim, architecture)


def _require(name: str, pretrained: str) -> None:
    if name != _NAME:
        raise UsageError(f"There is no backbone {name!r} to train.", f"There is one: backbone:{_NAME}.")
    if pretrained not in ("", "default"):
        raise UsageError(f"backbone:{_NAME} has ImageNet's weights; {pretrained!r} cannot stand in for them.",
                         "Leave model.image.pretrained empty.")
