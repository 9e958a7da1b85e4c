"""Recognition with 1, 3 and 10 reference images of each entity beside its text alone, on the sample world.

    python benchmarks/references.py runs/demo -o runs/references

Of each entity some images become references, and images of other artists are asked for: of entities that are held out
of all pages (`held-out entities`), and of known entities by artists that no reference is of (`unseen artists`; from
pages that nothing was fitted on). The encoder is a fold of the demo's, and references of known entities are pages that
this fold was not fitted on: texts find those that an encoder was fitted on too well, and would be weighed too high. The
answer is the entity with the nearest vector among all 2,176 that are pictured. Rows say what is found by the text
alone, by the prototypes of the images alone, by the mean of both vectors, and by both as
`openmofi.features.references` mixes them, where all entities have references, and where only those that are held out
have some (`filled`). The mixture was chosen on every other entity; the rest are scored. They were not unseen
altogether: an earlier form of the mixture was scored on them too, and found wanting. Intervals are of 95 %, by
bootstrap over entities.

`oven` is `openmofi eval entity` over the same: accuracy by text and reference images on seen and unseen entities, and
their harmonic mean. `recognise` is `Index.recognise` over an index of the held-out pages' labels, which no held-out
entity is among, with a base that has 3 images of each held-out entity or none.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import harness
import openmofi
from openmofi.arrays import Array, Ints
from openmofi.bootstrap import bootstrap_interval
from openmofi.config import settings_from
from openmofi.encoders import Encoder
from openmofi.encoders.arrays import normalised
from openmofi.engine import Quiet
from openmofi.features.entity_table import EntityEmbeddings, EntityFeatures
from openmofi.features.images import image_features_of
from openmofi.features.store import FeatureStore
from openmofi.knowledge.texts import DEFAULT_TEMPLATE, entity_text
from openmofi.pairs import Record, write_tar
from openmofi.storage import expand_shards, read_manifest
from studies.world.images.gather import gather, rename
from studies.world.images.packages import fetch
from studies.world.pages.plan import make_plan
from studies.world.pages.source import make_source
from studies.world.world_settings import WorldSettings

SIZES = (1, 3, 10)
GROUPS = ("held-out entities", "unseen artists")
FOLD = 0
"""Of the demo's encoder: heads that were fitted without a fourth of the pages, which give references."""
_DRAWS = 3


@dataclass(frozen=True)
class World:
    """Images of the world through an encoder's backbone, and what they show.

    Attributes:
        encoder: projects them.
        ids: (n,) identifiers of the entities that are pictured, sorted.
        texts: (n, text_feature_dim) features of their texts.
        images: (m, feature_dim) features.
        vectors: (m, dim) the same in the joint space.
        entity, artist: (m,) of each image; the number of an entity, the name of a set.
        split: (m,) `train`, `heldout_pages` or `heldout_entities`.
        places: (m,) shard and key.
    """

    encoder: Encoder
    ids: list[str]
    texts: Array
    images: Array
    vectors: Array
    entity: Ints
    artist: np.ndarray
    split: np.ndarray
    places: list[tuple[str, str]]

    @classmethod
    def read(cls, demo: Path, out: Path) -> World:
        """Take the features of the demo's pages, and embed the images of held-out entities; these stay in `out`."""
        whole = openmofi.load_encoder(f"run:{demo / 'encoders/partial-labels'}")
        encoder, folds = whole.fold(FOLD), whole.companions.folds
        assert folds is not None
        store = FeatureStore.noted(demo / "labels", encoder)
        assert store is not None
        pages = expand_shards([str(demo / "world/pages/train"), str(demo / "world/pages/heldout_pages")])
        held = expand_shards([str(demo / "world/retrieval")])
        parts = [store.open(shard.name, shard.fingerprint) for shard in pages]
        parts += image_features_of(held, encoder, out / "cache", Quiet())
        places, fold = list[tuple[str, str]](), list[Ints]()
        for shard, part in zip([*pages, *held], parts, strict=True):
            keys = np.array(part.table.column("key").to_pylist(), object)[part.usable].tolist()
            places += [(shard.name, key) for key in keys]
            fold.append(folds.of(shard.fingerprint, keys))
        usable = np.isin(np.concatenate(fold), (-1, FOLD))  # what this fold was not fitted on
        truth = pq.read_table(demo / "world/truth.parquet", columns=["shard", "key", "entity", "split"]).to_pylist()
        shown = {(row["shard"], row["key"]): (row["entity"], row["split"]) for row in truth}
        sets = artists(demo / "world")
        chosen = [row for row, place in enumerate(places) if usable[row] and shown.get(place, ("",))[0]]
        images = np.concatenate([part.values[part.usable].astype(np.float32) for part in parts])[chosen]
        places = [places[row] for row in chosen]
        ids = sorted({shown[place][0] for place in places})
        number = {entity: position for position, entity in enumerate(ids)}
        kb = openmofi.KnowledgeBase.open(demo / "kb")
        return cls(
            encoder,
            ids,
            encoder.text_features([entity_text(kb, row, DEFAULT_TEMPLATE) for row in kb.rows(ids).tolist()]),
            images,
            encoder.project_images(images),
            np.array([number[shown[place][0]] for place in places]),
            np.array([sets[place] for place in places]),
            np.array([shown[place][1] for place in places]),
            places,
        )


def artists(world: Path) -> dict[tuple[str, str], str]:
    """Shard and key of an image → the set of icons that its artwork is of: the world is planned again."""
    settings = settings_from(WorldSettings(), values=read_manifest(world, "world").settings)
    gathered = rename(gather(fetch(), settings))
    plan = make_plan(gathered, make_source(gathered, settings), settings)
    return {(shard.name, page.key): page.artwork.set for shard in plan for page in shard.pages}


def drawn(world: World, size: int, seed: int) -> tuple[Ints, Ints]:
    """Rows of reference images, at most `size` of an entity and one of an artist's, and of images that are asked for.

    An image is asked for where no reference of its entity is by its artist.
    """
    draw = np.random.default_rng(seed)
    references, queries = list[int](), list[int]()
    for entity in range(len(world.ids)):
        rows = draw.permutation(np.flatnonzero(world.entity == entity))
        pool = [row for row in rows if world.split[row] != "heldout_pages"]
        asked = [row for row in rows if world.split[row] != "train"]
        hidden = world.artist[asked[0]] if asked else ""
        by_artist = dict.fromkeys(world.artist[row] for row in pool if world.artist[row] != hidden)
        first = {name: next(row for row in pool if world.artist[row] == name) for name in by_artist}
        chosen = [*first.values()][:size]
        # Where there are fewer artists than images are wanted, the same artists give more.
        more = [row for row in pool if row not in chosen and world.artist[row] in by_artist]
        chosen += more[: size - len(chosen)]
        used = {world.artist[row] for row in chosen}
        references += chosen
        queries += [row for row in asked if world.artist[row] not in used and chosen]
    return np.sort(np.array(references)), np.array(queries)


def mixed(world: World, references: Ints) -> EntityEmbeddings:
    """The entities' embeddings with these reference images, which may be none."""
    order = references[np.argsort(world.entity[references], kind="stable")]
    owners = pa.array([world.ids[number] for number in world.entity[order].tolist()])
    images = EntityFeatures.of(owners, world.images[order].astype(np.float16)) if len(order) else None
    features = EntityFeatures.of(pa.array(world.ids), world.texts.astype(np.float16), images)
    return EntityEmbeddings(world.encoder, features)


def ways(world: World, references: Ints) -> tuple[dict[str, Array], dict[str, Any]]:
    """Vectors of all entities, by way, and what was fitted."""
    rows = np.arange(len(world.ids))
    texts = mixed(world, references[:0]).of(rows)
    sums = np.zeros_like(texts)
    np.add.at(sums, world.entity[references], world.vectors[references])
    images = normalised(sums)
    both = mixed(world, references)
    assert both.references is not None
    vectors = {"text": texts, "images": images, "mean": normalised(texts + images), "both": both.of(rows)}
    return vectors, both.references.report


def group_of(world: World, rows: Ints) -> np.ndarray:
    """(n,) one of `GROUPS`."""
    return np.where(world.split[rows] == "heldout_entities", *GROUPS)


def nearest(world: World) -> tuple[list[harness.Row], dict[str, float]]:
    """Rows and figures of the nearest vector."""
    rows, ratios = list[harness.Row](), dict[str, float]()
    for size in SIZES:
        found: dict[tuple[str, str, str], list[tuple[np.ndarray, np.ndarray]]] = {}
        for seed in range(_DRAWS):
            references, queries = drawn(world, size, seed)
            queries = queries[world.entity[queries] % 2 == 1]
            held = references[world.split[references] == "heldout_entities"]
            groups = group_of(world, queries)
            for among, chosen in (("all", references), ("filled", held)):
                vectors, report = ways(world, chosen)
                print(among, size, json.dumps(report), flush=True)
                for way, of_way in vectors.items():
                    if among == "filled" and way == "images":
                        continue
                    hits = np.argmax(world.vectors[queries] @ of_way.T, axis=1) == world.entity[queries]
                    for group in GROUPS:
                        inside = groups == group
                        found.setdefault((group, among, way), []).append((hits[inside], world.entity[queries][inside]))
        for (group, among, way), draws in found.items():
            hits, entities = (np.concatenate(part).astype(np.float64) for part in zip(*draws, strict=True))
            low, high = bootstrap_interval(hits, entities)
            accuracy = float(hits.mean())
            rows.append(
                {"of": group, "references": size, "have": among, "by": way, "accuracy": round(accuracy, 4)}
                | {"interval": [round(float(low), 4), round(float(high), 4)], "low": round(float(low), 4)}
                | {"high": round(float(high), 4), "queries": len(hits)}
            )
            if among == "all" and way in ("text", "both"):
                ratios[f"{group}, {f'{size} images' if way == 'both' else 'text'}"] = round(accuracy, 3)
    return rows, ratios


def base_with(world: World, demo: Path, out: Path, references: Ints) -> None:
    """Copy the demo's base to `out`, and add these images."""
    shutil.copytree(demo / "kb", out, dirs_exist_ok=True)
    if len(references):
        folder = out.with_name(f"{out.name}-images")
        write_tar(folder / "00000.tar", images_of(demo, world, references, texts=True))
        print(openmofi.add_images(out, folder, most=max(SIZES)), flush=True)


def images_of(demo: Path, world: World, rows: Ints, *, texts: bool) -> list[Record]:
    """The images of rows, with identifiers of their entities as texts, or with none."""
    wanted = {world.places[row]: int(world.entity[row]) for row in rows.tolist()}
    records = []
    for path in sorted((demo / "world").rglob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                key, _, ending = member.name.partition(".")
                place = (path.stem, key)
                if place in wanted and ending not in ("json", "txt"):
                    text = world.ids[wanted[place]] if texts else "an image"
                    records.append(Record(key, tar.extractfile(member).read(), text))  # type: ignore[union-attr]
    return records


def oven(world: World, demo: Path, out: Path, references: Ints, queries: Ints) -> list[harness.Row]:
    """Rows of `openmofi eval entity` without and with reference images of the held-out entities."""
    for shard in sorted({world.places[row][0] for row in queries.tolist()}):
        rows = np.array([row for row in queries.tolist() if world.places[row][0] == shard])
        write_tar(out / f"oven/{shard}.tar", images_of(demo, world, rows, texts=False))
    results = []
    for name, images in (("text", references[:0]), ("references", references)):
        base_with(world, demo, out / f"kb-{name}", images)
        result = openmofi.evaluate(
            "entity",
            encoder=world.encoder,
            data=demo,
            cache=out / "cache",
            queries=(str((out / "oven").absolute()),),
            kb=str((out / f"kb-{name}").absolute()),
        )
        chosen = ("seen/top1_text", "unseen/top1_text", "harmonic_mean_top1_text", "harmonic_mean_top1_both")
        results.append(
            {"of": "oven", "by": name} | {each: round(result.metrics[f"entity/{each}"], 4) for each in chosen}
        )
    return results


def recognise(world: World, demo: Path, out: Path, queries: Ints) -> list[harness.Row]:
    """Rows of `Index.recognise` for images of held-out entities, without and with reference images."""
    rows = []
    asked = queries[(world.split[queries] == "heldout_entities") & (world.entity[queries] % 2 == 1)]
    records = images_of(demo, world, asked, texts=True)
    for name in ("text", "references"):
        kb = openmofi.sample_kb(out / f"kb-{name}", out / f"slice-{name}", entities=world.ids, restart=True)
        index = openmofi.build_index(
            demo / "labels-heldout", encoder=world.encoder, out=out / f"index-{name}", kb=kb, entities="all"
        )
        hits, probabilities = list[bool](), list[float]()
        for record in records:
            (best,) = index.recognise(record.image or b"", limit=1).entities
            hits.append(best.entity.id == record.text)
            probabilities.append(best.probability or 0.0)
        entities = np.unique([record.text for record in records], return_inverse=True)[1]
        low, high = bootstrap_interval(np.array(hits, np.float64), entities)
        rows.append(
            {"of": "recognise, held-out entities", "by": name, "accuracy": round(float(np.mean(hits)), 4)}
            | {"low": round(float(low), 4), "high": round(float(high), 4), "queries": len(hits)}
            | {"expected": round(float(np.mean(probabilities)), 4)}
        )
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Measure, and write `results/references.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demo", type=Path, nargs="?", default=Path("runs/demo"))
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/references"))
    arguments = parser.parse_args()
    world = World.read(arguments.demo, arguments.out)
    rows, ratios = nearest(world)
    harness.write_result("references", rows, ratios)
    references, queries = drawn(world, 3, 0)
    held = references[world.split[references] == "heldout_entities"]
    rows += oven(world, arguments.demo, arguments.out, held, queries)
    rows += recognise(world, arguments.demo, arguments.out, queries)
    ratios |= {f"oven, {row['by']}": row["harmonic_mean_top1_text"] for row in rows if row["of"] == "oven"}
    harness.write_result("references", rows, ratios)


if __name__ == "__main__":
    main()
