"""What is exported is read back by the tool that it is for, and is what the dataset says."""

import io
import json
import os
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from openmofi.plugins.dataset_export import DatasetExportSettings
from openmofi.plugins.dataset_export.job import export_dataset

CLOSE = 1e-6


def same_image(one, other):
    return np.array_equal(np.asarray(one.convert("RGB")), np.asarray(Image.open(io.BytesIO(other)).convert("RGB")))


@pytest.fixture(scope="module")
def huggingface(small, tmp_path_factory):
    out = tmp_path_factory.mktemp("hf") / "out"
    counts = export_dataset(small, out, DatasetExportSettings("huggingface", name="small", licence="cc0-1.0"))
    return out, counts


@pytest.mark.parametrize("streaming", [False, True])
def test_huggingface(huggingface, expected, names, pixels, tmp_path, streaming):
    datasets = pytest.importorskip("datasets")
    out, counts = huggingface
    loaded = datasets.load_dataset(str(out), split="train", cache_dir=str(tmp_path), streaming=streaming)
    assert loaded.features["label"].names == names
    assert isinstance(loaded.features["image"], datasets.Image)
    rows = list(loaded)
    assert {(row["shard"], row["key"]) for row in rows} == set(expected)
    assert counts["images"] == len(rows) == len(expected)
    for row in rows:
        wanted = expected[row["shard"], row["key"]]
        assert (row["labels"], row["label"]) == (wanted["classes"], wanted["classes"][0])
        assert (row["entities"], row["text"]) == (wanted["entities"], wanted["text"])
        assert np.allclose(row["probabilities"], wanted["scores"], atol=CLOSE)
    assert same_image(rows[0]["image"], pixels[rows[0]["shard"], rows[0]["key"]])


def test_croissant_is_valid_and_its_records_are_the_rows(huggingface, expected):
    mlcroissant = pytest.importorskip("mlcroissant")
    out, _ = huggingface
    described = mlcroissant.Dataset(jsonld=str(out / "croissant.json"), mapping={"repo": str(out)})
    assert not described.metadata.ctx.issues.errors
    # The day of an export is not in it, so that equal exports have equal bytes.
    assert all("datePublished" in warning for warning in described.metadata.ctx.issues.warnings)
    rows = list(described.records("images"))
    assert {(row["images/shard"].decode(), row["images/key"].decode()) for row in rows} == set(expected)


def test_the_card_is_read_by_the_hub(huggingface):
    from huggingface_hub import DatasetCard

    data = DatasetCard.load(huggingface[0] / "README.md").data
    assert (data.license, data.pretty_name, data.size_categories) == ("cc0-1.0", "small", ["n<1K"])
    assert yaml.safe_load((huggingface[0] / "README.md").read_text().split("---")[1])["configs"]


def test_webdataset(small, expected, names, pixels, tmp_path):
    webdataset = pytest.importorskip("webdataset")
    export_dataset(small, tmp_path / "out", DatasetExportSettings("webdataset"))
    files = sorted(map(str, (tmp_path / "out" / "data").glob("*.tar")))
    samples = list(webdataset.WebDataset(files, shardshuffle=False).decode("pil"))
    assert {(sample["json"]["shard"], sample["json"]["key_of_pair"]) for sample in samples} == set(expected)
    for sample in samples:
        wanted = expected[sample["json"]["shard"], sample["json"]["key_of_pair"]]
        assert sample["cls"] == wanted["classes"][0]
        assert sample["txt"] == wanted["text"]
        assert [label["name"] for label in sample["json"]["labels"]] == [names[number] for number in wanted["classes"]]
    first = samples[0]
    assert same_image(first["png"], pixels[first["json"]["shard"], first["json"]["key_of_pair"]])


def test_parquet_by_duckdb(small, expected, tmp_path):
    import duckdb

    export_dataset(small, tmp_path / "out", DatasetExportSettings("parquet"))
    rows = duckdb.sql(f"select shard, key, labels, octet_length(image) from '{tmp_path}/out/data/*.parquet'").fetchall()
    assert {(shard, key): [label["entity"] for label in labels] for shard, key, labels, _ in rows} == {
        pair: row["entities"] for pair, row in expected.items()
    }
    assert all(size for *_, size in rows)


def test_coco(small, expected, names, pixels, above, tmp_path):
    coco = pytest.importorskip("pycocotools.coco")
    export_dataset(small, tmp_path / "out", DatasetExportSettings("coco"), kb=above)
    mlcroissant = pytest.importorskip("mlcroissant")
    assert not mlcroissant.Dataset(jsonld=str(tmp_path / "out" / "croissant.json")).metadata.ctx.issues.errors
    opened = coco.COCO(str(tmp_path / "out" / "annotations.json"))
    assert [each["name"] for each in opened.loadCats(opened.getCatIds())] == names
    assert {each["supercategory"] for each in opened.loadCats(opened.getCatIds())} == {"ODD", "EVEN"}
    assert opened.loadCats([1])[0]["ancestors"][0] == "THING"
    for image in opened.loadImgs(opened.getImgIds()):
        wanted = expected[image["shard"], image["key"]]
        found = opened.loadAnns(opened.getAnnIds([image["id"]]))
        assert sorted(each["category_id"] - 1 for each in found) == sorted(wanted["classes"])
        assert np.allclose(sorted(each["score"] for each in found), sorted(wanted["scores"]))
        assert (image["width"], image["height"], found[0]["area"]) == (96, 80, 96 * 80)
        assert (tmp_path / "out" / image["file_name"]).read_bytes() == pixels[image["shard"], image["key"]]
    assert len(opened.getImgIds()) == len(expected)


def test_fiftyone(small, expected, names, tmp_path):
    """The layout of FiftyOneImageClassificationDataset, as FiftyOne 1.22 reads it; see `test_fiftyone_itself`."""
    export_dataset(small, tmp_path / "out", DatasetExportSettings("fiftyone"))
    labels = json.loads((tmp_path / "out" / "labels.json").read_text())
    data = json.loads((tmp_path / "out" / "data.json").read_text())
    assert labels["classes"] == names
    # FiftyOne takes the paths below data/, without their extensions, for the keys.
    found = {str(path.relative_to(tmp_path / "out/data").with_suffix("")) for path in tmp_path.glob("out/data/**/*.*")}
    assert set(labels["labels"]) == set(data) == found
    assert len(data) == len(expected)
    for uuid, given in labels["labels"].items():
        about = given[0]["attributes"]
        wanted = expected[about["shard"], about["key"]]
        assert [label["label"] for label in given] == [names[number] for number in wanted["classes"]]
        assert np.allclose([label["confidence"] for label in given], wanted["scores"])
        assert (tmp_path / "out" / data[uuid]).is_file()


@pytest.mark.skipif("FIFTYONE_DATABASE_URI" not in os.environ, reason="FiftyOne needs a MongoDB")
def test_fiftyone_itself(small, expected, names, tmp_path):
    fiftyone = pytest.importorskip("fiftyone")
    export_dataset(small, tmp_path / "out", DatasetExportSettings("fiftyone"))
    kind = fiftyone.types.FiftyOneImageClassificationDataset
    opened = fiftyone.Dataset.from_dir(str(tmp_path / "out"), kind, label_field="labels")
    try:
        assert len(opened) == len(expected)
        for sample in opened:
            given = sample.labels.classifications
            wanted = expected[given[0].shard, given[0].key]
            assert [label.label for label in given] == [names[number] for number in wanted["classes"]]
            assert np.allclose([label.confidence for label in given], wanted["scores"])
            assert Path(sample.filepath).is_file()
    finally:
        opened.delete()


def test_image_folders(small, expected, names, pixels, tmp_path):
    from torchvision.datasets import ImageFolder

    export_dataset(small, tmp_path / "out", DatasetExportSettings("imagefolder"))
    opened = ImageFolder(str(tmp_path / "out" / "classes"))
    assert opened.classes == sorted(names)
    assert len(opened) == sum(len(row["classes"]) for row in expected.values())
    image, number = opened[0]
    shard, key = opened.imgs[0][0].rpartition("/")[2].removesuffix(".png").rsplit("-", 1)
    assert names.index(opened.classes[number]) in expected[shard, key]["classes"]
    assert same_image(image, pixels[shard, key])
    assert all(path.is_symlink() for path in (tmp_path / "out" / "classes").glob("*/*"))


def test_xmp(small, expected, plain_names, above, tmp_path):
    rdflib = pytest.importorskip("rdflib")
    export_dataset(small, tmp_path / "out", DatasetExportSettings("xmp"), kb=above)
    records = [json.loads(line) for line in (tmp_path / "out" / "labels.jsonl").read_text().splitlines()]
    assert len(records) == len(expected)
    for record in records[:5]:
        document = ElementTree.parse(tmp_path / "out" / record["file"])
        graph = rdflib.Graph().parse(data=ElementTree.tostring(document.getroot()[0]), format="xml")

        def values(name, graph=graph):
            bag = next(iter(graph.objects(None, rdflib.URIRef(name))))
            return [str(value) for predicate, value in sorted(graph.predicate_objects(bag)) if "#_" in str(predicate)]

        labels = [plain_names[number] for number in expected[record["shard"], record["key"]]["classes"]]
        assert values("http://purl.org/dc/elements/1.1/subject") == labels
        hierarchy = values("http://ns.adobe.com/lightroom/1.0/hierarchicalSubject")
        assert [line.split("|")[-1] for line in hierarchy] == labels
        assert all(line.split("|")[:2] in (["THING", "ODD"], ["THING", "EVEN"]) for line in hierarchy)
        assert values("http://www.digikam.org/ns/1.0/TagsList") == [line.replace("|", "/") for line in hierarchy]
