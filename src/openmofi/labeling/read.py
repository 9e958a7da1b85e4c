"""The first steps of the label job: one pass over a shard gives its texts, their n-grams and its images' features.

Image bytes are read once and never copied. Decoding runs in threads, the encoder in one of its own, and the tables are
written in others; all overlap, since Pillow, torch and Arrow release Python's lock. Mentions are looked for in a second
pass, over the texts alone (`link.py`), when it is known what the whole corpus repeats. The entities that these name are
embedded last.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from openmofi.engine.steps import Step
from openmofi.engine.two_pass import Part, merged_in_tasks, parts_of
from openmofi.features.entities import entity_table
from openmofi.features.store import FeatureStore, PreparedImage, content_digits
from openmofi.features.stream import ahead, lane
from openmofi.labeling.group_merge import merge_groups
from openmofi.labeling.groups import PairKeys
from openmofi.labeling.in_image import ImageReader, with_lines
from openmofi.labeling.label_job import LabelJob
from openmofi.labeling.link import link_step
from openmofi.labeling.summaries import CorpusSummary, TextSummary
from openmofi.labeling.tables import Tables
from openmofi.mentions.repeats import RepeatMerge, ngram_blocks, summary
from openmofi.pairs import read_pairs
from openmofi.pairs.index import writing_index
from openmofi.schema import NGRAMS, TEXTS, Pair, PairStatus
from openmofi.storage import Shard, remove_leftovers, write_table
from openmofi.storage.table_files import BLOCK_ROWS, is_whole, read_table_blocks, table_blocks, table_footer

_log = logging.getLogger(__name__)


def read(job: LabelJob) -> None:
    """Read the shards whose features are missing, or whose texts are while some links have still to be made."""
    tables, texts = job.tables, _texts(job.tables)
    job.links = CorpusSummary.of_none(len(job.kb))
    job.unlinked = link_step(tables).missing(job.shards, lambda shard, of: job.links.add(shard.fingerprint, of))
    embedded = tables.features.having(job.shards)
    if not job.unlinked and len(embedded) == len(job.shards):
        return
    # A killed job's half-written tables may be as large as its shards.
    remove_leftovers(tables.features.cache)
    untexted = set(texts.missing(job.shards))
    needed = untexted if job.unlinked else set()
    unread = [shard for shard in job.shards if shard in needed or shard not in embedded]
    fresh = all(shard in untexted and shard not in embedded for shard in unread)
    results = job.running.do_shards("read", partial(ShardReader, tables, fresh), unread)
    job.texts = job.running.said(texts, unread, results)
    job.running.left(job.shards)


def repeats(job: LabelJob) -> None:
    """Find what the texts of the corpus repeat, where links have still to be made."""
    tables = job.tables
    if job.unlinked and tables.repeats and not is_whole(tables.repeats):
        shards = job.running.left(job.shards)
        total = sum(_texts(tables).finished(shards, job.texts), TextSummary(0, 0))
        merge, blocks = RepeatMerge(total.usable, total.ngrams), partial(_ngrams, tables)
        write_table(tables.repeats, merged_in_tasks(merge, blocks, shards, tables.repeats, job.running))
    job.texts = {}


def groups(job: LabelJob) -> None:
    """Find which pairs of the corpus belong together."""
    if not is_whole(path := job.tables.groups):
        pairs = sum(map(job.rows, job.shards))
        merge_groups(path, partial(_keys, job.tables), job.shards, pairs, job.running)


def entities(job: LabelJob) -> None:
    """Embed the texts and images of the entities that occur, and those of the known reference set."""
    occurring = job.links.judged(job.settings.text.max_candidates)
    progress, kb = job.running.progress, job.kb
    if not len(occurring):
        progress.say(
            f"No text of a usable pair names an entity of the knowledge base {kb.path}: nothing can be labelled."
        )
    rows = np.union1d(occurring, kb.rows(job.stored.calibration.reference if job.stored else ()))
    cache = job.tables.features.cache
    judged = _judged_references(job)
    job.entities = entity_table(kb, job.encoder, rows, job.template, cache, job.running.engine, progress, judged)


def _judged_references(job: LabelJob) -> pa.Array | None:
    """Return the contents of reference images that pairs have, too; `None` where the base has no reference images."""
    if job.kb.images is None:
        return None
    work = _ReferencesAmong(job.tables.features, job.kb.images["content"].unique())
    parts = parts_of(job.shards)
    results = job.running.do("references", work, parts) if len(parts) > 1 else map(work(), parts)
    found = set(chain.from_iterable(result["contents"] for result in results))
    if found:
        job.running.progress.say(
            f"{len(found):,} reference images of {job.kb.path} are images of these pairs, which they would confirm: "
            "they are left out."
        )
    return pa.array(sorted(found), pa.string())


@dataclass(frozen=True)
class _ReferencesAmong:
    """Finds which contents of reference images the pairs of a part have; a `WorkFactory`."""

    features: FeatureStore
    known: pa.Array

    def __call__(self) -> Callable[[Part], dict[str, Any]]:
        return self._found

    def _found(self, part: Part) -> dict[str, Any]:
        contents = set[str]()
        for shard in part.shards:
            for block in self.features.columns(shard.name, shard.fingerprint, ["content"]):
                contents.update(block["content"].filter(pc.is_in(block["content"], self.known)).to_pylist())
        return {"contents": sorted(contents)}


def _texts(tables: Tables) -> Step[TextSummary]:
    return Step("read", tables.texts, partial(ShardReader, tables), TextSummary)


def _ngrams(tables: Tables, shards: Sequence[Shard]) -> Iterator[pa.Table]:
    return ngram_blocks([tables.texts(shard) for shard in shards])


def _keys(tables: Tables, shards: Sequence[Shard]) -> Iterator[PairKeys]:
    """Read the keys of the pairs of some shards."""
    for shard in shards:
        links = read_table_blocks(tables.links(shard), ["template", "source"])
        images = tables.features.columns(shard.name, shard.fingerprint, ["phash"])
        for table, of_images in zip(links, images, strict=True):
            yield PairKeys.of(table, of_images)


@dataclass(frozen=True)
class ShardReader:
    """Reads one shard after another.

    Attributes:
        tables: names what it writes.
        fresh: whether nothing of its shards is there, so that it need not look.
    """

    tables: Tables
    fresh: bool = False

    @cached_property
    def _reader(self) -> ImageReader | None:
        """What reads the texts in images; opened once a worker."""
        return ImageReader.open() if self.tables.text.read_text else None

    def __call__(self, shard: Shard) -> dict[str, Any]:
        """Write the shard's texts, n-grams and features where they are missing, and the positions of its images.

        Returns:
            `rows`, its row count, and the `TextSummary` of texts that were written.
        """
        store, path = self.tables.features, self.tables.texts(shard)
        needs_texts = self.fresh or TextSummary.of(table_footer(path)) is None
        needs_features = self.fresh or not store.has(shard.name, shard.fingerprint)
        if not needs_texts and not needs_features:
            return {"rows": 0}
        rows, unread, notes = 0, list[str](), dict[str, str]()
        reader = self._reader if needs_texts else None
        prepare = partial(store.prepare, look=reader) if needs_features or reader else _undecoded
        with ExitStack() as stack:
            # The texts' tables are finished while the encoder is busy with the last images.
            features = store.embedding(shard.name, shard.fingerprint, first=self.fresh)
            embed = stack.enter_context(features) if needs_features else None
            texts = writing_texts(path, notes, ngrams=self.tables.text.boilerplate)
            add_texts = stack.enter_context(texts) if needs_texts else None
            add_places = stack.enter_context(writing_index(shard, store.cache, store.read))
            write = stack.enter_context(lane())
            batches = stack.enter_context(closing(ahead(read_pairs(shard, store.read), prepare, store.batch_size)))
            for batch in batches:
                rows += len(batch)
                add_places([pair for pair, _ in batch])
                images = [image for _, image in batch]
                if reader:
                    unread += [image.key for image in images if image.status == PairStatus.OK and image.seen is None]
                if add_texts:
                    write(add_texts, [self._pair(*each) for each in batch], [image.content for image in images])
                if embed:
                    embed(images)
        if reader and unread:
            _log.warning(
                "The text in %d images of %s, the first of %s, could not be read (%s: %s); these rows lack it.",
                *(len(unread), shard.path, unread[0], type(reader.error).__name__, reader.error),
            )
        return {"rows": rows, **notes}

    def _pair(self, pair: Pair, image: PreparedImage) -> Pair:
        """Return a pair with what its image says, where images are read."""
        return with_lines(pair, image.seen or (), self.tables.features.read.max_text_chars) if self._reader else pair


@contextmanager
def writing_texts(
    path: str, notes: dict[str, str], *, ngrams: bool
) -> Generator[Callable[[Sequence[Pair], Sequence[str]], None]]:
    """Write the texts of a shard, and where they are asked for their n-grams (`openmofi.schema.TEXTS`); in the end
    `notes` has their `TextSummary`.

    What is yielded takes the shard's pairs in order, and the digits of each one's image. N-grams are counted in blocks
    of rows, whatever the batches that these come in.
    """
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
        notes |= TextSummary(usable, counted).notes()


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
