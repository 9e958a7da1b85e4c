"""Captioners: image-to-text models that write synthetic texts; and texts of accepted entities."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from string import Formatter
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image

from openmofi.dataset.tables import Judged, mention_column
from openmofi.errors import OpenMofiError
from openmofi.knowledge import KnowledgeBase
from openmofi.knowledge.texts import CAPTION_TEMPLATES
from openmofi.plugins.encoders.huggingface import checkpoint_folder, require_safetensors
from openmofi.plugins.hub.checkpoints import read_config as read_model_config
from openmofi.plugins.reinforcement.coca import PREFIX, coca_fingerprint, open_coca
from openmofi.quiet import quiet_transformers
from openmofi.schema import Entity
from openmofi.storage import file_fingerprint, fingerprint
from openmofi.storage.foreign import guarded


def accepted_entities(labels: pa.Table, kb: KnowledgeBase | None) -> list[list[Entity]]:
    """Return the entities that each row of a label table shows, the most probable first.

    Args:
        labels: has the columns `mentions` and `entities` of `schema.LABELS`.
        kb: gives names, descriptions and types; without it an entity has the name that its text uses.

    Raises:
        OpenMofiError: the knowledge base lacks one of them.
    """
    judged = Judged.of(labels)
    accepted = np.flatnonzero(judged.accepted)
    accepted = accepted[np.lexsort((accepted, -judged.probability[accepted], judged.row[accepted]))]
    ids = judged.entity.take(pa.array(accepted)).to_pylist()
    if kb is None:
        surfaces = mention_column(labels, "surface").take(pa.array(judged.mention[accepted])).to_pylist()
        entities = [Entity(entity, surface) for entity, surface in zip(ids, surfaces, strict=True)]
    else:
        rows = kb.rows(ids)
        if (rows < 0).any():
            raise OpenMofiError(
                f"The knowledge base {kb.path} lacks the entity {ids[int(np.argmin(rows))]} of the labels.",
                "Give the one that the pairs were labelled with.",
            )
        entities = [kb.entity(row) for row in rows.tolist()]
    of_rows: list[list[Entity]] = [[] for _ in range(len(labels))]
    for row, entity in zip(judged.row[accepted].tolist(), entities, strict=True):
        # Two mentions may mean one entity.
        if all(entity.id != other.id for other in of_rows[row]):
            of_rows[row].append(entity)
    return of_rows


def entity_captions(entities: Sequence[Entity], count: int, draw: np.random.Generator) -> list[str]:
    """Draw `count` texts about some of `entities`; they repeat only after all were drawn. Empty without entities."""
    texts = list(dict.fromkeys(text for entity in entities for text in _texts(entity)))
    if not texts:
        return []
    order = draw.permutation(len(texts))
    return [texts[order[number % len(texts)]] for number in range(count)]


def _texts(entity: Entity) -> list[str]:
    # The type "noun.animal" reads "animal".
    kind = entity.types[0].rpartition(".")[2].replace("_", " ") if entity.types else ""
    values = {"name": entity.name, "description": entity.description, "type": kind}
    return [
        template.format(**values)
        for template in CAPTION_TEMPLATES
        if all(values[field] for _, field, _, _ in Formatter().parse(template) if field)
    ]


_FILES = ("*.safetensors", "*.json")
_MAX_TOKENS = 40


Captioner = Callable[[Sequence[Image.Image], int], list[list[str]]]
"""RGB images, and how many texts to write about each → these; equal batches give equal texts."""


def captioner_fingerprint(specs: str) -> str:
    """Return a fingerprint of captioners: of sizes and edges of their files.

    Raises:
        OpenMofiError: one is not found.
    """
    return fingerprint([_fingerprint(spec) for spec in specs.split(",")])


def _fingerprint(spec: str) -> str:
    if spec.startswith(PREFIX):
        return coca_fingerprint(spec.removeprefix(PREFIX))
    folder = _folder(spec)
    return fingerprint({path.name: file_fingerprint(path) for pattern in _FILES for path in folder.glob(pattern)})


def open_captioners(specs: str, device: str = "cpu") -> Captioner:
    """Open `hf:PATH-OR-ID` and `open_clip:CoCa`, or several of them with commas between; these take turns.

    Raises:
        OpenMofiError: one is not found, is damaged, or is another kind of model.
    """
    each = [_opened(spec, device) for spec in specs.split(",")]

    def written(images: Sequence[Image.Image], count: int) -> list[list[str]]:
        # The first captioner writes the first text, and the first after all had their turn.
        shares = [len(range(number, count, len(each))) for number in range(len(each))]
        texts = [captioner(images, share) for captioner, share in zip(each, shares, strict=True)]
        turns = [divmod(number, len(each)) for number in range(count)]
        return [[texts[captioner][row][turn] for turn, captioner in turns] for row in range(len(images))]

    return written


def _opened(spec: str, device: str) -> Captioner:
    if spec.startswith(PREFIX):
        return open_coca(spec.removeprefix(PREFIX), device)
    return _open_huggingface(spec, device)


def _open_huggingface(spec: str, device: str) -> Captioner:
    """Open an image-to-text model of transformers (BLIP, GIT, VisionEncoderDecoder …) as `hf:PATH-OR-ID`.

    Weights are read from safetensors only; code from a repository is never run; only a hub id uses the network.

    Raises:
        OpenMofiError: it is not found, is damaged, or is another kind of model.
    """
    from safetensors import SafetensorError
    from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

    folder, options = str(_folder(spec)), {"local_files_only": True, "trust_remote_code": False}
    try:
        with guarded(f"The captioner {spec!r}"), quiet_transformers():
            # Its annotation lacks `output_loading_info`.
            kind: Any = AutoModelForImageTextToText
            model, report = kind.from_pretrained(
                folder,
                config=read_model_config(Path(folder)),
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
                **options,
            )
            processor = AutoImageProcessor.from_pretrained(folder, **options)
            tokenizer = AutoTokenizer.from_pretrained(folder, **options)
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise OpenMofiError(
            f"The captioner {spec} cannot be loaded: {str(error).strip().splitlines()[0][:300]}",
            "Check that it is a complete image-to-text checkpoint with safetensors weights.",
        ) from error
    if report["missing_keys"]:
        raise OpenMofiError(
            f"The captioner {spec} lacks {len(report['missing_keys'])} of its weights, "
            f"such as {sorted(report['missing_keys'])[0]}.",
            "Fetch it again.",
        )
    return partial(_captions, model.eval().requires_grad_(False).to(device), processor, tokenizer)


def _folder(spec: str) -> Path:
    folder = checkpoint_folder(spec.removeprefix("hf:"))
    require_safetensors(folder)
    return folder


def _captions(model: Any, processor: Any, tokenizer: Any, images: Sequence[Image.Image], count: int) -> list[list[str]]:
    """See `Captioner`; by beam search, which draws no random numbers."""
    if not images or not count:
        return [[] for _ in images]
    pixels = processor(images=list(images), return_tensors="pt")["pixel_values"].to(model.device)
    with torch.inference_mode():
        tokens = model.generate(
            pixel_values=pixels,
            num_beams=max(2, count),
            num_return_sequences=count,
            do_sample=False,
            max_new_tokens=_MAX_TOKENS,
        )
    texts = [text.strip() for text in tokenizer.batch_decode(tokens, skip_special_tokens=True)]
    return [texts[start : start + count] for start in range(0, len(texts), count)]
