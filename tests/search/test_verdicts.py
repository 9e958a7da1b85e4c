"""What reviewers said of an index's labels, as a table, and in the label job."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from served_world import labelled_index
from typer.testing import CliRunner

import openmofi
from openmofi.api.given import verdicts_of
from openmofi.cli.main import app
from openmofi.errors import OpenMofiError, UsageError
from openmofi.review.verdicts import read_verdicts
from openmofi.schema import VERDICTS
from openmofi.search import Index, Verdict
from openmofi.search.store.database import set_meta, transaction

ON_BOTH_BACKENDS = True


def verdict(key, value="y", **more):
    return Verdict("images", key, f"c:{key.partition('-')[0]}", value, **more)


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


def test_verdicts_are_kept_together_or_not_at_all(tmp_path, place):
    index = labelled_index(tmp_path, place=place)
    kept = index.add_verdicts([verdict("red-0", who="ann"), verdict("red-1", "n", instead="c:blue")])
    assert [each.id for each in kept] == [1, 2]
    assert index.verdicts() == kept[::-1]
    with pytest.raises(Exception, match=r"(?i)check constraint"):
        index.add_verdicts([verdict("red-2"), verdict("red-3", "maybe")])
    assert index.verdicts() == kept[::-1]
    assert index.add_verdicts([]) == []


def test_verdicts_move_to_another_index_with_who_and_when(tmp_path, place):
    index = labelled_index(tmp_path / "old", place=place)
    index.add_verdicts([verdict("red-0", who="ann"), verdict("red-1", "n", instead="c:blue"), verdict("red-99", "u")])
    index.undo_verdict(2)
    assert run("index", "verdicts", index.path, "-o", tmp_path / "v.parquet").exit_code == 0
    new = labelled_index(tmp_path / "new")
    taken = json.loads(run("index", "verdicts", new.path, "--from", tmp_path / "v.parquet", "--json").stdout)
    assert (taken["verdicts"], taken["new"]) == (2, 2)
    assert [replace(each, id=0) for each in new.verdicts()] == [replace(each, id=0) for each in index.verdicts()]
    # A second time nothing is new; what was said here later stays the last word, and what was taken back stays so.
    assert new.take_in_verdicts(pq.read_table(tmp_path / "v.parquet")) == 0
    new.undo_verdict(1)
    assert new.take_in_verdicts(pq.read_table(tmp_path / "v.parquet")) == 0
    later = labelled_index(tmp_path / "later")
    later.add_verdict(verdict("red-0", "n"))
    assert later.take_in_verdicts(pq.read_table(tmp_path / "v.parquet")) == 1
    assert later.verdicts(entity="c:red")[-1].verdict == "n"
    wrong = pq.read_table(tmp_path / "v.parquet").set_column(3, "verdict", pa.array(["y", "maybe"]))
    with pytest.raises(OpenMofiError, match="A verdict is 'maybe', not y, n or u"):
        later.take_in_verdicts(wrong)


def test_the_verdicts_of_another_version_are_not_locked_in(tmp_path, place):
    index = labelled_index(tmp_path, place=place)
    index.add_verdicts([verdict("red-0", who="ann"), verdict("red-1", "n")])
    with transaction(index.connection) as connection:
        set_meta(connection, {"version": "1"})
    index.close()
    with pytest.raises(OpenMofiError, match="index version 1, not 2") as raised:
        Index.open(index.path)
    assert "index verdicts NEW --from" in raised.value.hint
    assert run("index", "verdicts", index.path, "-o", tmp_path / "v.parquet").exit_code == 0
    rows = pq.read_table(tmp_path / "v.parquet").to_pylist()
    assert [(row["key"], row["verdict"], row["who"]) for row in rows] == [("red-0", "y", "ann"), ("red-1", "n", "")]
    with pytest.raises(UsageError, match="written or taken in"):
        run("index", "verdicts", index.path)


def test_all_verdicts_are_in_the_table_with_their_labels_probability(tmp_path, place):
    index = labelled_index(tmp_path, place=place)
    index.add_verdicts(
        [verdict("red-0"), verdict("red-4", "n"), verdict("red-99", "u"), verdict("red-0", "n", who="b")]
    )
    index.undo_verdict(2)
    table = index.verdict_table()
    assert table.schema.equals(VERDICTS)
    assert table["key"].to_pylist() == ["red-0", "red-99", "red-0"]
    assert table["probability"].to_pylist() == [0.995, None, 0.995]
    assert index.verdict_table(entity="c:blue").num_rows == 0
    # Images without labels by a label job: the table says nothing of any labels.
    assert table["stratum"].null_count == 3
    with pytest.raises(OpenMofiError, match="does not say what labels its verdicts are of"):
        verdicts_of(index.path)
    with pytest.raises(UsageError, match="was not built of the labels elsewhere"):
        index.verdict_table("elsewhere")


@pytest.fixture(scope="module")
def judged(labelled, small_world, small_encoder, tmp_path_factory):
    """An index of the small world's labels; a reader who knows the truth has judged a hundred, some twice."""
    folder = tmp_path_factory.mktemp("judged") / "index"
    index = openmofi.build_index(str(labelled), encoder=small_encoder, out=folder, progress=False)
    rows = index.connection.execute(
        "SELECT sources.shard, key, entity FROM labels JOIN images ON images.id = image JOIN sources ON "
        "sources.id = source WHERE accepted OR probability >= 0.1 ORDER BY 1, 2, 3"
    ).fetchall()
    rows = [rows[place] for place in np.random.default_rng(0).permutation(len(rows))[:100]]
    true = ["y" if small_world.truth[shard, key] == entity else "n" for shard, key, entity in rows]
    wrong = [Verdict(*row, "n" if value == "y" else "y") for row, value in list(zip(rows, true, strict=True))[:5]]
    index.add_verdicts(wrong + [Verdict(*row, value, who="ann") for row, value in zip(rows, true, strict=True)])
    return folder, dict(zip(rows, true, strict=True))


@pytest.mark.slow
def test_the_table_is_the_verdicts_file_of_the_label_job(judged, labelled, tmp_path):
    folder, true = judged
    done = run("index", "verdicts", folder, "-o", tmp_path / "v.parquet", "--json")
    assert json.loads(done.stdout) == {"file": str(tmp_path / "v.parquet"), "verdicts": 105, "of_labels": 105}
    verdicts = read_verdicts(tmp_path / "v.parquet")
    assert {each.label: each.verdict for each in verdicts.verdicts} == true
    assert verdicts == read_verdicts(tmp_path / "v.parquet")
    assert verdicts.verdicts == verdicts_of(folder).verdicts
    # The oracle is the labels' own tables.
    table = openmofi.Labels.open(labelled).to_arrow(["key", "entities"]).to_pylist()
    best = {}
    for row in table:
        for each in row["entities"] or ():
            at = (row["shard"], row["key"], each["entity"])
            best[at] = max(best.get(at, (False, 0.0)), (each["accepted"], each["probability"]))
    assert all(each.probability == pytest.approx(best[each.label][1]) for each in verdicts.verdicts)
    counted = [each for each in best.values() if each[0] or each[1] >= 0.1]
    assert sum(stratum.labels for stratum in verdicts.strata) == len(counted)
    assert sum(stratum.labels for stratum in verdicts.strata if stratum.accepted) == sum(each[0] for each in counted)
    for each in verdicts.verdicts:
        stratum = verdicts.strata[each.stratum]
        low, high = map(float, stratum.name.rpartition(" ")[2].split("–"))
        assert stratum.accepted == best[each.label][0]
        assert low <= each.probability <= high


@pytest.mark.slow
def test_the_audit_and_the_next_job_take_an_index(judged, labelled, small_world, small_encoder, tmp_path):
    folder, true = judged
    run("index", "verdicts", folder, "-o", tmp_path / "v.parquet")
    by_index = json.loads(run("label", "audit", labelled, "--verdicts", folder, "--json").stdout)
    assert by_index == json.loads(
        run("label", "audit", labelled, "--verdicts", tmp_path / "v.parquet", "--json").stdout
    )
    rows = openmofi.Labels.open(labelled).accepted().select(["shard", "key", "entity"]).to_pylist()
    accepted = {tuple(row.values()) for row in rows}
    precision = sum(small_world.truth[at[:2]] == at[2] for at in accepted) / len(accepted)
    assert by_index["labels"]["corrected"] == pytest.approx(precision, abs=0.05)
    assert by_index["labels"]["judged"] == sum(at in accepted for at in true)

    def again(name, verdicts):
        return openmofi.label(
            small_world.shards,
            kb=small_world.kb,
            encoder=small_encoder,
            out=tmp_path / name,
            cache=labelled,
            target_precision=0.9,
            verdicts=verdicts,
            progress=False,
        )

    said = again("index", folder)
    assert said.summary["verdicts"]["judged"] == len(true)
    # The same verdicts, read elsewhere, are the same input: the finished job answers.
    assert again("index", tmp_path / "v.parquet").summary == said.summary
    with pytest.raises(OpenMofiError, match="are of other labels"):
        openmofi.label(
            small_world.shards,
            kb=small_world.kb,
            encoder=small_encoder,
            out=tmp_path / "other",
            cache=labelled,
            target_precision=0.9,
            verdicts=folder,
            template="{name}",
            progress=False,
        )


@pytest.mark.slow
def test_labels_that_are_being_taken_in_are_not_claimed(judged, labelled):
    from openmofi.dataset.tables import Folder
    from openmofi.search.store.database import set_meta
    from openmofi.search.verdicts import note_labels

    folder, _ = judged
    index, taken = Index.open(folder), Folder.open(labelled, "labels")
    heads = index.connection.execute("SELECT value FROM meta WHERE name = 'label_folders'").fetchone()[0]
    note_labels(index.connection, [taken], taken_in=False)
    assert verdicts_of(folder)  # they are those that it has
    set_meta(index.connection, {"label_folders": heads.replace(json.loads(heads)[taken.path]["labels"], "before")})
    note_labels(index.connection, [taken], taken_in=False)
    with pytest.raises(OpenMofiError, match="does not say what labels"):
        verdicts_of(folder)
    note_labels(index.connection, [taken], taken_in=True)
    assert verdicts_of(folder)


def test_a_damaged_table_is_refused_in_a_sentence(tmp_path):
    path = tmp_path / "v.parquet"
    table = labelled_index(tmp_path).verdict_table()
    pq.write_table(table.replace_schema_metadata({"openmofi-verdicts": "{"}), path)
    with pytest.raises(OpenMofiError, match=r"v\.parquet cannot be read as verdicts"):
        read_verdicts(path)
    pq.write_table(pa.table({"x": [1]}).replace_schema_metadata({"openmofi-verdicts": "{}"}), path)
    with pytest.raises(OpenMofiError, match=r"v\.parquet cannot be read as verdicts"):
        read_verdicts(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(OpenMofiError, match=r"v\.parquet cannot be read as verdicts"):
        read_verdicts(path)
