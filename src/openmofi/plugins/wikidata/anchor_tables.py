"""The tables that `openmofi kb anchors` counts, opened again or turned into a knowledge base's source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from openmofi.errors import OpenMofiError, UsageError
from openmofi.knowledge.names import normalise
from openmofi.schema import NAMES, SURFACES
from openmofi.storage import file_digest, read_parquet
from openmofi.storage.table_files import table_footer

ANCHORS = pa.schema(
    [
        ("name", pa.string()),
        ("title", pa.string()),
        ("language", pa.string()),
        ("anchors", pa.int64()),
        ("redirects", pa.int64()),
        ("disambiguation", pa.int64()),
        ("titles", pa.int64()),
    ]
)
"""A name and an article that it may mean, ascending by language, name and title; redirects are resolved.

- name: as it stands in texts; of titles without their qualifier in parentheses.
- anchors: links with this text to the article.
- redirects: redirects to the article that are called so.
- disambiguation: entries of disambiguation pages that are called so.
- titles: 1 where the article itself is called so.
"""

LINK_PROBABILITIES = pa.schema(
    [
        ("name", pa.string()),
        ("language", pa.string()),
        ("anchors", pa.int64()),
        ("occurrences", pa.int64()),
        ("link_probability", pa.float32()),
    ]
)
"""How often a name is a link, ascending by language and name.

- anchors: links with this text, to whatever article.
- occurrences: how often it stands in the plain text of articles; each link is one.
- link_probability: anchors / occurrences; null where it stands in no text.
"""

ANCHORS_DIGEST = "openmofi.anchors"
"""The note in the footer of `LINK_PROBABILITIES` that says beside which `ANCHORS` they were written."""

_AGAIN = "Run `openmofi kb anchors` again."


def probabilities_path(path: str | Path) -> Path:
    """Return the path of the link probabilities beside a file with anchors: `x.link-probability.parquet`."""
    path = Path(path)
    return path.with_name(f"{path.stem}.link-probability{path.suffix}")


@dataclass(frozen=True)
class Anchors:
    """The outcome of `openmofi kb anchors`.

    Attributes:
        names: `ANCHORS`.
        probabilities: `LINK_PROBABILITIES`.
    """

    names: pa.Table
    probabilities: pa.Table

    @classmethod
    def open(cls, path: str | Path) -> Anchors:
        """Read the file with anchors, and the one with link probabilities beside it.

        Raises:
            OpenMofiError: one of them is missing or damaged, or they were not written together.
        """
        names, beside = read_parquet(path, ANCHORS, hint=_AGAIN), probabilities_path(path)
        probabilities = read_parquet(beside, LINK_PROBABILITIES, hint=_AGAIN)
        _require_together(path)
        return cls(names, probabilities)

    def languages(self) -> list[str]:
        """Return the codes of the languages, ascending."""
        return sorted(pc.unique(self.names["language"]).to_pylist())


def anchor_languages(path: str | Path) -> list[str]:
    """Return the languages of a file with anchors, ascending; check it as `Anchors.open` does, without holding it.

    Raises:
        OpenMofiError: see `Anchors.open`; or it has no names.
    """
    languages = [
        _languages(file, schema) for file, schema in ((path, ANCHORS), (probabilities_path(path), LINK_PROBABILITIES))
    ]
    _require_together(path)
    if not languages[0]:
        raise OpenMofiError(f"{path} has no names.", "Count them in the whole dump: `openmofi kb anchors`.")
    return languages[0]


def _languages(path: str | Path, schema: pa.Schema) -> list[str]:
    column = read_parquet(path, schema, columns=["language"], hint=_AGAIN)["language"]
    if not pq.read_schema(path).equals(schema):
        raise OpenMofiError(f"{path} has other columns than this version of OpenMOFI writes.", _AGAIN)
    return sorted(pc.unique(column).to_pylist())


def _require_together(path: str | Path) -> None:
    beside = probabilities_path(path)
    if not (footer := table_footer(beside)):
        raise OpenMofiError(f"{beside} cannot be read.", _AGAIN)
    if footer.notes.get(ANCHORS_DIGEST) != file_digest(Path(path)):
        raise OpenMofiError(f"{beside} was not written together with {path}.", _AGAIN)


def names_tables(
    anchors: Anchors, titles: Mapping[str, str], *, language: str | None = None, disambiguation_weight: float = 0.1
) -> tuple[pa.Table, pa.Table]:
    """Make the tables `names` and `surfaces` of a knowledge base's source (`openmofi kb build table`).

    A name counts for an entity as often as it is a link to its article, once more for each redirect that is called
    so and for the article itself, and a little for entries of disambiguation pages. Names that the builder takes for
    one, such as plurals, have one link probability together. One that was seen too seldom to have a link probability,
    or stands in no text, has no row in `surfaces`.

    Args:
        anchors: what was counted.
        titles: title of an article → id of its entity, as Wikidata's sitelinks say; other articles are left out.
        language: the language of the titles; `None` where `anchors` has only one.
        disambiguation_weight: what an entry of a disambiguation page counts.

    Returns:
        `openmofi.schema.NAMES`, ascending by name and entity, and `openmofi.schema.SURFACES`, ascending by name.

    Raises:
        UsageError: `anchors` has several languages, or not this one.
    """
    language = _one_language(anchors, language)
    names = anchors.names.filter(pc.equal(anchors.names["language"], language))
    entity_of_title = pa.table(
        {"title": pa.array([*titles], pa.string()), "entity": pa.array([*titles.values()], pa.string())}
    )
    names = names.join(entity_of_title, "title", join_type="inner")
    links = pc.add(pc.add(names["anchors"], names["redirects"]), names["titles"]).cast(pa.float64())
    count = pc.add(links, pc.multiply(names["disambiguation"].cast(pa.float64()), disambiguation_weight))
    counted = pa.table([names["name"], names["entity"], count], names=["name", "entity", "count"])
    counted = counted.filter(pc.greater(count, 0.0)).group_by(["name", "entity"]).aggregate([("count", "sum")])
    counted = (
        counted.sort_by([("name", "ascending"), ("entity", "ascending")])
        .rename_columns({"count_sum": "count"})
        .select(NAMES.names)
        .cast(NAMES)
    )
    return counted, _surfaces(anchors, language, counted["name"])


def _one_language(anchors: Anchors, language: str | None) -> str:
    there = anchors.languages()
    if language is None and len(there) == 1:
        return there[0]
    if language is None:
        raise UsageError(f"The anchors are of {len(there)} languages: {', '.join(there)}.", "Name one: language=….")
    if language not in there:
        raise UsageError(f"The anchors have no language {language!r}; they have {', '.join(there)}.", "Name another.")
    return language


def _surfaces(anchors: Anchors, language: str, names: pa.ChunkedArray) -> pa.Table:
    table = anchors.probabilities.filter(pc.equal(anchors.probabilities["language"], language))
    table = table.append_column("key", pa.array(map(normalise, table["name"].to_pylist()), pa.string()))
    sums = table.group_by("key").aggregate([("anchors", "sum"), ("occurrences", "sum")])
    table = table.select(["name", "key"]).join(sums, "key")
    table = table.filter(
        pc.and_(pc.is_in(table["name"], value_set=pc.unique(names)), pc.greater(table["occurrences_sum"], 0))
    ).sort_by("name")
    share = np.divide(table["anchors_sum"].to_numpy(), table["occurrences_sum"].to_numpy())
    return pa.table([table["name"], share.astype(np.float32)], schema=SURFACES)
