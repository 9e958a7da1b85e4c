"""Searches and recognition over the tiny world that comes with the package: expected and found, by its truth.

    python benchmarks/search_outside.py [-o runs/search-outside] [--others LABELS=ENCODER ...]

- Lists by entity and by name, until .5, .8, .9 and .95: as they end, and as they would by their mean alone.
- Curves for texts, each fitted to what one index asks itself and applied to another's: the demo's, and one for each
  folder of labels in `--others`. What is right is what the labels say.
- Recognition with a fifth of the entities taken out of labels and vocabulary, over eight draws. A quarter of the images
  is asked for and no witness. Beside what is claimed: without a chance that no label names it; one curve that is fitted
  with a tenth of entities left out; and a logistic regression over the same features that is fitted to the truth, in
  folds of entities, which bounds what these features can tell.

Results that are known to be right may be 60 here, and 20 for the curves of others, where an index wants 200.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import harness
import openmofi
from openmofi.engine import Quiet
from openmofi.plugins.demo.job import run_tiny
from openmofi.search import Index, Query
from openmofi.search.rank import fitting
from openmofi.search.rank.calibration import end_of, expected_precision, share_of, with_share
from openmofi.search.rank.recognition import EntityCandidates, _nearest, candidates_of
from openmofi.search.rank.state import State
from studies.world import ends

DRAWS, TAKEN_OUT, ASKED = 8, 5, 4
SHARE = 0.1


def lists(index: Index, kb: openmofi.KnowledgeBase, truth: dict[int, ends.Shown]) -> list[harness.Row]:
    """Ask for every entity and class of the truth."""
    known = {entity for shown in truth.values() for entity in shown.wider} & index.state.entity_numbers.keys()
    made = {
        "entity": lambda entity: Query(entity=entity, limit=ends.SHOWN, fold=False),
        "name": lambda entity: Query(text=kb[entity].name, limit=ends.SHOWN, fold=False),
    }
    rows = []
    for kind, query in made.items():
        found = ends.answers(index, truth, {entity: query(entity) for entity in sorted(known)})
        for rule, end in (("mean and single", end_of), ("mean", by_mean)):
            ends.end_of = end
            figures = ends.measured(found)
            rows += [
                {"of": f"by {kind}, ended by {rule}", "queries": len(found), "until": until} | figures[str(until)]
                for until in ends.UNTIL
            ]
    return rows


def by_mean(probabilities: ends.Doubles, until: float) -> int:
    """The end before single results counted."""
    reached = np.flatnonzero(expected_precision(probabilities) >= until)
    return int(reached[-1]) + 1 if len(reached) else 0


def curves(indexes: dict[str, Index]) -> list[harness.Row]:
    """Each index's curve for texts over what each asked itself, where it claims .8 or more."""
    trials, rows = {name: text_trials(index) for name, index in indexes.items()}, []
    for of, mine in trials.items():
        curve = fitting.curve_of(mine)
        for to, theirs in trials.items():
            claimed = curve(theirs.features) if curve else np.zeros(len(theirs.right))
            weight = theirs.weight * (claimed >= 0.8)
            if weight.sum():
                rows.append(
                    {
                        "of": f"curve for texts of {of}, applied to {to}",
                        "shown": int((weight > 0).sum()),
                        "expected": round(float(claimed @ weight / weight.sum()), 4),
                        "precision": round(float(theirs.right @ weight / weight.sum()), 4),
                    }
                )
    return rows


def text_trials(index: Index) -> fitting.TrialResults:
    """What the index asks itself by text."""
    state, connection = index.state, index.connection
    labels = fitting.ImageLabels.read(state, connection)
    named = np.array(sorted({entity for judged in labels.judged.values() for entity in judged}), np.int64)
    queries = fitting._text_queries(state, connection, index.encoder, named, np.random.default_rng(0))
    return fitting._results(state, labels, state.surroundings, queries)


@dataclass(frozen=True)
class Recognised:
    """The likeliest entity of an image: `claims` by way of claiming → probability and whether it is right."""

    group: str
    entity: str
    even: float
    features: list[float]
    claims: dict[str, tuple[float, bool]]


class Without:
    """A connection to an index that has no labels of some entities."""

    def __init__(self, index: Index, gone: set[str]) -> None:
        self.index, self.gone = index, gone

    def execute(self, statement: str, values: Any = ()) -> Any:
        """The rows that are left."""
        rows = self.index.connection.execute(statement, values)
        if "labels" not in statement:
            return rows
        return Rows(row for row in rows if row[1] not in self.gone)


class Rows(list[Any]):
    """Rows of a statement."""

    def fetchall(self) -> Rows:
        """All."""
        return self


def recognised(index: Index, truth: dict[int, ends.Shown], seed: int) -> Iterator[Recognised]:
    """One draw of what is taken out and of what is asked for."""
    whole, draw = index.state, np.random.default_rng(seed)
    entities = sorted({entity for shown in truth.values() for entity in shown.entities})
    gone = set(draw.permutation(entities)[: len(entities) // TAKEN_OUT].tolist())
    alive = np.flatnonzero(whole.alive)
    asked = np.sort(draw.permutation(alive)[: len(alive) // ASKED])
    kept = np.array([entity not in gone for entity in whole.entity_ids])
    images = whole.images.copy()
    images[asked] = -1
    ids = tuple(np.array(whole.entity_ids)[kept].tolist())
    state = replace(whole, images=images, entities=whole.entities[kept], entity_ids=ids)
    connection: Any = Without(index, gone)
    labels = fitting.ImageLabels.read(state, connection)
    named = np.array(sorted({entity for judged in labels.judged.values() for entity in judged}), np.int64)
    assert whole.ending is not None
    ending = replace(whole.ending, reference=tuple(named.tolist()), background=tuple(images[images >= 0].tolist()))
    around = state.around(ending)
    results = fitting.recognition_results(state, labels, around, np.random.default_rng(0))
    entity, unnamed = map(fitting.curve_of, results)
    joint = fitting.curve_of(joint_trials(state, labels, ending))
    assert entity
    assert unnamed
    assert joint
    accepted = {each for (each,) in index.connection.execute("SELECT DISTINCT entity FROM labels WHERE accepted = 1")}
    vectors = whole.exact.rows(asked)
    for position, vector, near in zip(asked.tolist(), vectors, _nearest(state, connection, vectors, -1), strict=True):
        candidates = candidates_of(vector, state.entities, around, [(each.cosine, each.entities) for each in near])
        shown = truth[int(whole.images[position])]
        even = float(unnamed(candidates.unnamed_features())[0])
        best = int(entity(candidates.features).argmax())

        def claim(probabilities: ends.Doubles, found: Any = candidates, shown: Any = shown) -> tuple[float, bool]:
            likeliest = int(probabilities.argmax())
            return float(probabilities[likeliest]), ids[found.entities[likeliest]] in shown.wider

        plain, right = claim(entity(candidates.features))
        (what,) = shown.entities or {""}
        yield Recognised(
            "taken out" if what in gone else "labelled" if what in accepted else "other",
            what,
            even,
            beside_image(candidates)[best].tolist(),
            {
                "no chance of none": (plain, right),
                "a tenth none": (plain * (1 - float(with_share(np.array(even), SHARE))), right),
                "one curve": claim(joint(beside_image(candidates))),
            },
        )


def beside_image(candidates: EntityCandidates) -> ends.Doubles:
    """(n, 19) features of candidates and of their image."""
    return np.hstack([candidates.features, np.repeat(candidates.unnamed_features(), len(candidates.entities), 0)])


def joint_trials(state: State, labels: fitting.ImageLabels, ending: Any) -> fitting.TrialResults:
    """Candidates as they are, and, as a tenth of all, those of images whose entity is left out: none is right."""
    around, mass = state.around(ending), fitting._MASS
    surest = {at: max(each.items(), key=lambda item: item[1]) for at, each in labels.judged.items()}
    sure = [at for at, (_, probability) in surest.items() if probability >= mass]
    judged = np.flatnonzero(labels.mass > 0)
    each_left_out = float(labels.mass[judged].sum()) / max(len(sure), 1) * SHARE
    rows = []
    for at, vector, near in fitting._seen(state, labels, judged):
        seen = candidates_of(vector, state.entities, around, near)
        weight = np.full(len(seen.entities), labels.mass[at] * (1 - SHARE))
        rows.append((beside_image(seen), labels.named_right(seen.entities, at), weight))
        if surest[at][1] >= mass:
            entity = surest[at][0]
            others = around.without(state.entities[entity])
            hidden = candidates_of(vector, state.entities, others, near, labels.meant(entity))
            count = len(hidden.entities)
            rows.append((beside_image(hidden), np.zeros(count), np.full(count, each_left_out)))
    return fitting._rows(rows)


def recognition(index: Index, truth: dict[int, ends.Shown]) -> list[harness.Row]:
    """Expected and found by group and by way of claiming."""
    found = [each for seed in range(DRAWS) for each in recognised(index, truth, seed)]
    right = np.array([each.claims["a tenth none"][1] for each in found], float)
    regression = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    folds: dict[str, Any] = {"groups": [each.entity for each in found], "cv": GroupKFold(5)}
    features = np.array([each.features for each in found])
    fitted = cross_val_predict(regression, features, right, method="predict_proba", **folds)[:, 1]
    claims = {
        way: (
            np.array([each.claims[way][0] for each in found]),
            np.array([each.claims[way][1] for each in found], float),
        )
        for way in found[0].claims
    } | {"fitted to the truth": (fitted, right)}
    groups, even = np.array([each.group for each in found]), np.array([each.even for each in found])
    plain, rows = claims["no chance of none"][0], []
    for group in ("all", "labelled", "other", "taken out"):
        mine = np.full(len(found), group == "all") | (groups == group)
        share = share_of(even[mine])
        claims["their own share none"] = plain * (1 - with_share(even, share)), right
        for way, (claimed, so) in claims.items():
            likely = mine & (claims["a tenth none"][0] >= 0.5)
            rows.append(
                {
                    "of": f"recognition, {group}, {way}",
                    "images": int(mine.sum()),
                    "expected": round(float(claimed[mine].mean()), 4),
                    "accuracy": round(float(so[mine].mean()), 4),
                    "likely": int(likely.sum()),
                    "likely_expected": round(float(claimed[likely].sum()), 1),
                    "likely_right": int(so[likely].sum()),
                }
            )
    return rows


def main() -> None:
    """Make the tiny world where it is missing, ask, and write `results/search_outside.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/search-outside"))
    parser.add_argument("--others", nargs="*", default=[], metavar="LABELS=ENCODER")
    arguments = parser.parse_args()
    run_tiny(arguments.out / "demo", Quiet())
    kb, index = openmofi.KnowledgeBase.open(arguments.out / "demo/kb"), Index.open(arguments.out / "demo/index")
    truth = ends.read_truth(index, arguments.out / "demo/truth.parquet", kb)
    indexes = {"the demo, by tiny": index}
    for number, other in enumerate(arguments.others):
        labels, _, encoder = other.partition("=")
        place = arguments.out / f"index-{number}"
        indexes[f"other {number}, by {encoder.partition(':')[0]}"] = openmofi.build_index(
            labels, encoder=encoder, out=place, progress=False
        )
    rows = lists(index, kb, truth)
    fitting.MINIMUM = 20
    rows += curves(indexes)
    fitting.MINIMUM = 60
    harness.write_result("search_outside", rows + recognition(index, truth), {})


if __name__ == "__main__":
    main()
