"""Searches that end: expected against found precision of what is shown; recognition of unseen artists.

    python benchmarks/calibrated_end.py runs/demo -o runs/calibrated-end [--real runs/real] [--part odd] [--each 4]
        [--only recognition]

Indexes the demo's labelled pages and, without texts, all images of its held-out entities; asks for each entity by its
text, by its bare name with keywords, by one of its images and, where the labels name it, as an entity, and compares
what the results until .5, .8, .9 and .95 are expected to hold with the world's truth, which the index has not seen. An
image shows an entity and the classes that it belongs to: a search for birds wants penguins, as the index takes it.
Beside it: the flat cut-off on cosines that finds most at the same precision, chosen with the truth in hand. With
`--real`, the same by entity and by name over Openclipart's labels (`make real`), against the truth made by hand.

Recognition is asked for images of artists that the index has not seen: of each of the sets in turn no image is a
witness, and the curves are fitted without it. Some of these images show entities that no label names (`held-out`): what
is expected is said for both groups and all, with the share of such images that is taken where nothing is said, and with
the share that a group's images alone make likeliest. `--part even` was looked at while the
method was chosen, `odd` is scored.
`results/calibrated_end.json` has a row for each kind of query and each end, and for each group of images; in `ratios`
the largest gaps.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import harness
import openmofi
from openmofi.bootstrap import wilson_interval
from openmofi.config import settings_from
from openmofi.knowledge.texts import DEFAULT_TEMPLATE, entity_text
from openmofi.search import Index, Query
from openmofi.search.rank.calibration import share_of, with_share
from openmofi.search.rank.fitting import ImageLabels, curve_of, recognition_results
from openmofi.search.rank.recognition import likely_entities
from openmofi.search.rank.state import State
from openmofi.storage import read_manifest
from studies.scoring import read_truth as read_judged
from studies.world.ends import (
    SHOWN,
    UNTIL,
    Shown,
    answers,
    by_image,
    held_out,
    image_queries,
    largest_gap,
    measured,
    read_truth,
)
from studies.world.images.gather import gather, rename
from studies.world.images.packages import fetch
from studies.world.pages.plan import make_plan
from studies.world.pages.source import make_source
from studies.world.world_settings import WorldSettings

KINDS = ("entity", "name", "text", "image")
_BINS = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 1.0)


def queries_of(
    kind: str, index: Index, kb: openmofi.KnowledgeBase, truth: Mapping[int, Shown], entities: list[str]
) -> dict[str, Query]:
    """A query for each entity."""
    if kind == "entity":
        return {
            entity: Query(entity=entity, limit=SHOWN, fold=False)
            for entity in entities
            if entity in index.state.entity_numbers
        }
    if kind == "image":
        return image_queries(truth, index, entities)
    if kind == "name":
        return {entity: Query(text=kb[entity].name, limit=SHOWN, fold=False) for entity in entities}
    return {
        entity: Query(text=entity_text(kb, kb.row(entity), DEFAULT_TEMPLATE), limit=SHOWN, fold=False)
        for entity in entities
    }


def parted(entities: list[str], part: str, each: int) -> list[str]:
    """Every other entity, or all; of these each of so many."""
    return (entities if part == "all" else entities[1 if part == "odd" else 0 :: 2])[::each]


def sample_world(demo: Path, out: Path, part: str, each: int, only: str) -> dict[str, Any]:
    """Figures of the demo's world, or `only` of searches or of recognition."""
    kb = openmofi.KnowledgeBase.open(demo / "kb")
    index = openmofi.build_index(
        [demo / "labels", demo / "labels-heldout", *sorted((demo / "world/retrieval").glob("*.tar"))],
        encoder=f"run:{demo / 'encoders/partial-labels'}",
        out=out / "index",
        kb=kb,
        entities="judged",
    )
    truth, held = read_truth(index, demo / "world/truth.parquet", kb), held_out(demo / "world/truth.parquet")
    named = {entity for shown in truth.values() for entity in shown.entities} - held
    results: dict[str, Any] = {}
    asked_for = (("held-out", sorted(held)), ("seen", sorted(named))) if only != "recognition" else ()
    for name, entities in asked_for:
        for kind in KINDS:
            asked = queries_of(kind, index, kb, truth, parted(entities, part, each))
            results[f"{name}, by {kind}"] = said(f"{name}, by {kind}", measured(answers(index, truth, asked)))
    if only != "searches":
        results["recognition"] = said("recognition", recognition(index, demo / "world", truth, part))
    return results


def recognition(index: Index, world: Path, truth: Mapping[int, Shown], part: str, most: int = 400) -> dict[str, Any]:
    """Of images by artists that are taken out of the index, and of entities that no label names.

    The best entity's probability against whether it is right, and the probability that no label names what is shown
    (`unnamed`); see `accuracy`.
    """
    sets = artists(index, world)
    held = held_out(world / "truth.parquet")
    state, draw = index.state, np.random.default_rng(0 if part == "even" else 1)
    rows: list[Asked] = []
    for artist in sorted({each for each in sets.values() if each}):
        images = np.array([image for image, each in sets.items() if each == artist and truth[image].entities], np.int64)
        positions = state.positions(images)
        images, positions = images[positions >= 0], positions[positions >= 0]
        without = state.images.copy()
        without[positions] = -1
        unseen = refitted(replace(state, images=without), index)
        chosen = draw.permutation(len(images))[:most]
        found = likely_entities(unseen, index.connection, state.exact.rows(positions[chosen]), 1)
        for image, likely in zip(images[chosen].tolist(), found, strict=True):
            shown, entity = truth[image], state.entity_ids[likely.entities[0].number]
            rows.append(
                Asked(
                    "held-out" if shown.entities <= held else artist,
                    likely.best or 0.0,
                    entity in shown.wider,
                    entity in shown.entities,
                    likely.even or 0.0,
                    likely.unnamed or 0.0,
                )
            )
    wholes = {
        "all": rows,
        "unseen artists": [row for row in rows if row.group != "held-out"],
        "held-out": [row for row in rows if row.group == "held-out"],
    }
    results = {name: accuracy(some) for name, some in wholes.items()}
    for name, some in wholes.items():
        share = share_of(np.array([row.even for row in some]))
        results[f"{name}, by their own share"] = accuracy([row.at(share) for row in some]) | {"share": round(share, 4)}
    return results | {
        group: accuracy([row for row in rows if row.group == group])
        for group in sorted({row.group for row in rows} - {"held-out"})
    }


@dataclass(frozen=True)
class Asked:
    """An image whose likeliest entity is told.

    Attributes:
        group: the artist, or `held-out`.
        probability: of the entity.
        right: whether the image shows it or what is below it.
        exact: whether it shows just that.
        even, unnamed: see `openmofi.search.rank.recognition.Likely`.
    """

    group: str
    probability: float
    right: bool
    exact: bool
    even: float
    unnamed: float

    def at(self, share: float) -> Asked:
        """The same where such a share of images shows what no label names."""
        unnamed = float(with_share(np.array(self.even), share))
        named = self.probability / max(1 - self.unnamed, 1e-9)
        return replace(self, probability=named * (1 - unnamed), unnamed=unnamed)


def refitted(state: State, index: Index) -> State:
    """An index without some images, whose recognition is fitted to the others."""
    assert state.ending is not None
    known = ImageLabels.read(state, index.connection)
    results = recognition_results(state, known, state.around(state.ending), np.random.default_rng(0))
    entity, unnamed = map(curve_of, results)
    ending = replace(state.ending, entity=entity, unnamed=unnamed)
    return replace(state, meta=state.meta | {"ending": ending.to_json()})


def artists(index: Index, world: Path) -> dict[int, str]:
    """Image of the index → the set of icons that its artwork is of: the world is planned again."""
    settings = settings_from(WorldSettings(), values=read_manifest(world, "world").settings)
    gathered = rename(gather(fetch(), settings))
    plan = make_plan(gathered, make_source(gathered, settings), settings)
    sets = {(shard.name, page.key): page.artwork.set for shard in plan for page in shard.pages}
    rows = index.connection.execute("SELECT images.id, shard, key FROM images JOIN sources ON sources.id = source")
    return {image: sets[shard, key] for image, shard, key in rows}


def accuracy(rows: list[Asked]) -> dict[str, Any]:
    """Share that is right, with an interval of 95 % (Wilson), and that names no class of what is shown (`exact`), the
    mean probability and that of no label's naming it, and expected calibration error.
    """
    probability, right = np.array([row.probability for row in rows]), np.array([row.right for row in rows], bool)
    bins = np.digitize(probability, _BINS[1:-1])
    error = sum(abs(probability[bins == each].sum() - right[bins == each].sum()) for each in range(len(_BINS)))
    return {
        "images": len(rows),
        "accuracy": round(float(right.mean()), 4),
        "interval": [round(edge, 4) for edge in wilson_interval(float(right.mean()), len(right))],
        "exact": round(sum(row.exact for row in rows) / len(rows), 4),
        "unnamed": round(sum(row.unnamed for row in rows) / len(rows), 4),
        "expected": round(float(probability.mean()), 4),
        "calibration_error": round(float(error / len(rows)), 4),
    }


def openclipart(real: Path, demo: Path, out: Path) -> dict[str, Any]:
    """Figures of Openclipart, on the rows that were judged by hand; a right entity is shown and named."""
    kb = openmofi.KnowledgeBase.open(demo / "kb")
    index = openmofi.build_index(
        real / "openclipart/default",
        encoder=f"run:{demo / 'encoders/partial-labels'}",
        out=out / "index-real",
        kb=kb,
        entities="judged",
    )
    judged = read_judged(Path("studies/truth_openclipart.jsonl"))
    truth = by_image(index, {(each.shard, each.key): Shown.of(each.right, kb, each.doubt) for each in judged})
    entities = [entity for (entity,) in index.connection.execute("SELECT DISTINCT entity FROM labels ORDER BY entity")]
    return {
        f"Openclipart, by {kind}": said(
            f"Openclipart, by {kind}", measured(answers(index, truth, queries_of(kind, index, kb, truth, entities)))
        )
        for kind in ("entity", "name")
    }


def said(name: str, figures: dict[str, Any]) -> dict[str, Any]:
    """Print them."""
    print(name, json.dumps(figures, indent=1), flush=True)
    return figures


def rows_of(results: Mapping[str, Any]) -> list[harness.Row]:
    """A row for each kind of query and each end at which a list begins, and for each group of recognised images."""
    rows: list[harness.Row] = []
    for name, figures in results.items():
        if "queries" in figures:
            whole = {"of": name, "queries": figures["queries"], "wanted": figures["wanted"]} | {
                f"average_precision_{order}": value for order, value in figures["average_precision"].items()
            }
            begun = [until for until in UNTIL if figures[str(until)]["shown"]]
            rows += [whole | {"until": until} | figures[str(until)] for until in begun] or [whole]
        else:
            rows += [{"of": f"{name}, {group}"} | row for group, row in figures.items()]
    return rows


def main() -> None:
    """Build the indexes where they are missing, ask, and write `results/calibrated_end.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demo", type=Path, nargs="?", default=Path("runs/demo"))
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/calibrated-end"))
    parser.add_argument("--real", type=Path, help="Folder of the study `studies.real`.")
    parser.add_argument("--part", choices=("even", "odd", "all"), default="odd", help="Of the entities.")
    parser.add_argument("--each", type=int, default=1, help="One of so many entities of the part is asked for.")
    parser.add_argument(
        "--only",
        choices=("searches", "recognition"),
        default="",
        help="Rows of the others stay as they were measured before.",
    )
    arguments = parser.parse_args()
    results = sample_world(arguments.demo, arguments.out, arguments.part, arguments.each, arguments.only)
    if arguments.real:
        results |= openclipart(arguments.real, arguments.demo, arguments.out)
    gaps = {f"largest gap, {name}": largest_gap(figures) for name, figures in results.items() if "queries" in figures}
    before = json.loads((harness.RESULTS / "calibrated_end.json").read_text()) if arguments.only else {}
    kept = [
        row for row in before.get("rows", []) if not any(f"{row['of']}, ".startswith(f"{name}, ") for name in results)
    ]
    harness.write_result(
        "calibrated_end",
        kept + rows_of(results),
        {name: gap for name, gap in {**before.get("ratios", {}), **gaps}.items() if gap is not None},
    )


if __name__ == "__main__":
    main()
