"""What names mean, and how often they are meant at all: from counted links, else page views, else sitelinks.

The tables that `openmofi.plugins.wikidata.select` writes its names from, made by DuckDB out of core.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyarrow import csv

from openmofi.arrays import Doubles, Ints
from openmofi.errors import OpenMofiError, UsageError
from openmofi.knowledge.names import normalise
from openmofi.plugins.wikidata.anchor_tables import anchor_languages, probabilities_path
from openmofi.plugins.wikidata.slots import packed_by, unpacked
from openmofi.plugins.wikidata.wikitext import wiki_code
from openmofi.storage import file_fingerprint

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


# Of a name n, an entity e has L(n, e) links and C(n, e) pages, redirects, labels and aliases that are called so. With
# the entity's popularity w (page views or sitelinks)
#
#     P(e | n)  ∝  L(n, e) + γ·C(n, e) + α·q(e | n),    q(e | n) ∝ (w(e) + 1)^β
#
# α, β and γ are those under which links that are held out are likeliest: each link is predicted from all others
# (leave-one-out; https://en.wikipedia.org/wiki/Cross-validation_(statistics)). So nothing but the counts is needed, and
# where a name has no links, popularity counts as it does where there are some.

ALPHAS = tuple(float(2.0**power) for power in range(-5, 8))
BETAS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
GAMMAS = (0.0, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
LEAST_LINKS = 1000
"""Below so many links of ambiguous names the weights stay as they are by default."""


@dataclass(frozen=True)
class NameCounts:
    """Names that may mean several entities; a row a name and an entity.

    Attributes:
        name: number of the name, from 0.
        links, called: see the module.
        popularity: w.
    """

    name: Ints
    links: Doubles
    called: Doubles
    popularity: Doubles


@dataclass(frozen=True)
class Weights:
    """What evidence counts, in links.

    Attributes:
        alpha: of popularity, together for all entities of a name.
        beta: the exponent of popularity.
        gamma: of a page, redirect, label or alias.
    """

    alpha: float = 1.0
    beta: float = 1.0
    gamma: float = 1.0


@dataclass(frozen=True)
class Fit:
    """The weights, and how likely they make links that are held out.

    Attributes:
        weights: the likeliest, or the default ones where there are too few links.
        links: of ambiguous names, which they were found by.
        log_likelihood: mean of a link that is predicted from the others.
        popularity_alone: the same without counts, under `weights.beta`.
    """

    weights: Weights
    links: int
    log_likelihood: float
    popularity_alone: float


def fit_weights(counts: NameCounts) -> Fit:
    """Find the weights under which links are likeliest when each is predicted from the others."""
    linked = np.flatnonzero(counts.links)
    links, total = counts.links[linked], counts.links.sum()
    if total < LEAST_LINKS:
        return Fit(Weights(), int(total), float("nan"), float("nan"))
    name = counts.name
    all_links, all_called = (np.bincount(name, values)[name][linked] for values in (counts.links, counts.called))
    called = counts.called[linked]
    best, weights = -np.inf, Weights()
    for beta in BETAS:
        share = _shares(counts, beta)[linked]
        for alpha, gamma in product(ALPHAS, GAMMAS):
            predicted = (links - 1 + gamma * called + alpha * share) / (all_links - 1 + gamma * all_called + alpha)
            likelihood = float(links @ np.log(predicted)) / total
            if likelihood > best:
                best, weights = likelihood, Weights(alpha, beta, gamma)
    alone = float(links @ np.log(_shares(counts, weights.beta)[linked])) / total
    return Fit(weights, int(total), best, alone)


def _shares(counts: NameCounts, beta: float) -> Doubles:
    weight: Doubles = (counts.popularity + 1.0) ** beta
    return weight / np.bincount(counts.name, weight)[counts.name]


LINKS, PAGEVIEWS, SITELINKS = "links", "pageviews", "sitelinks"
SOURCES = (LINKS, PAGEVIEWS, SITELINKS)
"""What an entity's prior is known by, the best first."""

_SAMPLE = 400_000
_DISAMBIGUATION = 0.1
"""What an entry of a disambiguation page counts of a redirect, as in `names_tables`."""
_UNIT = 1 << 20
"""Popularity's shares are summed up as whole numbers, so that a sum does not depend on its order."""
_VIEWS = {b"Entity": b"QRank", b"item": b"pageviews_52w"}
"""Columns of page views: of QRank's table, and of item_signals, by the same author."""
_CODECS = {"": None, "gzip": "gzip", "bzip2": "bz2", "zstandard": "zstd"}
_QRANK = "It is a table with the columns Entity and QRank, or item and pageviews_52w, of https://qrank.toolforge.org."


@dataclass(frozen=True)
class PriorSources:
    """Files that say what names mean.

    Attributes:
        anchors: outputs of `openmofi kb anchors`, each of other languages.
        pageviews: QRank's table, or its successor's, `item_signals-DATE.csv.zst`.
    """

    anchors: tuple[Path, ...] = ()
    pageviews: Path | None = None

    def inputs(self) -> dict[str, str]:
        """Return the fingerprint of each file, by its role and name, for a manifest.

        Raises:
            OpenMofiError: a file is missing, or two have the same name.
        """
        files = [("anchors", path) for path in self.anchors]
        files += [("pageviews", self.pageviews)] if self.pageviews else []
        names = [f"{kind}/{path.name}" for kind, path in files]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise OpenMofiError(
                f"Two files are named {twice.partition('/')[2]}.", "Give each once; rename them where they differ."
            )
        return {name: file_fingerprint(path) for name, (_, path) in zip(names, files, strict=True)}

    def require_readable(self, languages: Sequence[str]) -> None:
        """Refuse files of another kind before the dumps are read.

        Raises:
            UsageError: a language of the anchors is none of the base's, or is in two files.
            OpenMofiError: a file is missing, damaged, empty, or no such table.
        """
        path_of = dict[str, Path]()
        for path in self.anchors:
            codes = anchor_languages(path)
            for language in codes:
                if language not in map(wiki_code, languages):
                    raise UsageError(
                        f"{path} has names of {language!r}, and the base has the languages {', '.join(languages)}.",
                        f"Add {language} to --languages, or leave it out.",
                    )
                if language in path_of:
                    raise UsageError(
                        f"{path_of[language]} and {path} both have names of {language!r}.",
                        "Give one file a language: counts of both would add up.",
                    )
                path_of[language] = path
        if self.pageviews:
            _view_columns(self.pageviews)


def load_popularity(connection: DuckDBPyConnection, pageviews: Path | None) -> int:
    """Make the table `popular` (id, popularity, viewed) of the items that stay; return how many have page views.

    Without page views popularity is the number of sitelinks. With them, an item that has none is as popular as its
    sitelinks say where the median item has both.

    Raises:
        OpenMofiError: the file is no table of page views, or knows none of the items.
    """
    if pageviews is None:
        connection.execute(
            "CREATE TABLE popular AS SELECT id, sitelinks::DOUBLE AS popularity, false AS viewed FROM kept"
        )
        return 0
    _read_pageviews(connection, pageviews)
    row = connection.execute(
        "SELECT count(*), median(views / (sitelinks + 1)) FROM kept JOIN viewed USING (id)"
    ).fetchone()
    assert row
    if not row[0]:
        raise OpenMofiError(f"{pageviews} knows none of the base's entities.", _QRANK)
    connection.execute(
        """
        CREATE TABLE popular AS
        SELECT id, coalesce(views::DOUBLE, round((sitelinks + 1) * ?)) AS popularity, views IS NOT NULL AS viewed
        FROM kept LEFT JOIN viewed USING (id)""",
        [row[1]],
    )
    return int(row[0])


def _view_columns(path: Path) -> tuple[str, str]:
    """Return the names of the columns of entities and of page views; refuse a file that has none."""
    header = next(unpacked(path, _QRANK))[0].partition(b"\n")[0].strip()
    names = header.split(b",")
    if len(names) < 2 or _VIEWS.get(names[0]) not in names:
        beginning = header[:60].decode("utf-8", "replace")
        raise OpenMofiError(f"{path} is no table of page views: it begins with {beginning!r}.", _QRANK)
    return names[0].decode(), _VIEWS[names[0]].decode()


def _read_pageviews(connection: DuckDBPyConnection, path: Path) -> None:
    """Make the table `viewed` (id, views); rows of other entities than items are left out."""
    import duckdb

    entity, views = _view_columns(path)
    texts = csv.ConvertOptions(column_types={entity: pa.string(), views: pa.string()}, include_columns=[entity, views])
    try:
        with pa.input_stream(str(path), compression=_CODECS[packed_by(path)]) as stream:
            connection.register("counts", csv.open_csv(stream, convert_options=texts))
            connection.execute(rf"""
                CREATE TABLE viewed AS SELECT substr({entity}, 2)::BIGINT AS id, max({views}::BIGINT) AS views
                FROM counts WHERE regexp_full_match({entity}, 'Q[0-9]{{1,18}}') GROUP BY id""")
    except duckdb.OutOfMemoryException:
        raise
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise OpenMofiError(f"{path} cannot be read as page views: {reason}.", _QRANK) from error


def load_names(connection: DuckDBPyConnection, anchors: Sequence[Path]) -> dict[str, Any]:
    """Make the tables `named` (name, id, count), `surface` (name, link_probability) and `linked` (id).

    Without anchors a name's count is its entity's popularity + 1. With them names that the builder takes for one are
    one row an entity, and counts are of `openmofi.plugins.wikidata.priors`.

    Returns:
        What was counted, for a manifest: the weights and how they were found; nothing without anchors.

    Raises:
        OpenMofiError: the anchors know none of the items.
    """
    if not anchors:
        connection.execute("""
            CREATE TABLE named AS SELECT name, id, popularity + 1 AS count
            FROM (SELECT id, unnest(list_distinct(list_prepend(name, aliases))) AS name FROM kept)
            JOIN popular USING (id)""")
        connection.execute("CREATE TABLE surface (name VARCHAR, link_probability FLOAT)")
        connection.execute("CREATE TABLE linked (id BIGINT)")
        return {}
    _count(connection, anchors)
    fit = fit_weights(_ambiguous(connection))
    weights = fit.weights
    connection.execute(
        f"""
        CREATE TABLE named AS
        WITH share AS (
            SELECT key, id, name, links, called, round((popularity + 1) ^ $beta * {_UNIT})::HUGEINT AS share
            FROM counted JOIN popular USING (id))
        SELECT name, id, links + $gamma * called + $alpha * share / sum(share) OVER (PARTITION BY key) AS count
        FROM share""",
        asdict(weights),
    )
    return _facts(connection, fit)


def _count(connection: DuckDBPyConnection, anchors: Sequence[Path]) -> None:
    """Make the tables `counted` (key, id, name, links, called), `surface` and `linked`."""
    vectorised: Any = "arrow"  # its enumeration is in other places in other versions
    connection.create_function("key_of", _keys, ["VARCHAR"], "VARCHAR", type=vectorised)
    files, beside = [str(path) for path in anchors], [str(probabilities_path(path)) for path in anchors]
    connection.execute(
        """
        CREATE TABLE naming AS
        WITH title AS (
            SELECT language, title, min(id) AS id
            FROM (SELECT id, unnest(titles, recursive := true) FROM kept) GROUP BY language, title)
        SELECT id, aliased AS name, aliased <> kept.name AS other, 0 AS anchors, 1 AS called, 0 AS listed
        FROM (SELECT id, name, unnest(list_distinct(list_prepend(name, aliases))) AS aliased FROM kept) AS kept
        UNION ALL
        SELECT id, name, true, anchors, redirects + titles, disambiguation
        FROM read_parquet(?) JOIN title USING (language, title)""",
        [files],
    )
    row = connection.execute("SELECT count(*) FROM naming WHERE anchors > 0").fetchone()
    assert row
    if not row[0]:
        raise OpenMofiError(
            f"None of the articles of {', '.join(files)} is of an entity of the base.",
            "Give the anchors of the Wikipedias of its languages, and dumps of about the same day.",
        )
    connection.execute(
        """
        CREATE TABLE spelt AS SELECT name, key_of(name) AS key
        FROM (SELECT name FROM naming UNION SELECT name FROM read_parquet(?))""",
        [beside],
    )
    connection.execute(f"""
        CREATE TABLE counted AS
        SELECT key, id, min({{'other': other, 'name': name}}).name AS name, sum(anchors)::DOUBLE AS links,
               sum(called) + {_DISAMBIGUATION} * sum(listed) AS called
        FROM naming JOIN spelt USING (name) WHERE key <> '' GROUP BY key, id""")
    connection.execute(
        """
        CREATE TABLE surface AS
        SELECT key AS name, (sum(anchors) / sum(occurrences))::FLOAT AS link_probability
        FROM read_parquet(?) JOIN spelt USING (name) WHERE key IN (SELECT key FROM counted)
        GROUP BY key HAVING sum(occurrences) > 0""",
        [beside],
    )
    connection.execute("CREATE TABLE linked AS SELECT id FROM counted GROUP BY id HAVING sum(links) > 0")


def _keys(names: pa.ChunkedArray | pa.Array) -> pa.Array:
    return pa.array([normalise(name) for name in names.to_pylist()], pa.string())


def _ambiguous(connection: DuckDBPyConnection) -> NameCounts:
    """Return linked names that may mean several entities; of very many a part, chosen by digest."""
    rows: Any = connection.sql(f"""
        SELECT key, links, called, popularity FROM counted JOIN popular USING (id)
        WHERE key IN (SELECT key FROM counted GROUP BY key HAVING count(*) > 1 AND sum(links) > 1)
        ORDER BY md5(key), key, id LIMIT {_SAMPLE}""").to_arrow_table()
    key = rows["key"].combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
    return NameCounts(key, *(rows[name].cast(pa.float64()).to_numpy() for name in ("links", "called", "popularity")))


def _facts(connection: DuckDBPyConnection, fit: Fit) -> dict[str, Any]:
    ((names, linked),) = connection.execute("""
        SELECT count(*), count(*) FILTER (links > 0)
        FROM (SELECT sum(links) AS links FROM counted GROUP BY key)""").fetchall()
    likelihoods = (
        {}
        if fit.weights == Weights() and np.isnan(fit.log_likelihood)
        else {
            "log_likelihood": round(float(fit.log_likelihood), 4),
            "popularity_alone": round(float(fit.popularity_alone), 4),
        }
    )
    return {
        "names_with_links": linked,
        "names_without": names - linked,
        "links_fitted_on": fit.links,
        **asdict(fit.weights),
        **likelihoods,
    }
