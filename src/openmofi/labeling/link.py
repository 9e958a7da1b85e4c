"""From texts to links: mentions, which of them are boilerplate, and the others' candidate entities.

Detectors and linkers read a text as `openmofi.mentions.patterns` gives it; the tables keep the text as it is, and their
spans count its characters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from operator import attrgetter
from typing import Any

import numpy as np
import pyarrow as pa

from openmofi.engine.steps import Step
from openmofi.knowledge import KnowledgeBase
from openmofi.labeling.groups import source_key, template_key
from openmofi.labeling.in_image import own_text
from openmofi.labeling.label_job import SET_ASIDE_FILE, LabelJob
from openmofi.labeling.label_settings import TextSettings
from openmofi.labeling.summaries import BestRanks, CorpusSummary, LinkSummary, MarkedCounts
from openmofi.labeling.tables import Tables
from openmofi.linking import open_linker
from openmofi.mentions import open_detector
from openmofi.mentions.patterns import MarkedSpan, Readable, pattern_spans, readable
from openmofi.mentions.repeats import RepeatedText, Repeats
from openmofi.schema import LINKS, NGRAMS, Boilerplate, Link, Mention, PairStatus, with_kinds
from openmofi.storage import Shard, read_parquet, read_table_blocks, table_blocks, write_json

_PIECE_CHARS = 120
_BATCH = 1024
_COLUMNS = ("key", "text", "status", "url")
_KINDS = "kinds"


@dataclass(frozen=True)
class LinkedText:
    """A text's mentions, in its own characters; the links of those that are no boilerplate; what in it is repeated."""

    mentions: list[Mention]
    links: list[Link]
    repeated: RepeatedText | None


class TextLinker:
    """Detector and linker over texts as they stand in pairs.

    Args:
        kb: the knowledge base.
        text: see `TextSettings`.
        repeats: what the texts' corpus repeats; nothing where not given.
    """

    def __init__(self, kb: KnowledgeBase, text: TextSettings, repeats: Repeats | None = None) -> None:
        self._names = kb.names
        self._marks = text.boilerplate
        self._detector = open_detector(text.detector, kb)
        self._linker = open_linker(text.linker, kb)
        self._repeats = repeats or Repeats(NGRAMS.empty_table())

    def link(self, texts: Sequence[str]) -> list[LinkedText]:
        """Mentions and links of texts; an empty text has none."""
        as_read = [readable(text, self._names) for text in texts]
        words = [read.text for read in as_read]
        detected = self._detector.detect(words)
        repeated = self._repeats.of_texts(texts)
        mentions = [
            self._marked(text, read, spans, repeated.get(number))
            for number, (text, read, spans) in enumerate(zip(texts, as_read, detected, strict=True))
        ]
        unmarked = [[number for number, mention in enumerate(of_text) if not mention.reason] for of_text in mentions]
        links = self._linker.link(
            words,
            [[of_text[number] for number in numbers] for of_text, numbers in zip(detected, unmarked, strict=True)],
        )
        return [
            LinkedText(
                of_text,
                of_kept
                if len(numbers) == len(of_text)
                else [replace(link, mention=numbers[link.mention]) for link in of_kept],
                repeated.get(number),
            )
            for number, (of_text, numbers, of_kept) in enumerate(zip(mentions, unmarked, links, strict=True))
        ]

    def _marked(
        self,
        text: str,
        read: Readable,
        detected: Sequence[Mention],
        repeated: RepeatedText | None,
    ) -> list[Mention]:
        """Return the mentions in the characters of `text`, with the reason of those that are boilerplate."""
        spans = pattern_spans(text) if self._marks and detected else []
        marked = []
        for mention in detected:
            start, end = read.original(mention.start, mention.end)
            reason = _reason(start, end, spans, repeated)
            marked.append(Mention(start, end, text[start:end], mention.detector, reason))
        return marked


def _reason(start: int, end: int, spans: Sequence[MarkedSpan], repeated: RepeatedText | None) -> str:
    for span in spans:
        if span.start <= start and end <= span.end and not _is_address(start, end, span):
            return str(span.reason)
    return str(Boilerplate.REPEATED) if repeated and repeated.holds(start, end) else ""


def _is_address(start: int, end: int, span: MarkedSpan) -> bool:
    """Whether a name is all of an address: then it is one ("Diagrams.net"), and no part of a URL."""
    return span.reason is Boilerplate.URL and (start, end) == (span.start, span.end)


def link(job: LabelJob) -> None:
    """Link the texts of the shards whose links are missing; from here on the job goes on without those that failed."""
    step, running = link_step(job.tables), job.running
    running.do_shards(step.name, step.run, [shard for shard in job.unlinked if shard not in running.failed])
    job.shards = running.left(job.shards)
    if job.late is None:
        job.late = frozenset(shard.name for shard in running.failed)
        if job.late:
            write_json(f"{job.out}/{SET_ASIDE_FILE}", sorted(job.late))
    if job.unlinked or running.failed:  # else `read` has seen them all
        job.links = CorpusSummary.of_none(len(job.kb))
        for shard, links in zip(job.shards, step.finished(job.shards), strict=True):
            job.links.add(shard.fingerprint, links)


def link_step(tables: Tables) -> Step[LinkSummary]:
    """Return the step that makes the links of a shard."""
    return Step("link", tables.links, partial(ShardLinker, tables), LinkSummary)


class ShardLinker:
    """Links the texts of one shard after another; opens detector and linker, once a worker."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        ngrams = NGRAMS.empty_table()
        if tables.repeats:
            ngrams = read_parquet(tables.repeats, NGRAMS, hint="Remove it and start the command again.")
        self.linker = TextLinker(tables.kb, tables.text, Repeats(ngrams))
        self.kinds = tables.kinds
        self.schema = with_kinds(LINKS) if self.kinds else LINKS

    def __call__(self, shard: Shard) -> dict[str, Any]:
        """Write the shard's links, a block of rows at a time; returns its row count."""
        rows, marked, best = 0, MarkedCounts(), BestRanks()
        notes: dict[str, str] = {}
        columns = [*_COLUMNS, *([_KINDS] if self.kinds else [])]
        with table_blocks(self.tables.links(shard), self.schema, notes) as write:
            for table in read_table_blocks(self.tables.texts(shard), columns):
                links, counts = self._block(table, best)
                write(links)
                rows, marked = rows + len(links), marked + counts
            notes |= best.summary(self.tables.kb, rows, marked).notes()
        return {"rows": rows}

    def _block(self, table: pa.Table, best: BestRanks) -> tuple[pa.Table, MarkedCounts]:
        keys, texts, statuses, urls = (table[name].to_pylist() for name in _COLUMNS)
        usable = [text if status == PairStatus.OK else "" for text, status in zip(texts, statuses, strict=True)]
        linked = [
            row for start in range(0, len(usable), _BATCH) for row in self.linker.link(usable[start : start + _BATCH])
        ]
        for row in linked:
            best.add(row.links)
        kinds = (
            [[(part["kind"], part["end"]) for part in parts] for parts in table[_KINDS].to_pylist()]
            if self.kinds
            else None
        )
        own = list(map(own_text, usable, kinds)) if kinds is not None else usable
        mentions = _lists([row.mentions for row in linked], LINKS.field("mentions").type)
        links = pa.Table.from_arrays(
            [
                *(table[name] for name in ("key", "text", "status")),
                _of_kinds(mentions, linked, kinds, self.schema) if kinds is not None else mentions,
                _lists([row.links for row in linked], LINKS.field("links").type),
                pa.array(
                    [template_key(text, row.repeated) for text, row in zip(own, linked, strict=True)], pa.uint64()
                ),
                pa.array([source_key(key, url) for key, url in zip(keys, urls, strict=True)], pa.uint64()),
            ],
            schema=self.schema,
        )
        return links, _counted(linked)


def _of_kinds(
    mentions: pa.ListArray, linked: Sequence[LinkedText], kinds: Sequence[Sequence[tuple[str, int]]], schema: pa.Schema
) -> pa.ListArray:
    """Return the mentions with the kind of the text that each begins in; "" where that is unknown."""
    column = pa.array(
        [kind_at(mention.start, parts) for row, parts in zip(linked, kinds, strict=True) for mention in row.mentions],
        pa.string(),
    )
    kind = schema.field("mentions").type
    structs = pa.StructArray.from_arrays([*mentions.flatten().flatten(), column], fields=list(kind.value_type))
    return pa.ListArray.from_arrays(mentions.offsets, structs, type=kind)


def kind_at(place: int, kinds: Iterable[tuple[str, int]]) -> str:
    """Return the kind of the text in which a place lies, by `Pair.kinds`; "" where that is unknown."""
    return next((kind for kind, end in kinds if place < end), "")


def _counted(linked: Sequence[LinkedText]) -> MarkedCounts:
    reasons = Counter(mention.reason for row in linked for mention in row.mentions)
    total, plain = reasons.total(), reasons.pop("", 0)
    pieces = Counter(
        piece
        for row in linked
        if row.repeated
        for piece in {piece.lower()[:_PIECE_CHARS] for piece in row.repeated.pieces}
    )
    return MarkedCounts(total, total - plain, dict(reasons), dict(pieces))


def _lists(rows: Sequence[Sequence[Mention | Link]], kind: pa.ListType) -> pa.ListArray:
    """Build a column of lists field by field: a dictionary for each item costs as much as finding it."""
    items = list(chain.from_iterable(rows))
    fields = [pa.array(map(attrgetter(field.name), items), field.type, size=len(items)) for field in kind.value_type]
    offsets = np.cumsum([0, *map(len, rows)])
    structs = pa.StructArray.from_arrays(fields, fields=list(kind.value_type))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), structs, type=kind)
