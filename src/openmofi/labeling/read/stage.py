"""First step of the label job: one pass over a shard gives its links (texts) and its features (images).

Image bytes are read once and never copied. Decoding runs in threads, text work in a thread of its own, the encoder in
the caller's thread; all three overlap, since Pillow and torch release Python's lock. Both tables are kept in the job's
cache under the fingerprints of what made them, so that another encoder over the same backbone, another template or
threshold, or a restarted job does not read the shard again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow as pa

from openmofi.engine.protocol import Work
from openmofi.features.store import FeatureStore, PreparedImage
from openmofi.features.stream import ahead
from openmofi.knowledge import KnowledgeBase
from openmofi.labeling.label_settings import TextSettings
from openmofi.linking import linker_fingerprint, open_linker
from openmofi.mentions import open_detector
from openmofi.pairs import read_pairs
from openmofi.schema import LINKS, Link, Mention, Pair, PairStatus
from openmofi.storage import Shard, fingerprint
from openmofi.storage.atomic import is_whole
from openmofi.storage.blocks import table_blocks

_WAITING = 8
"""Batches of texts that may wait for the linker."""


@dataclass(frozen=True)
class ReadStage:
    """Reads shards; a `WorkFactory`.

    Attributes:
        kb: the knowledge base.
        text: see `TextSettings`.
        features: gives and keeps the features; its `cache` holds the links too.
        links_key: names what makes the links.
    """

    kb: KnowledgeBase
    text: TextSettings
    features: FeatureStore
    links_key: str

    @classmethod
    def plan(cls, kb: KnowledgeBase, text: TextSettings, features: FeatureStore) -> ReadStage:
        """Name the links by what makes them."""
        return cls(kb, text, features, fingerprint(
            [kb.fingerprint, text.detector, linker_fingerprint(text.linker), asdict(features.read)]))

    def links_path(self, shard: Shard) -> str:
        """Where the shard's links are kept; the file appears when it is whole."""
        return f"{self.features.cache}/links/{self.links_key}/{shard.name}-{shard.fingerprint}.parquet"

    def missing(self, shard: Shard) -> tuple[bool, bool]:
        """Whether the shard's links and its features have still to be made; a file that was cut off is made again."""
        return not is_whole(self.links_path(shard)), not self.features.has(shard.name, shard.fingerprint)

    def __call__(self) -> Work:
        """Open what is heavy, once a worker."""
        return ShardReader(self).read


class ShardReader:
    """Does `ReadStage`'s work for one shard after another."""

    def __init__(self, stage: ReadStage) -> None:
        self.stage = stage
        self.detector = open_detector(stage.text.detector, stage.kb)
        self.linker = open_linker(stage.text.linker, stage.kb)

    def read(self, shard: Shard) -> dict[str, Any]:
        """Write the shard's links and features where they are missing; returns its row count."""
        needs_links, needs_features = self.stage.missing(shard)
        if not needs_links and not needs_features:
            return {"rows": 0}
        store, rows = self.stage.features, 0
        prepare = store.prepare if needs_features else _nothing
        with ExitStack() as stack:
            add_features = stack.enter_context(store.writing(shard.name, shard.fingerprint)) if needs_features else None
            add_links = stack.enter_context(self._linking(shard)) if needs_links else None
            for batch in ahead(read_pairs(shard, store.read), prepare, store.batch_size):
                rows += len(batch)
                if add_links:
                    add_links([replace(pair, image=None) for pair, _ in batch])
                if add_features:
                    images = [image for _, image in batch if image is not None]
                    add_features(images, store.embed(images))
        return {"rows": rows}

    @contextmanager
    def _linking(self, shard: Shard) -> Generator[Callable[[Sequence[Pair]], None]]:
        """What is yielded takes the shard's pairs in order; a thread links them, and their links are written."""
        waiting = deque[Future[pa.Table]]()
        with table_blocks(self.stage.links_path(shard), LINKS) as write, ThreadPoolExecutor(1) as thread:
            def add(pairs: Sequence[Pair]) -> None:
                waiting.append(thread.submit(self._link, pairs))
                while len(waiting) > _WAITING or (waiting and waiting[0].done()):
                    write(waiting.popleft().result())

            yield add
            for linked in waiting:
                write(linked.result())

    def _link(self, pairs: Sequence[Pair]) -> pa.Table:
        texts = [pair.text if pair.status == PairStatus.OK else "" for pair in pairs]
        mentions = self.detector.detect(texts)
        return _links_table(pairs, mentions, self.linker.link(texts, mentions))


def _nothing(_pair: Pair) -> PreparedImage | None:
    return None


def _links_table(pairs: Sequence[Pair], mentions: Sequence[Sequence[Mention]], links: Sequence[Sequence[Link]],
                 ) -> pa.Table:
    return pa.Table.from_arrays([
        pa.array([pair.key for pair in pairs], pa.string()),
        pa.array([pair.text for pair in pairs], pa.string()),
        pa.array([str(pair.status) for pair in pairs], pa.string()),
        pa.array([list(map(_fields, of_pair)) for of_pair in mentions], LINKS.field("mentions").type),
        pa.array([list(map(_fields, of_pair)) for of_pair in links], LINKS.field("links").type),
    ], schema=LINKS)


def _fields(row: Mention | Link) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__dataclass_fields__}
