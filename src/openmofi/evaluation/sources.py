"""Published datasets: their origin, terms and layout, and checks of copies on disk.

Nothing is downloaded. Counts are the published ones. Checksums are given only where a maintained library ships them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from openmofi.config import did_you_mean
from openmofi.errors import OpenMofiError, UsageError
from openmofi.evaluation.data.class_names import imagenet_names
from openmofi.evaluation.data.folders import class_folders, require_folder
from openmofi.evaluation.data.karpathy import read_karpathy
from openmofi.evaluation.data.revisited import read_ground_truth
from openmofi.evaluation.data.vtab_tasks import TASKS, open_task, task_folders
from openmofi.evaluation.linkers.data import zelda_files
from openmofi.evaluation.protocols.image_text import FOLDERS
from openmofi.evaluation.protocols.retrieval.gpr1200 import list_gpr1200
from openmofi.evaluation.retrieval_sources import RETRIEVAL_SOURCES
from openmofi.evaluation.source import DataSource, Finding, counted
from openmofi.evaluation.variant_sources import VARIANT_SOURCES
from openmofi.features.sources import images_in

_ZELDA = {
    "aida-b": 231,
    "cweb": 320,
    "reddit-comments": 360,
    "reddit-posts": 377,
    "shadowlinks-shadow": 904,
    "shadowlinks-tail": 901,
    "shadowlinks-top": 904,
    "tweeki": 500,
    "wned-wiki": 319,
}
"""Test split → documents in its file; two counts of the authors' README are off by one."""


def source_named(name: str) -> DataSource:
    """The dataset of this name.

    Raises:
        UsageError: it is unknown.
    """
    if name not in SOURCES:
        raise UsageError(f"Unknown dataset {name!r}.{did_you_mean(name, SOURCES)}", f"Use {', '.join(SOURCES)}.")
    return SOURCES[name]


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


def _gpr1200(folder: Path) -> list[Finding]:
    images = list_gpr1200(folder / "images" if (folder / "images").is_dir() else folder)
    return [counted("images", len(images), 12_000), counted("classes", len(set(images.values())), 1200)]


def _revisited(name: str, images: int, folder_name: str) -> DataSource:
    def check(folder: Path) -> list[Finding]:
        truth = read_ground_truth(folder / f"gnd_{name}.pkl")
        names = [*truth.database, *(query.name for query in truth.queries)]
        present = sum((folder / f"jpg/{image}.jpg").is_file() for image in names)
        return [
            counted("database images in the ground truth", len(truth.database), images),
            counted("queries in the ground truth", len(truth.queries), 70),
            counted("images on disk", present, len(names)),
        ]

    return DataSource(
        ("revisited",),
        f"http://cmp.felk.cvut.cz/revisitop (annotation), https://www.robots.ox.ac.uk/~vgg/data/{folder_name}",
        "None is stated with the annotation; images are from Flickr and remain their owners'.",
        f"DIR/gnd_{name}.pkl, DIR/jpg/NAME.jpg without subfolders",
        f"{images:,} images and 70 queries",
        check,
    )


def _distractors(folder: Path) -> list[Finding]:
    root = folder / "jpg" if (folder / "jpg").is_dir() else folder
    return [counted("images", len(images_in(root)), 1_001_001)]


def _imagenet(folder: Path) -> list[Finding]:
    findings = []
    for split, images in (("train", 1_281_167), ("val", 50_000)):
        if (folder / split).is_dir():
            folders = class_folders(folder / split)
            known = set(folders.classes) & set(imagenet_names())
            findings += [
                counted(f"{split}: images", len(folders.files), images),
                counted(f"{split}: classes by WordNet id", len(known), 1000),
            ]
    return findings or [Finding("layout", False, f"{folder} has neither train nor val.")]


def _karpathy(name: str, sizes: Mapping[str, int]) -> Callable[[Path], list[Finding]]:
    def check(folder: Path) -> list[Finding]:
        listed = {split: read_karpathy(folder / f"dataset_{name}.json", split, 5) for split in sizes}
        test = listed["test"]
        present = max(sum((folder / name / file).is_file() for file in test) for name in FOLDERS)
        return [
            *(counted(f"{split}: images listed", len(listed[split]), size) for split, size in sizes.items()),
            counted("test: images on disk", present, len(test)),
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


def _zelda(folder: Path) -> list[Finding]:
    files = zelda_files(folder)
    documents = {split: _lines(file) for split, file in files.tests.items()}
    optional = {"candidate lists": files.lists, "entity descriptions": files.descriptions}
    return [
        *(counted(f"{split}: documents", documents.get(split, 0), count) for split, count in _ZELDA.items()),
        *(Finding(what, path is not None, str(path or "are missing")) for what, path in optional.items()),
    ]


def _lines(path: Path) -> int:
    with open(path, "rb") as handle:
        return sum(bool(line.strip()) for line in handle)


SOURCES: Mapping[str, DataSource] = {
    "gpr1200": DataSource(
        ("gpr1200",),
        "https://github.com/Visual-Computing/GPR1200",
        "Images under the terms of their six sources; for research.",
        "DIR/CLASS_NAME.jpg or DIR/images/CLASS_NAME.jpg, CLASS an integer",
        "12,000 images, 1,200 classes of 10",
        _gpr1200,
    ),
    "roxford5k": _revisited("roxford5k", 4993, "oxbuildings"),
    "rparis6k": _revisited("rparis6k", 6322, "parisbuildings"),
    "revisitop1m": DataSource(
        ("revisited",),
        "http://cmp.felk.cvut.cz/revisitop (revisitop1m.1.tar.gz to .100.tar.gz)",
        "None is stated; images are from Flickr and remain their owners'.",
        "DIR/jpg/…; give it to the protocol as --set distractors=DIR",
        "1,001,001 images",
        _distractors,
    ),
    "imagenet": DataSource(
        ("knn", "linear", "zeroshot"),
        "https://image-net.org (ILSVRC 2012, after registration)",
        "ImageNet's terms of access: research and education, no commercial use.",
        "DIR/train/nNNNNNNNN/IMAGE, DIR/val/nNNNNNNNN/IMAGE",
        "1,281,167 and 50,000 images, 1,000 classes",
        _imagenet,
        {
            "ILSVRC2012_img_train.tar": "1d675b47d978889d74fa0da5fadfb00e",
            "ILSVRC2012_img_val.tar": "29b22e2961454d5413ddabcf34fc5622",
        },
    ),
    "flickr30k": DataSource(
        ("image-text",),
        "https://shannon.cs.illinois.edu/DenotationGraph (images, by a form), "
        "https://cs.stanford.edu/people/karpathy/deepimagesent (splits)",
        "Research and education, no commercial use; images are from Flickr and remain their owners'.",
        "DIR/dataset_flickr30k.json, DIR/flickr30k-images/IMAGE",
        "1,000 test images of 31,014, five captions each",
        _karpathy("flickr30k", {"train": 29_000, "val": 1014, "test": 1000}),
    ),
    "coco": DataSource(
        ("image-text",),
        "https://cocodataset.org (val2014.zip), https://cs.stanford.edu/people/karpathy/deepimagesent (splits)",
        "Captions CC BY 4.0; images are from Flickr and remain their owners'.",
        "DIR/dataset_coco.json, DIR/val2014/IMAGE",
        "5,000 test images of 123,287, the first five captions of each",
        _karpathy("coco", {"train": 82_783, "restval": 30_504, "val": 5000, "test": 5000}),
    ),
    "vtab": DataSource(
        ("vtab",),
        "https://github.com/google-research/task_adaptation (tasks; code Apache-2.0)",
        "19 datasets, each under its own terms; several are for research only.",
        "DIR/TASK/train800.txt, val200.txt, test.txt with lines PATH CLASS, or "
        f"DIR/TASK/{{train800,val200,test}}/CLASS/IMAGE; TASK is one of {', '.join(task.name for task in TASKS)}",
        "19 tasks of 800 + 200 examples; test: " + ", ".join(f"{task.name} {task.test:,}" for task in TASKS),
        _vtab,
    ),
    "zelda": DataSource(
        ("disambiguation",),
        "https://github.com/flairNLP/zelda (zelda_full.zip)",
        "Training texts CC BY-SA 3.0; each test corpus under its own terms.",
        "DIR/test_data/jsonl/test_SPLIT.jsonl, DIR/other/zelda_mention_entities_counter.pickle, "
        "DIR/other/entity_descriptions.jsonl",
        "nine test splits; documents: " + ", ".join(f"{split} {count}" for split, count in _ZELDA.items()),
        _zelda,
    ),
    **VARIANT_SOURCES,
    **RETRIEVAL_SOURCES,
}
"""Name → dataset."""
