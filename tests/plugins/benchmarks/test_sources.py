"""What is said of the datasets, and the checks of what is on disk, on tiny sets in the published layouts."""

import hashlib
import json

import pytest

from openmofi.errors import OpenMofiError, UsageError
from openmofi.evaluation.run import protocols
from openmofi.plugins.benchmarks.sources import check_source, data_sources
from plugins.benchmarks.test_image_text_metrics import write_set as write_flickr
from plugins.benchmarks.test_revisited_metrics import write_set as write_revisited
from plugins.benchmarks.test_vtab import write_folders
from plugins.fusion.evaluation.test_data import zelda_folder


@pytest.mark.parametrize("name", data_sources())
def test_each_is_reported(name):
    source = data_sources()[name]
    assert source.home.startswith("http")
    assert source.licence.endswith(".")
    assert source.layout.startswith("DIR/")
    assert set(source.protocols) <= set(protocols())


@pytest.mark.slow  # torchvision takes seconds to import
def test_checksums_are_torchvisions():
    from torchvision.datasets.imagenet import ARCHIVE_META

    assert {file: digest for split, (file, digest) in ARCHIVE_META.items() if split in ("train", "val")} == dict(
        data_sources()["imagenet"].archives
    )


def told(name, folder):
    return {one.what: (one.ok, one.measured) for one in check_source(name, folder)}


def test_revisited(tmp_path):
    data = write_revisited(tmp_path / "roxford5k")
    (data / "jpg/blue_0.jpg").unlink()
    assert told("roxford5k", data) == {
        "database images in the ground truth": (False, "24 of 4,993"),
        "queries in the ground truth": (False, "3 of 70"),
        "images on disk": (False, "26 of 27"),
    }
    assert told("rparis6k", data)["layout"][0] is False


def test_karpathy(tmp_path):
    data = write_flickr(tmp_path / "flickr30k")
    assert "no images of the split 'train'" in told("flickr30k", data)["layout"][1]
    raw = json.loads((data / "dataset_flickr30k.json").read_text())
    sentences = raw["images"][0]["sentences"]
    raw["images"] += [
        {"filename": f"{split}.jpg", "split": split, "sentences": sentences} for split in ("train", "val")
    ]
    (data / "dataset_flickr30k.json").write_text(json.dumps(raw))
    found = told("flickr30k", data)
    assert found["test: images listed"] == (False, "4 of 1,000")
    assert found["test: images on disk"] == (True, "4 of 4")


def test_zelda(tmp_path):
    found = told("zelda", zelda_folder(tmp_path))
    assert found["aida-b: documents"] == (False, "1 of 231")
    assert found["wned-wiki: documents"] == (False, "0 of 319")
    assert found["candidate lists"] == (True, str(tmp_path / "other/zelda_mention_entities_counter.pickle"))
    assert found["entity descriptions"][0]


def test_vtab(tmp_path):
    write_folders(tmp_path / "kitti", {"train800": 800, "val200": 200, "test": 24})
    write_folders(tmp_path / "dmlab", {"train800": 8, "val200": 200, "test": 24})
    found = told("vtab", tmp_path)
    assert found["kitti_distance: test images"] == (False, "24 of 711")
    assert found["kitti_distance: files"] == (True, "all are present")
    assert "8 training" in found["dmlab"][1]
    assert found["svhn"] == (False, "is missing")


def test_imagenet_and_archives(tmp_path, monkeypatch):
    assert told("imagenet", tmp_path) == {"layout": (False, f"{tmp_path} has neither train nor val.")}
    (tmp_path / "val/n01440764").mkdir(parents=True)
    (tmp_path / "val/n01440764/a.JPEG").write_bytes(b"a")
    (tmp_path / "ILSVRC2012_img_val.tar").write_bytes(b"tar")
    found = told("imagenet", tmp_path)
    assert found["val: images"] == (False, "1 of 50,000")
    assert found["val: classes by WordNet id"] == (False, "1 of 1,000")
    digest = hashlib.md5(b"tar").hexdigest()
    assert found["MD5 of ILSVRC2012_img_val.tar"] == (False, digest)
    monkeypatch.setitem(data_sources()["imagenet"].archives, "ILSVRC2012_img_val.tar", digest)
    assert told("imagenet", tmp_path)["MD5 of ILSVRC2012_img_val.tar"] == (True, digest)


def test_a_whole_set_of_distractors(tmp_path, monkeypatch):
    (tmp_path / "jpg").mkdir()
    (tmp_path / "jpg/a.jpg").write_bytes(b"a")
    assert told("revisitop1m", tmp_path) == {"images": (False, "1 of 1,001,001")}
    monkeypatch.setattr("openmofi.plugins.benchmarks.sources.images_in", lambda _: ["a"] * 1_001_001)
    assert told("revisitop1m", tmp_path)["images"][0]


def test_gpr1200(tmp_path):
    (tmp_path / "0_a.jpg").write_bytes(b"a")
    assert "GPR1200 has 1,200 classes" in told("gpr1200", tmp_path)["layout"][1]


def test_faults():
    with pytest.raises(UsageError, match=r"Unknown dataset 'coca'. Did you mean 'coco'"):
        check_source("coca", ".")
    with pytest.raises(OpenMofiError, match="is not a folder"):
        check_source("coco", "/nowhere")
