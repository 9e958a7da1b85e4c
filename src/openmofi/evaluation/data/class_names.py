"""Names of classes, and templates for texts with these names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from openmofi.config import did_you_mean
from openmofi.errors import OpenMofiError, UsageError
from openmofi.evaluation.data.folders import listed

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
        known = imagenet_names()
        unknown = [name for name in folders if name not in known]
        if unknown:
            raise OpenMofiError(
                f"Classes that are not among ImageNet's 1,000: {listed(unknown)}.",
                f"Put their names into {NAME_FILES[0]}: FOLDER<tab>NAME on each line.",
            )
        return [known[name] for name in folders], _CLIPS
    if set(folders) == set(imagenet_numbers()):
        numbers = imagenet_numbers()
        return [numbers[name] for name in folders], f"{_CLIPS}, by number"
    return [name.replace("_", " ") for name in folders], "names of the folders"


@cache
def imagenet_names() -> dict[str, str]:
    """WordNet id → the name that CLIP gives the class (Radford et al. 2021; MIT)."""
    text = files("openmofi.evaluation.data").joinpath("names/imagenet.tsv").read_text("utf-8")
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
    own = beside / TEMPLATE_FILE if beside else None
    if name == "auto":
        if own is not None and own.is_file():
            return _lines(own), own.name
        name = "imagenet"
    if name in packaged_templates():
        text = files("openmofi.evaluation.data").joinpath(f"templates/{name}.txt").read_text("utf-8")
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
    folder = files("openmofi.evaluation.data").joinpath("templates")
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
        known = _by_tab(lines)
        missing = [name for name in folders if name not in known]
        if missing:
            raise OpenMofiError(f"{file} lacks names of the classes {listed(missing)}.", "Add a line for each.")
        return [known[name] for name in folders]
    if len(lines) != len(folders):
        raise OpenMofiError(
            f"{file} has {len(lines)} names for {len(folders)} class folders.",
            "Write a line for each class, in the order of the sorted folders.",
        )
    return lines
