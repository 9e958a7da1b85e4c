"""What other tools wrote, by those tools where they can be installed, and what is no such thing."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from openmofi.errors import OpenMofiError, UsageError
from openmofi.pairs import ReadSettings, read_pairs
from openmofi.pairs.index import ImageBytes, places_of
from openmofi.schema import PairStatus
from openmofi.storage import Shard, expand_shards


def image(colour):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def images(tmp_path):
    for colour in ("red", "blue"):
        (tmp_path / f"{colour}.png").write_bytes(image(colour))
    return tmp_path


def read(path, **settings):
    (shard,) = expand_shards([str(path)])
    return [(pair.key, pair.image, pair.text, pair.status) for pair in read_pairs(shard, ReadSettings(**settings))]


def test_save_to_disk_of_datasets(tmp_path):
    datasets = pytest.importorskip("datasets")
    rows = {"image": [{"bytes": image(colour), "path": None} for colour in ("red", "blue")], "caption": ["a", None]}
    made = datasets.Dataset.from_dict(
        rows, datasets.Features({"image": datasets.Image(), "caption": datasets.Value("string")})
    )
    made.save_to_disk(tmp_path / "saved", num_shards=2)
    assert read(tmp_path / "saved") == [
        ("000000000", image("red"), "a", PairStatus.OK),
        ("000000001", image("blue"), "", PairStatus.TEXT_MISSING),
    ]
    datasets.DatasetDict({"train": made, "test": made}).save_to_disk(tmp_path / "both")
    with pytest.raises(UsageError, match="holds the splits train, test"):
        read(tmp_path / "both")
    (shard,) = expand_shards([str(tmp_path / "saved")])
    places = places_of(shard, pa.chunked_array([["000000001"]]), tmp_path / "cache")
    assert ImageBytes().fetch(
        shard, places["file"].to_pylist(), *(places[name].to_numpy() for name in ("offset", "size"))
    ) == [image("blue")]
    part = next((tmp_path / "saved").glob("data-00001*.arrow"))
    part.write_bytes(part.read_bytes()[:-40])
    with pytest.raises(OpenMofiError, match="is damaged after"):
        read(tmp_path / "saved")


COCO = {
    "info": {},
    "images": [
        {"id": 7, "file_name": "red.png", "coco_url": "http://x/7"},
        {"id": 9, "file_name": "blue.png"},
        {"id": 10, "file_name": "none.png"},
    ],
    "annotations": [
        {"id": 1, "image_id": 7, "caption": "one\n"},
        {"id": 2, "image_id": 7, "caption": "two"},
        {"id": 3, "image_id": 7, "caption": "one"},
        {"id": 4, "image_id": 10, "caption": "three"},
    ],
}


def test_coco_captions(images):
    (images / "captions.json").write_text(json.dumps(COCO))
    assert read(images / "captions.json") == [
        ("7", image("red"), "one\ntwo", PairStatus.OK),
        ("9", image("blue"), "", PairStatus.TEXT_MISSING),
        ("10", None, "three", PairStatus.IMAGE_MISSING),
    ]
    (pair, *_) = read_pairs(Shard(str(images / "captions.json"), "captions"))
    assert pair.url == "http://x/7"


def test_coco_below_an_image_root(images):
    (images / "annotations").mkdir()
    (images / "annotations" / "captions.json").write_text(json.dumps(COCO))
    assert read(images / "annotations" / "captions.json", image_root=str(images))[0][1] == image("red")


def test_fiftyone_samples(images):
    (images / "metadata.json").write_text("{}")
    (images / "samples.json").write_text(
        json.dumps(
            {
                "samples": [
                    {"filepath": "red.png", "tags": [], "caption": "a red one"},
                    {
                        "filepath": str(images / "blue.png"),
                        "caption": None,
                        "ground_truth": {"_cls": "Classification", "label": "blue"},
                    },
                ]
            }
        )
    )
    assert read(images)[0] == ("red.png", image("red"), "a red one", PairStatus.OK)
    assert read(images, text_column="ground_truth")[1][2:] == ("blue", PairStatus.OK)
    with pytest.raises(UsageError, match="no field 'other'"):
        read(images, text_column="other")


def test_fiftyone_classifications(images):
    (images / "data.json").write_text('{"a": "red.png", "b": "blue.png"}')
    (images / "labels.json").write_text(
        json.dumps(
            {"classes": ["x", "y"], "labels": {"a": [{"label": "x", "confidence": 0.5}, {"label": "y"}], "b": None}}
        )
    )
    assert read(images) == [
        ("a", image("red"), "x\ny", PairStatus.OK),
        ("b", image("blue"), "", PairStatus.TEXT_MISSING),
    ]
    (shard,) = expand_shards([str(images)])
    places = places_of(shard, pa.chunked_array([["a"]]), images / "cache")
    assert ImageBytes().fetch(
        shard, places["file"].to_pylist(), *(places[name].to_numpy() for name in ("offset", "size"))
    ) == [image("red")]


def test_fiftyone_classifications_by_the_numbers_of_classes(images):
    labels = {"red": 1, "blue": [{"label": 0}, {"label": 7}]}
    (images / "labels.json").write_text(json.dumps({"classes": ["x", "y"], "labels": labels}))
    (images / "data.json").write_text('{"red": "red.png", "blue": "blue.png"}')
    assert [text for _, _, text, _ in read(images)] == ["y", "x\n7"]


def test_a_folder_of_fiftyone_is_read_by_its_samples(images):
    (images / "data").mkdir()
    (images / "red.png").rename(images / "data/red.png")
    (images / "metadata.json").write_text('{"name": "d", "media_type": "image"}')
    sample = {
        "filepath": "data/red.png",
        "metadata": {"_cls": "ImageMetadata", "width": 8},
        "tags": ["train"],
        "ground_truth": {"_cls": "Classification", "label": "crane"},
    }
    (images / "samples.json").write_text(json.dumps({"samples": [sample]}))
    assert read(images) == [("data/red.png", image("red"), "crane", PairStatus.OK)]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "no JSON, or cut off"),
        (json.dumps(COCO)[:-9], "no JSON, or cut off"),
        ("[]", "neither COCO"),
        ('{"a": 1}', "neither COCO"),
        ('{"images": [{}], "annotations": []}', "another schema"),
        ('{"samples": [{"a": 1}]}', "another schema"),
        ('{"images": [1], "annotations": []}', "another schema"),
    ],
)
def test_anything_else_is_a_sentence(tmp_path, content, says):
    (tmp_path / "bad.json").write_text(content)
    with pytest.raises(OpenMofiError, match=says):
        read(tmp_path / "bad.json")


def test_no_rows_are_no_pairs(tmp_path):
    (tmp_path / "empty.json").write_text('{"images": [], "annotations": []}')
    assert read(tmp_path / "empty.json") == []


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_several_texts_an_image(images, kind):
    lines = [
        ("red.png", "A title", "one, two"),
        ("blue.png", "", "three"),
        ("none.png", "same", "same"),
        ("red.png", "", ""),
    ]
    if kind == "csv":
        (images / "t.csv").write_text(
            "file_name,title,tags\n" + "".join(f'{name},{title},"{tags}"\n' for name, title, tags in lines)
        )
    else:
        pq.write_table(
            pa.table(dict(zip(("file_name", "title", "tags"), map(list, zip(*lines, strict=True)), strict=True))),
            images / "t.parquet",
        )
    found = read(images / f"t.{kind}", text_column=("title", "tags"))
    assert [row[2] for row in found] == ["A title\none, two", "three", "same", ""]
    (shard,) = expand_shards([str(images / f"t.{kind}")])
    pairs = list(read_pairs(shard, ReadSettings(text_column=("title", "tags"))))
    assert [pair.kinds for pair in pairs] == [(("title", 7), ("tags", 16)), (("tags", 5),), (("title+tags", 4),), ()]
    assert read(images / f"t.{kind}", text_column=("title", "tags", "t.*=tags"))[0][2] == "one, two"
    with pytest.raises(UsageError, match="no column 'other'"):
        read(images / f"t.{kind}", text_column=("title", "other"))


def saved(folder, table):
    """What `datasets` writes of a table."""
    with pa.ipc.new_stream(folder / "data.arrow", table.schema) as writer:
        writer.write_table(table)
    (folder / "dataset_info.json").write_text("{}")
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data.arrow"}]}))


@pytest.mark.parametrize("kind", ["offsets", "indices"])
def test_positions_that_lead_out_of_a_saved_dataset_are_damage(tmp_path, kind):
    """Arrow reads them as they stand, and what they point at from anywhere in the memory."""
    texts = pa.array(["a" * 700, "b" * 11, "c" * 5])
    text = texts if kind == "offsets" else pa.DictionaryArray.from_arrays(pa.array([0, 2, 1], pa.int32()), texts)
    saved(tmp_path, pa.table({"image": [b"1", b"2", b"3"], "text": text}))
    place = tmp_path / "data.arrow"
    before, after = (
        ([0, 700, 711, 716], [0, 700, 2_000_000_000, 716]) if kind == "offsets" else ([0, 2, 1], [0, 2_000_000, 1])
    )
    content = place.read_bytes()
    changed = content.replace(np.array(before, np.int32).tobytes(), np.array(after, np.int32).tobytes())
    assert changed != content
    place.write_bytes(changed)
    with pytest.raises(OpenMofiError, match=r"data\.arrow is damaged after 0 pairs"):
        read(tmp_path)
    assert read(tmp_path, on_damage="keep") == []


def test_a_saved_dataset_whose_texts_are_not_utf_8_is_read(tmp_path):
    saved(tmp_path, pa.table({"image": [b"1"], "text": pa.array([b"caf\xe9"]).view(pa.string())}))
    assert read(tmp_path) == [("000000000", b"1", "caf\ufffd", PairStatus.TEXT_INVALID)]


@pytest.mark.parametrize(
    "files",
    [
        None,
        7,
        {},
        [],
        [None],
        ["data.arrow"],
        [{"filename": 7}],
        [{"filename": "\ud800"}],
        [{"filename": ""}],
        [{"filename": "data.arrow"}, {}],
        [{"filename": "../data.arrow/"}],
    ],
)
def test_state_json_of_other_types_is_a_sentence(tmp_path, files):
    saved(tmp_path, pa.table({"image": [b"1"], "text": ["t"]}))
    (tmp_path / "state.json").write_text(json.dumps({"_data_files": files}))
    if files == [{"filename": "../data.arrow/"}]:
        assert len(read(tmp_path)) == 1, "the last part of a name counts, within the folder"
        return
    with pytest.raises(OpenMofiError):
        read(tmp_path)


def test_a_length_that_no_file_has_takes_no_memory(tmp_path):
    saved(tmp_path, pa.table({"image": [b"1"], "text": ["t"]}))
    content = (tmp_path / "data.arrow").read_bytes()
    length = int.from_bytes(content[4:8], "little")
    metadata = bytearray(content[: 8 + length])
    batch = content[8 + length :]
    size = int.from_bytes(batch[4:8], "little")
    body = (len(batch) - 8 - size - 8).to_bytes(8, "little")
    assert batch[: 8 + size].count(body) >= 1
    (tmp_path / "data.arrow").write_bytes(
        bytes(metadata) + batch[: 8 + size].replace(body, (1 << 45).to_bytes(8, "little")) + batch[8 + size :]
    )
    with pytest.raises(OpenMofiError, match="is damaged after 0 pairs"):
        read(tmp_path)
