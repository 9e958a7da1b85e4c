"""A world whose dumps of items and of pages belong together: what names mean there is drawn, and known.

Words are shared by entities. An entity is meant by its word as often as its fame says, by and large; sitelinks and page
views tell fame with errors of their own. Pages link to entities by their words, more often to some words than to others
(Zipf), so that many names have few links and some have none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from item_dumps import Entity, item, statement, write_dump
from page_dumps import page, write

from openmofi.knowledge import KnowledgeBase
from openmofi.plugins.wikidata.anchor_tables import Anchors
from openmofi.plugins.wikidata.anchors import build_anchors
from openmofi.storage import read_parquet

TITLES = pa.schema([("language", pa.string()), ("title", pa.string()), ("entity", pa.string())])
UNIFORM = 0.01
"""What each prior is mixed with before its likelihood is taken, since links alone give some links none."""


@dataclass(frozen=True)
class World:
    """Attributes:
    items: of the dump of items; entity n is `Q{n + 1}`.
    pages: of each entity that has an article.
    views: page views a year, by entity.
    """

    items: list[Entity]
    pages: list[str]
    views: dict[str, int]


def world(entities: int, seed: int, links_a_page: int = 8) -> World:
    draw = np.random.default_rng(seed)
    fame = draw.normal(0, 1.5, entities)
    links = draw.poisson(np.exp(0.7 * fame + draw.normal(0, 0.7, entities)))
    views = np.exp(6 + 1.2 * fame + draw.normal(0, 0.5, entities)).astype(int)
    words = np.sort(draw.integers(0, entities // 4, entities))
    meant = np.exp(fame + draw.normal(0, 0.8, entities))
    by_word = {int(word): np.flatnonzero(words == word) for word in np.unique(words)}
    titles = {}
    for word, members in by_word.items():
        articles = members[links[members] > 0]
        # The commonest sense mostly has the plain title.
        first = articles[np.argmax(meant[articles])] if len(articles) and draw.random() < 0.7 else -1
        titles |= {int(each): f"Word{word}" if each == first else f"Word{word} (sense {each})" for each in articles}
    items = [
        item(
            number + 1,
            {"en": f"word{words[number]}"},
            revision=1,
            aliases={"en": [f"other{words[number] // 3}"]} if number % 5 == 0 else None,
            claims={"P18": [statement("P18", f"Thing {number}.jpg")]} if number % 4 == 0 else None,
            sitelinks=["enwiki", *(f"w{each}wiki" for each in range(links[number] - 1))] if links[number] else [],
        )
        for number in range(entities)
    ]
    for number, title in titles.items():
        items[number]["sitelinks"]["enwiki"]["title"] = title
    order = draw.permutation(len(by_word))
    frequency = 1.0 / (1 + np.arange(len(by_word)))
    chosen = np.array([*by_word])[
        order[draw.choice(len(by_word), links_a_page * len(titles), p=frequency / frequency.sum())]
    ]
    texts: list[list[str]] = [[] for _ in titles]
    for place, word in enumerate(chosen.tolist()):
        members = np.array([each for each in by_word[word] if each in titles])
        if len(members):
            sense = int(draw.choice(members, p=meant[members] / meant[members].sum()))
            texts[place % len(texts)].append(f"a [[{titles[sense]}|word{word}]]")
    pages = [page(title, " ".join(text)) for title, text in zip(titles.values(), texts, strict=True)]
    return World(items, pages, {f"Q{number + 1}": int(count) for number, count in enumerate(views)})


@dataclass(frozen=True)
class Files:
    """Attributes:
    items: a dump of items.
    anchors: counted in four fifths of the pages.
    held_out: counted in the others.
    pageviews: QRank's table.
    """

    items: Path
    anchors: Path
    held_out: Path
    pageviews: Path


def write_files(made: World, folder: Path) -> Files:
    kept = [each for place, each in enumerate(made.pages) if place % 5]
    others = [each for place, each in enumerate(made.pages) if place % 5 == 0]
    for name, pages in (("anchors", kept), ("held-out", others)):
        build_anchors([write(folder / f"{name}.xml.gz", pages)], folder / f"{name}.parquet")
    views = "".join(f"{entity},{count}\n" for entity, count in made.views.items())
    (folder / "qrank.csv").write_text(f"Entity,QRank\n{views}")
    return Files(
        write_dump(folder / "all.json.gz", made.items),
        folder / "anchors.parquet",
        folder / "held-out.parquet",
        folder / "qrank.csv",
    )


def held_out_links(files: Files, titles: Path) -> dict[str, dict[str, int]]:
    """Name → entity → links of the pages that were held out; titles are of a build's work folder."""
    rows = read_parquet(titles, TITLES).to_pylist()
    entity_of = {row["title"]: row["entity"] for row in rows if row["language"] == "en"}
    found: dict[str, dict[str, int]] = {}
    for row in Anchors.open(files.held_out).names.to_pylist():
        if row["anchors"] and row["title"] in entity_of:
            found.setdefault(row["name"], {})[entity_of[row["title"]]] = row["anchors"]
    return found


def linked_priors(files: Files, titles: Path) -> dict[str, dict[str, float]]:
    """Name → entity → its share of the links that were counted: links alone."""
    counts = held_out_links(Files(files.items, files.anchors, files.anchors, files.pageviews), titles)
    return {name: {entity: count / sum(row.values()) for entity, count in row.items()} for name, row in counts.items()}


def priors_of(kb: KnowledgeBase, names: Mapping[str, object]) -> dict[str, dict[str, float]]:
    found = {}
    for name in names:
        candidates = kb.candidates(name)
        found[name] = dict(zip(kb.ids(candidates.rows), candidates.priors.tolist(), strict=True))
    return found


def score(
    priors: Mapping[str, Mapping[str, float]],
    held: Mapping[str, Mapping[str, int]],
    candidates: Mapping[str, Mapping[str, float]],
) -> dict[str, float]:
    """Accuracy@1 and mean log-likelihood of held-out links whose names have several candidates.

    Equal candidates share the first place. Each prior is mixed with `UNIFORM` of equal shares.
    """
    right = likelihood = total = 0.0
    for name, links in held.items():
        size = len(candidates.get(name, ()))
        if size < 2:
            continue
        own = priors.get(name, {})
        best = max(own.values(), default=0.0)
        first = [entity for entity, prior in own.items() if prior == best]
        for entity, count in links.items():
            right += count * ((entity in first) / len(first) if first else 1 / size)
            likelihood += count * float(np.log((1 - UNIFORM) * own.get(entity, 0.0) + UNIFORM / size))
            total += count
    return {"accuracy": right / total, "log_likelihood": likelihood / total, "links": total}
