"""The published datasets of these protocols, of ImageNet and its variants. Counts are the published ones; checksums are
given only where a maintained library ships them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from pathlib import Path

from openmofi.errors import OpenMofiError
from openmofi.evaluation.data.class_names import class_folders, imagenet_names, imagenet_numbers, imagenet_subset
from openmofi.evaluation.data.objectnet import overlapping
from openmofi.evaluation.protocols.gpr1200 import list_gpr1200
from openmofi.evaluation.sources import DataSource, Finding, counted, present
from openmofi.features.sources import images_in
from openmofi.plugins.benchmarks.gldv2 import SOLUTION, read_solution
from openmofi.plugins.benchmarks.ilias import IDS, read_ids
from openmofi.plugins.benchmarks.image_text import FOLDERS, read_karpathy
from openmofi.plugins.benchmarks.instre import TRUTH, read_instre
from openmofi.plugins.benchmarks.oven import TITLES
from openmofi.plugins.benchmarks.recall import split_of
from openmofi.plugins.benchmarks.revisited import read_ground_truth
from openmofi.plugins.benchmarks.uned import SIZES, read_split
from openmofi.plugins.benchmarks.vtab import TASKS, open_task, task_folders

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


def _recall(images: int, classes: int) -> Callable[[Path], list[Finding]]:
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
                    files = list(read_split(folder / f"info_files/{name}/{kind}.json").classes)
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


RETRIEVAL_SOURCES: Mapping[str, DataSource] = {
    "instre": DataSource(
        ("instre",),
        "https://cmp.felk.cvut.cz/~iscenahm/code.html (gnd_instre.mat, and a copy of the images)",
        "None is stated; for research.",
        f"DIR/{TRUTH}, DIR/INSTRE-{{S1,S2,M}}/… as the ground truth names them",
        "27,293 images, 1,250 queries of 250 objects",
        _instre,
    ),
    "gldv2": DataSource(
        ("gldv2",),
        "https://github.com/cvdfoundation/google-landmark",
        "Annotations CC BY 4.0; each image under its own Creative Commons or public-domain terms.",
        f"DIR/{SOLUTION}, DIR/test/A/B/C/ID.jpg, DIR/index/A/B/C/ID.jpg",
        "750 private and 379 public queries, 761,757 index images",
        _gldv2,
    ),
    "ilias": DataSource(
        ("ilias",),
        "https://vrg.fel.cvut.cz/ilias_data (6.3 TB with all distractors)",
        "The authors' own images CC BY 4.0; others, and YFCC100M's, under their original Creative Commons terms.",
        "DIR/image_ids/*.txt, DIR/ilias_core/OBJECT/{query,pos}/FILE, DIR/yfcc100m/*.tar",
        "1,232 image queries, 1,000 text queries, 4,715 positives, 100 million distractors, 100,000 a shard",
        _ilias,
    ),
    "sop": DataSource(
        ("recall",),
        "https://cvgl.stanford.edu/projects/lifted_struct (Stanford_Online_Products.zip)",
        "None is stated; images are from eBay, for research.",
        "DIR/Ebay_test.txt, DIR/CLASS_final/IMAGE",
        "60,502 test images of 11,316 classes",
        _recall(60_502, 11_316),
    ),
    "cub": DataSource(
        ("recall",),
        "https://www.vision.caltech.edu/datasets/cub_200_2011",
        "Research and education, no commercial use; images remain their owners'.",
        "DIR/images.txt, DIR/image_class_labels.txt, DIR/images/CLASS/IMAGE",
        "5,924 test images: the last 100 of 200 classes",
        _recall(5924, 100),
    ),
    "inaturalist": DataSource(
        ("recall",),
        "https://github.com/visipedia/inat_comp (2018), and SmoothAP's splits: "
        "https://github.com/Andrew-Brown1/Smooth_AP",
        "Research and education, no commercial use; each image under its photographer's terms.",
        "DIR/Inat_dataset_splits/Inaturalist_test_set1.txt, DIR/train_val2018/KINGDOM/CLASS/IMAGE",
        "136,093 test images of 2,452 classes",
        _recall(136_093, 2452),
    ),
    "uned": DataSource(
        ("uned",),
        "https://cmp.felk.cvut.cz/univ_emb (info_files.zip, and links to the eight datasets)",
        "Eight datasets, each under its own terms; several are for research only.",
        "DIR/info_files/DOMAIN/{test,index}.json, DIR/images/PATH as the info files name them",
        "; ".join(
            f"{name} {queries:,}" + (f" against {index:,}" if index else "") for name, (queries, index) in SIZES.items()
        ),
        _uned,
    ),
    "oven": DataSource(
        ("oven",),
        "https://github.com/edchengg/oven_eval (by a form), https://github.com/open-vision-language/oven",
        "Annotations for research; images of 14 datasets, each under its own terms.",
        f"DIR/oven_{{entity,query}}_val.jsonl, DIR/{TITLES}, DIR/oven_images/NN/oven_NNNNNNNN.EXT",
        "six million candidates; the check looks for the files, and not at their number of rows",
        _oven,
    ),
}
"""Name → dataset."""


def _variant(images: int, classes: Callable[[], set[str] | None], count: int) -> Callable[[Path], list[Finding]]:
    def check(folder: Path) -> list[Finding]:
        found, published = class_folders(folder), classes()
        findings = [counted("images", len(found.files), images), counted("classes", len(found.classes), count)]
        if published is None:
            return [*findings, Finding("class list", False, "timm, whose list this is, is not installed")]
        return [*findings, counted("classes of the published list", len(published & set(found.classes)), count)]

    return check


def _objectnet(folder: Path) -> list[Finding]:
    overlap, found = overlapping(folder), class_folders(folder / "images")
    judged = sum(found.classes[label] in overlap for label in found.labels.tolist())
    return [
        counted("images", len(found.files), 50_273),
        counted("classes", len(found.classes), 313),
        counted("classes that overlap with ImageNet's", len(overlap), 113),
        counted("images of these", judged, 18_574),
    ]


VARIANT_SOURCES: Mapping[str, DataSource] = {
    "imagenet-v2": DataSource(
        ("zeroshot",),
        "https://github.com/modestyachts/ImageNetV2 (matched-frequency, threshold-0.7 or top-images)",
        "Code and lists MIT; images are from Flickr and remain their owners'.",
        "DIR/NUMBER/IMAGE, NUMBER from 0 to 999: ImageNet's classes in the order of their WordNet ids",
        "10,000 images, ten of each of 1,000 classes",
        _variant(10_000, lambda: set(imagenet_numbers()), 1000),
    ),
    "imagenet-a": DataSource(
        ("zeroshot",),
        "https://github.com/hendrycks/natural-adv-examples (imagenet-a.tar)",
        "Code MIT; images are from iNaturalist and Flickr and remain their owners'.",
        "DIR/nNNNNNNNN/IMAGE",
        "7,500 images, 200 of ImageNet's classes",
        _variant(7500, lambda: imagenet_subset("a"), 200),
    ),
    "imagenet-r": DataSource(
        ("zeroshot",),
        "https://github.com/hendrycks/imagenet-r (imagenet-r.tar)",
        "Code MIT; images are from Flickr and remain their owners'.",
        "DIR/nNNNNNNNN/IMAGE",
        "30,000 images, 200 of ImageNet's classes",
        _variant(30_000, lambda: imagenet_subset("r"), 200),
    ),
    "imagenet-sketch": DataSource(
        ("zeroshot",),
        "https://github.com/HaohanWang/ImageNet-Sketch",
        "Code MIT; images are from a web search and remain their owners'.",
        "DIR/nNNNNNNNN/IMAGE",
        "50,889 images, 1,000 classes",
        _variant(50_889, lambda: set(imagenet_names()), 1000),
    ),
    "objectnet": DataSource(
        ("zeroshot",),
        "https://objectnet.dev (objectnet-1.0.zip, with a password)",
        "CC BY 4.0 with two clauses: no parameter of a model may be tuned on it, and images are shown with their red "
        "border.",
        "DIR/images/CLASS/IMAGE, DIR/mappings/*.json as in the archive",
        "50,273 images of 313 classes; judged are 18,574 of 113 classes that overlap with ImageNet's",
        _objectnet,
    ),
}
"""Name → dataset."""


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
    **VARIANT_SOURCES,
    **RETRIEVAL_SOURCES,
}
"""Name → dataset."""
