"""Labels, datasets and results in memory, as others take them: PyTorch, `datasets`, pandas, polars, notebooks."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from openmofi.dataset.objects import Dataset, Labels
from openmofi.dataset.origin import Origin
from openmofi.dataset.report.examples import template, thumbnails
from openmofi.errors import MissingExtraError
from openmofi.features.notes import noted_cache, noted_read
from openmofi.pairs import decode_image
from openmofi.pairs.index import ImageBytes, places_of
from openmofi.plugins.dataset_export.formats import features
from openmofi.plugins.dataset_export.rows import Classes
from openmofi.search import Results
from openmofi.storage import Shard, cache_folder, is_remote

_SHOWN = 8


def labelled(dataset: Dataset, start: int = 0, step: int = 1) -> Iterator[tuple[Shard, pa.Table]]:
    """Yield every `step`-th shard of pairs of a dataset, with the `key` and the likeliest `class` of each image.

    Raises:
        OpenMofiError: a shard is gone, or has changed since it was labelled.
    """
    folder = dataset.folder
    for shard in folder.shards[start::step]:
        path = folder.file(shard)
        Origin.parse(path, pq.read_metadata(path).metadata).require_same(shard, shard.fingerprint)
        table = dataset.table(shard, ["key", "classes"])
        yield shard, table.select(["key"]).append_column("class", pc.list_element(table["classes"], 0))


@dataclass
class Images:
    """A sequence of (what `transform` makes of an image, number of its likeliest class).

    Single images are read where they lie. It may be pickled: each process opens files of its own.
    """

    dataset: Dataset
    transform: Callable[[Any], Any] | None = None
    _shards: list[tuple[Shard, pa.Table]] = field(default_factory=list, repr=False)
    _starts: list[int] = field(default_factory=lambda: [0], repr=False)
    _bytes: ImageBytes = field(default_factory=ImageBytes, repr=False)

    def __post_init__(self) -> None:
        folder, cache = self.dataset.folder.path, cache_folder() / "images"
        noted = noted_read(folder), noted_cache(folder)
        for shard, table in labelled(self.dataset):
            places = places_of(shard, table["key"], cache, *noted)
            self._shards.append((shard, places.append_column("class", table["class"])))
            self._starts.append(self._starts[-1] + len(table))

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, row: int) -> tuple[Any, int]:
        data, label = self.encoded(range(len(self))[row])
        image = decode_image(data)
        return self.transform(image) if self.transform else image, label

    def encoded(self, row: int) -> tuple[bytes, int]:
        """Return the encoded image of a row, and the number of its class."""
        number = bisect_right(self._starts, row) - 1
        shard, table = self._shards[number]
        place = table.slice(row - self._starts[number], 1)
        offset, size = place["offset"].to_numpy(), place["size"].to_numpy()
        (data,) = self._bytes.fetch(shard, place["file"].to_pylist(), offset, size)
        return data, place["class"][0].as_py()


def images(dataset: Dataset, transform: Callable[[Any], Any] | None, stream: bool) -> Any:
    """See `Dataset.to_torch`."""
    if not stream:
        return Images(dataset, transform)
    try:
        from openmofi.plugins.dataset_export.torch_stream import ImageStream
    except ModuleNotFoundError as error:
        raise MissingExtraError.of("torch", "torch") from error
    return ImageStream(partial(labelled, dataset), noted_read(dataset.folder.path), transform)


def hugging_face(dataset: Dataset) -> Any:
    """See `Dataset.to_hf`."""
    try:
        import datasets  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        raise MissingExtraError.of("datasets") from error
    encoded = Images(dataset).encoded

    def rows() -> Iterator[dict[str, Any]]:
        for number, row in enumerate(dataset):
            data, label = encoded(number)
            image, labels = {"bytes": data, "path": None}, {"label": label, "labels": row["classes"]}
            said = {name: row[name] for name in ("entities", "text", "shard", "key")}
            yield {"image": image, **labels, "probabilities": row["scores"], **said}

    names = ("image", "label", "labels", "entities", "probabilities", "text", "shard", "key")
    kinds = features(Classes.of(dataset.folder, None))
    return datasets.Dataset.from_generator(
        rows, features=datasets.Features.from_dict({name: kinds[name] for name in names})
    )


def frame_of(table: pa.Table, library: str) -> Any:
    """Return a table as a data frame of `pandas` or `polars`.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return table.to_pandas() if library == "pandas" else import_module(library).from_arrow(table)
    except ModuleNotFoundError as error:
        raise MissingExtraError.of(library, "pandas" if library == "pandas" else "") from error


def results_frame(results: Results) -> Any:
    """See `Results.to_pandas`."""
    rows = [
        {**vars(hit.image), **vars(hit), "labels": [each.name for each in hit.image.labels if each.accepted]}
        for hit in results.hits
    ]
    names = ("rank", "probability", "cosine", "id", "shard", "key", "path", "text", "labels")
    return frame_of(pa.table({name: [row[name] for row in rows] for name in names}), "pandas")


def contact_sheet(tables: Labels | Dataset) -> str:
    """Return HTML of the first labelled images with their labels; small JPEGs are part of it."""
    rows = list(islice(_labels_of(tables), _SHOWN))
    read, shown = noted_read(tables.folder.path), {}
    for shard in tables.folder.shards:
        keys = [row["key"] for row in rows if row["shard"] == shard.name and not is_remote(shard.path)]
        shown.update({(shard.name, key): uri for key, uri in thumbnails(shard, keys, read).items()})
    page = template(__package__, "contact_sheet.html.j2")
    return page.render(title=repr(tables), rows=rows, images=shown)


def _labels_of(tables: Labels | Dataset) -> Iterator[dict[str, Any]]:
    """Yield the rows that have labels, with the name and the probability of each."""
    names: dict[str, str] = {}
    if isinstance(tables, Dataset):
        names.update(zip(*tables.vocabulary().select(["id", "name"]).to_pydict().values(), strict=True))
    for row in tables:
        if names:
            labels = [(names[entity], score) for entity, score in zip(row["entities"], row["scores"], strict=True)]
        else:
            said = [(row["mentions"][each["mention"]]["surface"], each) for each in row["entities"] if each["accepted"]]
            labels = [(f"{surface} ({each['entity']})", each["probability"]) for surface, each in said]
        if labels:
            yield {**row, "labels": labels}
