"""Karpathy's splits of Flickr30k, Flickr8k and COCO: `dataset_*.json`, images with their captions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openmofi.errors import OpenMofiError
from openmofi.pairs.formats.files import inside


def read_karpathy(path: str | Path, split: str, captions: int) -> dict[str, list[str]]:
    """The images of a split, relative to the folder of images, in the file's order → their first captions.

    Args:
        path: the file.
        split: `train`, `restval`, `val` or `test`.
        captions: number of captions per image; 0 for all.

    Raises:
        OpenMofiError: it cannot be read, has another layout, no such split, or an image with fewer captions.
    """
    try:
        raw = json.loads(Path(path).read_text("utf-8"))["images"]
        images = [_captioned(image, captions) for image in raw if image["split"] == split]
        names = sorted({str(image["split"]) for image in raw})
    except OSError as error:
        raise OpenMofiError(f"{path} cannot be read: {error.strerror}.", "Check the path.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise OpenMofiError(
            f"{path} is not in the layout of Karpathy's splits ({type(error).__name__}: {error}).",
            "It has images, each with filename, split and sentences with raw.",
        ) from error
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


def _captioned(image: Mapping[str, Any], captions: int) -> tuple[str, list[str]]:
    file = "/".join(filter(None, (str(image.get("filepath") or ""), str(image["filename"]))))
    if not inside(file):
        raise ValueError(f"the image {file!r} lies outside the folder")
    texts = [" ".join(str(sentence["raw"]).split()) for sentence in image["sentences"]]
    return file, texts[: captions or None]
