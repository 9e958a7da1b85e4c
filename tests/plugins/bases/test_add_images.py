"""Reference images come into a base: bounded, small, once, of known entities, and nothing from outside the folder."""

import csv
import io
import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kb_tables import resealed
from PIL import Image
from typer.testing import CliRunner

import openmofi
from openmofi.cli.main import app
from openmofi.errors import OpenMofiError, UsageError
from openmofi.knowledge import KnowledgeBase, build_table, verify
from openmofi.pairs import Record, write_tar
from openmofi.plugins.bases.images import SIDE, add_images
from openmofi.storage import write_arrow
from terminal import PATIENCE


def picture(seed: int, size=(60, 40), kind="PNG") -> bytes:
    out = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1] // 4, size[0] // 4, 3), np.uint8)
    Image.fromarray(pixels).resize(size).save(out, kind)
    return out.getvalue()


@pytest.fixture
def kb(tmp_path):
    (tmp_path / "entities.csv").write_text("id,name\nQ1,crane\nQ2,stork\nQ3,elbe\n")
    build_table(tmp_path / "entities.csv", tmp_path / "kb")
    return tmp_path / "kb"


@pytest.fixture
def images(tmp_path):
    for name, seed in (("Q1/a.png", 1), ("Q1/b.png", 2), ("Q2.png", 3)):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(seed))
    return tmp_path / "images"


def table(path, rows, columns=("entity", "image")):
    with open(path, "w", newline="") as handle:
        csv.writer(handle).writerows([columns, *rows])
    return path


def held(kb):
    return KnowledgeBase.open(kb).images.select(["id", "source"]).to_pylist()


def test_a_folder_of_files_and_folders_named_by_identifiers(kb, images):
    before = KnowledgeBase.open(kb).fingerprint
    counts = openmofi.add_images(kb, images)
    assert counts == {"images": 3, "entities_with_images": 2, "status": {"ok": 3}, "unknown": []}
    assert held(kb) == [
        {"id": "Q1", "source": "Q1/a.png"},
        {"id": "Q1", "source": "Q1/b.png"},
        {"id": "Q2", "source": "Q2.png"},
    ]
    base = KnowledgeBase.open(kb)
    assert base.fingerprint != before
    assert base.manifest.counts["entities_with_images"] == 2
    assert not any(verify(kb).values())
    assert all(Image.open(io.BytesIO(image.as_py())).format == "JPEG" for image in base.images["image"])


def test_the_same_again_changes_nothing(kb, images):
    add_images(kb, images)
    before = {path.name: path.read_bytes() for path in kb.iterdir() if path.is_file()}
    counts = add_images(kb, images)
    assert counts["status"] == {"repeated": 3}
    assert {path.name: path.read_bytes() for path in kb.iterdir() if path.is_file()} == before


def test_more_are_added_to_those_that_are_there_and_one_file_is_left(kb, images, tmp_path):
    opened = KnowledgeBase.open(kb)
    add_images(kb, images)
    (tmp_path / "more").mkdir()
    (tmp_path / "more/Q1.png").write_bytes(picture(7))
    counts = add_images(opened, tmp_path / "more")
    assert (counts["images"], counts["status"]) == (4, {"ok": 1})
    assert [row["source"] for row in held(kb)] == ["Q1/a.png", "Q1/b.png", "Q1.png", "Q2.png"]
    assert len(list(kb.glob("images.*.arrow"))) == 1


def test_a_table_says_what_became_of_each_row(kb, images, tmp_path, monkeypatch):
    (tmp_path / "secret.png").write_bytes(picture(9))
    (images / "broken.png").write_bytes(b"no image")
    (images / "again.png").write_bytes(picture(1))
    rows = [
        ("Q1", "Q1/a.png"),
        ("Q1", "again.png"),
        ("Q2", "broken.png"),
        ("Q2", "../secret.png"),
        ("Q2", str(tmp_path / "secret.png")),
        ("Q2", "nowhere.png"),
        ("Q9", "Q2.png"),
        ("Q3", "Q1/a.png"),
    ]
    counts = add_images(kb, table(tmp_path / "t.csv", rows), images=images)
    assert counts["status"] == {
        "image_broken": 1,
        "image_missing": 3,
        "ok": 2,
        "repeated": 1,
        "unknown_entity": 1,
    }
    assert counts["unknown"] == ["Q9"]
    assert [row["id"] for row in held(kb)] == ["Q1", "Q3"]  # an image may show two entities


def test_an_entity_keeps_its_first_images(kb, tmp_path):
    (tmp_path / "many/Q1").mkdir(parents=True)
    for number in range(300):
        (tmp_path / f"many/Q1/{number:03d}.png").write_bytes(picture(number, (16, 16)))
    counts = add_images(kb, tmp_path / "many", most=5)
    assert counts["status"] == {"beyond_most": 295, "ok": 5}
    assert [row["source"] for row in held(kb)] == [f"Q1/{number:03d}.png" for number in range(5)]


def test_a_large_image_becomes_small(kb, tmp_path):
    (tmp_path / "large").mkdir()
    (tmp_path / "large/Q1.jpg").write_bytes(picture(1, (1600, 800), "JPEG"))
    add_images(kb, tmp_path / "large")
    (image,) = KnowledgeBase.open(kb).images["image"].to_pylist()
    assert Image.open(io.BytesIO(image)).size == (SIDE, SIDE // 2)


def test_the_entity_table_itself_with_lists_of_images(kb, images, tmp_path):
    rows = [("Q1", "crane", "Q1/a.png|Q1/b.png"), ("Q2", "stork", ""), ("Q3", "elbe", "Q2.png")]
    path = table(images / "entities.csv", rows, ("id", "name", "images"))
    assert add_images(kb, path)["status"] == {"ok": 3}
    parquet = tmp_path / "entities.parquet"
    pq.write_table(pa.table({"id": ["Q2"], "images": [["Q2.png", "Q1/b.png"]]}), parquet)
    assert add_images(kb, parquet, images=images)["status"] == {"ok": 2}
    assert [row["id"] for row in held(kb)] == ["Q1", "Q1", "Q2", "Q2", "Q3"]


def test_shards_whose_texts_are_identifiers(kb, tmp_path):
    records = [Record(str(number), picture(number), text) for number, text in enumerate(("Q1", "Q2", "Q2", "nothing"))]
    write_tar(tmp_path / "shards/00000.tar", records)
    counts = add_images(kb, tmp_path / "shards")
    assert counts["status"] == {"ok": 3, "unknown_entity": 1}


def test_what_cannot_be_used_is_said(kb, images, tmp_path):
    with pytest.raises(UsageError, match="no column 'entity' or 'id'; it has: name, image"):
        add_images(kb, table(tmp_path / "t.csv", [("Q1", "Q1/a.png")], ("name", "image")), images=images)
    with pytest.raises(OpenMofiError, match=r"No image can be added .*1 × unknown_entity.*'Q8'"):
        add_images(kb, table(tmp_path / "u.csv", [("Q8", "Q1/a.png")]), images=images)
    with pytest.raises(UsageError, match="most is 0"):
        add_images(kb, images, most=0)
    assert KnowledgeBase.open(kb).images is None


def test_a_slice_keeps_the_images_of_its_entities(kb, images, tmp_path):
    add_images(kb, images)
    part = openmofi.sample_kb(kb, tmp_path / "slice", entities=["Q2", "Q3"])
    assert part.images["id"].to_pylist() == ["Q2"]
    assert part.manifest.counts["images"] == 1
    assert openmofi.sample_kb(kb, tmp_path / "without", entities=["Q3"]).images is None


def test_a_build_that_is_repeated_keeps_them(kb, images, tmp_path):
    add_images(kb, images)
    build_table(tmp_path / "entities.csv", kb)
    assert KnowledgeBase.open(kb).images is not None
    build_table(tmp_path / "entities.csv", kb, restart=True)
    assert KnowledgeBase.open(kb).images is None
    assert not list(kb.glob("images.*"))


@pytest.mark.parametrize(
    ("ids", "problem"),
    [(["Q2", "Q1"], "does not hold images by ascending identifier"), (["Q1", "Q7"], "has images of unknown entities")],
)
def test_images_of_a_stranger_are_checked(kb, images, ids, problem):
    add_images(kb, images)
    (path,) = kb.glob("images.*.arrow")
    write_arrow(
        path,
        pa.table(
            {"id": ids, "image": [b"", b""], "content": ["", ""], "source": ["", ""]},
            KnowledgeBase.open(kb).images.schema,
        ),
    )
    with pytest.raises(OpenMofiError, match=problem):
        KnowledgeBase.open(resealed(kb))


def test_another_file_of_images_is_not_read(kb, images):
    add_images(kb, images)
    manifest = kb / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"images.', '"images.../'))
    with pytest.raises(OpenMofiError, match="content has changed"):
        KnowledgeBase.open(kb)


def test_a_killed_command_leaves_the_base_as_it_was(kb, images, tmp_path):
    program = f"""
import os
from openmofi.plugins.bases import images
images.layout.with_digests = lambda *_: os._exit(9)
images.add_images({str(kb)!r}, {str(images)!r})
"""
    before = KnowledgeBase.open(kb).fingerprint
    assert subprocess.run([sys.executable, "-c", program], timeout=PATIENCE, check=False).returncode == 9
    base = KnowledgeBase.open(kb)
    assert (base.fingerprint, base.images) == (before, None)
    assert add_images(kb, images)["images"] == 3


def test_the_command(kb, images):
    done = CliRunner().invoke(app, ["kb", "add-images", str(kb), str(images), "--max", "1", "--json"])
    assert done.exit_code == 0
    assert json.loads(done.output)["status"] == {"beyond_most": 1, "ok": 2}
