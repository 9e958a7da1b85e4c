"""A museum's catalogue as its spreadsheet saves it: what the label job was told of it, later commands know."""

import csv
import io
import json
import shlex
import shutil
import sys

import pyarrow.parquet as pq
import pytest

import openmofi
from openmofi.pairs import read_pairs
from openmofi.storage import expand_shards
from terminal import in_process, sentence

HEAD = ("Inventarnummer", "Foto", "Titel", "Schlagwörter")
COLUMNS = ("--image-column", "Foto", "--text-column", "Titel", "--text-column", HEAD[3], "--key-column", HEAD[0])


def done(*arguments, cwd):
    ended = in_process(*arguments, cwd=cwd)
    assert ended.returncode == 0, ended.stderr
    return ended


@pytest.fixture(scope="module")
def museum(small_world, small_encoder, tmp_path_factory):
    """A folder with `list/catalogue.csv`, `photos/`, and the catalogue's `labels`."""
    folder = tmp_path_factory.mktemp("museum")
    (folder / "photos").mkdir()
    (folder / "list").mkdir()
    with open(folder / "list/catalogue.csv", "w", encoding="cp1252", newline="") as file:
        rows = csv.writer(file, delimiter=";")
        rows.writerow(HEAD)
        for shard in expand_shards([str(small_world.shards)])[:2]:
            for number, pair in enumerate(read_pairs(shard)):
                name = f"{shard.name}-{number}.jpg"
                if number:
                    (folder / "photos" / name).write_bytes(pair.image)
                rows.writerow([f"{shard.name} {number}", name, pair.text, "Öl; Gewächs"])
    arguments = ("--kb", small_world.kb, "--encoder", small_encoder, "-o", "labels", "--image-root", "photos", *COLUMNS)
    ended = done("label", "list/catalogue.csv", *arguments, cwd=folder)
    assert "is read as Windows-1252, by which line 1 says 'Schlagwörter'" in ended.stderr
    assert "could not be used, and why: labels/problems.csv" in ended.stdout
    done("dataset", "build", "labels", "-o", "dataset", "--min-images", "2", cwd=folder)
    return folder


@pytest.mark.slow
def test_a_check_says_what_a_job_could_use(museum, tmp_path):
    named = ("list/catalogue.csv", "--image-root", "photos", *COLUMNS)
    ended = done("label", "check", *named, cwd=museum)
    assert "Can be used." in ended.stdout
    assert "There is no image" in ended.stdout
    command = shlex.split(ended.stdout.partition("next: ")[2])
    assert command[:5] == ["openmofi", "label", named[0], "--kb", "KB"]
    assert {*COLUMNS, "--image-root", "photos"} <= set(command)
    checked = json.loads(done("label", "check", *named, "--limit", "3", "--json", cwd=museum).stdout)
    assert checked["status"] == {"image_missing": 1, "ok": 2}
    assert [(each["row"], each["key"]) for each in checked["examples"]] == [(2, "00000 1"), (3, "00000 2")]
    assert all(each["width"] > 0 and "Öl; Gewächs" in each["text"] for each in checked["examples"])
    assert [each["status"] for each in checked["unusable"]] == ["image_missing"]
    nothing = in_process("label", "check", named[0], *COLUMNS, cwd=museum)
    assert nothing.returncode == 1
    assert "No pair can be used." in nothing.stderr
    unnamed = in_process("label", "check", named[0], cwd=museum)
    assert unnamed.returncode == 2
    assert "has no text column of a known name; it has: Inventarnummer, Foto, Titel" in unnamed.stderr


@pytest.mark.slow
def test_a_guess_is_shown_asked_about_and_remembered(museum, small_world, tmp_path, monkeypatch):
    encoder = _encoder(museum / "labels")
    job = ("label", "list/catalogue.csv", "--kb", small_world.kb, "--encoder", encoder, "-o", tmp_path / "o", "--guess")
    for said in ("no\n", ""):
        monkeypatch.setattr(sys, "stdin", io.StringIO(said))
        refused = in_process(*job, cwd=museum)
        assert (refused.returncode, (tmp_path / "o").exists()) == (2, False)
        assert "error: Nobody said that this is right." in refused.stderr
    options = shlex.split(refused.stdout.partition("is read with: ")[2].partition("\n")[0])
    assert options == ["--text-column", "Titel", "--text-column", "Schlagwörter", "--image-column", "Foto"] + [
        *("--key-column", "Inventarnummer", "--image-root", str(museum / "photos"), "--encoding", "cp1252")
    ]
    assert sum("00000" in line for line in refused.stdout.splitlines()) == 3
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    done(*job, cwd=museum)
    made, named = (pq.read_table(folder / "labels/catalogue.parquet") for folder in (tmp_path / "o", museum / "labels"))
    assert made.equals(named)
    counts = json.loads(done(*job, "--yes", "--json", cwd=museum).stdout)
    assert counts["rows_out"] == len(made)
    done("dataset", "build", tmp_path / "o", "-o", tmp_path / "dataset", "--min-images", "2", cwd=tmp_path)
    ended = done("dataset", "export", tmp_path / "dataset", "-o", "x", "--format", "parquet", cwd=tmp_path)
    assert "Windows-1252" not in ended.stderr
    checked = done("label", "check", "list/catalogue.csv", "--guess", cwd=museum).stdout
    assert set(options) <= set(shlex.split(checked.partition("next: ")[2]))


@pytest.mark.slow
def test_an_image_that_is_gone_is_named_by_an_export(museum, tmp_path):
    for name in ("dataset", "list", "photos", "labels"):
        shutil.copytree(museum / name, tmp_path / name)
    for note in (tmp_path / "dataset").rglob("*.json"):
        note.write_text(note.read_text().replace(str(museum), str(tmp_path)))
    (tmp_path / "photos/00000-1.jpg").unlink()
    for style in ("xmp", "webdataset"):
        ended = in_process("dataset", "export", "dataset", "-o", style, "--format", style, cwd=tmp_path)
        assert ended.returncode == 1
        assert "photos/00000-1.jpg of " in ended.stderr
        assert "catalogue.csv is gone." in ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize("style", ["huggingface", "webdataset", "coco", "imagefolder", "xmp", "fiftyone"])
def test_exports_know_the_columns_of_the_label_job(museum, style, tmp_path):
    export = ("dataset", "export", museum / "dataset", "-o", "o", "--format", style, "--json")
    images = json.loads(done(*export, cwd=tmp_path).stdout)["images"]
    assert images == json.loads((museum / "dataset/manifest.json").read_text())["counts"]["images"] > 40
    if style == "huggingface":
        first = pq.read_table(next((tmp_path / "o/data").glob("*.parquet"))).to_pylist()[0]
        assert first["key"] == "00000 1"
        assert first["text"].endswith("\nÖl; Gewächs")
        ended = done(*export[:4], "again", *export[5:-1], cwd=tmp_path)
        assert f"Images are read below {museum / 'photos'}" in ended.stderr


@pytest.mark.slow
def test_index_audit_and_explain_know_them_too(museum, tmp_path):
    labels = museum / "labels"
    done("index", "build", labels, "--encoder", _encoder(labels), "-o", tmp_path / "index", cwd=tmp_path)
    assert "labels and" in done("label", "audit", labels, "-o", tmp_path / "look.html", cwd=tmp_path).stdout
    rows = pq.read_table(labels / "labels/catalogue.parquet").to_pylist()
    row = next(row for row in rows if row["status"] == "labelled")
    found = json.loads(done("explain", labels, "--key", row["key"], "--json", cwd=tmp_path).stdout)
    assert found["text"] == row["text"]
    assert [(one["entity"], one["reason"], one["kind"]) for one in found["candidates"]] == [
        (one["entity"], one["reason"], row["mentions"][one["mention"]]["kind"]) for one in row["entities"]
    ]
    assert {one["kind"] for one in found["candidates"]} == {"Titel"}
    assert all(one["name"] and one["name"] != one["entity"] for one in found["candidates"])
    assert "accepted" in done("explain", labels, "--key", row["key"], cwd=tmp_path).stdout
    missing = in_process("explain", labels, "--key", "00000 0", cwd=tmp_path)
    assert sentence(missing) == "The pair '00000 0' of catalogue could not be used."
    assert "There is no image" in missing.stderr
    assert "has the key 'x'" in sentence(in_process("explain", labels, "--key", "x", cwd=tmp_path))


@pytest.mark.slow
def test_rows_that_could_not_be_used_are_a_table(museum, tmp_path):
    labels = museum / "labels"
    with open(labels / "problems.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    place = str(museum / "list/catalogue.csv")
    assert [tuple(row.values())[:4] for row in rows if row["status"] == "image_missing"] == [
        ("1", "00000 0", place, "image_missing"),
        ("81", "00001 0", place, "image_missing"),
    ]
    status = json.loads((labels / "manifest.json").read_text())["counts"]["status"]
    assert len(rows) == status["image_missing"] + status["image_broken"] + status.get("text_missing", 0)
    assert rows[0]["reason"].startswith("There is no image")
    assert (museum / "dataset/problems.csv").read_bytes() == (labels / "problems.csv").read_bytes()
    ended = done("index", "build", labels, "--encoder", _encoder(labels), "-o", "index", cwd=tmp_path)
    assert "images that could not be used, and why: index/problems.csv" in ended.stdout
    with open(tmp_path / "index/problems.csv", encoding="utf-8", newline="") as file:
        of_images = [row for row in rows if row["status"].startswith("image_")]
        assert list(csv.DictReader(file)) == [{**row, "row": ""} for row in of_images]
    done("index", "remove", "index", f"catalogue/{rows[0]['key']}", cwd=tmp_path)
    assert rows[0]["key"] not in (tmp_path / "index/problems.csv").read_text("utf-8")
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.jpg").write_bytes((museum / "photos/00000-1.jpg").read_bytes())
    (photos / "b.jpg").write_bytes(b"\xff\xd8\xff no image")
    done("recognise", photos, "--index", "index", "-o", "seen", cwd=tmp_path)
    assert (tmp_path / "seen/problems.csv").read_text().splitlines()[1:] == [
        f"2,b,{photos},image_broken,The image cannot be decoded: it is cut off or damaged."
    ]


@pytest.mark.slow
def test_where_no_pair_can_be_used_the_exit_code_is_1(small_world, small_encoder, tmp_path):
    (tmp_path / "t.csv").write_text("image,caption\n" + "".join(f"{number}.jpg,a sun\n" for number in range(9)))
    ended = in_process("label", "t.csv", "--kb", small_world.kb, "--encoder", small_encoder, "-o", "o", cwd=tmp_path)
    assert ended.returncode == 1
    assert "9 of 9 pairs in o" in ended.stdout
    assert "error: No pair can be used: image_missing 9.\n" in ended.stderr


@pytest.mark.slow
def test_labels_and_datasets_are_a_line_in_a_notebook(museum):
    labels, dataset = openmofi.Labels.open(museum / "labels"), openmofi.Dataset.open(museum / "dataset")
    assert repr(labels).startswith(f"Labels('{museum}/labels', rows_out=160, accepted={labels.summary['accepted']}, ")
    assert repr(dataset).startswith(f"Dataset('{museum}/dataset', images={dataset.summary['images']}, ")
    assert all("\n" not in repr(each) and len(repr(each)) < 200 for each in (labels, dataset))


def _encoder(labels):
    return json.loads((labels / "manifest.json").read_text())["settings"]["encoder"]


def test_explain_says_what_is_missing(tmp_path):
    message = sentence(in_process("explain", "--text", "a sun", cwd=tmp_path), code=2)
    assert message.endswith("--image, --kb, --encoder is missing.")
    message = sentence(in_process("explain", tmp_path, cwd=tmp_path), code=2)
    assert message.startswith("Which pair of")
