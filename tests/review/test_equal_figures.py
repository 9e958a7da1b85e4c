"""The same verdicts on an index's page, in `label audit`, `dataset audit` and `label --verdicts`: equal figures."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import openmofi
from openmofi.cli.main import app
from openmofi.labeling.correction import Recalibration
from openmofi.plugins.sharing.indexes import publish_index
from openmofi.review.verdicts import read_verdicts
from openmofi.search import Verdict
from openmofi.search.verdicts import precision, to_judge

pytestmark = pytest.mark.slow


def run(*arguments):
    done = CliRunner().invoke(app, [str(each) for each in arguments], catch_exceptions=False)
    assert done.exit_code == 0
    return json.loads(done.stdout)


def test_four_ways_have_the_same_figures(small_world, small_encoder, labelled, bucket, tmp_path):
    index = openmofi.build_index(str(labelled), encoder=small_encoder, out=tmp_path / "index", progress=False)
    for number, each in enumerate(to_judge(index.connection, who="ann", limit=60)):
        image = each.image
        true = small_world.truth[image.shard, image.key] == each.entity.id and number % 7
        index.add_verdict(Verdict(image.shard, image.key, each.entity.id, "y" if true else "n", who="ann"))
    page = precision(index.connection)
    assert page.judged == 60
    assert 0 < page.lower < page.precision < page.upper
    figures = pytest.approx((page.precision, page.lower, page.upper), abs=1e-9)
    table = tmp_path / "verdicts.parquet"
    pq.write_table(index.verdict_table(), table)
    publish_index(tmp_path / "index", "s3://data/index")
    for verdicts in (tmp_path / "index", "s3://data/index", table):
        for audit in (
            run("label", "audit", labelled, "--verdicts", verdicts, "--json"),
            run("dataset", "audit", labelled, "--truth", verdicts, "--json"),
        ):
            assert (audit["labels"]["corrected"], *audit["labels"]["interval"]) == figures
            assert (audit["labels"]["labels"], audit["labels"]["judged"]) == (page.labels, 60)
    # The strata of the page are the ranges of the audit.
    for stratum, row in zip(page.strata, audit["probability"].values(), strict=True):
        assert (stratum.labels, stratum.judged, stratum.precision) == (row["labels"], row["judged"], row["corrected"])
        assert [stratum.lower, stratum.upper] == pytest.approx(row["interval"] or [0.0, 1.0])
    # A job whose target is what its labels reach by these verdicts accepts the same labels again (tables are float32).
    said = read_verdicts(table)
    accepted = openmofi.Labels.open(labelled).accepted()["probability"].to_numpy().astype(np.float64)
    recalibrated = Recalibration.of(said.probability, said.right)(accepted)
    again = openmofi.label(
        small_world.shards,
        kb=small_world.kb,
        encoder=small_encoder,
        out=tmp_path / "again",
        cache=labelled,
        target_precision=float(recalibrated.mean()) - 1e-6,
        verdicts=table,
        progress=False,
    ).summary
    assert again["accepted"] == openmofi.Labels.open(labelled).summary["accepted"] == page.labels
    assert (again["verdicts"]["corrected_precision"], *again["verdicts"]["interval"]) == figures
