"""Copies of evaluation images stay out of a dataset, and nothing else does."""

import io
import json
from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageOps
from typer.testing import CliRunner

from openmofi.cli.dataset import app
from openmofi.dataset import DatasetSettings, Exclusion, build_dataset
from openmofi.encoders import as_encoder
from openmofi.errors import OpenMofiError, UsageError
from openmofi.features.store import FeatureStore
from openmofi.pairs import Record, perceptual_hash, write_tar
from openmofi.plugins.evaluation_copies import DECIDING
from openmofi.schema import LABELS
from openmofi.storage import Shard, claim_folder, finish_manifest, read_manifest, write_table

IMAGES, SHARDS = 12, 2
COPIES = {
    "jpeg": lambda image: Image.open(io.BytesIO(encoded(image, "JPEG", quality=40))),
    "half": lambda image: image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS),
    "grown": lambda image: image.resize((300, 260), Image.Resampling.LANCZOS),
    "cropped": lambda image: image.crop((8, 6, image.width - 8, image.height - 6)),
    "mirrored": ImageOps.mirror,
}


def encoded(image, kind="PNG", **options):
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def texture(number):
    """Smooth noise: no two are alike."""
    coarse = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((160, 128), Image.Resampling.BICUBIC)


def colours(images):
    """Coarse colours, less their mean: a frozen backbone that can be read."""
    small = np.stack(
        [
            np.asarray(image.convert("RGB").resize((8, 8), Image.Resampling.BOX), np.float32).reshape(-1)
            for image in images
        ]
    )
    return small - small.mean(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def encoder():
    return as_encoder((colours, lambda texts: np.ones((len(texts), 192), np.float32)))


@pytest.fixture
def labels(rows, tmp_path, encoder):
    """Labels of 24 textures, two shards; each names the entity `a`."""
    mention = [{"start": 0, "end": 5, "surface": "apple", "detector": "gazetteer"}]
    judged = [rows.judgement("a", 0, 0.9, True, "accepted")]
    shards, tables = [], []
    for number in range(SHARDS):
        images = [texture(IMAGES * number + row) for row in range(IMAGES)]
        path = tmp_path / "pairs" / f"s{number}.tar"
        write_tar(path, [Record(f"k{row:02d}", encoded(image), "apple") for row, image in enumerate(images)])
        shards.append(Shard(str(path), f"s{number}"))
        tables.append(
            [
                rows.label_row(f"k{row:02d}", "apple", "labelled", mention, judged, perceptual_hash(image))
                for row, image in enumerate(images)
            ]
        )
    folder = tmp_path / "labels"
    manifest = claim_folder(
        folder,
        "labels",
        {"shards": [asdict(shard) for shard in shards]},
        {shard.name: shard.fingerprint for shard in shards},
    )
    for shard, table in zip(shards, tables, strict=True):
        write_table(folder / "labels" / f"{shard.name}.parquet", pa.Table.from_pylist(table, LABELS))
    FeatureStore(str(tmp_path / "cache"), encoder).note(folder)
    finish_manifest(folder, manifest, {})
    return folder


@pytest.fixture
def photos(tmp_path):
    """Class folders: five copies of the first labelled images, and 20 images that nobody has labelled."""
    folder = tmp_path / "photos"
    (folder / "copies").mkdir(parents=True)
    (folder / "others").mkdir()
    for number, (kind, make) in enumerate(COPIES.items()):
        (folder / "copies" / f"{kind}.png").write_bytes(encoded(make(texture(number))))
    for number in range(100, 120):
        (folder / "others" / f"{number}.png").write_bytes(encoded(texture(number)))
    (folder / "others" / "broken.png").write_bytes(b"no image")
    return folder


def built(labels, out, sets, encoder=None, **options):
    return build_dataset(
        labels,
        out,
        DatasetSettings(1, None, None),
        exclusion=Exclusion.of(sets, **options),
        encoder=encoder,
        report=False,
    )


def kept(out):
    return {
        (row["shard"], row["key"])
        for shard in ("s0", "s1")
        for row in pq.read_table(out / "images" / f"{shard}.parquet").to_pylist()
    }


def test_copies_are_found_and_nothing_else(labels, photos, encoder, tmp_path):
    out = tmp_path / "d"
    statistics = built(labels, out, [f"eval={photos}"], encoder)
    named = pq.read_table(out / "excluded.parquet").to_pylist()
    assert {(row["key"], row["image"]) for row in named} == {
        (f"k{number:02d}", f"copies/{kind}.png") for number, kind in enumerate(COPIES) if kind != "mirrored"
    }
    assert kept(out) == {
        (f"s{shard}", f"k{row:02d}") for shard in range(SHARDS) for row in range(IMAGES) if shard or row > 3
    }
    figures = statistics.excluded["eval"]
    assert (figures["images"], figures["unusable"], figures["removed"], figures["copied"]) == (26, 1, 4, 4)
    assert figures["removed"] == figures["by_hash"] + figures["by_embedding"] - figures["by_both"]
    assert figures["by_embedding"] == 4
    threshold = figures["threshold"]
    assert {kind for kind, share in threshold["found"].items() if share >= 0.95} >= set(DECIDING), threshold
    assert threshold["alike"] <= 0.05
    assert statistics.outcomes["in_evaluation_set"] == 4
    assert sum(statistics.outcomes.values()) == statistics.statuses["labelled"] == SHARDS * IMAGES
    manifest = read_manifest(out)
    assert manifest.counts["in_evaluation_set"] == 4
    assert manifest.settings["exclude"]["sets"] == {"eval": str(photos)}
    assert "| eval | 26 | 1 | 4 |" in (out / "DATASET_CARD.md").read_text()


def test_hashes_alone_need_no_encoder(labels, photos, tmp_path):
    statistics = built(labels, tmp_path / "d", [str(photos)], cosine="off")
    figures = statistics.excluded["photos"]
    assert figures["threshold"] is None
    assert 2 <= figures["by_hash"] == figures["removed"] <= 4
    assert {("s0", "k04"), ("s0", "k05"), ("s1", "k00")} <= kept(tmp_path / "d")


def test_shards_tables_of_hashes_and_labels_are_sets(labels, encoder, tmp_path):
    write_tar(tmp_path / "eval" / "e.tar", [Record("x", encoded(texture(7)), "other"), Record("y", b"no", "z")])
    write_tar(tmp_path / "unseen" / "u.tar", [Record("x", encoded(texture(200)), "other")])
    hashes = pa.table({"key": ["m", "n"], "phash": pa.array([perceptual_hash(texture(13)), 0], pa.uint64())})
    write_table(tmp_path / "hashes.parquet", hashes)
    sets = [str(tmp_path / name) for name in ("eval", "hashes.parquet", "unseen")]
    statistics = built(labels, tmp_path / "d", sets, encoder)
    assert {
        (row["shard"], row["key"], row["set"], row["image"], row["bits"])
        for row in pq.read_table(tmp_path / "d" / "excluded.parquet").to_pylist()
    } == {("s0", "k07", "eval", "x", 0), ("s1", "k01", "hashes.parquet", "m", 0)}
    figures = [(each["images"], each["unusable"], each["removed"]) for each in statistics.excluded.values()]
    assert figures == [(2, 1, 1), (2, 1, 1), (1, 0, 0)]
    with pytest.raises(OpenMofiError, match="None of the 1 entities"):
        built(labels, tmp_path / "all", [f"own={labels}"])


def test_an_image_left_out_keeps_no_near_duplicate_out(rows, small_labels, tmp_path):
    mention = [{"start": 0, "end": 5, "surface": "apple", "detector": "gazetteer"}]
    phash = 3**30
    tables = {
        "s0": [
            rows.label_row(key, "apple", "labelled", mention, [rows.judgement("a", 0, 0.9, True, "accepted")], value)
            for key, value in (("k0", phash), ("k1", phash ^ 0b111), ("k2", 5**20))
        ]
    }
    write_table(tmp_path / "h.parquet", pa.table({"phash": pa.array([phash ^ (0b11 << 40)], pa.uint64())}))
    statistics = build_dataset(
        small_labels(tables),
        tmp_path / "d",
        DatasetSettings(1),
        report=False,
        exclusion=Exclusion.of([str(tmp_path / "h.parquet")]),
    )
    assert pq.read_table(tmp_path / "d" / "images" / "s0.parquet")["key"].to_pylist() == ["k1", "k2"]
    assert statistics.outcomes == {
        "kept": 2,
        "near_duplicate": 0,
        "semantic_duplicate": 0,
        "beyond_cap": 0,
        "below_minimum": 0,
        "in_evaluation_set": 1,
    }


def test_other_sets_are_other_settings(labels, photos, tmp_path):
    built(labels, tmp_path / "d", [str(photos)], cosine="off")
    with pytest.raises(OpenMofiError, match="was made with other settings"):
        built(labels, tmp_path / "d", [str(photos)], cosine="off", bits=4)
    (photos / "others" / "100.png").unlink()
    with pytest.raises(OpenMofiError, match="was made with other settings"):
        built(labels, tmp_path / "d", [str(photos)], cosine="off")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (None, "'e' is not at .*nothing is there"),
        ({}, "'e' has no images: .* neither shards nor image files"),
        ({"a/readme.txt": b"hello"}, "'e' has no images"),
        ({"a/x.png": b"no image"}, "'e' has no usable image among 1"),
        ({"e.tar": b"no tar"}, "e.tar"),
    ],
)
def test_bad_sets_are_said_in_a_sentence(labels, tmp_path, files, said):
    for name, data in (files or {}).items():
        (tmp_path / "e" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "e" / name).write_bytes(data)
    if files == {}:
        (tmp_path / "e").mkdir()
    with pytest.raises(OpenMofiError, match=said):
        built(labels, tmp_path / "d", [str(tmp_path / "e")], cosine="off")
    assert not (tmp_path / "d" / "statistics.json").exists()


@pytest.mark.parametrize(
    ("column", "said"),
    [(pa.array([0, None], pa.uint64()), "none of the 2 rows"), (pa.array(["a"]), "phash .* is of type string")],
)
def test_bad_hashes_are_said(labels, tmp_path, column, said):
    write_table(tmp_path / "h.parquet", pa.table({"phash": column}))
    with pytest.raises(OpenMofiError, match=said):
        built(labels, tmp_path / "d", [str(tmp_path / "h.parquet")])


@pytest.mark.parametrize(
    ("sets", "options", "said"),
    [
        (["a/x", "b/x"], {}, "both named 'x'"),
        (["x="], {}, "names no evaluation set"),
        (["x"], {"cosine": "much"}, "must be a number, 'auto' or 'off'"),
        (["x"], {"cosine": "2"}, "cosine"),
        (["x"], {"bits": 13}, "bits"),
    ],
)
def test_wrong_use_is_said(sets, options, said):
    with pytest.raises(UsageError, match=said):
        Exclusion.of(sets, **options)


def test_labels_without_a_note_of_features_ask_for_hashes_alone(labels, photos, encoder, tmp_path):
    (labels / "features.json").unlink()
    with pytest.raises(OpenMofiError, match="--exclude-cosine off"):
        built(labels, tmp_path / "d", [str(photos)], encoder)


def test_an_encoder_that_is_not_there_is_asked_for(labels, photos, tmp_path):
    with pytest.raises(OpenMofiError, match=r"labelled with cannot be opened: .* Name it with --encoder"):
        built(labels, tmp_path / "d", [str(photos)])


def test_by_the_command(labels, photos, tmp_path):
    done = CliRunner().invoke(
        app,
        [
            "build",
            str(labels),
            "-o",
            str(tmp_path / "d"),
            "--min-images",
            "1",
            "--exclude",
            f"p={photos}",
            "--exclude-cosine",
            "off",
            "--json",
        ],
        catch_exceptions=False,
    )
    assert json.loads(done.stdout)["excluded"]["p"]["removed"] >= 2
    assert "copy of an image of an evaluation set" in (tmp_path / "d" / "report.html").read_text()
