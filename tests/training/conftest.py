"""A small dataset written by hand, an encoder that needs no weights, and small runs."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from forked import forks
from openmofi.encoders import Preprocessing, preprocess
from openmofi.pairs import Record, write_tar
from openmofi.schema import DATASET, VOCABULARY
from openmofi.storage import Shard, claim_folder, finish_manifest, write_table

from ..encoders.conftest import save_clip
from .small_runs import Maker

__all__ = ["PlainEncoder", "make_dataset"]

SIZES = (13, 0, 9, 20, 1)
CLASSES = 6


def drawn_image(draw: np.random.Generator, kind: str = "JPEG", size: tuple[int, int] = (96, 72)) -> bytes:
    coarse = Image.fromarray(draw.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    out = io.BytesIO()
    coarse.resize(size, Image.Resampling.BICUBIC).save(out, kind)
    return out.getvalue()


def make_dataset(root: Path, sizes=SIZES, seed: int = 0, extra: int = 2) -> Path:
    """Shards of pairs of which every dataset row is one; `extra` pairs a shard are not in the dataset."""
    draw, shards, counts = np.random.default_rng(seed), [], np.zeros(CLASSES, np.int64)
    tables = []
    for number, size in enumerate(sizes):
        shard = Shard(str(root / "pairs" / f"{number:05d}.tar"), f"{number:05d}")
        keys = [f"{number:02d}{row:04d}" for row in range(size + extra)]
        write_tar(
            shard.path,
            [
                Record(key, drawn_image(draw, ("JPEG", "PNG", "WEBP")[row % 3]), f"text of {key}")
                for row, key in enumerate(keys)
            ],
        )
        classes = [draw.choice(CLASSES - 1, 1 + int(draw.integers(3)), replace=False).tolist() for _ in range(size)]
        counts += np.bincount([c for row in classes for c in row], minlength=CLASSES)
        scores = [np.sort(draw.random(len(row)))[::-1].tolist() for row in classes]
        chosen = sorted(draw.choice(size + extra, size, replace=False).tolist())
        tables.append(
            pa.table(
                {
                    "shard": [shard.name] * size,
                    "key": [keys[i] for i in chosen],
                    "text": [f"text of {keys[i]}" for i in chosen],
                    "classes": classes,
                    "entities": [[f"e{c}" for c in row] for row in classes],
                    "scores": scores,
                },
                DATASET,
            )
        )
        shards.append(shard)
    folder = root / "dataset"
    manifest = claim_folder(folder, "dataset", {"shards": [asdict(shard) for shard in shards], "seed": seed}, {})
    for shard, table in zip(shards, tables, strict=True):
        write_table(folder / "images" / f"{shard.name}.parquet", table)
    write_table(
        folder / "vocabulary.parquet",
        pa.table(
            {
                "class_id": pa.array(range(CLASSES), pa.int32()),
                "id": [f"e{c}" for c in range(CLASSES)],
                "name": [f"thing {c}" for c in range(CLASSES)],
                "images": counts,
            },
            VOCABULARY,
        ),
    )
    finish_manifest(folder, manifest, {"rows": sum(sizes)})
    return folder


@dataclass
class PlainEncoder:
    """Features are fixed random projections of the pixels and of the letters."""

    spec: str = "plain"
    feature_dim: int = 7
    text_feature_dim: int = 5
    feature_fingerprint: str = "plain-1"
    preprocessing: Preprocessing = Preprocessing(16, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    stop_after: int = 1 << 30
    seen: list[int] = field(default_factory=list)

    def to(self, device):
        return self

    def batch(self, preprocessed):
        return np.stack(preprocessed)

    def preprocess(self, image):
        return preprocess(image, self.preprocessing)

    def image_features(self, pixels):
        if len(self.seen) >= self.stop_after:
            raise KeyboardInterrupt
        self.seen.append(len(pixels))
        weights = np.random.default_rng(3).standard_normal((pixels[0].size, self.feature_dim))
        return (pixels.reshape(len(pixels), -1) @ weights).astype(np.float32)

    def text_features(self, texts):
        return np.array([[text.count(letter) for letter in "aeio "] for text in texts], np.float32)


@pytest.fixture
def encoder() -> PlainEncoder:
    return PlainEncoder()


@pytest.fixture(scope="session")
def dataset(tmp_path_factory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def dataset_maker():
    return make_dataset


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory) -> Path:
    """A tiny CLIP with random weights."""
    return save_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="session")
def make(dataset, clip_folder) -> Maker:
    """Makes recipes of small runs."""
    # Before the workers of a run start a server that has loaded less.
    forks()
    return Maker(str(dataset), str(clip_folder))
