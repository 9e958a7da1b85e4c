"""Labels and datasets on disk as objects to look at: what the front door returns."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import pyarrow as pa
import pyarrow.compute as pc

from openmofi.dataset.tables import Folder, as_array, describe, labels_kb
from openmofi.errors import OpenMofiError
from openmofi.extensions import extension
from openmofi.labeling.explain import Explained, Explanation
from openmofi.labeling.tables import accepted_labels
from openmofi.pairs.problems import REASONS
from openmofi.schema import MENTION, Mention, Reason
from openmofi.storage import Shard
from openmofi.storage.addresses import is_remote

if TYPE_CHECKING:
    import pandas

    from openmofi.dataset.collect import Statistics
    from openmofi.dataset.report.page import Corrected
    from openmofi.dataset.report.sample import LabelSample
    from openmofi.knowledge import KnowledgeBase
    from openmofi.review.verdicts import Verdicts


@dataclass(frozen=True, repr=False)
class _Tables:
    folder: Folder
    chosen: Mapping[str, pa.Array] | None = None
    """Name of each shard → its rows that `filter` left; `None` for all."""
    _last: list[Any] = field(default_factory=list, compare=False)
    """The shard of the last row, and its table."""
    kind: ClassVar[str]
    repr_counts: ClassVar[tuple[str, ...]]
    """Names of counts; the first one counts rows."""

    def __len__(self) -> int:
        return int(self.summary[self.repr_counts[0]]) if self.chosen is None else sum(map(len, self.chosen.values()))

    @cached_property
    def _starts(self) -> list[int]:
        """The first row of each shard."""
        return list(accumulate((len(self.table(shard, ["key"])) for shard in self.folder.shards[:-1]), initial=0))

    def __getitem__(self, row: int | slice) -> Any:
        """A row as a dictionary, or a list of several; the shard of the last one stays in memory."""
        position = range(len(self))[row]
        if isinstance(position, range):
            return [self[each] for each in position]
        number = bisect_right(self._starts, position) - 1
        if self._last[:1] != [number]:
            self._last[:] = number, self.table(self.folder.shards[number])
        return self._last[1].slice(position - self._starts[number], 1).to_pylist()[0]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Rows as dictionaries, in the order of `to_arrow`; one shard at a time is in memory."""
        for shard in self.folder.shards:
            yield from self.table(shard).to_pylist()

    def __repr__(self) -> str:
        counts = ", ".join(f"{name}={self.summary[name]}" for name in self.repr_counts if name in self.summary)
        counts = counts if self.chosen is None else f"{len(self):,} rows of {self.summary[self.repr_counts[0]]:,}"
        return f"{type(self).__name__}({str(self.path)!r}, {counts})"

    def _repr_html_(self) -> str:
        """The first labelled images, as a notebook shows them."""
        return str(extension("views", "html")(self))

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open the folder that `openmofi label` or `openmofi dataset build` wrote.

        Raises:
            OpenMofiError: there is none, it is of another kind, or it is not finished.
        """
        return cls(Folder.open(path, cls.kind))

    @property
    def path(self) -> str | Path:
        """Where it lies: a local path, or an address."""
        return self.folder.path if is_remote(self.folder.path) else Path(self.folder.path)

    @property
    def summary(self) -> Mapping[str, Any]:
        """The counts of its manifest."""
        return dict(self.folder.manifest.counts)

    def to_arrow(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows in the order of the shards: a column `shard`, then `columns` of the schema, or all of them.

        Raises:
            OpenMofiError: a file is missing or damaged.
        """
        return pa.concat_tables([self.table(shard, columns) for shard in self.folder.shards])

    def table(self, shard: Shard, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of a shard, with its name as the column `shard`; see `to_arrow`."""
        table = self.folder.read(shard, columns)
        if self.chosen is not None:
            table = table.take(self.chosen[shard.name])
        if "shard" in table.column_names:
            table = table.drop_columns("shard")
        return table.add_column(0, "shard", pa.array([shard.name] * len(table), pa.string()))

    def filter(self, condition: pc.Expression | Callable[[dict[str, Any]], bool]) -> Self:
        """Return the rows that meet a condition, without a copy; what is said of the whole, such as `summary`, stays.

        Args:
            condition: an expression of `pyarrow.compute`, as in `pc.field("status") == "labelled"`, or a function of a
                row.
        """
        chosen = {}
        for shard in self.folder.shards:
            table = self.table(shard)
            rows = self.chosen[shard.name] if self.chosen else pa.array(range(len(table)), pa.int64())
            if isinstance(condition, pc.Expression):
                chosen[shard.name] = as_array(table.append_column("", rows).filter(condition)[""])
            else:
                chosen[shard.name] = rows.filter(pa.array(map(condition, table.to_pylist()), pa.bool_()))
        return type(self)(self.folder, chosen)

    def to_pandas(self, columns: Sequence[str] | None = None) -> pandas.DataFrame:
        """`to_arrow` as a data frame.

        Raises:
            MissingExtraError: pandas is not installed.
            OpenMofiError: see `to_arrow`.
        """
        return extension("views", "frame")(self.to_arrow(columns), "pandas")

    def to_polars(self, columns: Sequence[str] | None = None) -> Any:
        """`to_arrow` as a data frame of polars; see `to_pandas`."""
        return extension("views", "frame")(self.to_arrow(columns), "polars")


@dataclass(frozen=True, repr=False)
class Labels(_Tables):
    """A finished folder of labels: every pair with a status and its judged entities (`schema.LABELS`).

    `summary` holds `rows_in`, `rows_out`, `status` (status → rows), `accepted` labels, `expected_precision` of these,
    `entities` that were judged and the `threshold`.
    """

    kind = "labels"
    repr_counts = ("rows_out", "accepted", "expected_precision")

    def accepted(self) -> pa.Table:
        """One row a label: `shard`, `key`, `entity` (its identifier), `probability`; each entity once an image."""
        table = self.to_arrow(["key", "entities"])
        rows, judged = accepted_labels(table)
        labels = table.select(["shard", "key"]).take(rows)
        for name in ("entity", "probability"):
            labels = labels.append_column(name, judged.field(name))
        return labels

    def entities(self) -> list[str]:
        """Identifiers of the entities that were judged in an image, accepted or not, ascending.

        Raises:
            OpenMofiError: a file is missing or damaged.
        """
        judged: set[str] = set()
        for shard in self.folder.shards:
            lists = as_array(self.folder.read(shard, ["entities"]).column("entities"))
            judged.update(lists.flatten().field("entity").unique().to_pylist())
        return sorted(judged)

    def explain(self, key: str, *, shard: str = "", kb: KnowledgeBase | None = None) -> Explanation:
        """Return the job's decisions about one pair: its mentions, and each candidate with its scores and the reason.

        Args:
            key: of the pair.
            shard: name of its shard, where several have a pair of this key.
            kb: names and descriptions of entities; the labels' own where not given.

        Raises:
            OpenMofiError: no pair or several have this key, or the pair could not be used.
        """
        matches = []
        for each in self.folder.shards:
            if shard in ("", each.name):
                table = self.folder.read(each, ["key", "text", "status", "mentions", "entities"])
                matches += [
                    (each.name, row) for row in table.filter(pc.equal(table["key"], key)).slice(0, 1).to_pylist()
                ]
        if len(matches) != 1:
            names = ", ".join(name for name, _ in matches)
            raise OpenMofiError(
                f"The shards {names} of {self.path} each have a pair {key!r}."
                if matches
                else f"No pair of {self.path} has the key {key!r}.",
                "Name one with --shard." if matches else "Keys are in the column 'key' of the labels.",
            )
        ((name, row),) = matches
        if row["status"] in REASONS:
            raise OpenMofiError(f"The pair {key!r} of {name} could not be used.", REASONS[row["status"]])
        return _explanation(row, self.summary["threshold"], kb or labels_kb(self.folder))

    def audit_page(
        self,
        out: str | Path,
        *,
        sample: int | None = None,
        by: Sequence[str] = ("probability", "type"),
        seed: int = 0,
        kb: KnowledgeBase | None = None,
        target_precision: float | None = None,
        confidence: float | None = None,
        verdicts: str | Path | Verdicts | None = None,
    ) -> LabelSample:
        """Write a page on which a person judges a sample of the labels; see docs/audit.md.

        Args:
            out: the page, one file.
            sample: how many labels to draw; all where there are fewer. Where not given 200, and for a guarantee as many
                as its next step needs.
            by: strata of `probability`, `type` or both.
            seed: of the draw.
            kb: names, descriptions and types of entities; the labels' own where not given.
            target_precision, confidence: draw for a guarantee of this precision with this confidence.
            verdicts: of an earlier draw for a guarantee: draw what decides the next step.

        Raises:
            UsageError: `sample` is not positive, `by` has another value, `target_precision` or `confidence` is missing
                or not between 0 and 1, or `verdicts` were not drawn for a guarantee.
            OpenMofiError: there is nothing to look at, or a shard of pairs has moved or changed.
        """
        from openmofi.dataset.report.page import write_page
        from openmofi.dataset.report.planned import planned

        plan, count = planned(self.folder, target_precision, confidence, _read(verdicts), sample)
        return write_page(self.folder, out, sample=count, by=by, seed=seed, kb=kb, plan=plan)

    def corrected(self, verdicts: str | Path | Verdicts, *, kb: KnowledgeBase | None = None) -> Corrected:
        """The labels' precision by verdicts, with intervals.

        Args:
            verdicts: the file that such a page saved, or a table of an index; or verdicts that were read.
            kb: types of entities; the labels' own where not given.

        Raises:
            OpenMofiError: the file is damaged or of other labels.
        """
        from openmofi.dataset.report.page import correct

        return correct(self.folder, _read(verdicts), kb=kb)


def _explanation(row: Mapping[str, Any], threshold: float, kb: KnowledgeBase | None) -> Explanation:
    mentions, judged = row["mentions"], row["entities"]
    entities = describe([each["entity"] for each in judged], kb, {})
    return Explanation(
        row["text"],
        tuple(Mention(**{each.name: mention[each.name] for each in MENTION}) for mention in mentions),
        tuple(
            Explained(
                mentions[each["mention"]]["surface"],
                mentions[each["mention"]]["detector"],
                entity.id,
                entity.name,
                entity.description,
                each["prior"],
                each["link_score"],
                each["image_score"],
                each["probability"],
                Reason(each["reason"]),
                mentions[each["mention"]].get("kind", ""),
            )
            for each, entity in zip(judged, entities, strict=True)
        ),
        threshold,
    )


def _read(verdicts: Any) -> Any:
    from openmofi.review.verdicts import Verdicts, read_verdicts

    return verdicts if verdicts is None or isinstance(verdicts, Verdicts) else read_verdicts(verdicts)


@dataclass(frozen=True, repr=False)
class Dataset(_Tables):
    """A labelled dataset: the images of each shard with their classes (`schema.DATASET`), and the vocabulary.

    `summary` holds `rows`, `images`, `entities` and `labels`.
    """

    kind = "dataset"
    repr_counts = ("images", "entities", "labels")

    @property
    def statistics(self) -> Statistics:
        """What became of all pairs and labels.

        Raises:
            OpenMofiError: the file is missing or damaged.
        """
        from openmofi.dataset.collect import read_statistics

        return read_statistics(self.path)

    def vocabulary(self) -> pa.Table:
        """The classes, see `schema.VOCABULARY`.

        Raises:
            OpenMofiError: the file is missing or damaged.
        """
        return self.folder.vocabulary

    def to_torch(self, transform: Callable[[Any], Any] | None = None, *, stream: bool = False) -> Any:
        """Return the images with their likeliest classes, for `torch.utils.data.DataLoader`.

        Args:
            transform: takes an RGB image of PIL; the image itself where not given.
            stream: an `IterableDataset` that reads the shards from their beginning, each in one worker, instead of a
                sequence that reads single images.

        Raises:
            MissingExtraError: `stream`, and PyTorch is not installed.
            OpenMofiError: a shard of pairs is gone, or has changed since it was labelled.
        """
        return extension("views", "torch")(self, transform, stream)

    def to_hf(self) -> Any:
        """Return a `Dataset` of `datasets`, which keeps the images in its cache; raises as `to_torch`."""
        return extension("views", "datasets")(self)
