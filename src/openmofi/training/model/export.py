"""Writes a trained model as an encoder that `open_encoder("run:PATH")` opens."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from openmofi.encoders import Encoder, Head, save_heads
from openmofi.encoders.folder import Side
from openmofi.encoders.protocol import Tokens
from openmofi.encoders.trained import save_trained_encoder
from openmofi.training.inputs import ModelInputs
from openmofi.training.model.towers import DualEncoder, Tower
from openmofi.training.recipe.schema import ModelSettings


def save_encoder(
    folder: str | Path,
    model: DualEncoder,
    settings: ModelSettings,
    inputs: ModelInputs,
    *,
    logit_scale: float,
    recipe: Mapping[str, Any],
) -> Path:
    """Write the model, whose embeddings the opened encoder gives.

    Two heads on one locked encoder (or an image head alone) become a projection over that encoder, a folder of a few
    megabytes. Anything else becomes a `trained` encoder: the weights of every tower that was trained, and a locked
    side by spec and fingerprint. An encoder without a text tower opens too, and raises for texts.

    Args:
        folder: created where it is missing.
        model: in one piece (no DTensors).
        settings, inputs: that it was built with.
        logit_scale: the factor on cosines that it was trained with; 1.0 where there is none.
        recipe: how it was trained; kept for readers, JSON values.

    Raises:
        OpenMofiError: the folder cannot be written.
    """
    base, text_base = inputs.image_encoder, inputs.text_encoder
    heads = {settings.image.head} | ({settings.text.head} if model.text is not None else set())
    if base is not None and "none" not in heads and (model.text is None or text_base is base):
        return save_heads(
            folder,
            base=base,
            image_head=Head.from_tensors(model.image.head.state_dict()),
            text_head=None if model.text is None else Head.from_tensors(model.text.head.state_dict()),
            logit_scale=logit_scale,
            settings=recipe,
            adapter=settings.image.residual,
        )
    preprocessing = base.preprocessing if base is not None else inputs.preprocessing
    assert preprocessing is not None
    return save_trained_encoder(
        folder,
        image=_side(settings.image.head, model.image, base),
        text=None if model.text is None else _side(settings.text.head, model.text, text_base),
        tensors=model.state_dict(),
        dim=settings.dim,
        logit_scale=logit_scale,
        preprocessing=preprocessing,
        tokens=cast("Tokens | None", inputs.tokenize),
        recipe=recipe,
    )


def _side(head: str, tower: Tower, base: Encoder | None) -> Side:
    return Side(head, tower.architecture) if base is None else Side.locked(head, base)
