"""Each protocol on a tiny set in its published layout, written by the test, and on faults."""

import sys
import tarfile
from io import BytesIO

import numpy as np
import pyarrow as pa
import pytest
from colours import COLOURS, Eye, drawn_image, write_classes
from PIL import Image

from openmofi.engine import Quiet
from openmofi.errors import OpenMofiError, UsageError
from openmofi.evaluation import class_embeddings, evaluate_retrieval, evaluate_zero_shot
from openmofi.evaluation import run as runner
from openmofi.evaluation.run import evaluate, protocol_named, protocols
from openmofi.features.images import embed_images
from openmofi.pairs import Record, write_tar
from openmofi.plugins.protocols import PROTOCOLS
from openmofi.plugins.protocols.class_names import imagenet_names, packaged_templates, templates_named
from openmofi.plugins.protocols.zeroshot import labelled_images
from openmofi.schema import ENTITIES, TRUTH
from openmofi.storage import claim_folder, expand_shards, finish_manifest, write_table
from studies.world import sample_retrieval
from studies.world.sample_retrieval import true_entities


def run(protocol, data, tmp_path, encoder=None, **options):
    return evaluate(protocol, encoder or Eye(), data, tmp_path / "cache", Quiet(), **options)


@pytest.mark.parametrize("name", protocols())
def test_the_registry_leads_to_each(name):
    protocol = protocol_named(name)
    assert protocol.name == name
    assert "Layout:" in str(sys.modules[protocol.measure.__module__].__doc__) or name == "labels"
    assert protocol.rule.endswith(".")


def test_no_package_takes_a_name_of_ours(monkeypatch):
    stranger = {"knn": ("stranger", "another"), "own": ("stranger", "its own")}
    packages = {"a": stranger, "basic": PROTOCOLS}
    monkeypatch.setattr(runner, "extension_names", lambda _: list(packages))
    monkeypatch.setattr(runner, "extension", lambda _, name: packages[name])
    assert protocols.__wrapped__() == {**PROTOCOLS, "own": stranger["own"]}


def test_unknown_names():
    with pytest.raises(UsageError, match=r"Unknown protocol 'gpr120'. Did you mean 'gpr1200'"):
        protocol_named("gpr120")


def test_retrieval(tmp_path):
    data = write_classes(tmp_path / "data", 12)
    (data / "red/zz.png").write_bytes(b"no image")
    (data / "red/notes.txt").write_text("no image either")
    found = run("retrieval", data, tmp_path, failures=5)
    result = found.result
    assert result.counts == {"images": 48, "classes": 4, "queries_without_positives": 0, "excluded": 1}
    assert result.excluded == {"red/zz.png": "image_broken"}
    encoder = Eye()
    embeddings = np.concatenate(
        [
            encoder.project_images(
                encoder.image_features(
                    np.stack(
                        [encoder.preprocess(Image.open(BytesIO(drawn_image(name, number)))) for number in range(12)]
                    )
                )
            )
            for name in COLOURS
        ]
    )
    expected = evaluate_retrieval(embeddings, np.repeat(list(COLOURS), 12))
    assert result.metrics["retrieval/map_excl_query"] == pytest.approx(expected.map_excl_query)
    assert 0.5 < result.metrics["retrieval/map_excl_query"] < 1
    low, high = result.intervals["retrieval/map_incl_query"]
    assert low < result.metrics["retrieval/map_incl_query"] < high
    worst = found.items["map_excl_query"].to_numpy().min()
    assert found.failures[0].score == pytest.approx(worst)
    assert all(len(case.answers) == 8 for case in found.failures)
    assert result.features["normalisation"] == "l2"


def test_features_are_shared_by_protocols_and_data_named_by_content(tmp_path):
    data, copy = write_classes(tmp_path / "data", 4), write_classes(tmp_path / "copy", 4)
    first, second = Eye(), Eye()
    one = run("retrieval", data, tmp_path, first).result
    two = run("zeroshot", data, tmp_path, second).result
    assert (first.seen, second.seen) == (16, 0)
    again = run("retrieval", copy, tmp_path, Eye()).result
    assert again.data["fingerprint"] == one.data["fingerprint"]
    assert (one.fingerprint, two.seconds["features"] >= 0) == (again.fingerprint, True)
    (data / "red/000.png").write_bytes(drawn_image("red", 99))
    assert run("retrieval", data, tmp_path).result.data["fingerprint"] != one.data["fingerprint"]


def test_an_encoder_without_a_joint_space_gives_its_backbone(tmp_path):
    data = write_classes(tmp_path / "data", 4)
    result = run("retrieval", data, tmp_path, Eye(joint=False)).result
    assert (result.features["choice"], result.features["dim"]) == ("backbone", 48)
    assert run("retrieval", data, tmp_path).result.features["choice"] == "joint"
    with pytest.raises(UsageError, match="Unknown value 'pixels' for features"):
        run("retrieval", data, tmp_path, choice="pixels")


def splits(tmp_path, *names):
    for start, name in enumerate(names):
        write_classes(tmp_path / "data" / name, 10, start=100 * start, noise=50)
    return tmp_path / "data"


def test_knn(tmp_path):
    found = run("knn", splits(tmp_path, "train", "val"), tmp_path, overrides=["k=5,10"], failures=2)
    metrics = found.result.metrics
    assert set(metrics) == {"knn/top1_k5", "knn/top1_k10"}
    assert metrics["knn/top1_k10"] > 0.7
    assert found.result.counts == {"train": 40, "images": 40, "classes": 4, "excluded": 0}
    assert found.result.settings == {"k": (5, 10), "temperature": 0.07, "preprocessing": "encoder"}
    assert found.items["top1_k10"].to_numpy().mean() == metrics["knn/top1_k10"]
    assert len(found.failures) == 2
    with pytest.raises(UsageError, match="k=200 neighbours is more than the 40"):
        run("knn", tmp_path / "data", tmp_path)


def test_dinov2s_transform_makes_other_features(tmp_path):
    class Sized(Eye):
        preprocessing = Eye.preprocessing.__class__(224, (0.5,) * 3, (0.5,) * 3, interpolation="bilinear")

        def image_features(self, pixels):
            self.seen += len(pixels)
            self.shape = pixels.shape
            return pixels.reshape(len(pixels), 3, 4, 56, 4, 56).mean((3, 5)).reshape(len(pixels), -1)

    encoder = Sized()
    result = run(
        "knn", splits(tmp_path, "train", "val"), tmp_path, encoder, overrides=["k=5", "preprocessing=dinov2"]
    ).result
    told = result.features["preprocessing"]
    assert (told["size"], told["resize_size"], told["interpolation"]) == (224, 256, "bicubic")
    assert encoder.shape[1:] == (3, 224, 224)
    assert result.encoder["fingerprint"] != encoder.fingerprint


def test_linear(tmp_path):
    result = run("linear", splits(tmp_path, "train", "val", "test"), tmp_path, overrides=["shots=5"]).result
    assert result.counts == {"train": 20, "validation": 16, "images": 40, "classes": 4, "excluded": 0}
    assert result.metrics["linear/accuracy"] > 0.7
    assert result.facts["validation_split"] == "val"
    assert f"{result.facts['l2']:.6g}" in result.facts["validation_accuracy"]
    worst = run("linear", tmp_path / "data", tmp_path, overrides=["shots=5"], failures=3).failures
    assert [one.score for one in worst] == sorted(one.score for one in worst)
    for one in worst:
        shares = [share for _, _, share, _ in one.answers]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) == pytest.approx(1)  # of four classes all are shown
        assert [name for _, name, _, right in one.answers if right] == [one.name]
        assert all(place is not None and place[1].startswith(name) for place, name, _, _ in one.answers)
    (tmp_path / "data/val").rename(tmp_path / "elsewhere")
    result = run("linear", tmp_path / "data", tmp_path).result
    assert result.counts["train"] == 32
    assert result.counts["validation"] == 8
    assert result.facts["validation_split"] == "drawn from train"


def test_splits_that_do_not_fit(tmp_path):
    data = splits(tmp_path, "train", "val")
    (data / "train/red").rename(data / "train/rouge")
    with pytest.raises(OpenMofiError, match=r"Classes of .*val that .*train lacks: 'red'\."):
        run("knn", data, tmp_path)
    for file in (data / "train/blue").iterdir():
        file.write_bytes(b"broken")
    (data / "train/rouge").rename(data / "train/red")
    with pytest.raises(OpenMofiError, match=r"Classes of .*train without a readable image: 'blue'"):
        run("knn", data, tmp_path, overrides=["k=5"])
    for file in (data / "train/blue").iterdir():
        file.unlink()
    with pytest.raises(OpenMofiError, match=r"Class folders of .* without images: 'blue'"):
        run("linear", data, tmp_path)
    (data / "train").rename(data / "pictures")
    with pytest.raises(OpenMofiError, match="has no folder 'train' or 'training'"):
        run("linear", data, tmp_path)
    with pytest.raises(OpenMofiError, match="is not a folder"):
        run("retrieval", data / "nosuch", tmp_path)


def test_zero_shot_on_class_folders(tmp_path):
    data = write_classes(tmp_path / "data", 10)
    found = run("zeroshot", data, tmp_path, failures=4)
    result = found.result
    assert result.metrics["zeroshot/accuracy"] > 0.7
    assert result.facts["templates"] == "imagenet"
    assert result.facts["templates_count"] == 80
    assert result.facts["class_names"] == "names of the folders"
    assert [name for _, name, _, right in found.failures[0].answers if right] in ([found.failures[0].name], [])
    (data / "classnames.txt").write_text("green\nblue\nyellow thing\nred\n")
    swapped = run("zeroshot", data, tmp_path, overrides=["templates=photo"]).result
    assert swapped.metrics["zeroshot/accuracy"] < result.metrics["zeroshot/accuracy"] - 0.3
    (data / "classnames.txt").write_text("one\ntwo\n")
    with pytest.raises(OpenMofiError, match="has 2 names for 4 class folders"):
        run("zeroshot", data, tmp_path)
    (data / "classnames.txt").write_text("blue\tthe blue\ngreen\tg\nred\tr\n")
    with pytest.raises(OpenMofiError, match="lacks names of the classes 'yellow'"):
        run("zeroshot", data, tmp_path)


def test_zero_shot_on_tar_shards(tmp_path):
    (tmp_path / "data/test").mkdir(parents=True)
    for shard in range(2):
        with tarfile.open(tmp_path / f"data/test/{shard}.tar", "w") as archive:
            for number, name in enumerate(COLOURS):
                for one in range(3):
                    for ending, data in (("png", drawn_image(name, 10 * shard + one)), ("cls", str(number).encode())):
                        member = tarfile.TarInfo(f"{number}{one}.{ending}")
                        member.size = len(data)
                        archive.addfile(member, BytesIO(data))
    with pytest.raises(OpenMofiError, match="tar shards, but no file of class names"):
        run("zeroshot", tmp_path / "data", tmp_path)
    (tmp_path / "data/classnames.txt").write_text("\n".join(COLOURS))
    (tmp_path / "data/zeroshot_classification_templates.txt").write_text("a {c} image\n")
    found = run("zeroshot", tmp_path / "data", tmp_path)
    assert found.result.metrics["zeroshot/accuracy"] > 0.6
    assert found.result.facts["templates"] == "zeroshot_classification_templates.txt"
    assert found.result.counts["images"] == 24
    assert len(set(found.items["item"].to_pylist())) == 24
    (tmp_path / "data/classnames.txt").write_text("blue\n")
    with pytest.raises(OpenMofiError, match="has the class 1, but there are 1 names"):
        run("zeroshot", tmp_path / "data", tmp_path)


def test_zero_shot_on_a_table(tmp_path):
    write_classes(tmp_path / "data", 5)
    rows = [f"{name}/{number:03d}.png,{name}" for name in COLOURS for number in range(5)]
    table = tmp_path / "data/test.csv"
    table.write_text("\n".join(["image,class", *rows, "red/gone.png,red"]))
    result = run("zeroshot", table, tmp_path, overrides=["templates=name"]).result
    assert result.counts["images"] == 20
    assert result.excluded == {"red/gone.png": "image_missing"}
    for text, message in (
        ("a,b\n1,2\n", "no column image or path"),
        ("image,class\n../x.png,red\n", "Line 2 of"),
        ("image,class\nx.png,\n", "Line 2 of"),
        ("image,class\n", "has no rows"),
    ):
        table.write_text(text)
        with pytest.raises(OpenMofiError, match=message):
            run("zeroshot", table, tmp_path)


def test_an_encoder_without_texts_is_refused_before_images_are_embedded(tmp_path):
    encoder = Eye(texts=False)
    with pytest.raises(UsageError, match="'eye' embeds no texts"):
        run("zeroshot", write_classes(tmp_path / "data", 2), tmp_path, encoder)
    assert encoder.seen == 0
    with pytest.raises(UsageError, match="needs joint features"):
        run("zeroshot", tmp_path / "data", tmp_path, choice="backbone")


def test_templates_and_imagenets_names_are_those_of_clip():
    import open_clip.zero_shot_metadata as published
    from timm.data import ImageNetInfo

    assert packaged_templates() == ("cifar", "imagenet", "imagenet-7", "name", "photo")
    imagenet = templates_named("imagenet", None)[0]
    assert imagenet == [template("{}") for template in published.OPENAI_IMAGENET_TEMPLATES]
    assert templates_named("imagenet-7", None)[0] == [t("{}") for t in published.SIMPLE_IMAGENET_TEMPLATES]
    assert len(set(templates_named("cifar", None)[0])) == 18
    assert list(imagenet_names()) == ImageNetInfo("imagenet-1k").label_names()
    assert list(imagenet_names().values()) == list(published.IMAGENET_CLASSNAMES)
    with pytest.raises(UsageError, match=r"Unknown value 'imagnet' for templates. Did you mean 'imagenet'"):
        templates_named("imagnet", None)


def test_folders_called_by_wordnet_ids_have_imagenets_names(tmp_path):
    data = write_classes(tmp_path / "data", 2)
    for colour, name in zip(COLOURS, ("n01440764", "n01443537", "n01484850", "n01491361"), strict=True):
        (data / colour).rename(data / name)
    found = run("zeroshot", data, tmp_path)
    assert set(found.items["group"].to_pylist()) == {"tench", "goldfish", "great white shark", "tiger shark"}
    (data / "n01440764").rename(data / "n99999999")
    with pytest.raises(OpenMofiError, match="not among ImageNet's 1,000: 'n99999999'"):
        run("zeroshot", data, tmp_path)


@pytest.fixture
def world(tmp_path):
    """A folder as `openmofi sample world` leaves it, with colours for entities."""
    folder = tmp_path / "world"
    manifest = claim_folder(folder, "world", {})
    rows = []
    for shard in range(2):
        records = [(f"{name}{one}", name) for name in COLOURS for one in range(3)]
        write_tar(
            folder / f"retrieval/s{shard}.tar",
            [Record(key, drawn_image(name, 10 * shard + int(key[-1])), None) for key, name in records],
        )
        rows += [
            {
                "shard": f"s{shard}",
                "key": key,
                "entity": f"e:{name}",
                "named": False,
                "ambiguous": False,
                "domain": "warm" if name in ("red", "yellow") else "cold",
                "split": "heldout_entities",
            }
            for key, name in records
        ]
    write_table(folder / "truth.parquet", pa.Table.from_pylist(rows, schema=TRUTH))
    entities = [
        {"id": f"e:{name}", "name": name, "description": f"the colour {name}", "types": [], "popularity": 1.0}
        for name in COLOURS
    ]
    write_table(folder / "kb/entities.parquet", pa.Table.from_pylist(entities, schema=ENTITIES))
    finish_manifest(folder, manifest, {})
    return folder


def test_sample_retrieval(world, tmp_path, monkeypatch):
    found = run("sample-retrieval", world, tmp_path, failures=1)
    result = found.result
    assert result.metrics["sample-retrieval/zero_shot"] > 0.7
    assert {"sample-retrieval/warm/map_excl_query", "sample-retrieval/cold/map_incl_query"} < set(result.metrics)
    assert result.counts["images"] == 24
    assert result.facts == {"texts": True, "frozen": False}
    assert found.failures[0].name in COLOURS
    assert len(set(found.items["item"].to_pylist())) == 24
    monkeypatch.setattr(sample_retrieval, "FROZEN", result.data["fingerprint"])
    again = run("sample-retrieval", world.parent, tmp_path, Eye(texts=False)).result
    assert again.facts == {"texts": False, "frozen": True}
    assert "sample-retrieval/zero_shot" not in again.metrics
    assert again.metrics["sample-retrieval/map_excl_query"] == result.metrics["sample-retrieval/map_excl_query"]
    with pytest.raises(OpenMofiError, match=r"it has no manifest.json"):
        run("sample-retrieval", world / "kb", tmp_path)


def test_sample_retrieval_is_its_parts_put_together(world, tmp_path):
    images = embed_images(expand_shards([str(world / "retrieval")]), Eye(), tmp_path / "other-cache", Quiet())
    entities = true_entities(world / "truth.parquet", images)
    ranked = evaluate_retrieval(images.embeddings, entities)
    sides = [
        class_embeddings([text.format(name=name) for name in sorted(COLOURS)], ["{}"], Eye().embed_texts)
        for text in ("{name}", "{name}: the colour {name}")
    ]
    mean = sides[0] + sides[1]
    labels = np.searchsorted([f"e:{name}" for name in sorted(COLOURS)], entities)
    named = evaluate_zero_shot(images.embeddings, labels, mean / np.linalg.norm(mean, axis=1, keepdims=True))
    result = run("sample-retrieval", world, tmp_path).result
    expected = {
        "map_incl_query": ranked.map_incl_query,
        "map_excl_query": ranked.map_excl_query,
        "zero_shot": named.accuracy,
    }
    for name, value in expected.items():
        assert result.metrics[f"sample-retrieval/{name}"] == pytest.approx(value, abs=1e-12)
    assert list(result.intervals["sample-retrieval/zero_shot"]) == pytest.approx(named.accuracy_interval)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("recal_at=1", "unknown setting recal_at; did you mean recall_at"),
        ("recall_at=a", r"recall_at\[0\] is 'a'; it must be a whole"),
        ("recall_at", "is not KEY=VALUE"),
    ],
)
def test_settings_that_are_none(tmp_path, override, message):
    with pytest.raises(UsageError, match=message):
        run("retrieval", tmp_path, tmp_path, overrides=[override])


def test_a_protocol_that_needs_an_encoder_says_so(tmp_path):
    with pytest.raises(UsageError, match="needs an encoder"):
        evaluate("retrieval", None, tmp_path, tmp_path, Quiet())


@pytest.mark.parametrize(
    ("protocol", "setting"),
    [
        ("knn", "temperature=NaN"),
        ("retrieval", "recall_at=0,-3"),
        ("gpr1200", "recall_at=0"),
        ("labels", "at_recall=7"),
        ("sample-retrieval", "recall_at=-1"),
        ("linear", "seed=-1"),
        ("vtab", "seed=-1"),
        ("labels", "at_recall=NaN"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(tmp_path, protocol, setting):
    with pytest.raises(UsageError, match=setting.partition("=")[0]):
        run(protocol, tmp_path, tmp_path, overrides=[setting])


def test_without_its_usual_headline_a_result_has_another(tmp_path):
    result = run("knn", splits(tmp_path, "train", "val"), tmp_path, overrides=["k=5"]).result
    assert result.headline == "knn/top1_k5"
    assert result.headline in result.metrics


@pytest.mark.parametrize("line", ['1.png,"red\n', '1.png,"red\n2.png,blue"x\n'])
def test_a_quote_that_is_not_closed_swallows_no_row_of_a_table(tmp_path, line):
    (tmp_path / "x.csv").write_text("image,class\n0.png,blue\n" + line + "3.png,red\n")
    with pytest.raises(OpenMofiError, match=r"x\.csv cannot be read"):
        labelled_images(tmp_path / "x.csv")
