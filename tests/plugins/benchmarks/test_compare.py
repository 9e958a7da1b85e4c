"""Results on disk, and encoders beside one another."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from colours import Eye, write_classes
from scipy import stats

from openmofi.bootstrap import bootstrap_interval, paired_bootstrap
from openmofi.dataset.report.report import markdown_text
from openmofi.encoders.arrays import normalised
from openmofi.engine import Quiet
from openmofi.errors import OpenMofiError
from openmofi.evaluation.protocol import Answer, Failure
from openmofi.evaluation.result import items_table, read_items, read_result, write_result
from openmofi.evaluation.run import Evaluated, evaluate, write, write_failures
from openmofi.plugins.benchmarks.compare import as_csv, cautions, compare_results, figure, markdown, table_rows
from openmofi.storage import atomic_path


class Squinting(Eye):
    spec, fingerprint = "squinting|eye", "eye-2"

    def project_images(self, features):
        noise = np.random.default_rng(0).normal(0, 0.5, (48, 3)).astype(np.float32)
        return normalised(super().project_images(features) * 0.3 + features @ noise)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Two encoders' results of `retrieval`, of the items' parts too."""
    root = tmp_path_factory.mktemp("compare")
    data = write_classes(root / "data", 12)
    paths = []
    for encoder in (Eye(), Squinting()):
        found = evaluate("retrieval", encoder, data, root / "cache", Quiet(), failures=3)
        warm = ["warm" if group in ("red", "yellow") else "cold" for group in found.items["group"].to_pylist()]
        items = found.items.append_column("part", [warm])
        metrics = dict(found.result.metrics)
        values = items["map_excl_query"].to_numpy()
        for part in ("warm", "cold"):
            metrics[f"retrieval/{part}/map_excl_query"] = float(values[np.array(warm) == part].mean())
        paths.append(write_result(root / "out", replace(found.result, metrics=metrics), items))
    return paths


def test_what_is_written_is_read(written):
    result = read_result(written[0])
    assert result.protocol == "retrieval"
    assert result.encoder["spec"] == "eye"
    assert result.features["preprocessing"]["mean"] == [0.5, 0.5, 0.5]
    items = read_items(written[0], result)
    assert len(items) == result.counts["images"] == 48
    assert items["map_excl_query"].to_numpy().mean() == pytest.approx(result.metrics["retrieval/map_excl_query"])
    raw = json.loads(written[0].read_text())
    assert raw["fingerprint"] == result.fingerprint
    assert raw["seconds"]["features"] >= 0
    assert written[0].name.startswith("retrieval-eye-")


def test_p_values_are_the_paired_bootstraps(written):
    (one,) = compare_results(written)
    tables = [read_items(path, read_result(path)) for path in written]
    ours, theirs = (table["map_excl_query"].to_numpy() for table in reversed(tables))
    groups = tables[0]["group"].to_pylist()
    expected = paired_bootstrap(ours, theirs, groups)
    found = one.differences[1]["retrieval/map_excl_query"]
    assert (found["difference"], found["p_value"]) == (expected.difference, expected.p_value)
    assert found["difference"] == pytest.approx(
        one.results[1].metrics["retrieval/map_excl_query"] - one.results[0].metrics["retrieval/map_excl_query"]
    )
    rows = np.array(tables[0]["part"].to_pylist()) == "warm"
    warm = paired_bootstrap(ours[rows], theirs[rows], np.array(groups)[rows])
    assert one.differences[1]["retrieval/warm/map_excl_query"]["p_value"] == warm.p_value
    low, high = one.results[0].intervals["retrieval/map_excl_query"]
    assert (low, high) == pytest.approx(bootstrap_interval(theirs, groups))
    assert one.differences[0] == {}


def test_tables(written):
    compared = compare_results(written)
    header, first, second = table_rows(compared[0])
    assert header[:3] == ["encoder", "features", "retrieval/map_excl_query"]
    assert "p = " in second[2]
    assert "p = " not in first[2]
    assert re.fullmatch(r"0\.\d{4} \[0\.\d{4}, [01]\.\d{4}\]", first[2])
    text = markdown(compared)
    assert "| squinting\\|eye |" in text
    assert len({line.replace("\\|", "").count("|") for line in text.splitlines() if line.startswith("|")}) == 1
    rows = list(csv.DictReader(io.StringIO(as_csv(compared))))
    assert {row["encoder"] for row in rows} == {"eye", "squinting|eye"}
    values = {(row["encoder"], row["metric"]): float(row["value"]) for row in rows}
    assert values["eye", "retrieval/map_incl_query"] == compared[0].results[0].metrics["retrieval/map_incl_query"]
    json.dumps(compared[0].as_dict())


def test_the_figure_shows_the_headline_of_each_part(written):
    (one,) = compare_results(written)
    assert one.parts() == {
        part: [result.metrics[f"retrieval/{part}/map_excl_query"] for result in one.results]
        for part in ("cold", "warm")
    }
    svg = str(figure(one))
    assert svg == str(figure(one))
    for text in ("<svg", "cold", "warm", "eye", "squinting|eye", "retrieval/map_excl_query"):
        assert text in svg
    assert "<script" not in svg


def test_one_encoder_twice_keeps_its_names_apart(written):
    assert len(set(compare_results([written[0], written[0], written[1]])[0].names)) == 3


@pytest.fixture(scope="module")
def seeds(written, tmp_path_factory):
    """Two recipes of three seeds each: results of `retrieval` with other values, in another order of the items."""
    folder, paths = tmp_path_factory.mktemp("seeds"), {}
    for name, path in zip(("plain", "better"), written[::-1], strict=True):
        result, items = read_result(path), read_items(path, read_result(path))
        for seed in range(3):
            draw = np.random.default_rng([seed, len(name)])
            values = np.clip(items["map_excl_query"].to_numpy() + draw.normal(0.05 * seed, 0.05, len(items)), 0, 1)
            order = draw.permutation(len(items))
            column = items.column_names.index("map_excl_query")
            table = items.set_column(column, "map_excl_query", [values]).take(order)
            of_seed = replace(
                result,
                metrics=result.metrics | {"retrieval/map_excl_query": float(values.mean())},
                encoder=result.encoder | {"fingerprint": f"{name}-{seed}"},
            )
            paths.setdefault(name, []).append(write_result(folder, of_seed, table))
    return paths


def test_seeds_are_joined(seeds):
    (one,) = compare_results([f"{name}={path}" for name, of_name in seeds.items() for path in of_name])
    assert one.names == ["plain", "better"]
    metric = "retrieval/map_excl_query"
    values = {}
    for name, paths in seeds.items():
        tables = [read_items(path, read_result(path)).sort_by("item") for path in paths]
        values[name] = np.stack([table["map_excl_query"].to_numpy() for table in tables])
    for result, deviations, of_name in zip(one.results, one.deviations, values.values(), strict=True):
        assert result.metrics[metric] == pytest.approx(of_name.mean())
        assert deviations[metric] == pytest.approx(of_name.mean(axis=1).std(ddof=1))
        assert result.encoder["seeds"] == 3
        # Seeds differ, so the interval is wider than that of their means.
        low, high = result.intervals[metric]
        groups = read_items(paths[0], read_result(paths[0])).sort_by("item")["group"].to_pylist()
        least, most = bootstrap_interval(of_name.mean(axis=0), groups)
        assert high - low > most - least
    found = one.differences[1][metric]
    assert found["difference"] == pytest.approx(values["better"].mean() - values["plain"].mean())
    cell = table_rows(one)[2][2]
    assert re.fullmatch(r"0\.\d{4} ± 0\.\d{4} \[0\.\d{4}, [01]\.\d{4}\], p = .*", cell)
    json.dumps(one.as_dict())


def test_rows_of_unequal_numbers_of_seeds_compare_by_their_means(seeds):
    (one,) = compare_results([seeds["plain"][0], *(f"better={path}" for path in seeds["better"])])
    assert one.names[1] == "better"
    assert one.deviations[0] == {}
    metric = "retrieval/map_excl_query"
    assert one.differences[1][metric]["difference"] == pytest.approx(
        one.results[1].metrics[metric] - one.results[0].metrics[metric]
    )


def test_what_the_p_values_do_not_say(written, seeds):
    (single,) = compare_results(written)
    assert any("fewer than 3 seeds" in said for said in cautions(single))
    (joined,) = compare_results([f"{name}={path}" for name, of_name in seeds.items() for path in of_name])
    assert not any("fewer than 3 seeds" in said for said in cautions(joined))
    (alone,) = compare_results([seeds["plain"][0], *(f"better={path}" for path in seeds["better"])])
    assert not any("fewer than 3 seeds" in said for said in cautions(alone))  # it is taken to vary as the others do
    (same,) = compare_results([f"one={path}" for path in seeds["plain"]] + [f"other={path}" for path in seeds["plain"]])
    (told,) = cautions(same)
    assert told.startswith("retrieval/map_excl_query: these results can't tell other from one (+0.0000, from -0.")
    assert markdown_text(told) in markdown([same])


def test_means_over_tasks_are_tested_by_t(tmp_path, written):
    """Four tasks, of which a bootstrap knows 256 resamples."""
    paths, accuracies = [], np.array([[0.5, 0.6, 0.4, 0.7], [0.55, 0.63, 0.47, 0.79]])
    for name, values in zip("ab", accuracies, strict=True):
        result = read_result(written[0])
        of_tasks = replace(
            result,
            protocol="vtab",
            headline="vtab/mean_present",
            metrics={"vtab/mean_present": float(values.mean())},
            intervals={},
            interval_over="tasks",
            encoder=result.encoder | {"fingerprint": name, "spec": name},
        )
        tasks = ["one", "two", "three", "four"]
        paths.append(write_result(tmp_path, of_tasks, items_table(tasks, tasks, {"mean_present": values})))
    (one,) = compare_results(paths)
    expected = stats.ttest_rel(accuracies[1], accuracies[0])
    found = one.differences[1]["vtab/mean_present"]
    assert found["p_value"] == pytest.approx(expected.pvalue)
    assert found["difference_interval"] == pytest.approx(list(expected.confidence_interval()))
    assert "Student's t over tasks" in markdown([one])


def test_a_path_with_an_equals_sign_is_a_path(written, tmp_path):
    folder = tmp_path / "lr=1"
    folder.mkdir()
    copy = folder / written[0].name
    copy.write_bytes(written[0].read_bytes())
    assert compare_results([copy])[0].names == ["eye"]
    with pytest.raises(OpenMofiError, match=r"Give the \.json files"):
        compare_results(["name=nosuch.json"])


def changed(path, folder, change):
    raw = json.loads(path.read_text())
    change(raw)
    folder.mkdir(exist_ok=True)
    (folder / path.name).write_text(json.dumps(raw))
    return folder / path.name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw["data"].update(fingerprint="x"), "do not compare: their data differ"),
        (lambda raw: (raw["data"].update(fingerprint="x"), raw.update(excluded={"a": "broken"})), "their data differ"),
        (lambda raw: raw.update(version=9), "do not compare: their version of the protocol differ"),
        (lambda raw: raw["settings"].update(recall_at=[3]), "do not compare: their settings differ"),
        (lambda raw: raw.update(format_version=9), "has format 9"),
        (lambda raw: raw.pop("metrics"), "Give the .json files"),
        (lambda raw: raw.update(more=1), "has format"),
    ],
)
def test_what_does_not_compare(written, tmp_path, change, message):
    with pytest.raises(OpenMofiError, match=message):
        compare_results([written[0], changed(written[1], tmp_path / "other", change)])


def test_files_that_are_no_results(written, tmp_path):
    (tmp_path / "a.json").write_text("[1]")
    for name in ("a.json", "nosuch.json"):
        with pytest.raises(OpenMofiError, match=r"Give the \.json files that `openmofi eval` wrote"):
            compare_results([tmp_path / name])
    copy = changed(written[0], tmp_path / "copy", lambda raw: None)
    copy.with_suffix(".parquet").write_bytes(written[1].with_suffix(".parquet").read_bytes())
    with pytest.raises(OpenMofiError, match="does not belong to"):
        compare_results([copy])
    copy.with_suffix(".parquet").write_bytes(b"PAR1")
    with pytest.raises(OpenMofiError, match="cannot be read"):
        compare_results([copy])
    copy.with_suffix(".parquet").unlink()
    assert compare_results([written[0], copy])[0].differences[1] == {}


def test_missing_values_of_items_are_left_out():
    table = items_table(["a", "b"], ["x", "y"], {"m": [np.nan, 1.0]})
    assert table["m"].to_pylist() == [None, 1.0]


def test_the_page_of_failures_escapes_what_it_shows(written, tmp_path):
    data = write_classes(tmp_path / "data", 3)
    (data / "red").rename(data / "<script>")
    found = evaluate("retrieval", Eye(), data, tmp_path / "cache", Quiet(), failures=2)
    image = found.failures[0].image
    answers = [Answer(image, '"><img src=x>', 0.25, True), Answer(None, "words & more", 0.1, False)]
    bad = Failure(image, "<b>name</b>", 0.5, answers)
    write_failures(tmp_path / "page.html", Evaluated(found.result, found.items, [bad], found.features))
    page = (tmp_path / "page.html").read_text()
    assert "<b>name</b>" not in page.replace("<b>&lt;b&gt;name&lt;/b&gt;</b>", "")
    assert "<img src=x>" not in page
    assert "words &amp; more" in page
    assert page.count("data:image/jpeg;base64,") == 2
    assert "<script>" not in page


def test_what_a_killed_process_left_beside_results_goes(tmp_path):
    result = evaluate("retrieval", Eye(), write_classes(tmp_path / "data", 3), tmp_path / "cache", Quiet())
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    out = tmp_path / "out"
    with atomic_path(out / "page.html") as temporary:
        temporary.write_text("whole")
        left = out / temporary.name.replace(f"-{os.getpid()}-", f"-{ended.pid}-")
    left.write_text("half a page")
    write(out, result)
    assert not left.exists()
