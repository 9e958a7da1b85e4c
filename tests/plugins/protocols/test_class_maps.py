"""Names and classes of ImageNet's variants, in their layouts, against timm's lists."""

import json
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from colours import COLOURS, Eye, drawn_image
from PIL import Image

from openmofi.engine import Quiet
from openmofi.errors import OpenMofiError
from openmofi.evaluation.run import evaluate
from openmofi.plugins.benchmarks.sources import check_source
from openmofi.plugins.protocols.class_names import class_names, imagenet_names, imagenet_numbers, imagenet_subset
from openmofi.plugins.protocols.zeroshot import labelled_images


def test_the_numbers_of_v2_are_the_order_of_the_identifiers():
    folders = sorted(map(str, range(1000)))
    names, source = class_names(folders, None)
    assert source == "CLIP's names of ImageNet's classes, by number"
    assert dict(zip(folders, names, strict=True)) == imagenet_numbers()
    assert (imagenet_numbers()["0"], imagenet_numbers()["1"], imagenet_numbers()["999"]) == (
        "tench",
        "goldfish",
        "toilet paper",
    )
    # Ten digits are digits.
    assert class_names([*map(str, range(10))], None)[0] == [*map(str, range(10))]


def test_identifiers_and_subsets_are_timms():
    # timm's lists by number are files of their own.
    info = Path(find_spec("timm").submodule_search_locations[0]) / "data/_info"
    identifiers = (info / "imagenet_synsets.txt").read_text().split()
    assert list(imagenet_names()) == identifiers == sorted(identifiers)
    for letter in "ar":
        subset = imagenet_subset(letter)
        numbers = (info / f"imagenet_{letter}_indices.txt").read_text().split()
        assert subset == {identifiers[int(number)] for number in numbers}
        names, source = class_names(sorted(subset), None)
        assert (len(names), source) == (200, "CLIP's names of ImageNet's classes")


@pytest.fixture
def objects(tmp_path):
    """ObjectNet with three classes, of which two overlap with ImageNet's; a border that is not their colour."""
    folders = {"red_thing": "Red thing", "blue_thing": "Blue thing", "sundry": "Sundry"}
    for place, colour in zip(folders, ("red", "blue", "green"), strict=True):
        (tmp_path / "images" / place).mkdir(parents=True)
        for one in range(3):
            image = Image.new("RGB", (12, 10), (255, 255, 0))
            image.paste(Image.open(BytesIO(drawn_image(colour, one, 5))).resize((8, 6)), (2, 2))
            image.save(tmp_path / f"images/{place}/{one}.png")
    (tmp_path / "mappings").mkdir()
    (tmp_path / "mappings/folder_to_objectnet_label.json").write_text(json.dumps(folders))
    (tmp_path / "mappings/objectnet_to_imagenet_1k.json").write_text(
        json.dumps({"Red thing": "tench, Tinca tinca", "Blue thing": "goldfish; cock"})
    )
    return tmp_path


def test_objectnet(objects, tmp_path):
    data = labelled_images(objects)
    assert data.names == ["blue thing", "red thing"]
    found = evaluate("zeroshot", Eye(), objects, tmp_path / "cache", Quiet())
    assert found.result.metrics["zeroshot/accuracy"] == 1
    assert found.result.counts["images"] == 6
    # The border is gone: the mean colour is that of the middle.
    pairs = [load() for source in data.sources for _, load in source.read()]
    sizes = {Image.open(BytesIO(pair.image)).size for pair in pairs}
    assert sizes == {(8, 6)}
    middle = np.asarray(Image.open(BytesIO(pairs[0].image))).reshape(-1, 3).mean(0)
    np.testing.assert_allclose(middle, COLOURS["blue"], atol=20)
    told = {one.what: one.measured for one in check_source("objectnet", objects)}
    assert told["images of these"] == "6 of 18,574"


def test_objectnet_with_faults(objects):
    path = objects / "mappings/objectnet_to_imagenet_1k.json"
    path.write_text(json.dumps({"Cloud": "cloud"}))
    with pytest.raises(OpenMofiError, match="lacks the class 'Cloud'"):
        labelled_images(objects)
    path.write_text("[]")
    with pytest.raises(OpenMofiError, match="cannot be read: Expected `object`"):
        labelled_images(objects)


def test_the_check_of_a_variant(tmp_path):
    names = sorted(imagenet_subset("a") or [])[:3]
    for name in [*names, "n01440764"]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(drawn_image("red", 0))
    told = {one.what: one.measured for one in check_source("imagenet-a", tmp_path)}
    assert told == {"images": "4 of 7,500", "classes": "4 of 200", "classes of the published list": "3 of 200"}
