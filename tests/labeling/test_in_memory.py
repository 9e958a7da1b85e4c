"""Pairs that a program holds: a list, and tables of other libraries."""

import io

import pandas
import pyarrow as pa
import pytest
from PIL import Image

import openmofi
from openmofi.api.in_memory import stored
from openmofi.pairs import ReadSettings, read_pairs
from openmofi.schema import PairStatus
from openmofi.storage import expand_shards


@pytest.fixture(scope="module")
def pairs(small_world):
    return [pair for shard in expand_shards([str(small_world.shards)]) for pair in read_pairs(shard)][:160]


@pytest.fixture
def label(small_world, small_encoder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def labelled(pairs, **changes):
        return openmofi.label(pairs, kb=small_world.kb, encoder=small_encoder, out="o", progress=False, **changes)

    return labelled


@pytest.mark.slow
def test_a_list_of_images_and_texts(pairs, label, tmp_path):
    (tmp_path / "a.jpg").write_bytes(pairs[0].image)
    given = [(pair.image, pair.text) for pair in pairs]
    given[0] = (tmp_path / "a.jpg", given[0][1])
    given[1] = (Image.open(io.BytesIO(pairs[1].image)), given[1][1])
    given[2] = ("none.jpg", given[2][1])
    given[3] = (Image.open(io.BytesIO(pairs[3].image)).convert("CMYK"), given[3][1])
    labels = label(given)
    assert labels.summary["rows_out"] == 160
    assert labels.summary["status"]["image_missing"] == 1
    assert labels.summary["accepted"] > 40
    assert label(given).folder.manifest == labels.folder.manifest
    with pytest.raises(openmofi.OpenMofiError, match=r"o\.pairs\.parquet holds other pairs"):
        label(given[:100])
    dataset = openmofi.build_dataset(labels, out="d", min_images=2)
    assert openmofi.export_dataset(dataset, "h", format="huggingface")["images"] == dataset.summary["images"] > 40


@pytest.mark.slow
@pytest.mark.parametrize("library", ["pandas", "polars", "arrow"])
def test_tables_of_other_libraries(pairs, label, tmp_path, library):
    (tmp_path / "photos").mkdir()
    for number, pair in enumerate(pairs):
        (tmp_path / f"photos/{number}.jpg").write_bytes(pair.image)
    columns = {"Foto": [f"photos/{n}.jpg" for n in range(len(pairs))], "title": [pair.text for pair in pairs]}
    table = pandas.DataFrame(columns) if library == "pandas" else pa.table(columns)
    if library == "polars":
        table = pytest.importorskip("polars").from_arrow(table)
    labels = label(table, image_column="Foto")
    assert "image_missing" not in labels.summary["status"]
    assert labels.summary["accepted"] > 40
    assert openmofi.build_dataset(labels, out="d", min_images=2).summary["images"] > 40


@pytest.mark.parametrize("streaming", [False, True])
def test_a_dataset_of_datasets_is_stored_with_its_images(tmp_path, monkeypatch, streaming):
    datasets = pytest.importorskip("datasets")
    monkeypatch.chdir(tmp_path)
    contents = []
    for number in range(3):
        Image.new("RGB", (8, 8), (80 * number, 0, 0)).save(buffer := io.BytesIO(), "PNG")
        contents.append(buffer.getvalue())
    elsewhere = tmp_path.parent / f"{tmp_path.name}-elsewhere.png"
    elsewhere.write_bytes(contents[1])
    images = [{"bytes": contents[0], "path": "a.png"}, str(elsewhere), "none.png", None, {"bytes": contents[2]}]
    features = datasets.Features({"image": datasets.Image(), "title": datasets.Value("string")})
    made = datasets.Dataset.from_dict({"image": images, "title": ["a", "b", "c", "d", "e"]}, features)
    given = made.to_iterable_dataset() if streaming else made.select([4, 1, 2, 3, 0])
    missing = (None, PairStatus.IMAGE_MISSING)

    def read_again(out, settings):
        path, read = stored(given, out, settings, restart=False)
        (shard,) = expand_shards([path])
        return {pair.text: (pair.image, pair.status) for pair in read_pairs(shard, read)}

    # A path of a stranger's dataset is no leave to read this machine's files.
    expected = dict.fromkeys("abcde", missing) | {
        "a": (contents[0], PairStatus.OK),
        "e": (contents[2], PairStatus.OK),
    }
    assert read_again("o", ReadSettings()) == expected
    pairs = read_again("rooted", ReadSettings(image_root=str(elsewhere.parent)))
    assert pairs == expected | {"b": (contents[1], PairStatus.OK)}
    assert list(pairs) == list("abcde" if streaming else "ebcda")
    assert read_again("o", ReadSettings()) == expected
    for other, says in (
        (datasets.DatasetDict({"train": made}), "a DatasetDict of train"),
        (made.select([]), "no rows"),
    ):
        with pytest.raises(openmofi.OpenMofiError, match=says):
            stored(other, "p", ReadSettings(), restart=False)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([("a.jpg",)], "Item 0 of the pairs is no (image, text)."),
        ([(b"x", "a sun"), (b"x", 3)], "Item 1 of the pairs is no (image, text)."),
        ([(b"x", "a sun"), (None, "a moon")], "The image of item 1 of the pairs is a NoneType, not an image."),
        (pandas.DataFrame({"image": [Image.new("RGB", (2, 2))], "text": ["x"]}), "cannot be stored"),
    ],
)
def test_what_is_no_pair_is_said(given, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(openmofi.OpenMofiError) as caught:
        openmofi.label(given, kb="k", encoder="e", out="o")
    assert says in str(caught.value)
    assert not [*tmp_path.iterdir()]
