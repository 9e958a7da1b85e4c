"""What labels also trains: shards of every kind give the batches that plain tars give."""

import gzip
import json
import lzma
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from openmofi.dataset.tables import Folder
from openmofi.encoders import Preprocessing
from openmofi.engine import Quiet
from openmofi.features.notes import NOTE
from openmofi.pairs import ReadSettings, read_pairs, write_tar
from openmofi.storage import write_json
from openmofi.training.data import open_data
from openmofi.training.model.towers import ModelInputs
from openmofi.training.recipe import DataSettings, TextSource


class Said(Quiet):
    def __init__(self):
        self.messages = []

    def say(self, message):
        self.messages.append(message)


def batches(dataset, cache, encoder, *, locked=False):
    settings = DataSettings(str(dataset), batch_size=12, shuffle_shards=2, text=TextSource(1, 0, 0))
    inputs = (
        ModelInputs(None, encoder, "features", encoder)
        if locked
        else ModelInputs(Preprocessing(24, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)), text="features", text_encoder=encoder)
    )
    said = Said()
    data = open_data(settings, inputs, seed=0, cache=cache, progress=said)
    # These datasets do not say what they were labelled from, which is said too.
    return list(data.batches(0, 4)), [message for message in said.messages if "copied" in message]


def as_parquet(path, pairs, image_type=None):
    images = [pair.image for pair in pairs]
    if image_type == "struct":
        images = [{"bytes": image, "path": None} for image in images]
    elif image_type == "path":
        for pair in pairs:
            path.with_name(f"{pair.key}.jpg").write_bytes(pair.image)
        images = [f"{pair.key}.jpg" for pair in pairs]
    pq.write_table(
        pa.table(
            {
                "key": [pair.key for pair in pairs],
                "text": [pair.text for pair in pairs],
                "photo" if image_type == "named" else "image": images,
            }
        ),
        path,
        row_group_size=5,
    )


def as_folder(path, pairs, table):
    path.mkdir()
    for pair in pairs:
        (path / f"{pair.key}.jpg").write_bytes(pair.image)
        if not table:
            (path / f"{pair.key}.txt").write_text(pair.text)
    if table:
        lines = [json.dumps({"file_name": f"{pair.key}.jpg", "text": pair.text, "key": pair.key}) for pair in pairs]
        (path / "metadata.jsonl").write_text("\n".join(lines))


KINDS = {
    "gz": (".tar.gz", lambda path, pairs, plain: path.write_bytes(gzip.compress(plain))),
    "packed-tar": (".tar", lambda path, pairs, plain: path.write_bytes(lzma.compress(plain))),
    "parquet": (".parquet", lambda path, pairs, plain: as_parquet(path, pairs)),
    "parquet-struct": (".parquet", lambda path, pairs, plain: as_parquet(path, pairs, "struct")),
    "parquet-path": (".parquet", lambda path, pairs, plain: as_parquet(path, pairs, "path")),
    "parquet-named": (".parquet", lambda path, pairs, plain: as_parquet(path, pairs, "named")),
    "folder": ("", lambda path, pairs, plain: as_folder(path, pairs, False)),
    "table": ("", lambda path, pairs, plain: as_folder(path, pairs, True)),
    "converted": (".tar", lambda path, pairs, plain: write_tar(path, pairs)),
}
COPIED = {"gz", "packed-tar", "parquet", "parquet-struct", "parquet-named"}


@pytest.mark.parametrize("kind", list(KINDS))
def test_batches_are_those_of_plain_tars(dataset_maker, tmp_path, encoder, kind):
    made = dataset_maker(tmp_path / "own", sizes=(9, 0, 8))
    cache = tmp_path / "cache"
    expected, said = batches(made, tmp_path / "plain", encoder)
    assert not said
    manifest = json.loads((made / "manifest.json").read_text())
    ending, write = KINDS[kind]
    for shard, entry in zip(Folder.open(made).shards, manifest["settings"]["shards"], strict=True):
        target = tmp_path / f"{shard.name}{ending}"
        write(target, list(read_pairs(shard)), Path(shard.path).read_bytes())
        entry["path"] = str(target)
        Path(shard.path).unlink()
    write_json(made / "manifest.json", manifest)
    if kind == "parquet-named":
        write_json(
            made / NOTE,
            {"cache": "none", "batch_size": 64, "max_pixels": 1000, "read": asdict(ReadSettings(image_column="photo"))},
        )
    for again in range(3):
        found, said = batches(made, cache, encoder)
        assert all(
            torch.equal(one[name], other[name]) for one, other in zip(found, expected, strict=True) for name in one
        )
        copies = list(cache.glob("images/*.bin"))
        # The second shard is not in the dataset, and nothing of it is copied.
        assert len(copies) == (2 if kind in COPIED else 0)
        assert len(said) == (kind in COPIED and again != 1)
        if copies and again == 1:
            copies[0].unlink()
    (features, *_), _ = batches(made, cache, encoder, locked=True)
    assert features["image_features"].shape == (12, encoder.feature_dim)
