"""A dataset as a stream for PyTorch."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from torch.utils.data import IterableDataset, get_worker_info

from openmofi.pairs import ReadSettings, decode_image, read_pairs
from openmofi.storage import Shard


@dataclass(eq=False)
class ImageStream(IterableDataset[tuple[Any, int]]):
    """Yields (what `transform` makes of an image, number of its likeliest class), shard by shard.

    Workers of a `DataLoader` take every n-th shard, so more of them than shards have nothing to do.

    Attributes:
        labelled: of a first shard and a step gives these shards, with the `key` and the `class` of each image.
        read: how they are read.
        transform: takes an image of PIL; `None` leaves it.
    """

    labelled: Callable[[int, int], Iterator[tuple[Shard, pa.Table]]]
    read: ReadSettings
    transform: Callable[[Any], Any] | None

    def __iter__(self) -> Iterator[tuple[Any, int]]:
        worker = get_worker_info()
        for shard, table in self.labelled(*((worker.id, worker.num_workers) if worker else (0, 1))):
            classes = dict(zip(*table.to_pydict().values(), strict=True))
            for pair in read_pairs(shard, self.read):
                # Of rows that repeat a key the first has the label.
                if pair.image is not None and (label := classes.pop(pair.key, None)) is not None:
                    image = decode_image(pair.image)
                    yield self.transform(image) if self.transform else image, label
