"""Folders as other tools lay them out."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from openmofi.pairs import read_pairs
from openmofi.storage import expand_shards


def put(root: Path, files: dict[str, object]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, dict):
            pq.write_table(pa.table(content), path)
        else:
            path.write_bytes(content if isinstance(content, bytes) else str(content).encode())
    return root


def found(root: Path) -> dict[str, list[tuple[str, bytes | None, str]]]:
    return {
        shard.name: [(pair.key, pair.image, pair.text) for pair in read_pairs(shard)]
        for shard in expand_shards([str(root)])
    }


def coco(*names: str) -> str:
    images = [{"id": number, "file_name": name} for number, name in enumerate(names)]
    captions = [{"image_id": number, "caption": f"of {name}"} for number, name in enumerate(names)]
    return json.dumps({"info": {}, "images": images, "annotations": captions})


HUB = {"image": [{"bytes": b"A", "path": "a.png"}], "text": ["a sun"]}
LOG = {"url": ["http://x/a"], "caption": ["a sun"], "key": ["0"], "status": ["success"]}


def test_an_image_folder_with_splits(tmp_path):
    root = put(
        tmp_path,
        {
            "README.md": "x",
            "train/metadata.jsonl": '{"file_name": "a.png", "text": "a sun"}',
            "train/a.png": b"A",
            "test/metadata.csv": "file_name,text\nb.png,a moon\n",
            "test/b.png": b"B",
            ".git/metadata.csv": "x",
        },
    )
    assert found(root) == {"train": [("a.png", b"A", "a sun")], "test": [("b.png", b"B", "a moon")]}


def test_a_clone_of_a_repository_of_the_hub(tmp_path):
    root = put(
        tmp_path, {"README.md": "x", ".gitattributes": "x", "data/train-0.parquet": HUB, "data/test-0.parquet": HUB}
    )
    row = [("000000000", b"A", "a sun")]
    assert found(root) == {"train-0": row, "test-0": row}


def test_files_of_img2dataset(tmp_path):
    files = {
        f"{part}/{part}000{number}.{ending}": content
        for part in ("00000", "00001")
        for number in range(2)
        for ending, content in (("jpg", b"A"), ("txt", "a sun"), ("json", '{"url": "http://x"}'))
    }
    logs = {
        f"{part}{ending}": content
        for part in ("00000", "00001")
        for ending, content in ((".parquet", LOG), ("_stats.json", "{}"))
    }
    root = put(tmp_path, files | logs)
    assert found(root) == {
        part: [(f"{part}000{number}", b"A", "a sun") for number in range(2)] for part in ("00000", "00001")
    }


def test_parquet_of_img2dataset_is_no_log(tmp_path):
    assert list(found(put(tmp_path, {"00000.parquet": HUB, "00000_stats.json": "{}"}))) == ["00000"]


@pytest.mark.parametrize("images", ["", "images/"])
def test_coco_as_it_is_published(tmp_path, images):
    root = put(
        tmp_path,
        {
            "annotations/captions_train2017.json": coco("1.jpg", "../../secret.jpg"),
            "annotations/captions_val2017.json": coco("2.jpg"),
            "annotations/instances_val2017.json": coco("2.jpg"),
            f"{images}train2017/1.jpg": b"A",
            f"{images}val2017/2.jpg": b"B",
        },
    )
    assert found(root) == {
        "captions_train2017.json": [("0", b"A", "of 1.jpg"), ("1", None, "of ../../secret.jpg")],
        "captions_val2017.json": [("0", b"B", "of 2.jpg")],
    }


def test_a_folder_of_images_stays_one_shard(tmp_path):
    root = put(
        tmp_path,
        {"birds/a.jpg": b"A", "birds/a.txt": "a sun", "c.jpg": b"C", "c.txt": "a moon", "birds/more/metadata.csv": "x"},
    )
    (shard,) = expand_shards([str(root)])
    assert [pair.key for pair in read_pairs(shard)] == ["birds/a", "c"]
    put(root, {"captions.csv": "image,caption\nc.jpg,a tent\n", "birds/metadata.csv": "image,caption\na.jpg,x\n"})
    assert list(found(root).values()) == [[("c.jpg", b"C", "a tent")]]
