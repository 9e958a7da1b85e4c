"""Kills: a stage that is killed at any moment, and started again, ends in the bytes of one that was let alone.

    python -m hostile.kills WORKBENCH STAGE TRIES [--seed N]

The children are forks of this process, which has the libraries loaded: a kill hits the work, not the imports.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np

import openmofi
from hostile.workbench import Workbench, colour_encoder
from openmofi.engine.engines import ProcessEngine

STAGES = ("label", "label-processes", "kb", "dataset", "dataset-processes", "train", "reinforce", "eval")
TIMED = ("log.jsonl", "events.out", ".lock", ".metadata")
"""Parts of names of files that hold times, process numbers or (torch's index) random identifiers."""
MEASURED = re.compile(rb'^ *"(images_per_s|memory_mib|data_wait|seconds|features|protocol)": [0-9.]+,?$', re.MULTILINE)
"""Lines of JSON files that hold measurements of the machine."""


def stage_of(name: str, bench: Workbench) -> Callable[[Path], object]:
    """A stage as a function of its output folder; what it needs is loaded here."""
    shards = bench.root / "world" / "shards"
    if name in ("label", "label-processes"):
        encoder, engine = colour_encoder(), "local" if name == "label" else "processes:2"
        return lambda out: openmofi.label(shards, kb=bench.kb, encoder=encoder, out=out, progress=False, engine=engine)
    if name == "kb":
        return lambda out: openmofi.build_kb("table", bench.root / "world" / "source", out)
    if name in ("dataset", "dataset-processes"):
        ProcessEngine.few, engine = 0, "local" if name == "dataset" else "processes:2"
        return lambda out: openmofi.build_dataset(bench.labels, kb=bench.kb, out=out, engine=engine)
    if name == "reinforce":
        from openmofi.plugins.reinforcement import ReinforceSettings, TeacherSpec, reinforce
        from openmofi.storage import expand_shards

        teachers = ReinforceSettings((TeacherSpec(f"hf:{bench.clip}", 30.0),), augmentations=2, size=32)
        return lambda out: reinforce(expand_shards([str(shards)]), bench.labels, out, teachers, kb=bench.kb)
    if name == "eval":
        folders, encoder = bench.class_folders, colour_encoder()
        return lambda out: openmofi.evaluate(
            "retrieval", data=folders, encoder=encoder, out=out, cache=out / "cache", progress=False
        )
    from small_runs import Maker, trained

    recipe = Maker(str(bench.dataset), str(bench.clip))("multi_sampled", run={"steps": 12, "checkpoint_every": 3})
    return lambda out: trained(recipe, out, resume=out.exists())


def kill_and_compare(act: Callable[[Path], object], tries: int, draw: np.random.Generator) -> tuple[int, list[str]]:
    """Kill `tries` times, up to three times in a row, and compare what then is finished with what was let alone.

    Returns:
        How many kills hit a running stage, and what differed.
    """
    root = Path(tempfile.mkdtemp(prefix="kills-"))
    started = time.monotonic()
    out = root / "out"
    run(act, out)
    seconds, whole = time.monotonic() - started, digests(out)
    shutil.rmtree(out)
    kills, differences, number = 0, [], 0
    while kills < tries:
        number += 1
        for _ in range(int(draw.integers(1, 4))):
            child = fork(act, out)
            time.sleep(float(draw.random()) * seconds)
            os.kill(child, signal.SIGKILL)
            kills += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        run(act, out)
        if (after := digests(out)) != whole:
            names = sorted(name for name in {*after, *whole} if after.get(name) != whole.get(name))
            differences.append(f"{number}: {', '.join(names)}")
        shutil.rmtree(out)
    shutil.rmtree(root)
    return kills, differences


def run(act: Callable[[Path], object], out: Path) -> None:
    """Run a stage to its end in a fork.

    Raises:
        RuntimeError: it did not end well.
    """
    if code := os.waitstatus_to_exitcode(os.waitpid(fork(act, out), 0)[1]):
        raise RuntimeError(f"the stage ended with {code}; see above")


def fork(act: Callable[[Path], object], out: Path) -> int:
    child = os.fork()
    if child:
        return child
    try:
        act(out)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def digests(folder: Path) -> dict[str, str]:
    """A digest of each file, without what measures the machine."""
    return {
        str(path.relative_to(folder)): hashlib.blake2b(MEASURED.sub(b"", path.read_bytes())).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part in path.name for part in TIMED)
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("workbench", type=Path)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("tries", type=int)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    act = stage_of(options.stage, Workbench(options.workbench))
    kills, differences = kill_and_compare(act, options.tries, np.random.default_rng(options.seed))
    print(f"{options.stage}: {kills} kills, {len(differences)} outcomes of other bytes")
    if differences:
        raise SystemExit("\n".join(differences))


if __name__ == "__main__":
    main()
