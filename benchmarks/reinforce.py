"""Reinforcement: what making a store costs beside its teachers, how large it is, and what a step that reads it costs.

Making it, with the sample's encoder as the teacher and with one of the size that usually teaches (ViT-B/32, random
weights, for speed only); contenders take turns in one process:
- `images`: the bare teacher's loop over the store's augmentations, which lie decoded and augmented in memory:
  preprocess and forward pass, in the job's batches (`generate_over_bare`);
- `images and texts`: the same, and the distinct texts, own and synthetic (`generate_over_bare_with_texts`);
- `store job`: the whole job: read, decode, augment, write texts, embed, measure fidelity, write the file;
- `store job, exported`: the same, whose teacher is the sample's encoder as ONNX graphs in 32 bits, which were exported
  once before (`generate_over_bare_exported`, against the bare teacher of PyTorch; `exported_cosine` is the least
  cosine between embeddings of the two stores).
A row a precision says how many bytes a sample takes with one teacher.

Reading it, with small students whose runs differ in objective and data alone:
- `plain`: the recipe `sample_student_contrastive`;
- `stored`: `sample_reinforced_contrastive`, with teachers' stored knowledge (`stored_over_plain`);
- `online`: the same, and the teachers embed each batch's augmented images and texts in the trainer's process
  (`online_over_stored`). They see the student's images, enlarged to their size: that the images would have to be
  made at the teachers' size is left out, in favour of `online`.
Whole steps are timed in a run's steady state, as in `train.py`. Teachers: both sample encoders, two heads over one
backbone, whose features are computed once a batch; teachers that share nothing cost more.
Built on a small sample world (`runs/bench`), made on first use; nothing is written into it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

import harness
from train import loop_seconds

LARGE, LARGE_SCALE = "open_clip:ViT-B-32/none?seed=0", 100.0
IMAGES, WITH_TEXTS, JOB, JOB_EXPORTED = "images", "images and texts", "store job", "store job, exported"
PLAIN, STORED, ONLINE = "plain", "stored", "online"


def prepare(world: Path, entities: int) -> None:
    """A small world with labels and a dataset, by the demo; one that is there stays as it is."""
    if (world / "dataset/manifest.json").exists():
        return
    from openmofi.engine import Quiet
    from studies.world.demo import label_world
    from studies.world.world_settings import world_settings

    label_world(world, Quiet(), settings=world_settings(None, entities))


def sample_teachers(world: Path) -> list[Any]:
    """Both sample encoders with the scales that they were trained with."""
    from openmofi.encoders import open_encoder
    from openmofi.plugins.reinforcement import TeacherSpec

    specs = [f"run:{world / 'encoders' / name}" for name in ("partial-labels", "alt-text")]
    return [TeacherSpec(spec, open_encoder(spec).logit_scale or 1.0) for spec in specs]


def made(world: Path, out: Path, shards: Sequence[Any], settings: Any, *, anew: bool = True) -> dict[str, Any]:
    """Make a store of the world's labels; the job's counts."""
    from openmofi.plugins.reinforcement import reinforce

    if anew:
        shutil.rmtree(out, ignore_errors=True)
    return reinforce(shards, world / "labels", out, settings, kb=world / "kb")


def seen(store: Path, shards: Sequence[Any]) -> tuple[list[Any], list[str]]:
    """The images of a store as its teacher saw them, a sample's augmentations side by side; its distinct texts."""
    from PIL import Image

    from openmofi.pairs import read_pairs
    from openmofi.plugins.reinforcement import Knowledge, augmented

    knowledge, images, texts = Knowledge.open(store), [], dict[str, None]()
    for shard in shards:
        pairs = list(read_pairs(shard))
        names, keys = [shard.name] * len(pairs), [pair.key for pair in pairs]
        # There are more augmentations than texts: those are gone through more than once.
        found = [
            knowledge.take(names, keys, np.full(len(keys), number), np.full(len(keys), number % knowledge.captions))
            for number in range(knowledge.augmentations)
        ]
        for place in np.flatnonzero(found[0].known).tolist():
            drawn = [recalled.augmentations[place] for recalled in found]
            images += [
                Image.fromarray(augmented(pairs[place].image or b"", one, knowledge.size, knowledge.interpolation))
                for one in drawn
                if one
            ]
            texts.update(dict.fromkeys([pairs[place].text, *(recalled.captions[place] for recalled in found)]))
    return images, list(texts)


def exported(teacher: Any, out: Path, shards: Sequence[Any]) -> Any:
    """The same teacher as ONNX graphs in 32 bits."""
    from openmofi import export
    from openmofi.plugins.reinforcement import TeacherSpec

    export(teacher.spec, out, format="onnx", images=[shards[0].path])
    return TeacherSpec(f"onnx:{out}", teacher.scale)


def least_cosine(stores: Sequence[Path], shards: Sequence[Any]) -> float:
    """The least cosine between what two stores hold of the same augmentation or text."""
    import pyarrow as pa

    least = 1.0
    for shard in shards:
        tables = [pa.ipc.open_file(f"{store}/samples/{shard.name}.arrow").read_all() for store in stores]
        # The text of a sample has one vector.
        dim = tables[0].schema.field("text_0").type.list_size
        for part in ("image_0", "text_0", "caption_0"):
            one, other = (
                np.array(table[part].drop_null().to_pylist(), np.float32).reshape(-1, dim) for table in tables
            )
            lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
            least = min(least, float(((one * other).sum(1) / lengths).min()))
    return least


def generation(
    world: Path, out: Path, shards: Sequence[Any], teacher: Any, rounds: int, *, export: bool
) -> list[harness.Row]:
    """Rows of the bare teacher and of the job."""
    from openmofi.encoders import open_encoder, preprocess
    from openmofi.plugins.reinforcement import ReinforceSettings

    settings, encoder = ReinforceSettings((teacher,)), open_encoder(teacher.spec)
    counts = made(world, out, shards, settings)
    images, texts = seen(out, shards)
    size = settings.batch_size // settings.augmentations * settings.augmentations
    whole = replace(encoder.preprocessing, resize="squash", resize_size=0)

    def bare() -> None:
        for start in range(0, len(images), size):
            batch = np.stack([preprocess(image, whole) for image in images[start : start + size]])
            encoder.project_images(encoder.image_features(batch))

    def with_texts() -> None:
        bare()
        encoder.embed_texts(texts)

    contenders = {IMAGES: bare, WITH_TEXTS: with_texts, JOB: lambda: made(world, out, shards, settings)}
    other = out.with_name(f"{out.name}-exported")
    if export:
        taught = replace(settings, teachers=(exported(teacher, out.with_name(f"{out.name}-onnx"), shards),))
        contenders[JOB_EXPORTED] = lambda: made(world, other, shards, taught)
    rows = harness.measure(f"making a store, {teacher.spec}", contenders, counts["status"]["ok"], rounds, "samples")
    if export:
        rows[JOB_EXPORTED]["cosine"] = least_cosine([out, other], shards)
    return [{"part": "make", "teachers": teacher.spec.rpartition("/")[2], **row} for row in rows.values()]


def sizes(world: Path, out: Path, shards: Sequence[Any], teacher: Any) -> list[harness.Row]:
    """A row a precision: bytes a sample, and what it does to the teacher's affinities."""
    from openmofi.plugins.reinforcement import ReinforceSettings

    rows = []
    for precision in ("fp16", "bf16", "int8"):
        counts = made(world, out, shards, ReinforceSettings((teacher,), precision=precision))
        (figures,) = counts["fidelity"].values()
        rows.append(
            {
                "part": "size",
                "contender": precision,
                "bytes_per_sample": counts["bytes_per_sample"],
                **figures[precision],
            }
        )
        print(f"{precision}: {counts['bytes_per_sample']:,} bytes a sample, KL {figures[precision]['kl']:.1e}")
    return rows


def recipe_for(name: str, world: Path, out: Path, steps: int, interval: int, extra: Sequence[str]) -> Any:
    """A student's recipe over the world's dataset."""
    from openmofi.training.recipe.rules import load_recipe

    places = {"data.dataset": world / "dataset", "data.cache": out / "cache"}
    recipe = Path(__file__).resolve().parent.parent / f"studies/recipes/{name}.yaml"
    return load_recipe(
        str(recipe),
        [
            *(f"{key}={json.dumps(str(value))}" for key, value in places.items()),
            f"run.steps={steps}",
            f"run.log_every={interval}",
            "run.checkpoint_every=1000000",
            "optimizer.warmup=1",
            *extra,
        ],
    )


def texts_by_id(world: Path, knowledge: Any) -> dict[int, str]:
    """What a batch's text ids stand for: a teacher that is asked online needs the texts themselves."""
    from openmofi.dataset.tables import Folder
    from openmofi.training.data.texts import text_id

    dataset = Folder.open(world / "dataset", "dataset")
    own = (text for shard in dataset.shards for text in dataset.read(shard, ["text"])["text"].to_pylist())
    return {text_id(text): text for text in {*own, *knowledge.texts()}}


@contextmanager
def asked_online(knowledge: Any, texts: Mapping[int, str]) -> Iterator[None]:
    """Within it the trainer's batches have what the store's teachers say of them, asked in the trainer's process."""
    import torch
    from torch.nn.functional import interpolate

    from openmofi.encoders import open_encoder
    from openmofi.plugins.reinforcement.objectives import teacher_key
    from openmofi.plugins.reinforcement.teachers import SharedBackbones
    from openmofi.training.data.loader import TrainingData

    encoders = [open_encoder(teacher.spec) for teacher in knowledge.teachers]
    whole: Callable[..., Iterator[Any]] = TrainingData.batches

    def said(batch: Any) -> dict[str, Any]:
        # Heads over one backbone need its features once, as in the job.
        backbones = SharedBackbones(encoders)
        pixels = {
            number: interpolate(batch["image"] / 255, size=preprocessing.size, mode="bicubic").numpy()
            for number, preprocessing in backbones.preprocessing.items()
        }
        vectors = {"image": backbones.embed_images(pixels)} | {
            kind: backbones.embed_texts([texts[number] for number in batch[f"{kind}_id"].tolist()])
            for kind in ("text", "caption")
        }
        return {
            teacher_key(teacher.name, kind): torch.from_numpy(of_teacher)
            for kind, listed in vectors.items()
            for teacher, of_teacher in zip(knowledge.teachers, listed, strict=True)
        }

    def batches(data: Any, *arguments: Any, **named: Any) -> Iterator[Any]:
        for batch in whole(data, *arguments, **named):
            yield {**batch, **said(batch)}

    with patch.object(TrainingData, "batches", batches):
        yield


def steps(world: Path, out: Path, store: Path, interval: int, rounds: int, extra: Sequence[str]) -> list[harness.Row]:
    """Rows of the three students' loops, in turns."""
    from openmofi.plugins.reinforcement import Knowledge

    knowledge, timed = Knowledge.open(store), 2 * interval
    texts = texts_by_id(world, knowledge)
    plain = recipe_for("sample_student_contrastive", world, out, timed + interval, interval, extra)
    taught = recipe_for(
        "sample_reinforced_contrastive",
        world,
        out,
        timed + interval,
        interval,
        [f"data.reinforcement.store={json.dumps(str(store))}", *extra],
    )
    runs: dict[str, tuple[Any, Callable[[], AbstractContextManager[None]]]] = {
        PLAIN: (plain, nullcontext),
        STORED: (taught, nullcontext),
        ONLINE: (taught, lambda: asked_online(knowledge, texts)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    waits: dict[str, list[float]] = {name: [] for name in runs}
    order = list(runs)
    for turn in range(rounds):
        shift = turn % len(order)
        for name in order[shift:] + order[:shift]:
            recipe, asked = runs[name]
            with asked():
                taken, wait = loop_seconds(recipe, out / "run", timed)
            seconds[name].append(taken)
            waits[name].append(wait)
    rows = harness.summarise(seconds, timed * plain.data.batch_size)
    for name, row in rows.items():
        row["data_wait"] = statistics.median(waits[name])
    harness.show("steps", rows, "images", extra=("data_wait",))
    return [{"part": "step", "teachers": f"{len(knowledge.teachers)}", **row} for row in rows.values()]


def ratios_of(rows: Sequence[harness.Row]) -> dict[str, float]:
    """The ratios of the rows at hand; the second teacher is the large one."""
    found: dict[str, float] = {}
    for number, teacher in enumerate(dict.fromkeys(row["teachers"] for row in rows if row["part"] == "make")):
        taken = {
            row["contender"]: row["median_s"] for row in rows if row["part"] == "make" and row["teachers"] == teacher
        }
        end = "_vit_b32" if number else ""
        found[f"generate_over_bare{end}"] = taken[IMAGES] / taken[JOB]
        if JOB_EXPORTED in taken:
            found[f"generate_over_bare_exported{end}"] = taken[IMAGES] / taken[JOB_EXPORTED]
            found["exported_cosine"] = next(row["cosine"] for row in rows if "cosine" in row)
        found[f"generate_over_bare_with_texts{end}"] = taken[WITH_TEXTS] / taken[JOB]
    found |= {f"bytes_per_sample_{row['contender']}": row["bytes_per_sample"] for row in rows if row["part"] == "size"}
    if taken := {row["contender"]: row["median_s"] for row in rows if row["part"] == "step"}:
        found |= {
            "stored_over_plain": taken[STORED] / taken[PLAIN],
            "online_over_stored": taken[ONLINE] / taken[STORED],
        }
    return found


def main() -> None:
    """Measure and write `results/reinforce.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", type=Path, default=Path("runs/bench"))
    parser.add_argument("--entities", type=int, default=250)
    parser.add_argument("--out", type=Path, default=Path("runs/bench-reinforce"), help="Stores, runs, caches.")
    parser.add_argument("--shards", type=int, default=4, help="Of the sample teacher's stores; the large one has one.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--interval", type=int, default=20, help="Steps; twice as many are timed.")
    parser.add_argument("--parts", nargs="*", default=["make", "size", "step"], choices=["make", "size", "step"])
    parser.add_argument("--large", default=LARGE, help="Spec of the large teacher; empty for none.")
    parser.add_argument("--set", action="append", default=[], help="A setting of both recipes.")
    parser.add_argument("--results", type=Path, default=harness.RESULTS)
    arguments = parser.parse_args()
    world, out = arguments.world, arguments.out
    prepare(world, arguments.entities)

    from openmofi.plugins.reinforcement import ReinforceSettings, TeacherSpec
    from openmofi.storage import expand_shards

    shards, teachers = expand_shards([str(world / "world/pages/train")]), sample_teachers(world)
    few, rows = shards[: arguments.shards], []
    if "make" in arguments.parts:
        rows += generation(world, out / "made", few, teachers[0], arguments.rounds, export=True)
        if arguments.large:
            large = TeacherSpec(arguments.large, LARGE_SCALE)
            rows += generation(
                world, out / "made-large", shards[:1], large, max(1, arguments.rounds // 2), export=False
            )
    if "size" in arguments.parts:
        rows += sizes(world, out / "made", few, teachers[0])
    if "step" in arguments.parts:
        made(world, out / "store", shards, ReinforceSettings(tuple(teachers)), anew=False)
        rows += steps(world, out, out / "store", arguments.interval, arguments.rounds, arguments.set)
    harness.write_result("reinforce", rows, ratios_of(rows), arguments.results, keeps=True)


if __name__ == "__main__":
    main()
