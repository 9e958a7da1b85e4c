"""Labels and datasets in a program: rows, filters, data frames, PyTorch, `datasets`, notebooks."""

import builtins
import io
import pickle
import re

import numpy as np
import pyarrow.compute as pc
import pytest
from PIL import Image

from openmofi.dataset import DatasetSettings, build_dataset
from openmofi.dataset.objects import Dataset, Labels
from openmofi.errors import MissingExtraError, OpenMofiError
from openmofi.pairs import Record, write_tar


@pytest.fixture
def labels(rows_of_world):
    return Labels.open(rows_of_world.labels)


@pytest.fixture
def dataset(small):
    return Dataset.open(small)


def array(image):
    return np.asarray(image.convert("RGB").resize((8, 8)), np.float32)


def without(monkeypatch, name):
    """As if a package were not installed."""
    real = builtins.__import__

    def imported(module, *rest):
        if module.partition(".")[0] == name:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(module, *rest)

    monkeypatch.setattr(builtins, "__import__", imported)


def test_rows_by_their_number(labels, dataset):
    for tables in (labels, dataset):
        rows = list(tables)
        assert len({row["shard"] for row in rows}) == 2
        assert [tables[number] for number in (0, len(rows) - 1, -1, len(rows) // 2)] == [
            rows[number] for number in (0, -1, -1, len(rows) // 2)
        ]
        assert tables[-3:] == rows[-3:]
        with pytest.raises(IndexError):
            tables[len(rows)]


def test_a_filter_takes_expressions_and_functions_and_leaves_the_whole_as_it_is(labels, dataset):
    wanted = [row for row in labels if row["status"] == "labelled"]
    some = labels.filter(pc.field("status") == "labelled")
    assert 0 < len(some) < len(labels)
    assert list(some) == wanted
    assert some[-1] == wanted[-1]
    assert repr(some).endswith(f"{len(wanted)} rows of {len(labels)})")
    assert len(some.accepted()) == len(labels.accepted())
    fewer = some.filter(lambda row: row["key"] == wanted[-1]["key"] and row["shard"] == wanted[-1]["shard"])
    assert fewer.to_pandas(["text"]).to_dict("records") == [{name: wanted[-1][name] for name in ("shard", "text")}]
    assert len(some.filter(lambda row: False)) == 0
    entity = dataset.vocabulary()["id"][0].as_py()
    images = dataset.filter(lambda row: entity in row["entities"])
    assert len(images) == dataset.vocabulary()["images"][0].as_py()
    assert len(images.to_torch()) == len(images)


def test_data_frames(labels, monkeypatch):
    polars = pytest.importorskip("polars")
    frame = labels.to_polars(["key", "status"])
    assert isinstance(frame, polars.DataFrame)
    assert frame.rows() == labels.to_arrow(["key", "status"]).to_pandas().to_records(index=False).tolist()
    monkeypatch.setitem(__import__("sys").modules, "polars", None)
    with pytest.raises(MissingExtraError, match="needs the package 'polars'"):
        labels.to_polars()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("workers", [0, 2])
def test_pytorch_reads_each_image_once_with_its_likeliest_class(dataset, expected, pixels, stream, workers):
    data = pytest.importorskip("torch.utils.data")
    images = pickle.loads(pickle.dumps(dataset.to_torch(array, stream=stream)))
    batches = list(data.DataLoader(images, batch_size=5, num_workers=workers))
    got = sorted(
        (label, pixel.tobytes())
        for seen, labels in batches
        for pixel, label in zip(seen.numpy(), labels.tolist(), strict=True)
    )
    wanted = [
        (row["classes"][0], array(Image.open(io.BytesIO(pixels[place]))).tobytes()) for place, row in expected.items()
    ]
    assert got == sorted(wanted)
    assert stream or images[-1][1] == wanted[-1][0]


@pytest.mark.parametrize("stream", [False, True])
def test_a_shard_that_has_changed_is_refused(rows, tmp_path, stream):
    pytest.importorskip("torch")
    world = rows.make_world(tmp_path, shards=1, rows=30, entities=3)
    build_dataset(world.labels, tmp_path / "dataset", DatasetSettings(2, None, None), report=False)
    write_tar(world.shards[0].path, [Record("a", b"x", "y")])
    with pytest.raises(OpenMofiError, match="has changed since it was labelled"):
        next(iter(Dataset.open(tmp_path / "dataset").to_torch(stream=stream)))


def test_datasets_of_hugging_face(dataset, expected, names, tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    rows = dataset.to_hf()
    assert rows.features["label"].names == names
    assert isinstance(rows[0]["image"], Image.Image)
    for row in rows.remove_columns("image"):
        wanted = expected[row["shard"], row["key"]]
        assert (row["labels"], row["label"]) == (wanted["classes"], wanted["classes"][0])
        assert (row["entities"], row["text"], row["probabilities"]) == (
            wanted["entities"],
            wanted["text"],
            pytest.approx(wanted["scores"]),
        )
    without(monkeypatch, "datasets")
    with pytest.raises(MissingExtraError, match="needs the package 'datasets'"):
        dataset.to_hf()


def test_a_notebook_shows_a_contact_sheet(labels, dataset):
    for tables in (labels, dataset):
        page = tables._repr_html_()
        images = re.findall(r'<img src="data:image/jpeg;base64,[\w+/=]+" alt="', page)
        assert len(images) == 8
        assert len(page) < 100_000
        assert "<script" not in page
    nasty = labels.filter(lambda row: "<script>" in row["text"])
    assert "&lt;script&gt;" in nasty._repr_html_()
    assert "<script" not in nasty._repr_html_()
    assert "No row has a label." in labels.filter(lambda row: False)._repr_html_()
