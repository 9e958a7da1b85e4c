"""Published datasets: their origin, terms and layout, and checks of copies on disk.

Nothing is downloaded. The datasets of this package are in `sources.toml`; others are those of packages that add to the
entry points `openmofi.data_sources`.
"""

import hashlib
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path

from openmofi.errors import OpenMofiError, UsageError, did_you_mean
from openmofi.extensions import extension, extension_names
from openmofi.features.images import images_in
from openmofi.plugins.benchmarks.gldv2 import SOLUTION, read_solution
from openmofi.plugins.benchmarks.gpr1200 import list_gpr1200
from openmofi.plugins.benchmarks.ilias import IDS, read_ids
from openmofi.plugins.benchmarks.image_text import FOLDERS, read_karpathy
from openmofi.plugins.benchmarks.instre import TRUTH, read_instre
from openmofi.plugins.benchmarks.oven import TITLES
from openmofi.plugins.benchmarks.recall import split_of
from openmofi.plugins.benchmarks.revisited import read_ground_truth
from openmofi.plugins.benchmarks.uned import SIZES, read_split
from openmofi.plugins.benchmarks.vtab import TASKS, open_task, task_folders
from openmofi.plugins.protocols.class_names import (
    class_folders,
    imagenet_names,
    imagenet_numbers,
    imagenet_subset,
    overlapping,
    require_folder,
)


@dataclass(frozen=True)
class Finding:
    """The outcome of one check: what was checked, whether it is as published, and its state."""

    what: str
    ok: bool
    measured: str


@dataclass(frozen=True)
class DataSource:
    """A dataset.

    Attributes:
        protocols: that use it.
        home: its origin.
        licence: its terms, as far as its authors state them.
        layout: of its folder.
        counts: as published.
        check: checks a folder.
        archives: name of a downloaded file → its published MD5, checked if the file is in the folder.
    """

    protocols: list[str]
    home: str
    licence: str
    layout: str
    counts: str
    check: Callable[[Path], list[Finding]]
    archives: Mapping[str, str] = field(default_factory=dict)


def counted(what: str, measured: int, published: int) -> Finding:
    """A number beside the published one."""
    return Finding(what, measured == published, f"{measured:,} of {published:,}")


def present(what: str, folder: Path, files: list[str]) -> Finding:
    """How many of the listed files are on disk."""
    return counted(what, sum((folder / file).is_file() for file in files), len(files))


_Check = Callable[[Path], list[Finding]]
_OVEN = ("oven_entity_val.jsonl", "oven_query_val.jsonl", TITLES, "oven_images")


def _instre(folder: Path) -> list[Finding]:
    truth = read_instre(folder / TRUTH)
    names = [*truth.database, *(query.name for query in truth.queries)]
    return [
        counted("database images in the ground truth", len(truth.database), 27_293),
        counted("queries in the ground truth", len(truth.queries), 1250),
        present("images on disk", folder, names),
    ]


def _gldv2(folder: Path) -> list[Finding]:
    usage = read_solution(folder / SOLUTION).usage
    of_kind, tests = list(usage.values()), {Path(file).stem for file in images_in(folder / "test")}
    return [
        counted("private queries", of_kind.count("private"), 750),
        counted("public queries", of_kind.count("public"), 379),
        counted("queries on disk", len(tests & set(usage)), len(usage)),
        counted("index images on disk", len(images_in(folder / "index")), 761_757),
    ]


def _ilias(folder: Path) -> list[Finding]:
    sizes = {"images": 1232, "texts": 1000, "positives": 4715}
    ids = {name: read_ids(folder / path) for name, path in IDS.items()}
    shards = len(list((folder / "yfcc100m").glob("*.tar")))
    return [
        *(counted(f"{name} listed", len(ids[name]), size) for name, size in sizes.items()),
        present("files of ilias_core on disk", folder / "ilias_core", [*chain(*ids.values())]),
        Finding("shards of distractors", shards > 0, f"{shards:,}"),
    ]


def _recall(images: int, classes: int) -> _Check:
    def check(folder: Path) -> list[Finding]:
        _, class_of = split_of(folder)
        return [
            counted("test images listed", len(class_of), images),
            counted("test classes", len(set(class_of.values())), classes),
            present("test images on disk", folder, list(class_of)),
        ]

    return check


def _uned(folder: Path) -> list[Finding]:
    findings = []
    for name, (queries, index) in SIZES.items():
        for kind, size in (("test", queries), ("index", index)):
            if size:
                try:
                    files = list(read_split(folder / f"info_files/{name}/{kind}.json"))
                except OpenMofiError as error:
                    findings.append(Finding(f"{name}: {kind}", False, str(error)))
                    continue
                findings += [
                    counted(f"{name}: {kind} images listed", len(files), size),
                    present(f"{name}: {kind} images on disk", folder / "images", files),
                ]
    return findings


def _oven(folder: Path) -> list[Finding]:
    return [
        Finding(name, (folder / name).exists(), "is there" if (folder / name).exists() else "is missing")
        for name in _OVEN
    ]


def _variant(images: int, classes: Callable[[], set[str] | None], count: int) -> _Check:
    def check(folder: Path) -> list[Finding]:
        folders, published = class_folders(folder), classes()
        findings = [counted("images", len(folders.files), images), counted("classes", len(folders.classes), count)]
        if published is None:
            return [*findings, Finding("class list", False, "timm, whose list this is, is not installed")]
        return [*findings, counted("classes of the published list", len(published & set(folders.classes)), count)]

    return check


def _objectnet(folder: Path) -> list[Finding]:
    overlap, folders = overlapping(folder), class_folders(folder / "images")
    judged = sum(folders.classes[label] in overlap for label in folders.labels.tolist())
    return [
        counted("images", len(folders.files), 50_273),
        counted("classes", len(folders.classes), 313),
        counted("classes that overlap with ImageNet's", len(overlap), 113),
        counted("images of these", judged, 18_574),
    ]


def _gpr1200(folder: Path) -> list[Finding]:
    images = list_gpr1200(folder / "images" if (folder / "images").is_dir() else folder)
    return [counted("images", len(images), 12_000), counted("classes", len(set(images.values())), 1200)]


def _revisited(name: str, images: int) -> _Check:
    def check(folder: Path) -> list[Finding]:
        truth = read_ground_truth(folder / f"gnd_{name}.pkl")
        names = [*truth.database, *(query.name for query in truth.queries)]
        return [
            counted("database images in the ground truth", len(truth.database), images),
            counted("queries in the ground truth", len(truth.queries), 70),
            present("images on disk", folder / "jpg", [f"{image}.jpg" for image in names]),
        ]

    return check


def _distractors(folder: Path) -> list[Finding]:
    root = folder / "jpg" if (folder / "jpg").is_dir() else folder
    return [counted("images", len(images_in(root)), 1_001_001)]


def _imagenet(folder: Path) -> list[Finding]:
    findings = []
    for split, images in (("train", 1_281_167), ("val", 50_000)):
        if (folder / split).is_dir():
            folders = class_folders(folder / split)
            wordnet_ids = set(folders.classes) & set(imagenet_names())
            findings += [
                counted(f"{split}: images", len(folders.files), images),
                counted(f"{split}: classes by WordNet id", len(wordnet_ids), 1000),
            ]
    return findings or [Finding("layout", False, f"{folder} has neither train nor val.")]


def _karpathy(name: str, sizes: Mapping[str, int]) -> _Check:
    def check(folder: Path) -> list[Finding]:
        listed = {split: read_karpathy(folder / f"dataset_{name}.json", split, 5) for split in sizes}
        test = listed["test"]
        best = max(sum((folder / name / file).is_file() for file in test) for name in FOLDERS)
        return [
            *(counted(f"{split}: images listed", len(listed[split]), size) for split, size in sizes.items()),
            counted("test: images on disk", best, len(test)),
        ]

    return check


def _vtab(folder: Path) -> list[Finding]:
    folders, findings = task_folders(folder), []
    for task in TASKS:
        if task not in folders:
            findings.append(Finding(task.name, False, "is missing"))
            continue
        try:
            splits = open_task(task, folders[task], 0)
        except OpenMofiError as error:
            findings.append(Finding(task.name, False, str(error)))
            continue
        absent = sum(not (part.root / file).is_file() for part in splits.parts for file in part.files)
        findings += [
            counted(f"{task.name}: test images", len(splits.test.files), task.test),
            Finding(
                f"{task.name}: files",
                not absent,
                f"{absent} of the listed images are missing" if absent else "all are present",
            ),
        ]
    return findings


_CHECKS: Mapping[str, _Check] = {
    "gpr1200": _gpr1200,
    "roxford5k": _revisited("roxford5k", 4993),
    "rparis6k": _revisited("rparis6k", 6322),
    "revisitop1m": _distractors,
    "imagenet": _imagenet,
    "flickr30k": _karpathy("flickr30k", {"train": 29_000, "val": 1014, "test": 1000}),
    "coco": _karpathy("coco", {"train": 82_783, "restval": 30_504, "val": 5000, "test": 5000}),
    "vtab": _vtab,
    "imagenet-v2": _variant(10_000, lambda: set(imagenet_numbers()), 1000),
    "imagenet-a": _variant(7500, lambda: imagenet_subset("a"), 200),
    "imagenet-r": _variant(30_000, lambda: imagenet_subset("r"), 200),
    "imagenet-sketch": _variant(50_889, lambda: set(imagenet_names()), 1000),
    "objectnet": _objectnet,
    "instre": _instre,
    "gldv2": _gldv2,
    "ilias": _ilias,
    "sop": _recall(60_502, 11_316),
    "cub": _recall(5924, 100),
    "inaturalist": _recall(136_093, 2452),
    "uned": _uned,
    "oven": _oven,
}

SOURCES: Mapping[str, DataSource] = {
    name: DataSource(check=_CHECKS[name], **facts)
    for name, facts in tomllib.loads(Path(__file__).with_name("sources.toml").read_text("utf-8")).items()
}
"""Name → dataset."""


def data_sources() -> dict[str, DataSource]:
    """Return name → dataset, of all packages."""
    return {
        name: source
        for package in extension_names("data_sources")
        for name, source in extension("data_sources", package).items()
    }


def source_named(name: str) -> DataSource:
    """The dataset of this name.

    Raises:
        UsageError: it is unknown.
    """
    sources = data_sources()
    if name not in sources:
        raise UsageError(f"Unknown dataset {name!r}.{did_you_mean(name, sources)}", f"Use {', '.join(sources)}.")
    return sources[name]


def check_source(name: str, folder: str | Path) -> list[Finding]:
    """Compare a folder with the published dataset: files, counts, and checksums of archives in it.

    Raises:
        UsageError: the dataset is unknown.
        OpenMofiError: the folder does not exist.
    """
    source, root = source_named(name), require_folder(folder)
    try:
        findings = source.check(root)
    except OpenMofiError as error:
        findings = [Finding("layout", False, str(error))]
    for file, digest in source.archives.items():
        if (root / file).is_file():
            with open(root / file, "rb") as handle:
                actual = hashlib.file_digest(handle, partial(hashlib.md5, usedforsecurity=False)).hexdigest()
            findings.append(Finding(f"MD5 of {file}", actual == digest, actual))
    return findings
