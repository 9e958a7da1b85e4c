"""Going on, refusing, and what goes where."""

import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset
from PIL import Image
from refused import ADDRESSES, SAID, unasked

from openmofi.dataset import DatasetSettings, build_dataset
from openmofi.errors import OpenMofiError, UsageError
from openmofi.pairs import Record, perceptual_hash, write_tar
from openmofi.plugins.dataset_export import DatasetExportSettings, photo_tools
from openmofi.plugins.dataset_export.formats import folder_names
from openmofi.plugins.dataset_export.job import export_dataset, export_outputs
from openmofi.plugins.dataset_export.rows import Classes, ImageLabel, Row, _without_machine
from openmofi.storage import Shard

FORMATS = ["huggingface", "webdataset", "parquet", "coco", "fiftyone", "imagefolder", "xmp"]


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".") and path.name != "manifest.json"
    }


@pytest.mark.parametrize("style", FORMATS)
def test_an_interrupted_export_goes_on_to_the_same_bytes(small, rows_of_world, tmp_path, monkeypatch, style):
    settings = DatasetExportSettings(style)
    counts = export_dataset(small, tmp_path / "whole", settings)
    away, there = tmp_path / "away.tar", rows_of_world.shards[1].path
    shutil.copystat(there, shutil.copy(there, away))
    Path(there).unlink()
    try:
        with pytest.raises(OpenMofiError, match=r"pairs-001\.tar"):
            export_dataset(small, tmp_path / "out", settings)
        assert "README.md" not in contents(tmp_path / "out")
    finally:
        shutil.copystat(away, shutil.copy(away, there))
    done = {name for name in contents(tmp_path / "out") if "pairs-000" in name}
    assert done
    assert export_dataset(small, tmp_path / "out", settings) == counts
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    monkeypatch.setattr("openmofi.plugins.dataset_export.job.rows_of", lambda *_, **__: pytest.fail("again"))
    assert export_dataset(small, tmp_path / "out", settings) == counts
    written = {os.fspath(path) for path in export_outputs().files(tmp_path / "out")}
    assert {str(tmp_path / "out" / name) for name in contents(tmp_path / "out")} <= written


def test_labels_below_a_probability_are_left_out(small, expected, tmp_path):
    counts = export_dataset(small, tmp_path / "out", DatasetExportSettings("parquet", min_probability=0.8))
    kept = [[score for score in row["scores"] if score >= 0.8] for row in expected.values()]
    assert counts["images"] == sum(map(bool, kept)) < len(expected)
    assert counts["labels"] == sum(map(len, kept))
    rows = pa.concat_tables(map(pq.read_table, (tmp_path / "out" / "data").glob("*.parquet"))).to_pylist()
    assert min(label["probability"] for row in rows for label in row["labels"]) >= 0.8


@pytest.mark.parametrize("style", ["coco", "parquet"])
def test_nothing_left_is_a_sentence(small, tmp_path, style):
    with pytest.raises(OpenMofiError, match=r"No label of .* has a probability of 1 or more"):
        export_dataset(small, tmp_path / "out", DatasetExportSettings(style, min_probability=1.0))


def test_inside_a_tar_there_is_nothing_to_refer_to_but_the_key(small, tmp_path):
    with pytest.raises(UsageError, match="lie inside it, and coco needs files"):
        export_dataset(small, tmp_path / "coco", DatasetExportSettings("coco", "reference"))
    export_dataset(small, tmp_path / "parquet", DatasetExportSettings("parquet", "reference"))
    row = pq.read_table(next((tmp_path / "parquet" / "data").glob("*.parquet"))).to_pylist()[0]
    assert (row["image"], row["path"]) == (None, None)
    assert row["source"].endswith(f"{row['shard']}.tar")


def test_a_shard_that_has_changed_is_refused(rows_of_world, tmp_path, rows):
    world = rows.make_world(tmp_path, shards=1, rows=30, entities=3)
    build_dataset(world.labels, tmp_path / "dataset", DatasetSettings(2, None, None), report=False)
    write_tar(world.shards[0].path, [Record("a", b"x", "y")])
    with pytest.raises(OpenMofiError, match="has changed since it was labelled"):
        export_dataset(tmp_path / "dataset", tmp_path / "out", DatasetExportSettings("parquet"))


def test_images_that_are_files_are_linked(tmp_path, rows):
    from ..conftest import draw, finish_labels, judgement, label_row

    (tmp_path / "photos" / "sub").mkdir(parents=True)
    data = draw(1, np.random.default_rng(0))
    hashed = perceptual_hash(Image.open(io.BytesIO(data)))
    lines, table = ["file_name,caption,Lizenz,artist"], []
    for number in range(3):
        key = f"sub/{number} ü.png"
        (tmp_path / "photos" / key).write_bytes(data)
        lines.append(f"{key},name0,CC0,Käthe {number}")
        table.append(
            label_row(
                key,
                "name0",
                "labelled",
                [{"start": 0, "end": 5, "surface": "name0", "detector": "x"}],
                [judgement("Q1", 0, 0.9, True, "accepted")],
                hashed,
            )
        )
    (tmp_path / "photos" / "metadata.csv").write_text("\n".join(lines))
    finish_labels(tmp_path / "labels", {"photos": table}, [Shard(str(tmp_path / "photos"), "photos")])
    build_dataset(tmp_path / "labels", tmp_path / "dataset", DatasetSettings(1, None, None), report=False)
    export_dataset(tmp_path / "dataset", tmp_path / "coco", DatasetExportSettings("coco"))
    image = json.loads((tmp_path / "coco" / "annotations.json").read_text())["images"][0]
    assert (tmp_path / "coco" / image["file_name"]).resolve() == tmp_path / "photos" / "sub" / "0 ü.png"
    assert image["width"] == 96
    export_dataset(tmp_path / "dataset", tmp_path / "xmp", DatasetExportSettings("xmp"))
    assert (tmp_path / "xmp" / "sidecars" / "photos" / "sub" / "0 ü.png.xmp").is_file()
    rows = map(json.loads, (tmp_path / "xmp/labels.jsonl").read_text("utf-8").splitlines())
    assert [(row["license"], row["creator"]) for row in rows] == [("CC0", f"Käthe {number}") for number in range(3)]
    with pytest.raises(OpenMofiError, match=r"No image of .* M-identifier"):
        export_dataset(tmp_path / "dataset", tmp_path / "qs", DatasetExportSettings("quickstatements"))


def strings(folder):
    """All that a push uploads: bytes of files, and rows and metadata of Parquet."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.name.startswith(".") and path.name != "manifest.json":
            yield path.relative_to(folder).as_posix()
            yield path.read_bytes().decode("latin-1")
            if path.suffix == ".parquet":
                table = pq.read_table(path)
                yield f"{table.schema.metadata} {table.to_pylist()}"


@pytest.fixture(params=["tar", "absolute paths"])
def on_this_machine(request):
    """A dataset of images in tars, or of image files that a table names by absolute paths."""
    return request.getfixturevalue("small") if request.param == "tar" else request.getfixturevalue("pictured")[0]


@pytest.mark.parametrize(
    ("style", "images"),
    [*((style, "auto") for style in FORMATS), *((style, "reference") for style in ("huggingface", "parquet", "xmp"))],
)
def test_what_is_pushed_names_no_file_of_this_machine(on_this_machine, tmp_path, style, images):
    settings = DatasetExportSettings(style, images, repository="me/x")
    count = export_dataset(on_this_machine, tmp_path / "out", settings)["images"]
    said = list(strings(tmp_path / "out"))
    machine = [str(on_this_machine.parent), str(tmp_path), str(tmp_path.parent), str(Path.home())]
    assert not [text[:200] for text in said for path in machine if f"{path}/" in text]
    if style in ("huggingface", "parquet"):
        files = sorted((tmp_path / "out/data").glob("*.parquet"))
        made = pa.concat_tables(map(pq.read_table, files)).to_pylist()
        assert len({(row["shard"], row["key"]) for row in made}) == len(made) == count
        assert {row["source"] for row in made} <= {"pairs-000.tar", "pairs-001.tar", "t.csv"}
        embedded = [row["image"] and (row["image"] if style == "parquet" else row["image"]["bytes"]) for row in made]
        assert all(embedded) if images == "auto" else not any(embedded)


def test_an_address_in_a_store_stays_without_its_credentials():
    assert _without_machine("s3://bucket/a/b.tar") == "s3://bucket/a/b.tar"
    assert _without_machine("https://me:secret@host/a.tar?signature=1") == "https://host/a.tar"
    assert [
        _without_machine(path) for path in ("/home/me/a.tar", "file:///home/me/photos/", r"C:\me\a.csv", "a.tar")
    ] == [
        "a.tar",
        "photos",
        "a.csv",
        "a.tar",
    ]


def test_quickstatements(tmp_path, caplog):
    from ..conftest import finish_labels, judgement, label_row

    table = [
        label_row(
            key,
            "x",
            "labelled",
            [{"start": 0, "end": 1, "surface": "x", "detector": "x"}],
            [judgement(entity, 0, probability, True, "accepted")],
        )
        for key, entity, probability in (
            ("M12", "Q5", 0.9),
            ("M13", "Q5", 0.7),
            ("no id", "Q5", 0.9),
            ("M14", "n01234", 0.9),
            ("BMW-M3-2019", "Q5", 0.9),
            ("photos/M31", "Q5", 0.9),
            ("M5.jpg", "Q5", 0.9),
            ("M012", "Q5", 0.9),
        )
    ]
    finish_labels(tmp_path / "labels", {"commons": table})
    build_dataset(tmp_path / "labels", tmp_path / "dataset", DatasetSettings(1, None, None), report=False)
    counts = export_dataset(
        tmp_path / "dataset", tmp_path / "out", DatasetExportSettings("quickstatements", min_probability=0.8)
    )
    lines = (tmp_path / "out" / "statements.txt").read_text().splitlines()
    assert counts["images"] == len(lines) == 1
    assert lines[0].split("\t")[:3] == ["M12", "P180", "Q5"]
    assert "0.900" in lines[0]
    assert "6 images are not in statements.txt" in caplog.text


def test_names_that_no_file_system_takes():
    classes = Classes(["Q1", "Q2", "Q3", "Q4"], *[["a/b", "A:B", "…", ""]] * 2, [()] * 4)
    made = folder_names(classes)
    assert len({name.casefold() for name in made}) == 4
    assert not any(set(name) & set("/\\:") for name in made)


def test_keywords_are_escaped_and_marks_in_names_are_no_levels():
    classes = Classes(["Q1"], ["<a|b/c> & \0"], ["x"], [("up|per",)])
    row = Row("s", "k", "t", (ImageLabel(0, "Q1", "x", 0.5),), None, "", "s.tar")
    import xml.etree.ElementTree as ElementTree

    text = [each.text for each in ElementTree.fromstring(photo_tools.sidecar(row, classes)).iter() if each.text]
    assert "<a|b/c> & " in text
    assert "up per|<a b/c> & " in text


@pytest.mark.parametrize("style", ["webdataset", "coco"])
def test_keys_that_differ_in_a_mark_alone_are_all_exported(tmp_path, rows, style):
    from ..conftest import draw, finish_labels, judgement, label_row

    keys = ["a.b", "a_b", "a-b", "a b", "A_B", "a/b", "a..b"]
    images = {key: draw(number % 3 + 1, np.random.default_rng(number)) for number, key in enumerate(keys)}
    mentions = [{"start": 0, "end": 1, "surface": "x", "detector": "x"}]
    table = [
        label_row(
            key,
            "x",
            "labelled",
            mentions,
            [judgement("Q1", 0, 0.9, True, "accepted")],
            perceptual_hash(Image.open(io.BytesIO(images[key]))),
        )
        for key in keys
    ]
    pq.write_table(
        pa.table({"key": keys, "image": [images[key] for key in keys], "text": ["x"] * len(keys)}),
        tmp_path / "pairs.parquet",
    )
    finish_labels(tmp_path / "labels", {"pairs": table}, [Shard(str(tmp_path / "pairs.parquet"), "pairs")])
    build_dataset(tmp_path / "labels", tmp_path / "dataset", DatasetSettings(1, None, None), report=False)
    counts = export_dataset(tmp_path / "dataset", tmp_path / "out", DatasetExportSettings(style))
    assert counts["images"] == len(keys)
    if style == "webdataset":
        samples = webdataset.WebDataset(str(tmp_path / "out/data/pairs.tar"), shardshuffle=False)
        assert {json.loads(sample["json"])["key_of_pair"]: sample["png"] for sample in samples} == images
    else:
        assert len({path.read_bytes() for path in (tmp_path / "out/images/pairs").iterdir()}) == len(keys)


@pytest.mark.parametrize("key", ["a/b.jpg", "../../x", ".hidden", "ü" * 200, "a b", ""])
def test_stems_are_plain_and_tell_keys_apart(key):
    row = Row("s", key, "t", (), None, "", "")
    assert row.stem
    assert "/" not in row.stem
    assert not row.stem.startswith(".")
    assert len(row.stem.encode()) < 200
    assert row.stem != Row("s", key + "!", "t", (), None, "", "").stem


def test_the_command_says_what_it_wrote(small, tmp_path):
    from typer.testing import CliRunner

    from openmofi.cli.dataset import app

    arguments = ["export", str(small), "-o", str(tmp_path / "out"), "--format", "parquet", "--license", "cc0-1.0"]
    said = CliRunner().invoke(app, arguments, catch_exceptions=False).stdout
    counts = json.loads(CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False).stdout)
    assert said.startswith(f"{counts['images']:,} images")
    assert "license: cc0-1.0" in (tmp_path / "out" / "README.md").read_text()
    with pytest.raises(OpenMofiError, match="min_probability"):
        CliRunner().invoke(app, [*arguments, "--min-probability", "0.5"], catch_exceptions=False)


def _edited(dataset, out, **fields):
    """A copy of a dataset, whose manifest says other things of its first shard."""
    shutil.copytree(dataset, out)
    manifest = json.loads((out / "manifest.json").read_text())
    manifest["settings"]["shards"][0] |= fields
    (out / "manifest.json").write_text(json.dumps(manifest))
    return out


@pytest.mark.parametrize("style", [*FORMATS, "quickstatements"])
@pytest.mark.parametrize("name", ["../../../evil/drop", "/evil", "..", ""])
def test_a_strangers_name_of_a_shard_leads_nowhere_else(small, tmp_path, style, name):
    folder = _edited(small, tmp_path / "a/b/dataset", name=name)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OpenMofiError, match="not the name of a file"):
        export_dataset(folder, tmp_path / "a/b/c/out", DatasetExportSettings(style))
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_strangers_address_of_a_shard_is_refused_and_nobody_is_asked(small, tmp_path, address):
    with unasked() as host:
        folder = _edited(small, tmp_path / "dataset", path=address.replace("HOST", host))
        with pytest.raises(OpenMofiError, match=SAID):
            export_dataset(folder, tmp_path / "out", DatasetExportSettings("parquet"))


@pytest.mark.parametrize("style", ["huggingface", "webdataset", "parquet", "coco", "imagefolder"])
def test_a_file_that_is_no_image_is_not_taken_along(pictured, tmp_path, style):
    (tmp_path / "photos/1/a.png").write_text("password: swordfish")
    with pytest.raises(OpenMofiError, match=r"photos/1/a\.png, which .*t\.csv names, is not an image"):
        export_dataset(pictured[0], tmp_path / "out", DatasetExportSettings(style, "embed"))
    assert not [text for text in strings(tmp_path / "out") if "swordfish" in text]
