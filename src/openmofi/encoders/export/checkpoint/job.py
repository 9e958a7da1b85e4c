"""Exports an encoder as a checkpoint of a library, opened again by that library alone and compared before it counts."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from openmofi.encoders.encoder import Encoder
from openmofi.encoders.export.agreement import Agreement, Samples, compared
from openmofi.encoders.export.checkpoint.card import CARD, CardFacts, write_card
from openmofi.encoders.export.export_settings import ExportSettings
from openmofi.encoders.export.job import check_loss, move
from openmofi.encoders.libraries.checkpoints import VOCABULARIES
from openmofi.storage import Outputs, claimed, finish_manifest
from openmofi.storage.atomic import temporary_folder, write_error

MOST_LOSS = 1e-3
"""Greatest 1 − mean cosine of a checkpoint: libraries resize images a little differently, and nothing else differs."""
_MODULES = {"open_clip": "openclip", "timm": "timm", "transformers": "transformers"}
_TOKENIZER = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
    "*.jinja",
    *VOCABULARIES,
)
OUTPUTS = Outputs(
    (
        CARD,
        "config.json",
        "preprocessor_config.json",
        "generation_config.json",
        "open_clip_*",
        "*.safetensors",
        "*.safetensors.index.json",
        *_TOKENIZER,
    )
)


def export_checkpoint(
    encoder: Encoder,
    out: str | Path,
    settings: ExportSettings,
    samples: Samples,
    facts: CardFacts = CardFacts(),
    *,
    restart: bool = False,
) -> Agreement:
    """Write a folder that `settings.format` opens by itself, with preprocessing, tokenizer and card.

    Heads on a tower become part of its last projection; what they cannot be folded into is refused. The folder is
    written under a hidden name, opened by the library, and compared with the encoder on images and texts from file to
    embedding; only then it is moved. An export that is finished already is not made again.

    Args:
        encoder: opened again on the CPU, if it is elsewhere.
        out: where.
        settings: see there; `max_loss` counts up to `MOST_LOSS`.
        samples: to compare on.
        facts: for the card.
        restart: remove what was made in `out` before, and begin anew.

    Raises:
        UsageError: the encoder's towers are not of this library, or its heads do not fold.
        OpenMofiError: the checkpoint embeds otherwise, `out` was made with other settings, holds something else, or
            cannot be written.
    """
    encoder = encoder.to("cpu")
    library: Any = importlib.import_module(f"{__package__}.{_MODULES[settings.format]}")
    described = {"encoder": encoder.spec, "format": settings.format, "card": facts.as_dict()}
    inputs = {"/encoder": encoder.fingerprint, "/samples": samples.fingerprint}
    with claimed(out, "checkpoint", described, inputs, outputs=OUTPUTS, restart=restart) as manifest:
        if manifest.finished:
            return Agreement.from_dict(manifest.counts)
        try:
            with temporary_folder(Path(out)) as folder:
                library.write(encoder, folder)
                measured = _compare(encoder, library.opened(folder), samples)
                check_loss(measured, min(settings.max_loss, MOST_LOSS))
                write_card(folder, encoder, settings.format, facts, measured)
                move(folder, Path(out), library.FILES[1])
        except OSError as error:
            raise write_error(error, Path(out)) from error
        finish_manifest(out, manifest, measured.as_dict())
        return measured


def _compare(encoder: Encoder, opened: Any, samples: Samples) -> Agreement:
    images = (encoder.embed_images(list(samples.images)), opened.images(samples.images))
    texts = None if opened.texts is None else (encoder.embed_texts(samples.texts), opened.texts(samples.texts))
    return compared(samples, images, texts)
