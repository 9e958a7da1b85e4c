"""What the store's tests share: stores and labels written by hand, and small teachers of random heads."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa

from openmofi.encoders import BACKBONE, Head, Preprocessing, open_encoder, save_heads
from openmofi.plugins.reinforcement import TRANSFORM_VERSION, Augmentation, ReinforceSettings, Teacher, TeacherSpec
from openmofi.plugins.reinforcement.augmentation import OPS
from openmofi.plugins.reinforcement.table import (
    KIND,
    StoredSample,
    encode,
    normalised,
    shard_path,
    shard_table,
    write_shard,
)
from openmofi.plugins.reinforcement.teachers import ENTITIES_FILE
from openmofi.schema import LABELS, PairStatus
from openmofi.storage import Shard, claim_folder, file_fingerprint, finish_manifest, write_table

VIEW = Preprocessing(32, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def directions(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return normalised(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def drawn(number: int) -> Augmentation:
    return Augmentation((0.0, 0.25, 0.5, 0.5 + number / 100), bool(number % 2), (("Rotate", -3.0), ("Identity", 0.0)))


def sample(key: str, augmentations: int, captions: int) -> StoredSample:
    texts = tuple(f"{key} {number}" for number in range(captions))
    return StoredSample(key, PairStatus.OK, 40, 30, sum(key.encode()), tuple(map(drawn, range(augmentations))), texts)


def write_store(
    folder: Path,
    shards: dict[str, list[StoredSample]],
    dims: tuple[int, ...] = (8,),
    *,
    augmentations: int = 2,
    captions: int = 2,
    kept: int = 0,
    version: int = TRANSFORM_VERSION,
    finished: bool = True,
) -> dict[str, np.ndarray]:
    """A store of teachers `t0`, `t1` …, of which `kept` of the entities `e0` … `e9` are kept.

    Returns the embeddings, `SHARD/image_0` … → (usable, vectors, dim), and `SHARD/entity_0`, `SHARD/entity_score_0` …
    → (usable, augmentations, kept).
    """
    settings = ReinforceSettings(
        tuple(TeacherSpec(f"t{number}", 20.0) for number in range(len(dims))),
        augmentations=augmentations,
        captions=captions,
        size=32,
        entity_scores=kept,
    )
    teachers = [Teacher(f"t{number}", f"t{number}", dim, 20.0, VIEW) for number, dim in enumerate(dims)]
    described = {
        **settings.as_dict(),
        "teachers": [asdict(teacher) for teacher in teachers],
        "interpolation": "bicubic",
        "transform_version": version,
        "ops": OPS,
        "shards": [{"name": name, "path": f"{name}.tar"} for name in shards],
    }
    manifest = claim_folder(folder, KIND, described)
    exact = {}
    for name, samples in shards.items():
        usable, columns = sum(one.status == PairStatus.OK for one in samples), {}
        for number, dim in enumerate(dims):
            for part, vectors in (("image", augmentations), ("text", 1), ("caption", captions)):
                if vectors:
                    found = exact[f"{name}/{part}_{number}"] = directions((usable, vectors, dim), len(exact))
                    columns[f"{part}_{number}"] = encode(found, settings.precision)[0].reshape(usable, vectors * dim)
            if kept:
                draw = np.random.default_rng(len(exact))
                exact[f"{name}/entity_{number}"] = draw.integers(0, 10, (usable, augmentations, kept), np.int32)
                exact[f"{name}/entity_score_{number}"] = draw.random((usable, augmentations, kept)).astype(np.float16)
        columns |= {
            f"{part}_{number}": exact[f"{name}/{part}_{number}"].reshape(usable, augmentations * kept)
            for number in range(len(dims) if kept else 0)
            for part in ("entity", "entity_score")
        }
        write_shard(shard_path(folder, name), shard_table(samples, columns, settings, {}))
    if kept:
        write_table(folder / ENTITIES_FILE, pa.table({"id": [f"e{number}" for number in range(10)]}))
    if finished:
        finish_manifest(folder, manifest, {})
    return exact


def write_labels(folder: Path, shards: list[Shard], rows: list[list[dict]], kb: str = "") -> Path:
    """Labels of `shards`, given row by row; `kb` is the fingerprint of the knowledge base."""
    inputs = {shard.name: file_fingerprint(shard.path) for shard in shards} | ({"/kb": kb} if kb else {})
    manifest = claim_folder(folder, "labels", {"shards": [asdict(shard) for shard in shards]}, inputs)
    for shard, found in zip(shards, rows, strict=True):
        write_table(f"{folder}/labels/{shard.name}.parquet", pa.Table.from_pylist(found, schema=LABELS))
    finish_manifest(folder, manifest, {})
    return folder


def random_teacher(folder: Path, dim: int, seed: int) -> str:
    """The spec of an encoder with random heads over the sample's backbone."""
    base = open_encoder(BACKBONE)
    heads = [Head.initial(width, dim, seed=seed) for width in (base.feature_dim, base.text_feature_dim)]
    save_heads(folder, base=base, image_head=heads[0], text_head=heads[1], logit_scale=20.0, settings={})
    return f"run:{folder}"
