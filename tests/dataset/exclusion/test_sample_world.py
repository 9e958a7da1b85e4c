"""Made copies of the sample world's labelled images are found with its encoder; other images of the world are not."""

import io

import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageOps

from openmofi.dataset import DatasetSettings, Exclusion, build_dataset
from openmofi.encoders import open_encoder
from openmofi.pairs import decode_image, read_pairs
from openmofi.storage import expand_shards

EACH = 8


def saved(image):
    data = io.BytesIO()
    image.save(data, "JPEG", quality=50)
    return Image.open(data)


KINDS = {
    "jpeg": saved,
    "smaller": lambda image: image.resize((image.width * 2 // 3, image.height * 2 // 3)),
    "cropped": lambda image: ImageOps.crop(image, image.width // 25),
    "mirrored": ImageOps.mirror,
    "grey": lambda image: image.convert("L"),
}


@pytest.mark.slow
@pytest.mark.xdist_group("demo")
def test_copies_of_the_sample_world(small_demo, tmp_path):
    shard = expand_shards([str(small_demo / "world/pages/train")])[0]
    status = dict(
        zip(
            *pq.read_table(small_demo / f"labels/labels/{shard.name}.parquet", columns=["key", "status"])
            .to_pydict()
            .values(),
            strict=True,
        )
    )
    pairs = [pair for pair in read_pairs(shard) if status[pair.key] == "labelled"][: EACH * len(KINDS)]
    for number, pair in enumerate(pairs):
        kind = list(KINDS)[number % len(KINDS)]
        (tmp_path / "copies" / kind).mkdir(parents=True, exist_ok=True)
        KINDS[kind](decode_image(pair.image)).save(tmp_path / "copies" / kind / f"{pair.key}.png")
    sets = [str(tmp_path / "copies"), f"unseen={small_demo / 'world/retrieval'}"]
    statistics = build_dataset(
        small_demo / "labels",
        tmp_path / "d",
        DatasetSettings(1, None, None),
        report=False,
        exclusion=Exclusion.of(sets),
        encoder=open_encoder(f"run:{small_demo / 'encoders/partial-labels'}"),
    )
    found = pq.read_table(tmp_path / "d" / "excluded.parquet").to_pylist()
    right = {row["image"] for row in found if row["image"].rpartition("/")[2] == f"{row['key']}.png"}
    shares = {kind: sum(image.startswith(kind) for image in right) / EACH for kind in KINDS}
    assert min(shares.values()) >= 0.75, shares
    assert sum(shares.values()) / len(shares) >= 0.95, shares
    # Features see what the hash does not, and the other way round.
    of = {kind: [row for row in found if row["image"].startswith(kind)] for kind in KINDS}
    assert all(row["bits"] is None and row["cosine"] is not None for row in of["mirrored"])
    assert all(row["bits"] is not None for row in of["grey"])
    # What else goes out shows the same thing, as the same drawing on another page; hardly anything of unseen things.
    truth = pq.read_table(small_demo / "world/truth.parquet").to_pylist()
    shows = {(row["shard"], row["key"]): row["entity"] for row in truth}
    own = {f"{pair.key}.png": shows[shard.name, pair.key] for pair in pairs}
    assert all(
        shows[row["shard"], row["key"]] == own[row["image"].rpartition("/")[2]]
        for row in found
        if row["set"] == "copies"
    )
    assert statistics.excluded["copies"]["removed"] <= 1.1 * len(pairs)
    assert statistics.excluded["unseen"]["removed"] <= 1
