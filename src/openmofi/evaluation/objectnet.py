"""ObjectNet (Barbu et al., NeurIPS 2019) as its archive has it: DIR/images/CLASS/IMAGE and DIR/mappings.

Judged are the 113 of its 313 classes that overlap with ImageNet's, by ObjectNet's own names, as CLIP and clip_benchmark
judge them. The authors ask to cut off the red border; like their loader this leaves out two pixels on each side.
"""

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from openmofi.errors import OpenMofiError
from openmofi.evaluation.class_names import ClassifiedFiles, class_folders
from openmofi.features.images import ImageSource, Load
from openmofi.pairs import ImageRefused, decode_image
from openmofi.schema import Pair
from openmofi.storage import fingerprint, read_json

Box = tuple[float, float, float, float]
"""Left, upper, right and lower edge, in pixels."""


def cropped(source: ImageSource, mark: object, box_of: Callable[[str, tuple[int, int]], Box]) -> ImageSource:
    """A source of the same images, each cropped when it is loaded.

    Args:
        source: the whole images.
        mark: identifies the boxes; JSON values.
        box_of: key and (width, height) → the box.
    """

    def read() -> Iterator[tuple[str, Load]]:
        for key, load in source.read():
            yield key, partial(_crop, load, partial(box_of, key))

    return ImageSource(source.name, fingerprint([source.stamp, mark]), read)


def _crop(load: Load, box_of: Callable[[tuple[int, int]], Box]) -> Pair:
    """Cropped by Pillow and stored as BMP: lossless, and the same bytes in every version."""
    pair = load()
    if pair.image is None:
        return pair
    try:
        image = decode_image(pair.image)
    except ImageRefused as refused:
        return replace(pair, status=refused.status)
    out = io.BytesIO()
    image.crop(box_of(image.size)).save(out, "BMP")
    return replace(pair, image=out.getvalue())


FOLDERS, OVERLAP = "mappings/folder_to_objectnet_label.json", "mappings/objectnet_to_imagenet_1k.json"
"""Folder → ObjectNet's name; ObjectNet's name → names of ImageNet's classes."""

_BORDER = 2


def is_objectnet(folder: Path) -> bool:
    """Whether ObjectNet's mappings lie in the folder."""
    return (folder / FOLDERS).is_file()


def overlapping(folder: Path) -> dict[str, str]:
    """Folder → name of the classes that overlap with ImageNet's.

    Raises:
        OpenMofiError: a mapping is missing or damaged, or they do not fit together.
    """
    names, overlap = (
        read_json(folder / path, dict[str, str], "Unpack ObjectNet again.") for path in (FOLDERS, OVERLAP)
    )
    unknown = set(overlap) - set(names.values())
    if unknown:
        raise OpenMofiError(
            f"{folder / FOLDERS} lacks the class {sorted(unknown)[0]!r} of {OVERLAP}.", "Unpack ObjectNet again."
        )
    return {class_folder: name.lower() for class_folder, name in names.items() if name in overlap}


def objectnet(folder: Path) -> tuple[list[ImageSource], ClassifiedFiles, list[str]]:
    """Sources without the border, files, and (classes,) names of the overlapping classes.

    Raises:
        OpenMofiError: see `overlapping`; a class has no images.
    """
    names = overlapping(folder)
    files = class_folders(folder / "images")
    missing = sorted(set(names) - set(files.classes))
    if missing:
        raise OpenMofiError(
            f"{folder / 'images'} has no images of the class {missing[0]!r}.", "Unpack ObjectNet again."
        )
    selected = [number for number, class_folder in enumerate(files.classes) if class_folder in names]
    chosen = files.take(np.flatnonzero(np.isin(files.labels, selected)))
    number_of = np.zeros(len(files.classes), np.int64)
    number_of[selected] = np.arange(len(selected))
    classes = [files.classes[number] for number in selected]
    judged = ClassifiedFiles(chosen.root, chosen.files, number_of[chosen.labels], classes)
    sources = [
        cropped(source, f"border-{_BORDER}", lambda _, size: _inner(size)) for source in judged.sources("objectnet")
    ]
    return sources, judged, [names[class_folder] for class_folder in classes]


def _inner(size: tuple[int, int]) -> Box:
    width, height = size
    return _BORDER, _BORDER, width - _BORDER, height - _BORDER
