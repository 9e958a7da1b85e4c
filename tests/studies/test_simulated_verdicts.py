from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from openmofi.dataset.objects import Labels
from openmofi.dataset.report.sample import Kinds, cells
from openmofi.dataset.tables import Folder
from openmofi.review.verdicts import read_verdicts
from small_world import SHAPES
from studies.scoring import Truth
from studies.simulated_verdicts import truthful_verdicts

SIZE = 60


@pytest.fixture
def truth(small_world) -> list[Truth]:
    """Of every third row; the fruit is doubtful."""
    return [
        Truth(shard, key, frozenset({entity} - {"e:orange-fruit"}), frozenset({entity} & {"e:orange-fruit"}))
        for (shard, key), entity in list(small_world.truth.items())[::3]
    ]


def test_only_rows_of_known_truth_are_drawn_and_judged_by_it(labelled: Path, truth: list[Truth]) -> None:
    verdicts = truthful_verdicts(Folder.open(labelled), truth, SIZE, 0)
    of_row = {(row.shard, row.key): row for row in truth}
    assert len(verdicts.verdicts) == verdicts.sample == SIZE
    for verdict in verdicts.verdicts:
        row = of_row[verdict.shard, verdict.key]
        assert (verdict.verdict == "y") == (verdict.entity in row.right)
        assert (verdict.verdict == "u") == (verdict.entity in row.doubt)
    assert {verdict.verdict for verdict in verdicts.verdicts} == {"y", "n", "u"}
    assert len({verdict.label for verdict in verdicts.verdicts}) == SIZE
    assert sum(verdicts.strata[verdict.stratum].accepted for verdict in verdicts.verdicts) >= SIZE * 4 // 5
    assert verdicts == truthful_verdicts(Folder.open(labelled), truth, SIZE, 0)
    assert verdicts.verdicts != truthful_verdicts(Folder.open(labelled), truth, SIZE, 1).verdicts


def test_strata_count_the_labels_of_all_rows(labelled: Path, truth: list[Truth]) -> None:
    folder = Folder.open(labelled)
    verdicts = truthful_verdicts(folder, truth, SIZE, 0)
    assert sum(stratum.labels for stratum in verdicts.strata) == sum(
        content.labels for content in cells(folder, Kinds(None)).values()
    )
    assert (verdicts.weights > 1).any()


def test_a_truth_of_every_row_draws_what_the_audit_does(labelled: Path, small_world, tmp_path: Path) -> None:
    every = [Truth(shard, key, frozenset({entity}), frozenset()) for (shard, key), entity in small_world.truth.items()]
    verdicts = truthful_verdicts(Folder.open(labelled), every, 100, 5)
    drawn = Labels.open(labelled).audit_page(tmp_path / "page.html", sample=100, by=["probability"], seed=5)
    assert verdicts.strata == drawn.strata
    assert [(verdict.entity, verdict.stratum) for verdict in verdicts.verdicts] == [
        (each.candidate.entity, each.stratum) for each in drawn.drawn
    ]


def test_the_audit_takes_them_from_a_file(labelled: Path, truth: list[Truth], tmp_path: Path) -> None:
    verdicts = truthful_verdicts(Folder.open(labelled), truth, SIZE, 0)
    path = tmp_path / "verdicts.json"
    path.write_text(json.dumps(asdict(verdicts)))
    assert read_verdicts(path) == replace(verdicts, path=str(path))
    corrected = Labels.open(labelled).corrected(path)
    assert corrected.labels.judged + corrected.unsure >= SIZE * 4 // 5


def test_there_is_nothing_to_say_where_no_such_row_has_a_label(labelled: Path, truth: list[Truth]) -> None:
    folder = Folder.open(labelled)
    assert truthful_verdicts(folder, [Truth("", "nosuch", frozenset(), frozenset())], SIZE, 0) is None
    unsure = [replace(row, right=frozenset(), doubt=frozenset(SHAPES)) for row in truth]
    assert truthful_verdicts(folder, unsure, SIZE, 0) is None
