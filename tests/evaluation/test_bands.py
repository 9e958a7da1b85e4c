"""Metrics by how often a label dataset shows a class."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from colours import Eye, write_classes

from openmofi.engine import Quiet
from openmofi.errors import OpenMofiError, UsageError
from openmofi.evaluation.bands import ClassCounts, with_bands
from openmofi.evaluation.protocol import Measured
from openmofi.evaluation.result import items_table, write_result
from openmofi.evaluation.run import evaluate
from openmofi.plugins.benchmarks.compare import compare_results
from openmofi.schema import VOCABULARY
from openmofi.storage import claim_folder, finish_manifest, write_table


def dataset(folder, classes):
    """A dataset of classes: (identifier, name, images)."""
    manifest = claim_folder(folder, "dataset", {"shards": [{"path": f"{folder}.tar", "name": "pairs"}]}, {})
    ids, names, images = zip(*classes, strict=True)
    write_table(
        folder / "vocabulary.parquet",
        pa.table(
            {"class_id": pa.array(range(len(ids)), pa.int32()), "id": ids, "name": names, "images": images}, VOCABULARY
        ),
    )
    finish_manifest(folder, manifest, {"rows": sum(images)})
    return folder


def test_bands_are_thirds_of_the_classes_that_the_dataset_has(tmp_path):
    """Beside pandas' means over classes that were cut by hand."""
    draw = np.random.default_rng(0)
    sizes = {f"Q{number}": 10 * number for number in range(1, 10)}
    counts = ClassCounts.open(
        dataset(tmp_path / "dataset", [(name, f"Thing {name}", size) for name, size in sizes.items()])
    )
    groups = [f"Q{number}" if number % 2 else f"thing-Q{number}" for number in draw.integers(1, 13, 300)]
    values = np.where(draw.random(300) < 0.1, np.nan, draw.random(300))
    measured = with_bands(
        Measured(
            {"map": float(np.nanmean(values))},
            {},
            {},
            "",
            items=items_table(list(map(str, range(300))), groups, {"map": values}),
        ),
        counts,
    )
    number = pd.Series(groups).str.extract(r"(\d+)")[0].astype(int)
    band = pd.cut(number, [0, 3, 6, 9, 12], labels=["tail", "middle", "head", "unseen"])
    expected = pd.Series(values).groupby(band, observed=True).mean()
    assert {name.partition("/")[0]: value for name, value in measured.metrics.items() if "/" in name} == pytest.approx(
        expected.to_dict()
    )
    assert all(
        measured.intervals[name][0] <= measured.metrics[name] <= measured.intervals[name][1]
        for name in measured.metrics
        if "/" in name
    )
    assert measured.counts == {f"classes_{name}": 3 for name in ("head", "middle", "tail", "unseen")}
    assert measured.facts["bands"]["images"] == {"head": [70, 90], "middle": [40, 60], "tail": [10, 30]}
    assert measured.items["part"].to_pylist() == band.tolist()


def test_a_name_of_two_classes_is_in_no_band(tmp_path):
    counts = ClassCounts.open(dataset(tmp_path / "dataset", [("Q1", "crane", 5), ("Q2", "Crane", 7), ("Q3", "!", 1)]))
    assert [counts.of(name) for name in ("crane", "Q2", "heron", "!", "Q3")] == [None, 7, 0, 0, 1]
    items = items_table(["a", "b"], ["crane", "heron"], {"top1": [1.0, 0.0]})
    measured = with_bands(Measured({"top1": 0.5}, {}, {}, "", items=items), counts)
    assert measured.metrics == {"top1": 0.5, "unseen/top1": 0.0}
    assert measured.counts["classes_ambiguous"] == 1


def test_a_protocol_with_bands_and_results_that_are_compared(tmp_path):
    data = write_classes(tmp_path / "data", 4)
    known = dataset(tmp_path / "dataset", [("Q1", "Red", 90), ("Q2", "Yellow", 20), ("Q3", "Blue", 3)])
    paths = []
    for spec in ("eye", "other"):
        encoder = Eye()
        encoder.spec = spec
        found = evaluate("retrieval", encoder, data, tmp_path / "cache", Quiet(), bands=known)
        paths.append(write_result(tmp_path / spec, found.result, found.items))
    result = found.result
    by_class = {
        name: np.mean(
            [
                value
                for group, value in zip(
                    *(found.items[column].to_pylist() for column in ("group", "map_excl_query")), strict=True
                )
                if group == name
            ]
        )
        for name in ("red", "yellow", "blue")
    }
    assert [result.metrics[f"retrieval/{band}/map_excl_query"] for band in ("head", "middle", "tail")] == pytest.approx(
        list(by_class.values())
    )
    (compared,) = compare_results(paths)
    assert compared.differences[1]["retrieval/tail/map_excl_query"]["difference"] == 0.0
    assert set(compared.parts()) == {"head", "middle", "tail", "unseen"}
    other = dataset(tmp_path / "other-dataset", [("Q1", "Red", 1)])
    found = evaluate("retrieval", Eye(), data, tmp_path / "cache", Quiet(), bands=other)
    paths.append(write_result(tmp_path / "third", found.result, found.items))
    with pytest.raises(OpenMofiError, match="do not compare: their dataset of bands differ"):
        compare_results(paths)
    with pytest.raises(UsageError, match="gpr1200 has no classes with names or identifiers"):
        evaluate("gpr1200", Eye(), data, tmp_path / "cache", Quiet(), bands=known)
