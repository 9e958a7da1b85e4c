"""Where the tables of a label job lie, each named by what makes it; and links and features read back as arrays.

So another encoder over the same backbone, another template or threshold, or a job that was restarted finds what it
needs in the cache, and does not read the shards again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import zip_longest

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from openmofi.arrays import Bools, Floats, Hashes, Ints
from openmofi.errors import OpenMofiError
from openmofi.features.entity_table import EntityFeatures
from openmofi.features.store import FeatureStore, StoredFeatures
from openmofi.knowledge import KnowledgeBase, normalise
from openmofi.labeling.groups import PairKeys, groups_of
from openmofi.labeling.in_image import reader_fingerprint
from openmofi.labeling.label_settings import TextSettings
from openmofi.linking import linker_fingerprint
from openmofi.mentions import detector_fingerprint
from openmofi.schema import IN_IMAGE, PairStatus
from openmofi.storage import Shard, fingerprint, read_arrow, read_table_blocks

_VERSION = 5


@dataclass(frozen=True)
class Tables:
    """The paths of a corpus' tables, beside its labels; sent to workers.

    Attributes:
        kb: the knowledge base.
        text: see `TextSettings`.
        features: computes and keeps the features; its `cache` holds the other tables too.
        texts_key: names what makes the texts and their n-grams.
        links_key: names what makes the links; where repeated texts are looked for, that is the whole corpus.
        repeats: path of the corpus' repeated n-grams; empty where none are looked for.
        groups: path of the table that says which pairs of the corpus belong together.
        kinds: whether mentions have the kind of the text that they were found in.
    """

    kb: KnowledgeBase
    text: TextSettings
    features: FeatureStore
    texts_key: str
    links_key: str
    repeats: str
    groups: str
    kinds: bool

    @classmethod
    def of(cls, kb: KnowledgeBase, text: TextSettings, features: FeatureStore, shards: Sequence[Shard]) -> Tables:
        """Name the tables of a corpus of `shards`."""
        read, content = asdict(features.read), sorted(shard.fingerprint for shard in shards)
        if text.read_text:
            read[IN_IMAGE] = [reader_fingerprint(), features.size_hint, features.max_pixels]
        corpus = fingerprint([_VERSION, read, content]) if text.boilerplate else ""
        kinds = ["kinds"] if features.read.has_kinds or text.read_text else []
        detector, linker = detector_fingerprint(text.detector), linker_fingerprint(text.linker)
        links = fingerprint([_VERSION, kb.fingerprint, detector, linker, read, corpus, *kinds])
        groups = fingerprint([_VERSION, links, features.folder.rpartition("/")[2], content])
        return cls(
            kb,
            text,
            features,
            fingerprint([_VERSION, read, text.boilerplate, *kinds]),
            links,
            f"{features.cache}/repeats/{corpus}.parquet" if corpus else "",
            f"{features.cache}/groups/{groups}.arrow",
            bool(kinds),
        )

    def texts(self, shard: Shard) -> str:
        """Return the path of a shard's texts, with their n-grams where repeated ones are looked for."""
        return f"{self.features.cache}/texts/{self.texts_key}/{shard.name}-{shard.fingerprint}.parquet"

    def links(self, shard: Shard) -> str:
        """Return the path of a shard's links."""
        return f"{self.features.cache}/links/{self.links_key}/{shard.name}-{shard.fingerprint}.parquet"


@dataclass(frozen=True)
class LinkArrays:
    """Links as arrays: one element a candidate, ordered by pair, mention, descending link score.

    Attributes:
        entity_ids: identifiers that occur, sorted; `entity` indexes them.
        pair: row of the pair in its shard, int64.
        mention: index of the mention in its pair, int64.
        entity: index into `entity_ids`, int64.
        prior, link_score: float32, see `openmofi.schema.Link`.
        judged: bool, whether the image judges it (the best `max_candidates` of each mention).
        in_image: bool, whether its mention stands in the image itself.
    """

    entity_ids: pa.Array
    pair: Ints
    mention: Ints
    entity: Ints
    prior: Floats
    link_score: Floats
    judged: Bools
    in_image: Bools

    def __len__(self) -> int:
        return len(self.pair)

    @property
    def group(self) -> Ints:
        """Return the number of each element's (pair, mention): 0, 1, 2 …, non-decreasing."""
        return np.cumsum(starts_of(self.pair) | starts_of(self.mention), dtype=np.int64) - 1

    def of_pairs(self, rows: Ints) -> LinkArrays:
        """Return the links of the pairs `rows` (ascending), which become 0, 1, 2 …"""
        position = np.searchsorted(rows, self.pair)
        selected = rows[np.minimum(position, len(rows) - 1)] == self.pair if len(rows) else np.zeros(len(self), bool)
        others = (getattr(self, field.name)[selected] for field in fields(self)[2:])
        return LinkArrays(self.entity_ids, position[selected], *others)


def link_arrays(
    links: pa.ListArray | pa.ChunkedArray, max_candidates: int, mentions: pa.ListArray | pa.ChunkedArray | None = None
) -> LinkArrays:
    """Flatten the `links` column of a links table; its `mentions` say what stands in images, where anything does."""
    column = links.combine_chunks() if isinstance(links, pa.ChunkedArray) else links
    flat = column.flatten()
    pair = np.repeat(np.arange(len(column)), np.diff(column.offsets.to_numpy()))
    mention = flat.field("mention").to_numpy().astype(np.int64)
    ids = flat.field("entity")
    distinct = pc.unique(ids).sort() if len(ids) else pa.array([], pa.string())
    entity = pc.index_in(ids, value_set=distinct).to_numpy(zero_copy_only=False).astype(np.int64)
    return LinkArrays(
        distinct,
        pair,
        mention,
        entity,
        flat.field("prior").to_numpy(),
        flat.field("link_score").to_numpy(),
        rank_in_run(starts_of(pair) | starts_of(mention)) < max_candidates,
        np.zeros(len(pair), bool) if mentions is None else _in_image(mentions, pair, mention),
    )


def _in_image(mentions: pa.ListArray | pa.ChunkedArray, pair: Ints, mention: Ints) -> Bools:
    """Return (n,) whether the mention `mention` of the pair `pair` stands in the image itself."""
    if mentions.type.value_type.get_field_index("kind") < 0:
        return np.zeros(len(pair), bool)
    kinds = _field_of(mentions, "kind", pair, mention)
    return np.asarray(pc.equal(kinds, IN_IMAGE).to_numpy(zero_copy_only=False), bool)


def _field_of(mentions: pa.ListArray | pa.ChunkedArray, field: str, pair: Ints, mention: Ints) -> pa.Array:
    column = mentions.combine_chunks() if isinstance(mentions, pa.ChunkedArray) else mentions
    offsets = column.offsets.to_numpy()
    return column.flatten().field(field).take(pa.array(offsets[pair] - offsets[0] + mention))


@dataclass(frozen=True)
class ReadShard:
    """The read step's output for a shard, or for a block of its rows.

    Attributes:
        shard: the shard.
        table: links (`openmofi.schema.LINKS`), one row a pair.
        features: of the images, in the same order.
        links: the table's links as arrays.
        usable: (pairs,) whether text and image can both be used.
        groups: (pairs,) uint64 numbers of groups over the whole corpus, see `openmofi.labeling.groups.groups_of`.
    """

    shard: Shard
    table: pa.Table
    features: StoredFeatures
    links: LinkArrays
    usable: Bools
    groups: Hashes

    @classmethod
    def blocks(cls, tables: Tables, shard: Shard) -> Iterator[ReadShard]:
        """Read the links and features of a shard, a block of rows at a time; one empty block where it has no rows.

        Raises:
            OpenMofiError: the cache is damaged.
        """
        joined, store = read_arrow(tables.groups), tables.features
        linked = read_table_blocks(tables.links(shard))
        for table, features in zip_longest(linked, store.blocks(shard.name, shard.fingerprint)):
            if table is None or features is None or len(table) != len(features.table):
                raise OpenMofiError(
                    f"The links and features of {shard.path} have other rows.",
                    "Remove the job's cache and start again.",
                )
            texts = np.array(table.column("status").to_pylist(), object) == PairStatus.OK
            yield cls(
                shard,
                table,
                features,
                link_arrays(table.column("links"), tables.text.max_candidates, table.column("mentions")),
                texts & features.usable,
                groups_of(shard.name, table.column("key").to_pylist(), PairKeys.of(table, features.table), joined),
            )

    @property
    def keys(self) -> list[str]:
        """Return the (pairs,) keys."""
        return self.table.column("key").to_pylist()


def judged_rows(links: LinkArrays, entities: EntityFeatures) -> Ints:
    """Return the row in `entities` of each of `links.entity_ids`; −1 for those that no image judges."""
    rows = np.full(len(links.entity_ids), -1, np.int64)
    judged = np.unique(links.entity[links.judged])
    if len(judged):
        rows[judged] = entities.rows(links.entity_ids.take(pa.array(judged)))
    return rows


def mention_names(mentions: pa.ListArray | pa.ChunkedArray, pair: Ints, mention: Ints) -> list[str]:
    """Return (n,) the normalised name that the mention `mention` of the pair `pair` uses.

    Args:
        mentions: column of a links table; `pair` are its rows.
    """
    surfaces = _field_of(mentions, "surface", pair, mention)
    if not len(surfaces):
        return []
    encoded = surfaces.dictionary_encode()
    names = [normalise(surface) for surface in encoded.dictionary.to_pylist()]
    return [names[code] for code in encoded.indices.to_pylist()]


def first_of_each(pair: Ints, entity: Ints) -> tuple[Ints, Ints]:
    """Return positions of each (pair, entity)'s first element, ascending, and every element's rank among them."""
    code = pair * (int(entity.max(initial=0)) + 1) + entity
    _, first, inverse = np.unique(code, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return first[order], rank[inverse]


def accepted_labels(table: pa.Table) -> tuple[pa.Array, pa.StructArray]:
    """Return row and element of each label of a table with the column `entities`; each entity once a row."""
    entities = table["entities"].combine_chunks()
    rows, judged = pc.list_parent_indices(entities), entities.flatten()
    accepted = judged.field("accepted")
    rows, labels = rows.filter(accepted), judged.filter(accepted)
    codes = labels.field("entity").dictionary_encode().indices.to_numpy().astype(np.int64)
    first, _ = first_of_each(rows.to_numpy().astype(np.int64), codes)
    return rows.take(pa.array(first)), labels.take(pa.array(first))


def renumbered(group: Ints) -> Ints:
    """Renumber non-decreasing numbers to 0, 1, 2 … in the same order."""
    return np.unique(group, return_inverse=True)[1].astype(np.int64) if len(group) else group


def starts_of(group: Ints) -> Bools:
    """Whether each element is the first of a run of equal numbers."""
    new = np.ones(len(group), bool)
    new[1:] = np.diff(group) != 0
    return new


def rank_in_run(new: Bools) -> Ints:
    """Return the rank 0, 1, 2 … of each element in its run; `new` is true at the first of each."""
    starts = np.flatnonzero(new)
    return np.arange(len(new)) - np.repeat(starts, np.diff(np.append(starts, len(new))))
