"""A shard that changes while a job reads it is named, and nothing of its old and new state is mixed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import openmofi
from hostile.workbench import colour_encoder, small_records
from openmofi.errors import OpenMofiError
from openmofi.labeling import read as stage
from openmofi.pairs import ReadSettings, Record, read_pairs, write_tar
from openmofi.schema import Pair
from openmofi.storage import Shard
from openmofi.storage.shards import take_fingerprints

pytestmark = pytest.mark.slow
OLD, NEW = "the sun and a tent", "the moon and a tent"
KINDS = ["tar", "parquet", "jsonl", "folder"]


def write_shard(folder: Path, name: str, kind: str, text: str) -> Path:
    """A shard of any kind, each of whose rows has the same text; written over what is there."""
    images = [(record.key, record.image or b"") for record in small_records()]
    place = folder / (name if kind == "folder" else f"{name}.{kind}")
    if kind == "tar":
        write_tar(place, [Record(key, image, text) for key, image in images])
    elif kind == "parquet":
        pq.write_table(
            pa.table(
                {
                    "key": [key for key, _ in images],
                    "image": [image for _, image in images],
                    "text": [text] * len(images),
                }
            ),
            place,
        )
    else:
        beside = place if kind == "folder" else folder
        beside.mkdir(exist_ok=True)
        for key, image in images:
            (beside / f"{key}.jpg").write_bytes(image)
            if kind == "folder":
                (beside / f"{key}.txt").write_text(text)
        if kind == "jsonl":
            place.write_text("\n".join(json.dumps({"file_name": f"{key}.jpg", "text": text}) for key, _ in images))
    return place


def changing(monkeypatch: pytest.MonkeyPatch, name: str, after: int, change: Callable[[], object]) -> None:
    """Let a change happen when so many pairs of the named shard have been read."""
    pending = [change]

    def read(shard: Shard, settings: ReadSettings) -> Iterator[Pair]:
        pairs = read_pairs(shard, settings)
        for number, pair in enumerate(pairs):
            if shard.name == name and number == after and pending:
                pending.pop()()
            yield pair

    monkeypatch.setattr(stage, "read_pairs", read)


def label(bench, shards: list[Path], out: Path, **options: object) -> openmofi.Labels:
    return openmofi.label(
        [str(place) for place in shards],
        kb=bench.open_kb(),
        encoder=colour_encoder(),
        out=out,
        calibration=bench.labels / "calibration.json",
        progress=False,
        engine="local",
        **options,
    )


def texts(labels: openmofi.Labels) -> list[str]:
    return sorted(set(labels.to_arrow(["text"])["text"].to_pylist()))


@pytest.mark.parametrize("after", [0, 20])
@pytest.mark.parametrize("kind", KINDS)
def test_a_shard_that_changes_while_it_is_read_is_named_and_nothing_of_it_is_kept(
    bench, tmp_path, monkeypatch, kind, after
):
    shards = [write_shard(tmp_path, "a", "tar", OLD), write_shard(tmp_path, "b", kind, OLD)]
    changing(monkeypatch, "b", after, lambda: write_shard(tmp_path, "b", kind, NEW))
    with pytest.raises(OpenMofiError, match="has changed since the job began") as caught:
        label(bench, shards, tmp_path / "out")
    assert str(shards[1]) in caught.value.message
    kept = [path for path in (tmp_path / "out").rglob("*.parquet") if path.name.startswith("b")]
    assert not kept
    assert texts(openmofi.Labels.open(tmp_path / "out")) == [OLD] if (tmp_path / "out/labels").exists() else True
    again = label(bench, shards, tmp_path / "out", restart=True)
    assert again.summary["rows_in"] == again.summary["rows_out"] == 64
    assert texts(again) == sorted([OLD, NEW])


@pytest.mark.parametrize("kind", KINDS)
def test_a_shard_that_changes_before_its_turn_is_named_too(bench, tmp_path, monkeypatch, kind):
    shards = [write_shard(tmp_path, "a", "tar", OLD), write_shard(tmp_path, "b", kind, OLD)]
    changing(monkeypatch, "a", 5, lambda: write_shard(tmp_path, "b", kind, NEW))
    with pytest.raises(OpenMofiError, match="1 of 2 shards could not be labelled") as caught:
        label(bench, shards, tmp_path / "out")
    assert f"{shards[1]} has changed since the job began" in caught.value.message


def test_a_shard_that_changes_when_it_has_been_read_is_labelled_as_it_was_read(bench, tmp_path, monkeypatch):
    shards = [write_shard(tmp_path, "a", "tar", OLD), write_shard(tmp_path, "b", "tar", OLD)]
    changing(monkeypatch, "b", 5, lambda: write_shard(tmp_path, "a", "tar", NEW))
    labels = label(bench, shards, tmp_path / "out")
    assert texts(labels) == [OLD]
    with pytest.raises(OpenMofiError, match=r"made with other settings \(a: "):
        label(bench, shards, tmp_path / "out")


def test_texts_that_are_cached_and_images_that_are_not_are_never_of_two_states(bench, tmp_path, monkeypatch):
    shard = write_shard(tmp_path, "b", "tar", OLD)
    label(bench, [shard], tmp_path / "out")
    for path in (tmp_path / "out").rglob("features/*/*.arrow"):
        path.unlink()
    changing(monkeypatch, "b", 3, lambda: write_shard(tmp_path, "b", "tar", NEW))
    with pytest.raises(OpenMofiError, match="has changed since the job began"):
        label(bench, [shard], tmp_path / "other", cache=tmp_path / "out")
    assert not list((tmp_path / "out").rglob("features/*/*.arrow"))


def test_other_times_and_another_inode_of_the_same_content_are_no_change(tmp_path):
    shard = Shard(str(write_shard(tmp_path, "b", "tar", OLD)), "b")
    take_fingerprints([shard])
    expected = list(read_pairs(shard))
    os.utime(shard.path, (1000, 1000))
    write_shard(tmp_path, "b", "tar", OLD)
    assert list(read_pairs(shard)) == expected
    write_shard(tmp_path, "b", "tar", NEW)
    with pytest.raises(OpenMofiError, match="has changed since the job began"):
        list(read_pairs(shard))
