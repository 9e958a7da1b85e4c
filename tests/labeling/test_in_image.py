"""Texts in images: one more text of a pair, of a kind of its own. The reader here knows shapes by their colours."""

import dataclasses
import json
import logging
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import openmofi
from openmofi.errors import MissingExtraError, OpenMofiError
from openmofi.labeling import in_image
from openmofi.labeling.calibrate.evidence import places_of
from openmofi.labeling.in_image import Line, TextReaderKind, own_text, with_lines
from openmofi.labeling.tables import link_arrays
from openmofi.pairs import read_pairs
from openmofi.schema import IN_IMAGE, LINK, MENTION, Pair, PairStatus
from openmofi.storage import expand_shards
from small_world import SHAPES


def nearest(image):
    """The name of the shape whose colour the middle of an image has."""
    middle = np.asarray(image)[image.height // 2, image.width // 2].astype(int)
    return min(SHAPES.values(), key=lambda shape: np.abs(middle - shape[1]).sum())[0]


@pytest.fixture
def reader(monkeypatch):
    """Installs a function of an image as what reads texts in images."""

    def install(read, name="colours 1"):
        kind = TextReaderKind(lambda: name, lambda: read)
        monkeypatch.setattr(in_image, "extension", lambda group, name: kind if group == "text_readers" else None)

    return install


@pytest.fixture(scope="module")
def table(small_world, tmp_path_factory):
    """A shard whose texts say nothing, or are not there."""
    rows = [
        {"key": pair.key, "image": pair.image, "text": ["photo", None, "picture of it today"][number % 3]}
        for number, pair in enumerate(read_pairs(expand_shards([str(small_world.shards)])[0]))
    ]
    path = tmp_path_factory.mktemp("silent") / "silent.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.fixture
def label(table, labelled, small_world, small_encoder):
    def run(out, **settings):
        options = {"calibration": labelled / "calibration.json", "boilerplate": False, "progress": False}
        return openmofi.label(table, kb=small_world.kb, encoder=small_encoder, out=out, **options, **settings)

    return run


@pytest.mark.slow
def test_what_images_say_is_labelled_and_its_mentions_have_its_kind(label, reader, small_world, tmp_path):
    plain = label(tmp_path / "plain")
    assert plain.summary["accepted"] == 0
    reader(lambda image: [Line(nearest(image), 0.9), Line("peak", 0.3), Line("x", 1.0)])
    read = label(tmp_path / "read", read_text=True)
    rows = read.to_arrow().to_pylist()
    right = [
        any(each["accepted"] and each["entity"] == small_world.truth["00000", row["key"]] for each in row["entities"])
        for row in rows
    ]
    assert sum(right) > 40
    assert {mention["kind"] for row in rows for mention in row["mentions"]} == {IN_IMAGE}
    said = [row["text"].split("\n") for row in rows if row["status"] == "labelled"]
    assert {len(lines) for lines in said} == {1, 2}  # a row without a text is usable by what its image says
    assert {lines[-1] for lines in said} <= {name for name, _, _ in SHAPES.values()}  # no score of .3, no letter
    assert all("\n" not in row["text"] for row in rows if row["status"] == "image_broken")


def test_the_job_is_another_where_images_are_read_and_where_another_model_reads(label, reader, tmp_path):
    out, cache = tmp_path / "labels", tmp_path / "cache"
    reader(lambda image: [Line(nearest(image), 0.9)])
    label(out, read_text=True, cache=cache)
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["inputs"]["/in_image"] == "colours 1"
    assert manifest["settings"]["text"]["read_text"] is True
    with pytest.raises(OpenMofiError, match="read_text"):
        label(out, cache=cache)
    reader(lambda image: [Line("moon", 0.9)], "colours 2")
    with pytest.raises(OpenMofiError, match="in_image"):
        label(out, read_text=True, cache=cache)
    again = label(tmp_path / "again", read_text=True, cache=cache)
    assert {row["text"].split("\n")[-1] for row in again.to_arrow().to_pylist() if row["status"] == "labelled"} == {
        "moon"
    }
    assert len(list((cache / "texts").iterdir())) == 2
    assert len(list((cache / "features").iterdir())) == 1


def test_an_image_on_which_reading_fails_keeps_its_row(label, reader, tmp_path, caplog):
    seen = []

    def read(image):
        seen.append(image)
        if len(seen) == 1:
            raise ValueError("no such pixels")
        return [Line(nearest(image), 0.9)]

    reader(read)
    with caplog.at_level(logging.WARNING):
        labels = label(tmp_path / "labels", read_text=True)
    (said,) = [record.getMessage() for record in caplog.records if "could not be read" in record.getMessage()]
    assert re.search(r"The text in 1 images of .*silent.parquet, .*\(ValueError: no such pixels\)", said)
    assert labels.summary["rows_out"] == labels.summary["rows_in"] == 80
    assert labels.summary["accepted"] > 40


def test_without_the_extra_one_sentence_says_what_to_install(label, monkeypatch, tmp_path):
    monkeypatch.setattr(in_image, "extension", lambda group, name: None)
    with pytest.raises(MissingExtraError, match=r"'rapidocr', which is not installed. Install it with: .*\[ocr\]"):
        label(tmp_path / "labels", read_text=True)
    assert not (tmp_path / "labels/manifest.json").exists()


def test_explain_reads_the_image_too(labelled, reader, small_world, small_encoder):
    pair = next(each for each in read_pairs(expand_shards([str(small_world.shards)])[0]) if each.image != b"broken")
    reader(lambda image: [Line(nearest(image), 0.9)])
    options = {
        "kb": small_world.kb,
        "encoder": small_encoder,
        "calibration": labelled / "calibration.json",
        "progress": False,
    }
    assert openmofi.explain(pair.image, "photo", **options).candidates == ()
    explained = openmofi.explain(pair.image, "photo", **options, read_text=True)
    assert explained.text.startswith("photo\n")
    assert {candidate.kind for candidate in explained.candidates} == {IN_IMAGE}


PAIR = Pair("a", b"image", "red bus", kinds=(("title", 3), ("tags", 7)))


@pytest.mark.parametrize(
    ("pair", "lines", "text", "status", "kinds"),
    [
        (PAIR, ["Bus 7", "line"], "red bus\nBus 7\nline", "ok", (("title", 3), ("tags", 7), ("in_image", 18))),
        (PAIR, [], "red bus", "ok", (("title", 3), ("tags", 7))),
        (PAIR, ["x" * 40], "red bus\n" + "x" * 12, "ok", (("title", 3), ("tags", 7), ("in_image", 20))),
        (Pair("a", b"", "bus"), ["7 up"], "bus\n7 up", "ok", (("text", 3), ("in_image", 8))),
        (Pair("a", b"", "", PairStatus.TEXT_MISSING), ["7 up"], "7 up", "ok", (("in_image", 4),)),
        (Pair("a", b"", "", PairStatus.TEXT_MISSING), [], "", "text_missing", (("text", 0),)),
        (Pair("a", b"", "bus", PairStatus.TEXT_TOO_LONG), ["7 up"], "bus", "text_too_long", (("text", 3),)),
    ],
)
def test_the_lines_of_an_image_stand_behind_its_text(pair, lines, text, status, kinds):
    read = with_lines(pair, lines, 20)
    assert (read.text, read.status, read.kinds) == (text, status, kinds)
    assert own_text(read.text, read.kinds) == ("" if status == "ok" and pair.status != "ok" else pair.text)


def test_a_mention_in_the_image_has_a_place_of_its_own():
    kinds = ["text", "text", "in_image", "in_image"]
    mention = pa.struct([*MENTION, ("kind", pa.string())])
    mentions = pa.array([[{"surface": "n", "kind": kind} for kind in kinds]], pa.list_(mention))
    links = [
        {"entity": entity, "mention": number, "prior": 1, "link_score": 1}
        for number, entity in enumerate(["a", "b", "b", "c"])
    ]
    column = pa.array([links], pa.list_(LINK))
    arrays = link_arrays(column, 8, mentions)
    assert arrays.in_image.tolist() == [False, False, True, True]
    assert places_of(arrays).tolist() == [0, 9, 9, 8]
    assert places_of(dataclasses.replace(arrays, in_image=np.zeros(4, bool))).tolist() == [0, 3, 5, 4]
    assert not link_arrays(column, 8).in_image.any()
