"""The label job over pairs of which a part carries boilerplate: what it marks, keeps, counts and reads again."""

import json
import shutil

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import openmofi
from openmofi.cli.main import app
from openmofi.pairs import Record, read_pairs, write_tar
from openmofi.schema import LABELS
from openmofi.storage import expand_shards, read_manifest

TAIL = "Part of our icons of tent, moon: bricks, lawn, everything"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def worn(small_world, tmp_path_factory):
    """The small world's pairs, every second with the same tail, some with a tail alone."""
    folder = tmp_path_factory.mktemp("worn")
    for shard in expand_shards([str(small_world.shards)]):
        rows = []
        for number, pair in enumerate(read_pairs(shard)):
            text = TAIL if number % 20 == 4 else f"{pair.text}. {TAIL}" if number % 2 else pair.text
            rows.append(Record(pair.key, pair.image, text))
        write_tar(folder / f"{shard.name}.tar", rows)
    return folder


@pytest.fixture(scope="module")
def marked(worn, small_world, small_encoder, tmp_path_factory):
    out = tmp_path_factory.mktemp("marked") / "labels"
    openmofi.label(worn, kb=small_world.kb, encoder=small_encoder, out=out, progress=False)
    return out


def linked(row: dict) -> list[tuple[str, str, float]]:
    """What a row's mentions may mean."""
    return [
        (row["mentions"][entity["mention"]]["surface"], entity["entity"], entity["link_score"])
        for entity in row["entities"]
    ]


def rows_of(out):
    return [row for path in sorted((out / "labels").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def test_the_tail_is_marked_and_never_judged_and_the_rest_is_linked_as_without_it(marked, labelled):
    for row, before in zip(rows_of(marked), rows_of(labelled), strict=True):
        start = row["text"].find(TAIL)
        for number, mention in enumerate(row["mentions"]):
            assert row["text"][mention["start"] : mention["end"]] == mention["surface"]
            assert bool(mention["reason"]) == (0 <= start <= mention["start"])
            if mention["reason"]:
                assert not any(entity["mention"] == number for entity in row["entities"])
        if start == 0:
            assert row["status"] in ("boilerplate", "image_broken")
        else:
            # The small world's own shards were fitted on, so folds judge them: links agree, probabilities need not.
            assert linked(row) == linked(before)


def test_the_counts_say_how_much_and_what(marked):
    counts = read_manifest(marked, "labels").counts
    rows = rows_of(marked)
    assert counts["boilerplate"]["marked"] == sum(bool(m["reason"]) for row in rows for m in row["mentions"])
    assert counts["boilerplate"]["mentions"] == sum(len(row["mentions"]) for row in rows)
    ((piece, times),) = counts["boilerplate"]["pieces"]
    assert piece in TAIL.lower()
    assert times == sum(TAIL in row["text"] for row in rows)
    assert sum(counts["status"].values()) == len(rows)
    assert counts["status"]["boilerplate"] == sum(row["status"] == "boilerplate" for row in rows)
    assert pq.read_schema(next((marked / "labels").glob("*.parquet"))).remove_metadata() == LABELS


def test_the_command_and_the_report_say_it(worn, marked, small_world, small_encoder, tmp_path):
    done = CliRunner().invoke(
        app,
        [
            "label",
            str(worn),
            "--kb",
            str(small_world.kb),
            "--encoder",
            small_encoder,
            "-o",
            str(tmp_path / "out"),
            "--cache",
            str(marked),
        ],
        catch_exceptions=False,
    )
    (line,) = (line for line in done.output.splitlines() if line.startswith("boilerplate: "))
    assert "mentions; repeated most: " in line
    openmofi.build_dataset(marked, out=tmp_path / "dataset", min_images=1, kb=small_world.kb)
    page = (tmp_path / "dataset/report.html").read_text()
    assert "Boilerplate: " in page
    assert "repeated most" in page


def test_off_marks_nothing_and_shares_features(worn, marked, small_world, small_encoder, tmp_path):
    def made() -> dict:
        return {path: path.stat().st_mtime_ns for path in marked.glob("features/*/*")}

    before = made()
    labels = openmofi.label(
        worn,
        kb=small_world.kb,
        encoder=small_encoder,
        out=tmp_path / "out",
        cache=marked,
        boilerplate=False,
        progress=False,
    )
    assert labels.summary["boilerplate"] == {
        "mentions": labels.summary["boilerplate"]["mentions"],
        "marked": 0,
        "reasons": {},
        "pieces": [],
    }
    assert any(
        entity["mention"] for row in rows_of(tmp_path / "out") if row["text"] == TAIL for entity in row["entities"]
    )
    assert made() == before


def test_a_lost_table_is_made_again_and_the_labels_are_the_same_bytes(
    worn, marked, small_world, small_encoder, tmp_path
):
    expected = {path.name: path.read_bytes() for path in (marked / "labels").glob("*.parquet")}
    cache = shutil.copytree(marked, tmp_path / "cache")
    arguments = {"kb": small_world.kb, "encoder": small_encoder, "cache": cache, "progress": False}
    for lost in ("texts", "repeats", "links", "groups", "features"):
        sorted(cache.glob(f"{lost}/**/*.*"))[0].unlink()
        openmofi.label(worn, out=tmp_path / lost, **arguments)
        assert {path.name: path.read_bytes() for path in (tmp_path / lost / "labels").glob("*.parquet")} == expected
    assert sorted(cache.glob("repeats/*"))
    assert sorted(cache.glob("links/*/*"))


def test_other_shards_beside_it_are_another_corpus(worn, marked, small_world, small_encoder, tmp_path):
    one = sorted(worn.glob("*.tar"))[0]
    openmofi.label(one, kb=small_world.kb, encoder=small_encoder, out=tmp_path / "out", cache=marked, progress=False)
    assert len(list(marked.glob("repeats/*.parquet"))) == 2
    assert len(json.loads((tmp_path / "out/manifest.json").read_text())["settings"]["shards"]) == 1
