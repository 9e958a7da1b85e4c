"""First stage of the label job: one pass over a shard gives its links (texts) and its features (images).

Image bytes are read once and never copied. Decoding runs in threads, text work in a thread of its own, the encoder in
the caller's thread; all three overlap, since Pillow and torch let go of Python's lock. Both tables are kept in the
job's cache under the fingerprints of what made them, so that another encoder over the same backbone, another template
or threshold, or a restarted job does not read the shard again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from openmofi.encoders import Array, Encoder
from openmofi.engine.protocol import Work
from openmofi.knowledge import KnowledgeBase
from openmofi.labeling.settings import LabelSettings, TextSettings
from openmofi.linking import linker_fingerprint, open_linker
from openmofi.mentions import open_detector
from openmofi.pairs import ImageRefused, ReadSettings, decode, describe, read_pairs
from openmofi.schema import LINKS, Link, Mention, Pair, PairStatus, features_schema
from openmofi.storage import Shard, file_fingerprint, fingerprint, write_table
from openmofi.storage.atomic import table_metadata

_DECODERS = 2
_TEXTS_AT_ONCE = 256


@dataclass(frozen=True)
class Prepared:
    """A decoded image: the encoder's input and what decoding told."""

    status: PairStatus
    width: int = 0
    height: int = 0
    phash: int = 0
    pixels: Array | None = None


@dataclass(frozen=True)
class ReadStage:
    """Reads shards; a `WorkFactory`.

    Attributes:
        kb: folder of the knowledge base.
        encoder: embeds the images.
        text: see `TextSettings`.
        cache: folder of the links and features.
        batch_size: images a forward pass; batches do not cross shards, so that a shard's bytes depend on it alone.
    """

    kb: str
    encoder: Encoder
    text: TextSettings
    cache: str
    batch_size: int
    read: ReadSettings
    max_image_pixels: int
    links_key: str
    features_key: str

    @classmethod
    def plan(cls, kb: KnowledgeBase, encoder: Encoder, settings: LabelSettings, cache: str | Path) -> ReadStage:
        """Name the tables by what makes them."""
        text, read = settings.text, settings.read
        return cls(
            str(kb.path), encoder, text, str(cache), settings.batch_size, read, settings.max_image_pixels,
            links_key=fingerprint([kb.fingerprint, text.detector, linker_fingerprint(text.linker), asdict(read)]),
            features_key=features_key(encoder, settings))

    def links_path(self, shard: Shard) -> str:
        """Where the shard's links are kept."""
        return f"{self.cache}/links/{self.links_key}/{shard.name}.parquet"

    def features_path(self, shard: Shard) -> str:
        """Where the shard's features are kept."""
        return f"{self.cache}/features/{self.features_key}/{shard.name}.parquet"

    def missing(self, shard: Shard) -> tuple[bool, bool]:
        """Whether the shard's links and its features have still to be made (or were made of another file)."""
        source = file_fingerprint(shard.path)
        return (table_metadata(self.links_path(shard)).get("source") != source,
                table_metadata(self.features_path(shard)).get("source") != source)

    def __call__(self) -> Work:
        """Open what is heavy, once a worker."""
        kb = KnowledgeBase.open(self.kb)
        reader = ShardReader(self, kb, self.encoder)
        return reader.read


def features_key(encoder: Encoder, settings: LabelSettings) -> str:
    """Names the features that a label job of these settings keeps: a folder in `CACHE/features`."""
    return fingerprint([encoder.feature_fingerprint, settings.batch_size, settings.max_image_pixels,
                        asdict(settings.read)])


class ShardReader:
    """Does `ReadStage`'s work for one shard after another."""

    def __init__(self, stage: ReadStage, kb: KnowledgeBase, encoder: Encoder) -> None:
        self.stage = stage
        self.encoder = encoder
        self.detector = open_detector(stage.text.detector, kb)
        self.linker = open_linker(stage.text.linker, kb)

    def read(self, shard: Shard) -> dict[str, Any]:
        """Write the shard's links and features where they are missing; returns its row count."""
        want_links, want_features = self.stage.missing(shard)
        if not want_links and not want_features:
            return {"rows": 0}
        metadata = {"source": file_fingerprint(shard.path)}
        rows: list[Pair] = []
        texts: list[Future[Any]] = []
        prepared: list[Prepared] = []
        features: list[Array] = []
        with ThreadPoolExecutor(_DECODERS) as images, ThreadPoolExecutor(1) as words:
            stream = read_pairs(shard, self.stage.read)
            for batch, decoded in self._decoded_batches(stream, images if want_features else None):
                start = len(rows)
                rows.extend(Pair(pair.key, None, pair.text, pair.status, pair.url) for pair in batch)
                if want_links:
                    texts.append(words.submit(self._link, rows[start:]))
                if want_features:
                    prepared.extend(Prepared(p.status, p.width, p.height, p.phash) for p in decoded)
                    features.append(self._embed(decoded))
            linked = [row for future in texts for row in future.result()]
        if want_features:
            write_table(self.stage.features_path(shard), self._features_table(rows, prepared, features), metadata)
        if want_links:
            write_table(self.stage.links_path(shard), _links_table(rows, linked), metadata)
        return {"rows": len(rows)}

    def _decoded_batches(self, stream: Iterator[Pair], pool: ThreadPoolExecutor | None,
                         ) -> Iterator[tuple[list[Pair], list[Prepared]]]:
        """Batches in order, with the next two being decoded while one is embedded."""
        waiting: list[tuple[list[Pair], list[Future[Prepared]]]] = []
        while batch := list(islice(stream, self.stage.batch_size)):
            waiting.append((batch, [pool.submit(self._prepare, pair) for pair in batch] if pool else []))
            if len(waiting) > 2:
                pairs, futures = waiting.pop(0)
                yield pairs, [future.result() for future in futures]
        for pairs, futures in waiting:
            yield pairs, [future.result() for future in futures]

    def _prepare(self, pair: Pair) -> Prepared:
        if pair.image is None:
            return Prepared(pair.status if pair.status != PairStatus.OK else PairStatus.IMAGE_MISSING)
        try:
            decoded = decode(pair.image, max_pixels=self.stage.max_image_pixels,
                             size_hint=self.encoder.preprocessing.size)
        except ImageRefused as refused:
            return Prepared(refused.status)
        return Prepared(PairStatus.OK, *describe(decoded), self.encoder.preprocess(decoded.image))

    def _embed(self, decoded: Sequence[Prepared]) -> Array:
        result = np.zeros((len(decoded), self.encoder.feature_dim), np.float32)
        usable = [number for number, item in enumerate(decoded) if item.pixels is not None]
        if usable:
            pixels = self.encoder.batch([item.pixels for item in decoded if item.pixels is not None])
            result[usable] = self.encoder.image_features(pixels)
        return result

    def _link(self, pairs: Sequence[Pair]) -> list[tuple[list[Mention], list[Link]]]:
        texts = [pair.text if pair.status == PairStatus.OK else "" for pair in pairs]
        mentions = self.detector.detect(texts)
        return list(zip(mentions, self.linker.link(texts, mentions), strict=True))

    def _features_table(self, rows: Sequence[Pair], prepared: Sequence[Prepared],
                        features: Sequence[Array]) -> pa.Table:
        dim = self.encoder.feature_dim
        flat = np.concatenate(features).astype(np.float16) if features else np.zeros((0, dim), np.float16)
        return pa.Table.from_arrays([
            pa.array([pair.key for pair in rows], pa.string()),
            pa.array([str(item.status) for item in prepared], pa.string()),
            pa.array([item.width for item in prepared], pa.int32()),
            pa.array([item.height for item in prepared], pa.int32()),
            pa.array([item.phash for item in prepared], pa.uint64()),
            pa.FixedSizeListArray.from_arrays(pa.array(flat.reshape(-1)), dim),
        ], schema=features_schema(dim))


def _links_table(rows: Sequence[Pair], linked: Sequence[tuple[list[Mention], list[Link]]]) -> pa.Table:
    return pa.Table.from_arrays([
        pa.array([pair.key for pair in rows], pa.string()),
        pa.array([pair.text for pair in rows], pa.string()),
        pa.array([str(pair.status) for pair in rows], pa.string()),
        pa.array([[_fields(m) for m in mentions] for mentions, _ in linked], LINKS.field("mentions").type),
        pa.array([[_fields(link) for link in links] for _, links in linked], LINKS.field("links").type),
    ], schema=LINKS)


def _fields(row: Mention | Link) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__dataclass_fields__}
