"""ILIAS: instance-level retrieval at scale (Kordopatis-Zilos et al., CVPR 2025, arXiv 2502.11748): mAP@1k.

1,232 image queries and, for encoders with a text side, 1,000 text queries look for 4,715 positives among distractors.
See `openmofi.evaluation.metrics.ranking` for the formula. Queries are neither cropped nor masked. Distractors are
embedded shard by shard, and of each only what is among a query's nearest 1,000 is kept: 100 million need no more memory
than one shard.

Data: https://vrg.fel.cvut.cz/ilias_data (the authors' download_ilias.sh). Layout: DIR/image_ids/image_query_ids.txt,
text_query_ids.txt and positive_ids.txt, DIR/ilias_core/OBJECT/{query,pos}/…, DIR/yfcc100m/*.tar (all, or any number of
them, which the result counts); openmofi eval sources ilias.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from openmofi.arrays import Doubles
from openmofi.config import PositiveInt, Settings
from openmofi.encoders.arrays import normalised
from openmofi.errors import OpenMofiError
from openmofi.evaluation.protocol import EvaluationProtocol, Measured, Subject, data_fingerprint
from openmofi.features.images import file_sources, shard_source
from openmofi.plugins.benchmarks.nearest import search, tied_average_precision_at, worst
from openmofi.plugins.protocols.class_names import require_folder
from openmofi.storage import expand_shards, fingerprint

IDS = {
    "images": "image_ids/image_query_ids.txt",
    "texts": "image_ids/text_query_ids.txt",
    "positives": "image_ids/positive_ids.txt",
}
DISTRACTORS = 100_000_000


@dataclass(frozen=True)
class IliasSettings(Settings):
    """Settings of `ilias`.

    Attributes:
        k: how many images of each ranking count.
        distractors: folder of tar shards, relative to the data; without it, or empty, positives alone are searched.
    """

    k: PositiveInt = 1000
    distractors: str = "yfcc100m"


def read_ids(path: Path) -> list[str]:
    """Read sorted identifiers OBJECT/{query,pos}/FILE: the first comma-separated field of each line.

    Raises:
        OpenMofiError: the file cannot be read, or a line is no identifier.
    """
    try:
        ids = [line.split(",")[0].strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise OpenMofiError(f"{path} cannot be read: {error}.", "Download ILIAS's image_ids.") from error
    wrong = next((name for name in ids if name.count("/") != 2 or ".." in name.split("/")), None)
    if wrong is not None or not ids:
        raise OpenMofiError(
            f"{path} has {f'a line that is no identifier: {wrong!r}' if ids else 'no identifiers'}.",
            "Identifiers are OBJECT/query/FILE or OBJECT/pos/FILE.",
        )
    return sorted(ids)


def measure(subject: Subject) -> Measured:
    """Measure an encoder by the protocol of this module."""
    settings: IliasSettings = subject.settings
    folder = require_folder(subject.data)
    core = require_folder(folder / "ilias_core")
    ids = {name: read_ids(folder / path) for name, path in IDS.items()}
    positives: dict[str, set[str]] = {}
    for image in ids["positives"]:
        positives.setdefault(_object(image), set()).add(image)
    lost = [query for query in ids["images"] + ids["texts"] if _object(query) not in positives]
    if lost:
        raise OpenMofiError(f"The object of the query {lost[0]} has no positives.", "Download ILIAS's image_ids again.")
    images = subject.features.embed(file_sources(core, ids["images"], "ilias-queries"))
    texts = ids["texts"] if subject.features.choice == "joint" and subject.encoder.has_texts else []
    vectors = [images.embeddings]
    if texts:
        vectors.append(normalised(np.asarray(subject.encoder.embed_texts(_texts(core, texts)), np.float32)))
    shards = sorted(str(path) for path in (folder / settings.distractors).glob("*.tar")) if settings.distractors else []
    sources = [
        *file_sources(core, ids["positives"], "ilias-positives"),
        *(shard_source(shard) for shard in (expand_shards(shards) if shards else ())),
    ]
    searched = search(subject.features, np.concatenate(vectors), sources, set(ids["positives"]), settings.k)
    queries = [*images.keys, *texts]
    objects = [_object(query) for query in queries]
    relevant = searched.relevant([positives[name] for name in objects])
    values = np.array(
        [
            tied_average_precision_at(hits, scores, len(positives[name]), settings.k)
            for hits, scores, name in zip(relevant, searched.scores, objects, strict=True)
        ]
    )
    columns = _columns(values, len(images.keys), settings.k)
    of_images = slice(len(images.keys))
    return Measured.of_items(
        queries,
        objects,
        columns,
        interval_over="objects",
        data_fingerprint=fingerprint([data_fingerprint([images], [images.keys]), texts, searched.prints]),
        counts={
            "image_queries": len(images.keys),
            "text_queries": len(texts),
            "positives": len(searched.row_of),
            "distractors": searched.count - len(searched.row_of),
        },
        facts={"distractors_published": DISTRACTORS},
        images=[images, *searched.refused],
        failures=worst(images.ids, images.keys, values[of_images], searched, relevant, subject.failures),
    )


def _object(image: str) -> str:
    return image.split("/")[0]


def _texts(core: Path, files: Sequence[str]) -> list[str]:
    try:
        return [(core / file).read_text("utf-8").strip() for file in files]
    except (OSError, UnicodeDecodeError) as error:
        raise OpenMofiError(f"A text query cannot be read: {error}.", "Unpack ilias_core.tar again.") from error


def _columns(values: Doubles, images: int, k: int) -> dict[str, Doubles]:
    of_image = np.arange(len(values)) < images
    columns = {
        f"map_at_{k}": np.where(of_image, values, np.nan),
        f"text_map_at_{k}": np.where(of_image, np.nan, values),
    }
    return {name: numbers for name, numbers in columns.items() if not np.isnan(numbers).all()}


PROTOCOL = EvaluationProtocol(
    name="ilias",
    version=1,
    headline="map_at_1000",
    settings=IliasSettings,
    measure=measure,
    score="average precision over the first k",
    rule="A query that cannot be read is left out. A positive that cannot be read is never found, and stays among its "
    "queries' positives; a distractor that cannot be read is left out.",
)
