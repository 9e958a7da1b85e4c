"""First step of the label job: one pass over a shard gives its texts, their n-grams and its images' features.

Image bytes are read once and never copied. Decoding runs in threads, the encoder in one of its own, and the tables are
written in others; all overlap, since Pillow, torch and Arrow release Python's lock. The tables are kept in the job's
cache under the fingerprints of what made them, so that another encoder over the same backbone, another template or
threshold, or a restarted job does not read the shard again. Mentions are looked for in a second pass, over the texts
alone (`linking.py`), when it is known what the whole corpus repeats.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from openmofi.engine.protocol import Work
from openmofi.features.store import FeatureStore, PreparedImage, content_digits
from openmofi.features.stream import ahead, lane
from openmofi.knowledge import KnowledgeBase
from openmofi.labeling.groups import GroupMerge, PairKeys
from openmofi.labeling.label_settings import TextSettings
from openmofi.labeling.summaries import CorpusSummary, LinkSummary
from openmofi.linking import linker_fingerprint
from openmofi.mentions import detector_fingerprint
from openmofi.mentions.repeats import RepeatMerge, Repeats, summary
from openmofi.pairs import read_pairs
from openmofi.schema import NGRAMS, TEXTS, Pair, PairStatus
from openmofi.storage import Shard, fingerprint, read_arrow, read_parquet, write_arrow, write_table
from openmofi.storage.tables.blocks import BLOCK_ROWS, read_table_blocks, table_blocks
from openmofi.storage.tables.footers import footers, is_whole, require_footer, whole
from openmofi.storage.tables.two_pass import Run, merged_in_tasks

_VERSION = 5
_USABLE, _NGRAMS = "openmofi.usable", "openmofi.ngrams"
_REMADE = "Remove it and start the command again."


@dataclass(frozen=True)
class ReadStage:
    """Reads shards; a `WorkFactory`.

    Attributes:
        kb: the knowledge base.
        text: see `TextSettings`.
        features: gives and keeps the features; its `cache` holds the other tables too.
        texts_key: names what makes the texts and their n-grams.
        corpus_key: names what makes the repeated n-grams, the shards among it; empty where none are looked for.
        links_key: names what makes the links.
        groups_key: names what makes the groups, the shards among it.
        fresh: whether of the shards that it is to read nothing is there, so that nobody need ask.
    """

    kb: KnowledgeBase
    text: TextSettings
    features: FeatureStore
    texts_key: str
    corpus_key: str
    links_key: str
    groups_key: str
    fresh: bool = False

    @classmethod
    def plan(cls, kb: KnowledgeBase, text: TextSettings, features: FeatureStore, shards: Sequence[Shard]) -> ReadStage:
        """Name the tables by what makes them: where repeated texts are looked for, a shard's links by all `shards`."""
        read, content = asdict(features.read), sorted(shard.fingerprint for shard in shards)
        corpus = fingerprint([_VERSION, read, content]) if text.boilerplate else ""
        kinds = ["kinds"] if features.read.has_kinds else []  # earlier caches had none
        links = fingerprint(
            [
                _VERSION,
                kb.fingerprint,
                detector_fingerprint(text.detector),
                linker_fingerprint(text.linker),
                read,
                corpus,
                *kinds,
            ]
        )
        groups = fingerprint([_VERSION, links, features.folder.rpartition("/")[2], content])
        texts = fingerprint([_VERSION, read, text.boilerplate, *kinds])
        return cls(kb, text, features, texts, corpus, links, groups)

    def links_path(self, shard: Shard) -> str:
        """Where the shard's links are kept; the file appears when it is whole, and so do all."""
        return self._path("links", self.links_key, shard)

    def texts_path(self, shard: Shard) -> str:
        """Where the shard's texts are kept, with their n-grams where repeated ones are looked for."""
        return self._path("texts", self.texts_key, shard)

    def _path(self, kind: str, key: str, shard: Shard) -> str:
        return f"{self.features.cache}/{kind}/{key}/{shard.name}-{shard.fingerprint}.parquet"

    @property
    def repeats_path(self) -> str:
        """Where the corpus' repeated n-grams are kept."""
        return f"{self.features.cache}/repeats/{self.corpus_key}.parquet"

    @property
    def groups_path(self) -> str:
        """Where it is kept which pairs of the corpus belong together."""
        return f"{self.features.cache}/groups/{self.groups_key}.arrow"

    def links_of(self, shards: Sequence[Shard]) -> CorpusSummary | None:
        """What the links of shards say on the whole; `None` where some have not been made."""
        corpus = CorpusSummary.of_none(len(self.kb))
        for shard, footer in zip(shards, footers(self.links_path, shards), strict=True):
            if (summary := LinkSummary.of(footer)) is None:
                return None
            corpus.add(shard.fingerprint, summary)
        return corpus

    def unlinked(self, shards: Sequence[Shard]) -> list[Shard]:
        """The shards whose links have still to be made."""
        return [
            shard
            for shard, footer in zip(shards, footers(self.links_path, shards), strict=True)
            if LinkSummary.of(footer) is None
        ]

    def has_texts(self, shard: Shard) -> bool:
        """Whether the shard's texts have been read."""
        return is_whole(self.texts_path(shard))

    def has_features(self, shard: Shard) -> bool:
        """Whether the features of the shard's images have been computed."""
        return self.features.has(shard.name, shard.fingerprint)

    def unread(self, shards: Sequence[Shard], *, linked: bool) -> list[Shard]:
        """The shards of which something has still to be read, where all are `linked` or not."""
        done = self.features.having(shards)
        if not linked:
            done &= self._having_texts(shards)
        return [shard for shard in shards if shard not in done]

    def reading(self, shards: Sequence[Shard]) -> ReadStage:
        """The same for shards that are `unread`."""
        return replace(self, fresh=not self.features.having(shards) and not self._having_texts(shards))

    def _having_texts(self, shards: Sequence[Shard]) -> set[Shard]:
        return {shard for shard, there in zip(shards, whole(self.texts_path, shards), strict=True) if there}

    def repeats(self) -> Repeats:
        """What the corpus repeats, as `find_repeats` found it; nothing where it is not looked for."""
        if not self.text.boilerplate:
            return Repeats(NGRAMS.empty_table())
        return Repeats(read_parquet(self.repeats_path, NGRAMS, hint=_REMADE))

    def find_repeats(self, shards: Sequence[Shard], run: Run) -> None:
        """Merge the n-grams of `shards`, which have been read, where that has not been done."""
        if not self.text.boilerplate or is_whole(self.repeats_path):
            return
        pairs = ngrams = 0
        for shard, footer in zip(shards, footers(self.texts_path, shards), strict=True):
            noted = (footer or require_footer(self.texts_path(shard))).notes
            pairs, ngrams = pairs + int(noted[_USABLE]), ngrams + int(noted[_NGRAMS])
        write_table(
            self.repeats_path,
            merged_in_tasks(RepeatMerge(pairs, ngrams), self.ngram_blocks, shards, f"{self.repeats_path}.parts", run),
        )

    def ngram_blocks(self, shards: Sequence[Shard]) -> Iterator[pa.Table]:
        """The n-grams of some shards."""
        for shard in shards:
            for block in read_table_blocks(self.texts_path(shard), ["ngrams"]):
                counted = block["ngrams"].combine_chunks().flatten()
                yield pa.Table.from_arrays(counted.flatten(), schema=NGRAMS)

    def joined(self) -> pa.Table:
        """Which pairs of the corpus belong together, as `find_groups` found it; memory-mapped where it is local."""
        return read_arrow(self.groups_path)

    def find_groups(self, shards: Sequence[Shard], pairs: int, run: Run) -> None:
        """Find which of the `pairs` of `shards`, which have been linked, belong together, if not yet done."""
        if not is_whole(self.groups_path):
            write_arrow(
                self.groups_path,
                merged_in_tasks(GroupMerge(pairs), self.key_blocks, shards, f"{self.groups_path}.parts", run),
            )

    def key_blocks(self, shards: Sequence[Shard]) -> Iterator[PairKeys]:
        """The keys of the pairs of some shards."""
        for shard in shards:
            links = read_table_blocks(self.links_path(shard), ["template", "source"])
            features = self.features.blocks(shard.name, shard.fingerprint)
            for table, images in zip(links, features, strict=True):
                yield PairKeys.of(table, images.table)

    def __call__(self) -> Work:
        """Nothing heavy to open beside the encoder, which came along."""
        return ShardReader(self).read


@dataclass(frozen=True)
class ShardReader:
    """Does `ReadStage`'s work for one shard after another."""

    stage: ReadStage

    def read(self, shard: Shard) -> dict[str, Any]:
        """Write the shard's texts, n-grams and features where they are missing; returns its row count."""
        fresh = self.stage.fresh
        needs_texts, needs_features = (
            fresh or not self.stage.has_texts(shard),
            fresh or not self.stage.has_features(shard),
        )
        if not needs_texts and not needs_features:
            return {"rows": 0}
        store, rows = self.stage.features, 0
        prepare = store.prepare if needs_features else _undecoded
        with ExitStack() as stack:
            # The texts' tables are finished while the encoder is busy with the last images.
            embed = (
                stack.enter_context(store.embedding(shard.name, shard.fingerprint, first=fresh))
                if needs_features
                else None
            )
            add_texts = (
                stack.enter_context(writing_texts(self.stage.texts_path(shard), ngrams=self.stage.text.boilerplate))
                if needs_texts
                else None
            )
            write = stack.enter_context(lane())
            batches = stack.enter_context(closing(ahead(read_pairs(shard, store.read), prepare, store.batch_size)))
            for batch in batches:
                rows += len(batch)
                images = [image for _, image in batch]
                if add_texts:
                    write(add_texts, [pair for pair, _ in batch], [image.content for image in images])
                if embed:
                    embed(images)
        return {"rows": rows}


@contextmanager
def writing_texts(path: str, *, ngrams: bool) -> Generator[Callable[[Sequence[Pair], Sequence[str]], None]]:
    """Write the texts of a shard, and where they are asked for their n-grams (`openmofi.schema.TEXTS`).

    What is yielded takes the shard's pairs in order, and the digits of each one's image. N-grams are counted in blocks
    of rows, whatever the batches that these come in.
    """
    notes: dict[str, str] = {}
    held: list[tuple[Any, ...]] = []
    usable = counted = 0
    with table_blocks(path, TEXTS, notes) as write:

        def write_block() -> None:
            nonlocal usable, counted
            rows, held[:BLOCK_ROWS] = held[:BLOCK_ROWS], []
            texts = [(text, image) for _, text, status, _, _, image in rows if status == PairStatus.OK]
            table = summary(*zip(*texts, strict=True)) if ngrams and texts else NGRAMS.empty_table()
            usable, counted = usable + len(texts), counted + len(table)
            write(_texts_table(rows, table))

        def add(pairs: Sequence[Pair], images: Sequence[str]) -> None:
            held.extend(
                (pair.key, pair.text, str(pair.status), pair.url, pair.kinds, image)
                for pair, image in zip(pairs, images, strict=True)
            )
            while len(held) >= BLOCK_ROWS:
                write_block()

        yield add
        if held:
            write_block()
        notes |= {_USABLE: str(usable), _NGRAMS: str(counted)}


def _texts_table(rows: Sequence[tuple[Any, ...]], ngrams: pa.Table) -> pa.Table:
    """A block of `TEXTS` with its n-grams in the first row; after the columns, `rows` have their images' digits."""
    *columns, _ = zip(*rows, strict=True)
    offsets = np.full(len(rows) + 1, len(ngrams), np.int32)
    offsets[0] = 0
    lists = pa.ListArray.from_arrays(offsets, ngrams.combine_chunks().to_struct_array().combine_chunks())
    return pa.Table.from_arrays(
        [
            *(pa.array(column, field.type) for column, field in zip(columns, TEXTS, strict=False)),
            lists.cast(TEXTS.field("ngrams").type),
        ],
        schema=TEXTS,
    )


def _undecoded(pair: Pair) -> PreparedImage:
    return PreparedImage(pair.key, pair.status, content=content_digits(pair.image))
