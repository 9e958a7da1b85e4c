"""The engines beside each other: the same work by one process, by several, and by Ray's actors on this machine.

Contenders, in turns:
- text-only work, `one worker` (`processes:1`) and `processes:2`: every task normalises and hashes the words of its
  texts in Python, which keeps one core busy and waits for nothing;
- the label job with the CPU encoder of the sample world, `local` (which uses every core by torch's threads) and
  `processes:2`, from nothing to the labels, on `--pairs` pairs: fewer than 5,000 an engine does in its own process;
- text-only work, `processes:N` and `ray` with as many actors as cores.
Workers are started, and the work is opened, before the clock runs in the text-only work: a job of hours does that once.
The label job is timed whole. A ratio is the median over rounds of the ratio of two neighbours in a round, so that what
the machine does beside hits both.

Where other work takes the cores, two workers cannot be twice as fast as one by the clock. So two ratios are given of
the processor's seconds too, and hold for free cores: `processes2_over_1_cpu`, twice what one worker takes for all tasks
over what two take together, and `processes2_over_local_cpu`, of all processes of the label job.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import harness

_WORDS = ("The", "Eiffel", "Tower,", "Paris", "©", "2024", "Émile", "Durand;", "summer", "city", "lights")
_ELSEWHERE = ("requests_per_shard", "requests_per_shard_again")
"""Ratios of `results/engines.json` that `store.py` writes, and this one keeps."""


@dataclass(frozen=True)
class TextWork:
    """Tasks of pure Python over `texts` texts each; a `WorkFactory`."""

    texts: int

    def __call__(self) -> Callable[[int], dict[str, Any]]:
        """Nothing is opened."""
        return self._hashed

    def _hashed(self, task: int) -> dict[str, Any]:
        start, digest = time.process_time(), hashlib.blake2b(digest_size=8)
        for number in range(self.texts):
            for word in _WORDS:
                digest.update(unicodedata.normalize("NFKD", f"{word}{task}-{number}").casefold().encode())
        return {"rows": self.texts, "digest": digest.hexdigest(), "cpu_s": time.process_time() - start}


def paired(rows: Mapping[str, harness.Row], faster: str, slower: str) -> float:
    """How many times as fast one contender is as another: the median over rounds."""
    return statistics.median(
        base / taken for base, taken in zip(rows[slower]["seconds"], rows[faster]["seconds"], strict=True)
    )


def texts(engines: Sequence[str], tasks: int, size: int, rounds: int) -> dict[str, harness.Row]:
    """The text-only work by each engine, whose workers live through all rounds."""
    from openmofi.engine import Quiet, engine_named

    work = TextWork(size)
    with ExitStack() as stack:
        sessions = {name: stack.enter_context(engine_named(name).session()) for name in engines}
        outcomes = {name: session.run(work, range(tasks), Quiet()) for name, session in sessions.items()}
        assert len({str([done["digest"] for done in outcome]) for outcome in outcomes.values()}) == 1, (
            "the engines' results differ"
        )
        worked: dict[str, list[float]] = {name: [] for name in engines}

        def run(name: str) -> Callable[[], object]:
            return lambda: worked[name].append(
                sum(done["cpu_s"] for done in sessions[name].run(work, range(tasks), Quiet()))
            )

        rows = harness.measure(
            f"text-only work, {tasks} tasks",
            {name: run(name) for name in engines},
            tasks * size,
            rounds,
            "texts",
            warm_up=False,
        )
        return {name: {**row, "worked_cpu_s": statistics.median(worked[name])} for name, row in rows.items()}


def labels(world: Path, pairs: int, workers: int, rounds: int) -> dict[str, harness.Row]:
    """The label job on pairs of the sample world's pages, from nothing but the entities' embeddings."""
    import stub
    from openmofi.encoders import open_encoder
    from openmofi.engine import LocalEngine
    from openmofi.engine.processes import ProcessEngine
    from openmofi.knowledge import KnowledgeBase
    from openmofi.labeling import LabelSettings, label
    from openmofi.storage import expand_shards

    ProcessEngine.few = 0  # the sample world is small; `--engine auto` is judged by larger jobs
    encoder, settings = open_encoder(f"run:{world / 'encoders/partial-labels'}"), LabelSettings()
    kb, pages = KnowledgeBase.open(world / "kb"), expand_shards([str(world / "world/pages/train")])
    shards = stub.corpus(pages, pairs, world / f"bench-pairs-{pairs}")
    cache, out = world / "engines-cache", world / "engines-labels"
    count = 0

    def job(engine: Any) -> Callable[[], None]:
        def run() -> None:
            nonlocal count
            for folder in (*(cache / kind for kind in ("texts", "repeats", "links", "groups", "features")), out):
                shutil.rmtree(folder, ignore_errors=True)
            count = label(shards, kb, encoder, out, settings, cache=cache, engine=engine)["rows_in"]

        return run

    contenders = {"local": job(LocalEngine()), f"processes:{workers}": job(ProcessEngine(workers))}
    contenders["local"]()
    return harness.measure("label job, CPU encoder", contenders, count, rounds, "pairs", warm_up=False)


def main() -> None:
    """Measure and write `results/engines.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", type=Path, default=Path("runs/bench"))
    parser.add_argument("--entities", type=int, default=250)
    parser.add_argument("--tasks", type=int, default=64)
    parser.add_argument("--texts", type=int, default=20_000, help="of a task")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=8000, help="of the label job")
    parser.add_argument("--job-rounds", type=int, default=3)
    parser.add_argument("--results", type=Path, default=harness.RESULTS)
    arguments = parser.parse_args()

    if not (arguments.world / "encoders/partial-labels").exists():
        from label import prepare

        prepare(arguments.world, arguments.entities)
    cores = len(os.sched_getaffinity(0))
    every = f"processes:{cores}"
    size = arguments.tasks, arguments.texts, arguments.rounds
    scaling, clustered = texts(["processes:1", "processes:2"], *size), texts([every, "ray"], *size)
    job = labels(arguments.world, arguments.pairs, 2, arguments.job_rounds)
    ratios = {
        "processes2_over_1": paired(scaling, "processes:2", "processes:1"),
        "processes2_over_1_cpu": 2 * scaling["processes:1"]["worked_cpu_s"] / scaling["processes:2"]["worked_cpu_s"],
        "processes2_over_local": paired(job, "processes:2", "local"),
        "processes2_over_local_cpu": job["processes:2"]["cpu_ratio"],
        "ray_over_processes": paired(clustered, "ray", every),
    }
    written = arguments.results / "engines.json"
    before = json.loads(written.read_text(encoding="utf-8"))["ratios"] if written.exists() else {}
    ratios |= {name: before[name] for name in _ELSEWHERE if name in before}
    named = [
        {**row, "contender": f"{work}: {name}"}
        for work, rows in (("text-only", scaling), ("label job", job), ("text-only, a worker a core", clustered))
        for name, row in rows.items()
    ]
    harness.write_result("engines", named, ratios, arguments.results)


if __name__ == "__main__":
    main()
