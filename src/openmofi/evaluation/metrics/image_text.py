"""Recall of images by captions and of captions by images, as on Flickr30k and COCO.

Text to image: the share of captions whose image is among the first k images. Image to text: the share of images
of which any caption is among the first k captions (Karpathy and Fei-Fei 2015; torchmetrics calls this a hit rate: its
recall would be the share of an image's captions). Ties: see `openmofi.evaluation.metrics.ranking`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from openmofi.errors import OpenMofiError
from openmofi.evaluation.metrics.ranking import Index, Ints, checked_embeddings, ranks_of
from openmofi.pairs.formats.files import inside


@dataclass(frozen=True)
class Captioned:
    """An image and its captions; `file` is relative to the folder of images."""

    file: str
    captions: list[str]


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
    pictures, captions = checked_embeddings(images), checked_embeddings(texts, "text embeddings")
    of = np.asarray(image_of, np.int64)
    if len(np.unique(of)) != len(pictures):
        raise OpenMofiError("There are images without a caption.", "Leave them out.")
    order = np.argsort(of, kind="stable")
    own = np.split(order, np.flatnonzero(np.diff(of[order])) + 1)
    to_text = np.empty(len(pictures), np.int64)
    for start, scores in Index.of(captions).blocks(pictures):
        for offset, row in enumerate(scores):
            to_text[start + offset] = ranks_of(row, own[start + offset]).min()
    to_image = np.empty(len(captions), np.int64)
    for start, scores in Index.of(pictures).blocks(captions):
        for offset, row in enumerate(scores):
            to_image[start + offset] = ranks_of(row, of[start + offset : start + offset + 1])[0]
    return to_text, to_image


def read_karpathy(path: str | Path, split: str, captions: int) -> list[Captioned]:
    """The images of a split of Karpathy's `dataset_*.json`, in its order, with their first captions.

    Args:
        path: the file.
        split: `train`, `restval`, `val` or `test`.
        captions: how many of each image's; 0 for all.

    Raises:
        OpenMofiError: it cannot be read, has another layout, no such split, or an image with fewer captions.
    """
    try:
        raw = json.loads(Path(path).read_text("utf-8"))["images"]
        of_split = [image for image in raw if image["split"] == split]
        found = [_captioned(image, captions) for image in of_split]
        names = sorted({str(image["split"]) for image in raw})
    except OSError as error:
        raise OpenMofiError(f"{path} cannot be read: {error.strerror}.", "Check the path.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise OpenMofiError(f"{path} is not in the layout of Karpathy's splits ({type(error).__name__}: {error}).",
                            "It has images, each with filename, split and sentences with raw.") from error
    if not found:
        raise OpenMofiError(f"{path} has no images of the split {split!r}; it has {', '.join(names)}.",
                            "Set split=NAME.")
    few = next((one for one in found if len(one.captions) < max(captions, 1)), None)
    if few:
        raise OpenMofiError(f"{few.file} has {len(few.captions)} captions in {path}, not {captions or 'any'}.",
                            "Set captions=0 to take as many as there are.")
    if len({one.file for one in found}) < len(found):
        raise OpenMofiError(f"{path} names an image twice.", "Fetch the file again.")
    return found


def _captioned(image: Mapping[str, Any], captions: int) -> Captioned:
    file = "/".join(filter(None, (str(image.get("filepath") or ""), str(image["filename"]))))
    if not inside(file):
        raise ValueError(f"the image {file!r} lies outside the folder")
    raw: Sequence[Any] = image["sentences"]
    texts = [" ".join(str(sentence["raw"]).split()) for sentence in raw]
    return Captioned(file, texts[: captions or None])
