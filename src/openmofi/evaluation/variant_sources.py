"""ImageNet's variants, which test the robustness of classifiers that know ImageNet's classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from openmofi.evaluation.data.class_names import imagenet_names, imagenet_numbers, imagenet_subset
from openmofi.evaluation.data.folders import class_folders
from openmofi.evaluation.data.objectnet import overlapping
from openmofi.evaluation.source import DataSource, Finding, counted


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
