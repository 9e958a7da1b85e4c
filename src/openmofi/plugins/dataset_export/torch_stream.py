"""A dataset as a stream for PyTorch."""

from collections.abc import Callable, Iterator
from typing import Any

from torch.utils.data import IterableDataset, get_worker_info

from openmofi.dataset.objects import Dataset
from openmofi.features.store import noted_read
from openmofi.pairs import decode_image, read_pairs
from openmofi.plugins.dataset_export.in_python import labelled


class ImageStream(IterableDataset[tuple[Any, int]]):
    """Yields (what `transform` makes of an image, number of its likeliest class), shard by shard.

    Workers of a `DataLoader` take every n-th shard, so more of them than shards have nothing to do.
    """

    def __init__(self, dataset: Dataset, transform: Callable[[Any], Any] | None) -> None:
        self.dataset, self.transform = dataset, transform

    def __iter__(self) -> Iterator[tuple[Any, int]]:
        worker = get_worker_info()
        share = (worker.id, worker.num_workers) if worker else (0, 1)
        read = noted_read(self.dataset.folder.path)
        for shard, table in labelled(self.dataset, *share):
            classes = dict(zip(*table.to_pydict().values(), strict=True))
            for pair in read_pairs(shard, read):
                # Of rows that repeat a key the first has the label.
                if pair.image is not None and (label := classes.pop(pair.key, None)) is not None:
                    image = decode_image(pair.image)
                    yield self.transform(image) if self.transform else image, label
