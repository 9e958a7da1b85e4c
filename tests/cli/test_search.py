"""`openmofi index` and `openmofi search` as a person meets them."""

import json
import re
import sqlite3

import pytest
from search_world import ColourEncoder, write_colour_kb, write_images
from typer.testing import CliRunner

from openmofi.cli.main import app
from openmofi.encoders import as_encoder
from openmofi.errors import OpenMofiError


@pytest.fixture(scope="module", autouse=True)
def colours():
    """Every spec opens the encoder of colours."""
    with pytest.MonkeyPatch.context() as patch:
        # The index first: a module that is imported after the other is replaced would keep what replaces it.
        for place in ("openmofi.search.index.open_encoder", "openmofi.encoders.open_encoder"):
            patch.setattr(place, lambda spec, **_: as_encoder(ColourEncoder()))
        yield


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False, env={"COLUMNS": "120"})


def built(folder):
    write_images(folder / "images", 3)
    done = run(
        "index",
        "build",
        folder / "images",
        "--encoder",
        "colours",
        "--kb",
        write_colour_kb(folder / "kb"),
        "-o",
        folder / "index",
        "--json",
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["added"] == 18
    assert re.search(r"^No probabilities for text, .* openmofi index info .* says what to do\.$", done.stderr, re.M)
    return folder / "index"


@pytest.fixture
def place(tmp_path):
    return built(tmp_path)


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory):
    return built(tmp_path_factory.mktemp("unchanged"))


def test_an_index_is_built_looked_at_changed_and_kept_whole(place, tmp_path):
    shown = run("index", "info", place).stdout
    assert re.search(r"images +18", shown)
    assert re.search(
        r"calibration +text, entity, image, recognition, unnamed none\. No label says what its images show\.", shown
    )
    about = json.loads(run("index", "info", place, "--json").stdout)
    assert (about["statuses"], about["calibration"]["image"]["source"]) == ({"ok": 18}, "none")
    write_images(tmp_path / "more", 1)
    assert json.loads(run("index", "add", place, tmp_path / "more", "--json").stdout)["added"] == 6
    assert "24" in run("index", "info", place).stdout
    assert re.search(r"removed +6", run("index", "remove", place, tmp_path / "more").stdout)
    assert run("index", "compact", place).exit_code == 0
    whole = run("index", "verify", place)
    assert (whole.exit_code, "ok  index.db" in whole.stdout) == (0, True)
    for path in (place / "vectors").iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    damaged = run("index", "verify", place)
    assert damaged.exit_code == 1
    assert "NOT vectors/" in damaged.stdout
    assert "openmofi index compact" in damaged.stdout


def test_function_words_are_no_keywords(tmp_path):
    write_images(tmp_path / "images", 1)
    names = sorted(path.name for path in (tmp_path / "images").glob("*.png"))
    texts = ["the who", "a fly with a hat", "a wing", "two birds", "with many others", "a bird"]
    rows = (f"{name},{text}\n" for name, text in zip(names, texts, strict=True))
    (tmp_path / "images/captions.csv").write_text("file_name,caption\n" + "".join(rows))
    built = ("--encoder", "colours", "--kb", write_colour_kb(tmp_path / "kb"), "-o", tmp_path / "index")
    assert run("index", "build", tmp_path / "images", *built).exit_code == 0
    for text, found in (("a bird with open wings", {"a bird"}), ("the who", {"the who"}), ("Who?", {"the who"})):
        hits = json.loads(run("search", tmp_path / "index", "--text", text, "--json").stdout)["hits"]
        assert {hit["image"]["text"] for hit in hits if hit["keyword"] is not None} == found


def test_results_are_a_table_json_and_a_contact_sheet(place, tmp_path):
    shown = run("search", place, "--text", "red square", "-n", 3)
    assert shown.exit_code == 0
    assert re.findall(r"(\w+)-\d\.png", shown.stdout) == ["red"] * 3
    assert "No label says what its images show." in shown.stdout
    found = json.loads(run("search", place, tmp_path / "images/blue-1.png", "--json", "-n", 2).stdout)
    assert [hit["image"]["key"].partition("-")[0] for hit in found["hits"]] == ["blue", "blue"]
    page = tmp_path / "sheet.html"
    done = run("search", place, "--entity", "crimson", "--html", page, "-n", 4)
    assert done.exit_code == 0
    html = page.read_text()
    assert html.count("data:image/webp;base64,") == 4
    assert "Content-Security-Policy" in html
    assert not re.search(r"https?://|<script", html)


def test_what_a_text_was_taken_for_is_said(tmp_path):
    write_images(tmp_path / "images", 3)
    place, kb = tmp_path / "index", write_colour_kb(tmp_path / "kb")
    run("index", "build", tmp_path / "images", "--encoder", "colours", "--kb", kb, "--entities", "all", "-o", place)
    with sqlite3.connect(place / "index.db") as connection:
        connection.execute("INSERT INTO labels SELECT min(id), 'c:red', 0.9, 1, 0.5 FROM images")
    said = "The text was taken for red (c:red)."
    assert said in run("search", place, "--text", "a red").stdout
    assert said not in run("search", place, "--text", "a red", "--as-words").stdout


def test_a_map_is_made_or_a_sentence_says_why_not(place, tmp_path):
    shown = run("index", "map", place)
    assert shown.stdout == f"18 images have a place on the map; see it with: openmofi serve {place}\n"
    assert json.loads(run("index", "map", place, "--seed", 1, "--json").stdout) == {"index": str(place), "images": 18}
    few = write_images(tmp_path / "few", 1)
    run("index", "build", few, "--encoder", "colours", "-o", tmp_path / "small")
    with pytest.raises(OpenMofiError, match="has 6 images with vectors, and a map takes 10 or more"):
        run("index", "map", tmp_path / "small")


def test_texts_are_escaped_on_the_contact_sheet(tmp_path):
    folder = write_images(tmp_path / "images", 1, ("red",))
    (folder / "red-0.txt").write_text('<script>alert(1)</script> "red"')
    run("index", "build", folder, "--encoder", "colours", "-o", tmp_path / "index")
    run("search", tmp_path / "index", "--text", "<b>red</b>", "--html", tmp_path / "sheet.html")
    html = (tmp_path / "sheet.html").read_text()
    assert "<script" not in html
    assert "<b>red" not in html


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--entity", "gren"), "knows no entity 'gren'"),
        (("--where", "author"), "is not COLUMN=VALUE"),
        (("--until", "2"), "until is 2.0"),
        (("--region", "0,0,1,1"), "without an image"),
        (("--since", "May"), "not a day"),
        (("nowhere.png",), "There is no image nowhere.png"),
        (("nowhere.png", "--region", "1,2"), "is not four numbers"),
        (("-n", "0"), "limit is 0"),
    ],
)
def test_what_is_wrong_is_a_sentence(unchanged, arguments, says):
    with pytest.raises(OpenMofiError, match=says):
        run("search", unchanged, *arguments)
