"""Image–text retrieval on Flickr30k or COCO: recall in both directions, on Karpathy's splits.

The test splits are Karpathy's: 1,000 images of Flickr30k, 5,000 of COCO ("COCO 5k"). Some images of COCO have six
or seven captions; the first five are used, as in published results.

Data: Karpathy's splits (https://cs.stanford.edu/people/karpathy/deepimagesent) of Flickr30k or COCO 2014. Layout:
DIR/dataset_flickr30k.json with DIR/flickr30k-images/IMAGE, or DIR/dataset_coco.json with DIR/val2014/IMAGE; openmofi
eval sources coco.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
import pyarrow as pa
from msgspec import Meta
from numpy.typing import ArrayLike

from openmofi.arrays import Floats, Ints
from openmofi.bootstrap import bootstrap_interval
from openmofi.config import NonNegativeInt, PositiveInt, Settings
from openmofi.errors import OpenMofiError
from openmofi.evaluation.metrics.ranking import CosineIndex, checked_embeddings, nearest_rows, ranks_of
from openmofi.evaluation.protocol import (
    EvaluationProtocol,
    Failure,
    Measured,
    Subject,
    data_fingerprint,
    nearest_answers,
)
from openmofi.evaluation.result import items_table
from openmofi.features.images import EmbeddedImages, file_sources
from openmofi.pairs.formats.files import inside
from openmofi.storage import fingerprint, read_json


def read_karpathy(path: str | Path, split: str, captions: int) -> dict[str, list[str]]:
    """Read a split: each image, relative to the folder of images, in the file's order → its first captions.

    Args:
        path: the file.
        split: `train`, `restval`, `val` or `test`.
        captions: number of captions per image; 0 for all.

    Raises:
        OpenMofiError: it cannot be read, has another layout, no such split, or an image with fewer captions.
    """
    rows = read_json(path, _Karpathy, "It must have the layout of Karpathy's splits.").images
    images = [(_below(path, image), _captions(image, captions)) for image in rows if image.split == split]
    names = sorted({image.split for image in rows})
    if not images:
        raise OpenMofiError(
            f"{path} has no images of the split {split!r}; it has {', '.join(names)}.", "Set split=NAME."
        )
    for file, texts in images:
        if len(texts) < max(captions, 1):
            raise OpenMofiError(
                f"{file} has {len(texts)} captions in {path}, not {captions or 'any'}.",
                "Set captions=0 to use all captions of each image.",
            )
    if len(dict(images)) < len(images):
        raise OpenMofiError(f"{path} lists an image twice.", "Download the file again.")
    return dict(images)


class _Sentence(msgspec.Struct):
    raw: str


class _Image(msgspec.Struct):
    filename: str
    split: str
    sentences: list[_Sentence]
    filepath: str | None = None


class _Karpathy(msgspec.Struct):
    images: list[_Image]


def _below(path: str | Path, image: _Image) -> str:
    file = "/".join(filter(None, (image.filepath, image.filename)))
    if not inside(file):
        raise OpenMofiError(f"{path} names the image {file!r}, which lies outside the folder.", "Download it again.")
    return file


def _captions(image: _Image, count: int) -> list[str]:
    return [" ".join(sentence.raw.split()) for sentence in image.sentences][: count or None]


# Text to image: the share of captions whose image is among the first k images. Image to text: the share of images
# with a caption among the first k captions (Karpathy and Fei-Fei 2015; torchmetrics calls this a hit rate: its recall
# would be the share of an image's captions). Ties: see `openmofi.evaluation.metrics.ranking`.


def first_ranks(images: ArrayLike, texts: ArrayLike, image_of: ArrayLike) -> tuple[Ints, Ints]:
    """Rank captions for each image, and images for each caption, by cosine.

    Args:
        images: (n, d) L2-normalised.
        texts: (m, d) L2-normalised.
        image_of: (m,) row of each caption's image.

    Returns:
        (n,) rank from 1 of each image's first own caption, and (m,) rank from 1 of each caption's image.

    Raises:
        OpenMofiError: an image without a caption, or embeddings that are not normalised.
    """
    vectors, captions = checked_embeddings(images), checked_embeddings(texts, "text embeddings")
    owners = np.asarray(image_of, np.int64)
    if len(np.unique(owners)) != len(vectors):
        raise OpenMofiError("There are images without a caption.", "Leave them out.")
    order = np.argsort(owners, kind="stable")
    captions_of = np.split(order, np.flatnonzero(np.diff(owners[order])) + 1)
    return _first(vectors, captions, captions_of), _first(captions, vectors, list(owners[:, None]))


def _first(queries: np.ndarray, database: np.ndarray, positives: list[Ints]) -> Ints:
    """(q,) rank of each query's first positive; `positives`: (q,) rows of `database`, ascending."""
    return np.array(
        [
            ranks_of(scores, positives[query]).min()
            for start, block in CosineIndex.of(database).blocks(queries)
            for query, scores in enumerate(block, start)
        ],
        np.int64,
    )


FILES = ("dataset_flickr30k.json", "dataset_coco.json", "dataset_flickr8k.json")
FOLDERS = ("", "images", "flickr30k-images", "flickr30k_images", "Flicker8k_Dataset", "flickr8k-images")
PUBLISHED = {"dataset_flickr30k.json": 1000, "dataset_coco.json": 5000, "dataset_flickr8k.json": 1000}
"""File → images in its test split."""

_ANSWERS_SHOWN = 5
_TO_TEXT, _TO_IMAGE = "image_to_text", "text_to_image"


@dataclass(frozen=True)
class ImageTextSettings(Settings):
    """Settings of `image-text`.

    Attributes:
        split: of the file.
        captions: number of captions per image; 0 for all.
        recall_at: the values of K of recall.
        prompt: template of the texts, with `{}` for the caption; `a photo of {}` in CLIP's paper.
    """

    split: str = "test"
    captions: NonNegativeInt = 5
    recall_at: tuple[PositiveInt, ...] = (1, 5, 10)
    prompt: Annotated[str, Meta(pattern=r"\{\}", description="text with {} for the caption")] = "{}"


def measure(subject: Subject) -> Measured:
    """Measure an encoder by the protocol of this module."""
    settings: ImageTextSettings = subject.settings
    subject.features.require_texts("image-text")
    file = _file(subject.data)
    listed = read_karpathy(file, settings.split, settings.captions)
    folder = _folder(file.parent, list(listed))
    images = subject.features.embed(file_sources(folder, list(listed), file.stem))
    captions = [listed[key] for key in images.keys]
    texts = [settings.prompt.replace("{}", text) for of_image in captions for text in of_image]
    image_of = np.repeat(np.arange(len(captions)), [len(of_image) for of_image in captions])
    embeddings = subject.encoder.embed_texts(texts)
    to_text, to_image = first_ranks(images.embeddings, embeddings, image_of)
    hits = {
        f"{name}_recall_at_{k}": ranks <= k
        for name, ranks in ((_TO_TEXT, to_text), (_TO_IMAGE, to_image))
        for k in sorted(set(settings.recall_at))
    }
    groups = {_TO_TEXT: np.arange(len(captions)), _TO_IMAGE: image_of}
    return Measured(
        metrics={name: float(values.mean()) for name, values in hits.items()},
        intervals={
            name: bootstrap_interval(values, groups[name.partition("_recall")[0]]) for name, values in hits.items()
        },
        interval_over="images",
        counts={"images": len(captions), "captions": len(texts)},
        data_fingerprint=fingerprint([data_fingerprint([images], [images.keys]), captions]),
        images=[images],
        data={"file": file.name, "split": settings.split},
        items=_items(images.keys, image_of, hits),
        facts={
            "as_published": settings.split == "test"
            and settings.captions == 5
            and not images.refused
            and len(captions) == PUBLISHED.get(file.name)
        },
        failures=_worst(images, embeddings, texts, image_of, to_image, subject.failures),
    )


def _file(data: Path) -> Path:
    if data.is_file():
        return data
    files = [data / name for name in FILES if (data / name).is_file()]
    if len(files) != 1:
        raise OpenMofiError(
            f"{data} has {'none' if not files else 'more than one'} of {', '.join(FILES)}.",
            "Give one of Karpathy's files, or a folder that holds one.",
        )
    return files[0]


def _folder(root: Path, listed: list[str]) -> Path:
    folder = next((root / name for name in FOLDERS if any((root / name / image).is_file() for image in listed)), None)
    if folder is None:
        raise OpenMofiError(
            f"None of the {len(listed):,} images is in {root}, e.g. {listed[0]}.",
            f"Put them into {root} or its folder {' or '.join(FOLDERS[1:3])}.",
        )
    missing = [image for image in listed if not (folder / image).is_file()]
    if missing:
        raise OpenMofiError(
            f"{len(missing):,} of {len(listed):,} images are not in {folder}, e.g. {missing[0]}.",
            "Complete the images.",
        )
    return folder


def _items(keys: list[str], image_of: Ints, hits: dict[str, np.ndarray]) -> pa.Table:
    """Images, then captions as IMAGE#NUMBER; each has the metrics of its direction."""
    numbers = np.arange(len(image_of)) - np.searchsorted(image_of, image_of)
    of_captions = [keys[row] for row in image_of.tolist()]
    names = [f"{key}#{number}" for key, number in zip(of_captions, numbers.tolist(), strict=True)]
    values = {
        name: np.concatenate(
            [np.full(len(keys), np.nan), side] if name.startswith(_TO_IMAGE) else [side, np.full(len(names), np.nan)]
        )
        for name, side in hits.items()
    }
    return items_table([*keys, *names], [*keys, *of_captions], values)


def _worst(
    images: EmbeddedImages, texts: Floats, captions: list[str], image_of: Ints, ranks: Ints, count: int
) -> list[Failure]:
    """The captions whose image ranks last, at most one per image."""
    order = np.argsort(-ranks, kind="stable")
    _, first = np.unique(image_of[order], return_index=True)
    ids, failures = images.ids, []
    for caption in order[np.sort(first)][:count].tolist():
        rows, scores = nearest_rows((texts[caption] @ images.embeddings.T)[None], _ANSWERS_SHOWN)
        failures.append(
            Failure(
                ids[image_of[caption]],
                captions[caption],
                float(-ranks[caption]),
                nearest_answers(ids, images.keys, rows[0], scores[0], rows[0] == image_of[caption]),
            )
        )
    return failures


PROTOCOL = EvaluationProtocol(
    name="image-text",
    version=1,
    headline="text_to_image_recall_at_1",
    settings=ImageTextSettings,
    measure=measure,
    score="rank of its image, negated",
    rule="Images that cannot be read are left out with their captions, and are no answers.",
)
