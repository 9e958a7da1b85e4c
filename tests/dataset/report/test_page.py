import base64
import hashlib
import io
import json
import re
import shutil

import pytest
from PIL import Image

from judged_page import judged, page_data
from openmofi.dataset.objects import Labels
from openmofi.errors import OpenMofiError


@pytest.fixture
def page(world, lookup, tmp_path):
    Labels.open(world.labels).audit_page(tmp_path / "page.html", sample=50, kb=lookup)
    return tmp_path / "page.html"


def test_the_page_is_whole_and_equal_again(page, world, lookup, tmp_path):
    Labels.open(world.labels).audit_page(tmp_path / "again.html", sample=50, kb=lookup)
    text = page.read_text(encoding="utf-8")
    assert text == (tmp_path / "again.html").read_text(encoding="utf-8")
    assert not re.search(r"(src|href)=[\"'](?!data:)", text)
    script = re.findall(r"<script>(.*?)</script>", text, re.S)[0]
    assert f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}" in text


def test_items_have_image_text_and_claim(page, world):
    items = page_data(page)["items"]
    assert len(items) == 50
    truth = {(row["shard"], row["key"], row["entity"]): row for row in Labels.open(world.labels).accepted().to_pylist()}
    assert sum((item["shard"], item["key"], item["entity"]) in truth for item in items) == 40
    for item in items:
        image = Image.open(io.BytesIO(base64.b64decode(item["image"].removeprefix("data:image/webp;base64,"))))
        assert (image.format, image.size) == ("WEBP", (96, 80))
        claimed = [piece for piece, kind in item["text"] if kind == "claimed"]
        assert claimed[0] == f"name{int(item['entity'][1:]) // 2}"
        assert item["name"].startswith(("Thing ", "name"))


def test_text_of_data_is_no_markup(page, rows):
    text = page.read_text(encoding="utf-8")
    assert "alert('x')" in text
    assert rows.nasty not in text
    assert any(rows.nasty in "".join(piece for piece, _ in item["text"]) for item in page_data(page)["items"])


def test_a_long_text_is_shown_around_the_mention(small_labels, rows, tmp_path, world):
    from openmofi.dataset.report.page import _pieces

    text = "x" * 5000 + "sun" + "y" * 5000
    pieces = _pieces(text, [{"start": 5000, "end": 5003}], {0})
    assert pieces[0] == ("…", "")
    assert ("sun", "claimed") in pieces
    assert pieces[-1] == ("…", "")
    assert sum(len(piece) for piece, _ in pieces) < 1300


@pytest.fixture
def moved(rows, tmp_path):
    """A world of its own, whose shards may be moved."""
    return rows.make_world(tmp_path / "own", shards=1, rows=40)


def test_a_shard_that_moved_or_changed_is_said(moved, tmp_path):
    labels, pairs = Labels.open(moved.labels), moved.root / "pairs"
    shutil.move(pairs, moved.root / "elsewhere")
    with pytest.raises(OpenMofiError, match=r"images of .* are not there: .*pairs-000.tar"):
        labels.audit_page(tmp_path / "page.html")
    pairs.mkdir()
    (pairs / "pairs-000.tar").write_bytes(b"other")
    with pytest.raises(OpenMofiError, match="has changed since it was labelled"):
        Labels.open(moved.labels).audit_page(tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_verdicts_correct_what_the_labels_expect(page, world, lookup, tmp_path):
    import pyarrow.parquet as pq

    truth = {(row["shard"], row["key"]): row["entity"] for row in pq.read_table(world.truth).to_pylist()}
    everything = tmp_path / "all.html"
    labels = Labels.open(world.labels)
    labels.audit_page(everything, sample=100_000, kb=lookup)

    def say(item):
        return "y" if truth[item["shard"], item["key"]] == item["entity"] else "n"

    census = labels.corrected(judged(everything, tmp_path / "all.json", say), kb=lookup)
    accepted = {(row["shard"], row["key"], row["entity"]) for row in labels.accepted().to_pylist()}
    right = sum(truth[shard, key] == entity for shard, key, entity in accepted) / len(accepted)
    assert census.labels.labels == len(accepted)
    assert census.labels.corrected == pytest.approx(right)
    assert census.labels.interval == pytest.approx((right, right))
    assert set(census.type) == {"even", "no type", "odd"}
    sampled = labels.corrected(judged(page, tmp_path / "some.json", say), kb=lookup)
    assert sampled.labels.interval[0] <= right <= sampled.labels.interval[1]
    assert sampled.labels.expected == census.labels.expected
    assert sum(row.judged for row in sampled.probability.values()) == sampled.labels.judged == 40
    assert sum(row.judged for row in sampled.below.values()) == 10
    assert json.loads(json.dumps(sampled.as_dict()))["unjudged"] == 0


def test_unsure_and_missing_verdicts_are_counted(page, world, tmp_path):
    said = iter("ynu" + 47 * " ")
    corrected = Labels.open(world.labels).corrected(judged(page, tmp_path / "v.json", lambda _: next(said).strip()))
    assert (corrected.unsure, corrected.unjudged) == (1, 47)
    assert corrected.labels.judged + sum(row.judged for row in corrected.below.values()) == 2


def test_verdicts_of_other_labels_and_unknown_keys_are_refused(page, world, moved, tmp_path):
    path = judged(page, tmp_path / "v.json", lambda _: "y")
    with pytest.raises(OpenMofiError, match="are of other labels"):
        Labels.open(moved.labels).corrected(path)
    path.write_text(path.read_text().replace('"key": "0', '"key": "9', 1))
    with pytest.raises(OpenMofiError, match=r"judges a label that .* has not: the entity"):
        Labels.open(world.labels).corrected(path)
