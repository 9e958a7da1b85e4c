"""Image–text retrieval on Flickr30k or COCO; see `openmofi.evaluation.metrics.image_text` for the formulas.

The test splits are Karpathy's: 1,000 images of Flickr30k, 5,000 of COCO ("COCO 5k"). Some images of COCO have six
or seven captions; the first five are taken, as everywhere in the field.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
from msgspec import Meta

from openmofi.config import NonNegativeInt, PositiveInt, Settings
from openmofi.errors import OpenMofiError, UsageError
from openmofi.evaluation.data.images import file_sources
from openmofi.evaluation.embed import EmbeddedImages
from openmofi.evaluation.features import data_fingerprint, require_texts
from openmofi.evaluation.metrics.bootstrap import bootstrap_interval
from openmofi.evaluation.metrics.image_text import Captioned, first_ranks, read_karpathy
from openmofi.evaluation.metrics.ranking import Floats, Ints, nearest_places
from openmofi.evaluation.protocol import EvaluationProtocol, Failure, Measured, Subject
from openmofi.evaluation.result import items_table
from openmofi.storage import fingerprint

FILES = ("dataset_flickr30k.json", "dataset_coco.json", "dataset_flickr8k.json")
FOLDERS = ("", "images", "flickr30k-images", "flickr30k_images", "Flicker8k_Dataset", "flickr8k-images")
PUBLISHED = {"dataset_flickr30k.json": 1000, "dataset_coco.json": 5000, "dataset_flickr8k.json": 1000}
"""Images in the test split."""

_ANSWERS_SHOWN = 5
_TO_TEXT, _TO_IMAGE = "image_to_text", "text_to_image"


@dataclass(frozen=True)
class ImageTextSettings(Settings):
    """Settings of `image-text`.

    Attributes:
        split: of the file.
        captions: how many of each image's captions; 0 for all.
        recall_at: the K of recall.
        prompt: what each caption is put into, in place of `{}`; CLIP's paper has `a photo of {}`.
    """

    split: str = "test"
    captions: NonNegativeInt = 5
    recall_at: tuple[PositiveInt, ...] = (1, 5, 10)
    prompt: Annotated[str, Meta(pattern=r"\{\}", description="text with {} for the caption")] = "{}"



def measure(subject: Subject) -> Measured:
    """See this module's head."""
    settings: ImageTextSettings = subject.settings
    require_texts(subject.encoder, "image-text")
    if subject.features.choice != "joint":
        raise UsageError("image-text compares images with texts, which needs joint features.",
                         "Leave --features out.")
    file = _file(subject.data)
    listed = read_karpathy(file, settings.split, settings.captions)
    images = subject.features.embed(file_sources(_folder(file.parent, listed), [one.file for one in listed], file.stem))
    captions_of = {one.file: one.captions for one in listed}
    captions = [captions_of[key] for key in images.keys]
    texts = [settings.prompt.replace("{}", text) for some in captions for text in some]
    image_of = np.repeat(np.arange(len(captions)), [len(some) for some in captions])
    embedded = subject.encoder.embed_texts(texts)
    to_text, to_image = first_ranks(images.embeddings, embedded, image_of)
    sides = {f"{_TO_TEXT}_recall_at_{k}": to_text <= k for k in sorted(set(settings.recall_at))}
    sides |= {f"{_TO_IMAGE}_recall_at_{k}": to_image <= k for k in sorted(set(settings.recall_at))}
    return Measured(
        metrics={name: float(hits.mean()) for name, hits in sides.items()},
        intervals={name: bootstrap_interval(hits.astype(np.float64),
                                            image_of if name.startswith(_TO_IMAGE) else np.arange(len(captions)))
                   for name, hits in sides.items()},
        interval_over="images", counts={"images": len(captions), "captions": len(texts)},
        data_fingerprint=fingerprint([data_fingerprint([images], [images.keys]), captions]), images=[images],
        data={"file": file.name, "split": settings.split}, items=_items(images.keys, image_of, sides),
        facts={"as_published": settings.split == "test" and settings.captions == 5 and not images.refused
               and len(captions) == PUBLISHED.get(file.name)},
        failures=_worst(images, embedded, texts, image_of, to_image, subject.failures))


def _file(data: Path) -> Path:
    if data.is_file():
        return data
    found = [data / name for name in FILES if (data / name).is_file()]
    if len(found) != 1:
        raise OpenMofiError(f"{data} has {'none' if not found else 'more than one'} of {', '.join(FILES)}.",
                            "Give the file of Karpathy's splits itself, or a folder with one of them.")
    return found[0]


def _folder(beside: Path, listed: list[Captioned]) -> Path:
    places = [beside / name for name in FOLDERS]
    found = next((place for place in places if any((place / one.file).is_file() for one in listed)), None)
    if found is None:
        raise OpenMofiError(f"None of the {len(listed):,} images is in {beside}, {listed[0].file} for one.",
                            f"Put them into {beside} or a folder {' or '.join(FOLDERS[1:3])} there.")
    missing = [one.file for one in listed if not (found / one.file).is_file()]
    if missing:
        raise OpenMofiError(f"{len(missing):,} of {len(listed):,} images are not in {found}, {missing[0]} for one.",
                            "Complete the images.")
    return found


def _items(keys: list[str], image_of: Ints, sides: dict[str, np.ndarray]) -> pa.Table:
    """Images, then captions as PICTURE#NUMBER; each has the metrics of its direction."""
    numbers = np.arange(len(image_of)) - np.searchsorted(image_of, image_of)
    of_captions = [keys[row] for row in image_of.tolist()]
    names = [f"{key}#{number}" for key, number in zip(of_captions, numbers.tolist(), strict=True)]
    values = {}
    for name, hits in sides.items():
        rest = np.full(len(keys) if name.startswith(_TO_IMAGE) else len(names), np.nan)
        values[name] = np.concatenate([rest, hits] if name.startswith(_TO_IMAGE) else [hits, rest])
    return items_table([*keys, *names], [*keys, *of_captions], values)


def _worst(images: EmbeddedImages, texts: Floats, captions: list[str], image_of: Ints, ranks: Ints,
           count: int) -> list[Failure]:
    """Captions whose image ranks last, one an image."""
    order = np.argsort(-ranks, kind="stable")
    _, first = np.unique(image_of[order], return_index=True)
    rows = order[np.sort(first)][:count].tolist()
    where = list(zip(images.shards, images.keys, strict=True))
    failures = []
    for row in rows:
        places, near = nearest_places((texts[row] @ images.embeddings.T)[None], _ANSWERS_SHOWN)
        failures.append(Failure(where[image_of[row]], captions[row], float(-ranks[row]),
                                [(where[at], images.keys[at], float(score), at == image_of[row])
                                 for at, score in zip(places[0].tolist(), near[0].tolist(), strict=True)]))
    return failures


PROTOCOL = EvaluationProtocol(
    name="image-text", version=1, headline="text_to_image_recall_at_1", settings=ImageTextSettings, measure=measure,
    score="rank of its image, negated",
    rule="Images that cannot be read are left out with their captions, and are no answers.",
    data="Karpathy's splits (https://cs.stanford.edu/people/karpathy/deepimagesent) of Flickr30k or COCO 2014. Layout: "
         "DIR/dataset_flickr30k.json with DIR/flickr30k-images/PICTURE, or DIR/dataset_coco.json with "
         "DIR/val2014/PICTURE; openmofi eval sources coco.")
