"""Classified images in folders, names of classes, templates for texts with these names, and ObjectNet's layout."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from openmofi.arrays import Ints
from openmofi.errors import OpenMofiError, UsageError, did_you_mean
from openmofi.features.images import SUFFIXES, EmbeddedImages, ImageSource, Load, file_sources, images_in
from openmofi.pairs import ImageRefused, decode_image
from openmofi.schema import Pair
from openmofi.storage import fingerprint, read_json

_DATA = Path(__file__).with_name("data")
TRAIN, VALIDATION, TEST = ("train", "training"), ("val", "validation", "valid"), ("test", "testing")


@dataclass(frozen=True)
class ClassifiedFiles:
    """Image files and their classes.

    Attributes:
        root: folder of the files.
        files: (n,) paths relative to `root`.
        labels: (n,) class numbers, which index `classes`.
        classes: names; empty where only numbers are known.
    """

    root: Path
    files: list[str]
    labels: Ints
    classes: list[str]

    def sources(self, name: str = "") -> list[ImageSource]:
        """Sources to embed, by default named by the folder."""
        return file_sources(self.root, self.files, name or self.root.name or "files")

    def labels_of(self, images: EmbeddedImages) -> Ints:
        """(n,) the classes of embedded images."""
        labels = dict(zip(self.files, self.labels.tolist(), strict=True))
        return np.array([labels[key] for key in images.keys], np.int64)

    def take(self, rows: Ints) -> ClassifiedFiles:
        """Return some rows, with all classes."""
        return replace(self, files=[self.files[row] for row in rows.tolist()], labels=self.labels[rows])


def class_folders(root: str | Path) -> ClassifiedFiles:
    """The class folders in `root`, both sorted; a class may have subfolders.

    Raises:
        OpenMofiError: `root` is not a folder, has no class folders, or one has no images.
    """
    folder = require_folder(root)
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not names:
        raise OpenMofiError(f"{root} has no class folders.", "Give a folder with a folder of images for each class.")
    files = [[f"{name}/{file}" for file in images_in(folder / name)] for name in names]
    empty = [name for name, of_class in zip(names, files, strict=True) if not of_class]
    if empty:
        raise OpenMofiError(
            f"Class folders of {root} without images: {listed(empty)}.",
            f"Images end in {', '.join(SUFFIXES)}; remove folders that are not classes.",
        )
    labels = np.repeat(np.arange(len(names), dtype=np.int64), [len(of_class) for of_class in files])
    return ClassifiedFiles(folder, [file for of_class in files for file in of_class], labels, names)


def split_folder(data: str | Path, names: Sequence[str]) -> Path | None:
    """The first existing folder in `data` of these names."""
    folder = require_folder(data)
    return next((folder / name for name in names if (folder / name).is_dir()), None)


def require_folder(path: str | Path) -> Path:
    """Return `path`, which must be a folder.

    Raises:
        OpenMofiError: it is not a folder.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise OpenMofiError(f"{path} is not a folder.", "Check the path.")
    return folder


def required_split(data: str | Path, names: Sequence[str]) -> ClassifiedFiles:
    """The class folders of a split.

    Raises:
        OpenMofiError: the split does not exist; see also `class_folders`.
    """
    folder = split_folder(data, names)
    if folder is None:
        raise OpenMofiError(
            f"{data} has no folder {' or '.join(repr(name) for name in names)}.",
            "The layout is SPLIT/CLASS/IMAGE, with the splits train and val or test.",
        )
    return class_folders(folder)


def same_classes(train: ClassifiedFiles, test: ClassifiedFiles) -> ClassifiedFiles:
    """`test` with its labels numbered as in `train`.

    Raises:
        OpenMofiError: `train` lacks classes of `test`.
    """
    missing = sorted(set(test.classes) - set(train.classes))
    if missing:
        raise OpenMofiError(
            f"Classes of {test.root} that {train.root} lacks: {listed(missing)}.",
            "Both splits need the same class folders.",
        )
    number = np.array([train.classes.index(name) for name in test.classes], np.int64)
    return replace(test, labels=number[test.labels], classes=train.classes)


def check_all_classes(classes: Sequence[str], labels: Ints, where: Path) -> None:
    """Check that each class has a readable image.

    Raises:
        OpenMofiError: classes without one.
    """
    present = set(labels.tolist())
    missing = [name for number, name in enumerate(classes) if number not in present]
    if missing:
        raise OpenMofiError(
            f"Classes of {where} without a readable image: {listed(missing)}.",
            "Restore the images, or remove the class from all splits.",
        )


def listed(names: Iterable[str]) -> str:
    """At most three quoted names, and how many there are in all."""
    names = list(names)
    return ", ".join(repr(name) for name in names[:3]) + (f" … ({len(names)} in all)" if len(names) > 3 else "")


NAME_FILES = ("classnames.txt", "classnames.tsv", "class_names.txt", "classes.txt")
TEMPLATE_FILE = "zeroshot_classification_templates.txt"
"""Names of such files in the folder of the data; the last is clip_benchmark's."""

_WORDNET = re.compile(r"n\d{8}")
_CLIPS = "CLIP's names of ImageNet's classes"


def class_names(folders: Sequence[str], beside: Path | None) -> tuple[list[str], str]:
    """A name for each class folder, and the source of the names.

    The first that applies: a file of names in the folder `beside`, with a line for each class, in the order of the
    sorted folders, or lines `FOLDER<tab>NAME`; CLIP's names of ImageNet's 1,000 classes, where folders are named by
    WordNet ids (ImageNet, -A, -R, -Sketch) or are just the numbers 0 … 999 (ImageNet-V2: classes in the order of their
    ids); the names of the folders, with underscores as spaces.

    Raises:
        OpenMofiError: the file does not fit the folders, or a WordNet id is not among ImageNet's 1,000.
    """
    file = _first_file(beside) if beside else None
    if file is not None:
        return _from_file(file, folders), file.name
    if folders and all(_WORDNET.fullmatch(name) for name in folders):
        clip_names = imagenet_names()
        unknown = [name for name in folders if name not in clip_names]
        if unknown:
            raise OpenMofiError(
                f"Classes that are not among ImageNet's 1,000: {listed(unknown)}.",
                f"Put their names into {NAME_FILES[0]}: FOLDER<tab>NAME on each line.",
            )
        return [clip_names[name] for name in folders], _CLIPS
    if set(folders) == set(imagenet_numbers()):
        numbers = imagenet_numbers()
        return [numbers[name] for name in folders], f"{_CLIPS}, by number"
    return [name.replace("_", " ") for name in folders], "names of the folders"


@cache
def imagenet_names() -> dict[str, str]:
    """WordNet id → the name that CLIP gives the class (Radford et al. 2021; MIT)."""
    text = _DATA.joinpath("names/imagenet.tsv").read_text("utf-8")
    return _by_tab(text.splitlines())


@cache
def imagenet_numbers() -> dict[str, str]:
    """`"0"` … `"999"` → CLIP's name of the class: ImageNet-V2's folders."""
    return {str(number): name for number, name in enumerate(imagenet_names().values())}


def imagenet_subset(letter: str) -> set[str] | None:
    """The WordNet ids of ImageNet-A's or -R's 200 classes, as timm lists them; `None` without timm.

    Args:
        letter: `a` or `r`.
    """
    # timm is found, not imported: with torch that takes seconds.
    spec = find_spec("timm")
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]) / f"data/_info/imagenet_{letter}_synsets.txt"
    return set(path.read_text("utf-8").split()) if path.is_file() else None


def templates_named(name: str, beside: Path | None) -> tuple[list[str], str]:
    """Templates, and their source.

    Args:
        name: one of `packaged_templates`, the path of a file with one template a line, or `auto`: the file
            `zeroshot_classification_templates.txt` in the folder of the data, else ImageNet's 80.
        beside: the folder of the data.

    Raises:
        UsageError: the name is unknown.
    """
    file = beside / TEMPLATE_FILE if beside else None
    if name == "auto":
        if file is not None and file.is_file():
            return _lines(file), file.name
        name = "imagenet"
    if name in packaged_templates():
        text = _DATA.joinpath(f"templates/{name}.txt").read_text("utf-8")
        return text.splitlines(), name
    if Path(name).is_file():
        return _lines(Path(name)), Path(name).name
    raise UsageError(
        f"Unknown value {name!r} for templates.{did_you_mean(name, packaged_templates())}",
        f"Use {', '.join(packaged_templates())}, or a file with one template a line.",
    )


@cache
def packaged_templates() -> tuple[str, ...]:
    """Names of the packaged lists: `imagenet` (CLIP's 80), `imagenet-7`, `cifar` (CLIP's 18), `photo`, `name`."""
    folder = _DATA.joinpath("templates")
    return tuple(sorted(entry.name.removesuffix(".txt") for entry in folder.iterdir() if entry.name.endswith(".txt")))


def _lines(path: Path) -> list[str]:
    try:
        lines = [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise OpenMofiError(f"{path} cannot be read: {error}.", "Write it as UTF-8 text.") from error
    # clip_benchmark writes {c} for the name.
    return [line.replace("{c}", "{}") for line in lines]


def _by_tab(lines: Sequence[str]) -> dict[str, str]:
    return {key: name for key, _, name in (line.partition("\t") for line in lines)}


def _first_file(folder: Path) -> Path | None:
    return next((folder / name for name in NAME_FILES if (folder / name).is_file()), None)


def names_file(folder: Path) -> list[str] | None:
    """The lines of the file of class names in `folder`; `None` without one."""
    file = _first_file(folder)
    return None if file is None else _lines(file)


def _from_file(file: Path, folders: Sequence[str]) -> list[str]:
    lines = _lines(file)
    if all("\t" in line for line in lines):
        by_folder = _by_tab(lines)
        missing = [name for name in folders if name not in by_folder]
        if missing:
            raise OpenMofiError(f"{file} lacks names of the classes {listed(missing)}.", "Add a line for each.")
        return [by_folder[name] for name in folders]
    if len(lines) != len(folders):
        raise OpenMofiError(
            f"{file} has {len(lines)} names for {len(folders)} class folders.",
            "Write a line for each class, in the order of the sorted folders.",
        )
    return lines


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


# ObjectNet (Barbu et al., NeurIPS 2019) as its archive has it: DIR/images/CLASS/IMAGE and DIR/mappings. Judged are the
# 113 of its 313 classes that overlap with ImageNet's, by ObjectNet's own names, as CLIP and clip_benchmark judge them.
# The authors ask to cut off the red border; like their loader this leaves out two pixels on each side.

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
