"""Datasets of the retrieval protocols with lists of their own, and OVEN."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from pathlib import Path

from openmofi.errors import OpenMofiError
from openmofi.evaluation.sources import DataSource, Finding, counted, present
from openmofi.features.sources import images_in
from openmofi.plugins.benchmarks.gldv2 import SOLUTION, read_solution
from openmofi.plugins.benchmarks.ilias import IDS, read_ids
from openmofi.plugins.benchmarks.instre import TRUTH, read_instre
from openmofi.plugins.benchmarks.oven import TITLES
from openmofi.plugins.benchmarks.recall import split_of
from openmofi.plugins.benchmarks.uned import SIZES, read_split

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
