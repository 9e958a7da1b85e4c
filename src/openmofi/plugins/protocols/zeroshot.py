"""Zero-shot classification by class names; see `openmofi.evaluation.metrics.zero_shot` for the formula and
`openmofi.plugins.protocols.zeroshot` for the layouts.

Data: Any classification data with class names. Layout: class folders, WebDataset tars with classnames.txt, or a CSV;
see openmofi.plugins.protocols.zeroshot.
"""

import csv
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from openmofi.arrays import Floats, Ints
from openmofi.config import Settings
from openmofi.encoders.arrays import in_batches
from openmofi.errors import OpenMofiError, UsageError
from openmofi.evaluation.metrics.ranking import nearest_rows
from openmofi.evaluation.metrics.zero_shot import class_embeddings, evaluate_zero_shot
from openmofi.evaluation.protocol import (
    Answer,
    EvaluationProtocol,
    Failure,
    Measured,
    Subject,
    data_fingerprint,
    item_names,
)
from openmofi.evaluation.result import items_table
from openmofi.features.images import EmbeddedImages, ImageSource, shard_source
from openmofi.pairs.formats.files import inside
from openmofi.pairs.formats.grouping import split_name
from openmofi.plugins.protocols import class_names as folders
from openmofi.plugins.protocols.class_names import (
    NAME_FILES,
    class_names,
    is_objectnet,
    names_file,
    objectnet,
    templates_named,
)
from openmofi.storage import expand_shards, fingerprint
from openmofi.storage.encodings import csv_reader

# - class folders: DIR/CLASS/IMAGE, or DIR/test or DIR/val with these;
# - tar shards (WebDataset, as clip_benchmark writes them): DIR/*.tar or DIR/test/*.tar with `KEY.cls`, a class number,
#   beside each image, and DIR/classnames.txt;
# - ObjectNet as published: DIR/images/CLASS/IMAGE with DIR/mappings, see `openmofi.plugins.protocols.class_names`;
# - a table: a CSV or TSV with a column of paths, relative to the file, and a column of class names.

PATH_COLUMNS = ("image", "path", "filepath", "file", "filename", "image_path")
CLASS_COLUMNS = ("class", "class_name", "label", "category", "name")
_TABLES = (".csv", ".tsv")


@dataclass(frozen=True)
class LabelledImages:
    """Images and their classes.

    Attributes:
        sources: the images.
        names: (classes,) their names.
        labels_of: embedded images → (n,) their classes; raises `OpenMofiError` if an image has none.
        names_from: source of the names, for reports.
        folder: of the data, which may hold templates.
    """

    sources: list[ImageSource]
    names: list[str]
    labels_of: Callable[[EmbeddedImages], Ints]
    names_from: str
    folder: Path


def labelled_images(data: str | Path) -> LabelledImages:
    """Detect the layout, and read classes and names.

    Raises:
        UsageError: a table lacks a column.
        OpenMofiError: the data are in none of the layouts, or have faults.
    """
    path = Path(data)
    if path.is_file() and path.suffix.lower() in _TABLES:
        return _table(path)
    folder = folders.require_folder(path)
    if is_objectnet(folder):
        sources, files, names = objectnet(folder)
        return LabelledImages(sources, names, files.labels_of, "ObjectNet's own names", folder)
    split = folders.split_folder(folder, (*folders.TEST, *folders.VALIDATION)) or folder
    tars = sorted(split.glob("*.tar"))
    return _tars(folder, tars) if tars else _folders(folder, split)


def _folders(data: Path, split: Path) -> LabelledImages:
    files = folders.class_folders(split)
    names, names_from = class_names(files.classes, data)
    return LabelledImages(files.sources(), names, files.labels_of, names_from, data)


def _tars(data: Path, tars: Sequence[Path]) -> LabelledImages:
    names = names_file(data)
    if names is None:
        raise OpenMofiError(
            f"{data} has tar shards, but no file of class names.",
            f"Add {NAME_FILES[0]} with a line for each class number.",
        )
    shards = expand_shards([str(tar) for tar in tars])
    labels: dict[tuple[str, str], int] = {}
    for shard in shards:
        for key, number in _numbers(Path(shard.path)).items():
            if not 0 <= number < len(names):
                raise OpenMofiError(
                    f"{key} of {shard.path} has the class {number}, but there are {len(names)} names.",
                    "Complete the file of class names.",
                )
            labels[shard.name, key] = number
    return LabelledImages(
        [shard_source(shard) for shard in shards], names, partial(_labels_of, labels), "file of class names", data
    )


def _labels_of(labels: Mapping[tuple[str, str], int], images: EmbeddedImages) -> Ints:
    ids = list(zip(images.shards, images.keys, strict=True))
    missing = [image for image in ids if image not in labels]
    if missing:
        raise OpenMofiError(
            f"{len(missing)} images have no class, e.g. {missing[0][1]} of {missing[0][0]}.",
            "Each image of a tar needs a KEY.cls with its class number.",
        )
    return np.array([labels[image] for image in ids], np.int64)


def _numbers(path: Path) -> dict[str, int]:
    """Key → the number in its `.cls`."""
    numbers = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                parts = split_name(member.name)
                if parts and parts[1] == "cls" and (content := archive.extractfile(member)):
                    numbers[parts[0]] = int(content.read(32))
    except (OSError, tarfile.TarError, ValueError) as error:
        raise OpenMofiError(
            f"The classes in {path} cannot be read: {error}.", "Each KEY.cls holds one number."
        ) from error
    return numbers


def _table(path: Path) -> LabelledImages:
    try:
        reader = csv_reader(path)
        columns = list(reader.fieldnames or ())
        rows = list(reader)
    except (OSError, ValueError, csv.Error) as error:
        raise OpenMofiError(
            f"{path} cannot be read: {error}.", "Write it as CSV in UTF-8, with a header and closed quotes."
        ) from error
    paths, classes = _column(path, columns, PATH_COLUMNS), _column(path, columns, CLASS_COLUMNS)
    files = [str(row[paths] or "") for row in rows]
    wrong = next(
        (
            number
            for number, (file, row) in enumerate(zip(files, rows, strict=True), 2)
            if not inside(file) or not (row[classes] or "").strip()
        ),
        None,
    )
    if wrong is not None:
        raise OpenMofiError(
            f"Line {wrong} of {path} has no class, or a path outside the table's folder.",
            "Give paths relative to the table.",
        )
    if not files or len(set(files)) < len(files):
        raise OpenMofiError(f"{path} has no rows, or lists an image twice.", "Give one row for each image.")
    names, labels = np.unique([row[classes].strip() for row in rows], return_inverse=True)
    labelled = folders.ClassifiedFiles(path.parent, files, labels, names.tolist())
    return LabelledImages(
        labelled.sources(path.stem), labelled.classes, labelled.labels_of, f"column {classes!r}", path.parent
    )


def _column(path: Path, columns: Sequence[str], accepted: Sequence[str]) -> str:
    column = next((name for lower in accepted for name in columns if name.lower() == lower), None)
    if column is None:
        raise UsageError(
            f"{path} has no column {' or '.join(accepted[:3])}; it has {', '.join(columns) or 'none'}.",
            "Name the columns image and class.",
        )
    return column


_ANSWERS_SHOWN = 5


@dataclass(frozen=True)
class ZeroShotSettings(Settings):
    """Settings of `zeroshot`.

    Attributes:
        templates: a packaged list (imagenet, imagenet-7, cifar, photo, name) or a file; `auto`: the file in the folder
            of the data, else imagenet.
    """

    templates: str = "auto"


def measure(subject: Subject) -> Measured:
    """See the module."""
    subject.features.require_texts("zeroshot")
    data = labelled_images(subject.data)
    templates, templates_from = templates_named(subject.settings.templates, data.folder)
    texts = class_embeddings(data.names, templates, subject.encoder.embed_texts)
    images = subject.features.embed(data.sources)
    labels = data.labels_of(images)
    zero_shot = evaluate_zero_shot(images.embeddings, labels, texts)
    values = {"accuracy": zero_shot.correct, "accuracy_top5": (zero_shot.rank <= 5).astype(np.float64)}
    names = [data.names[label] for label in labels.tolist()]
    ids, (rows, scores) = images.ids, _worst(images.embeddings, texts, labels, subject.failures)
    return Measured(
        metrics={
            "accuracy": zero_shot.accuracy,
            "accuracy_top5": zero_shot.accuracy_top5,
            "mean_class_accuracy": zero_shot.mean_class_accuracy,
        },
        intervals={"accuracy": zero_shot.accuracy_interval, "accuracy_top5": zero_shot.accuracy_top5_interval},
        counts={
            "images": zero_shot.images,
            "classes": zero_shot.classes,
            "classes_with_images": int((~np.isnan(zero_shot.class_accuracy)).sum()),
        },
        data_fingerprint=data_fingerprint([images], [names]),
        images=[images],
        items=items_table(item_names(images), names, values),
        facts={
            "templates": templates_from,
            "templates_count": len(templates),
            "templates_fingerprint": fingerprint(templates),
            "class_names": data.names_from,
            "class_names_fingerprint": fingerprint(data.names),
        },
        failures=[
            Failure(ids[row], names[row], score, _answers(images.embeddings[row], texts, int(labels[row]), data.names))
            for row, score in zip(rows.tolist(), scores.tolist(), strict=True)
        ],
    )


def _worst(embeddings: Floats, texts: Floats, labels: Ints, count: int) -> tuple[Ints, Floats]:
    """(count,) rows of the images with the lowest cosine of their class less that of the first class; and it."""
    if not count:
        return np.zeros(0, np.int64), np.zeros(0, np.float32)
    true_cosines = np.einsum("nd,nd->n", embeddings, texts[labels])
    margin = true_cosines - np.concatenate([(block @ texts.T).max(axis=1) for block in in_batches(embeddings, 8192)])
    rows = np.argsort(margin, kind="stable")[:count]
    return rows, margin[rows]


def _answers(embedding: Floats, texts: Floats, label: int, names: list[str]) -> list[Answer]:
    classes, scores = nearest_rows((texts @ embedding)[None], _ANSWERS_SHOWN)
    return [
        Answer(None, names[code], score, code == label)
        for code, score in zip(classes[0].tolist(), scores[0].tolist(), strict=True)
    ]


PROTOCOL = EvaluationProtocol(
    name="zeroshot",
    version=1,
    headline="accuracy",
    settings=ZeroShotSettings,
    measure=measure,
    score="cosine of its class less that of the first",
    by_class=True,
    rule="Images that cannot be read are left out; accuracy is over those that could be read.",
)
