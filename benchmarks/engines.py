"""Ray's actors beside processes, and the requests that a shard costs where everything lies in a store.

- `ray_over_processes`: text-only work, which keeps a core busy in Python and waits for nothing, by `processes:N` and by
  `ray` on this machine, a worker a core. Workers are started and the work is opened before the clock runs: a job of
  hours does that once. The ratio is the median over rounds of the ratio of neighbours, so that what the machine does
  beside hits both.
- `requests_per_shard`: the label job on pairs, knowledge base and output of an S3 server (moto's, in a process of its
  own, behind a proxy that counts). Those count that ask for an object named by a shard: its content, fingerprint and
  tables. Locks, manifests, listings, the knowledge base and the calibration are `beside`. `requests_per_shard_again`:
  into another output, with an empty cache in the store, when this machine knows the fingerprints.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import sys
import tempfile
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import harness

sys.path.append(str(Path(__file__).parents[1] / "tests/storage"))

_WORDS = ("The", "Eiffel", "Tower,", "Paris", "©", "2024", "Émile", "Durand;", "summer", "city", "lights")


@dataclass(frozen=True)
class TextWork:
    """Tasks of pure Python over `texts` texts each; a `WorkFactory`."""

    texts: int

    def __call__(self) -> Callable[[int], dict[str, Any]]:
        """Nothing is opened."""
        return self._hashed

    def _hashed(self, task: int) -> dict[str, Any]:
        digest = hashlib.blake2b(digest_size=8)
        for number in range(self.texts):
            for word in _WORDS:
                digest.update(unicodedata.normalize("NFKD", f"{word}{task}-{number}").casefold().encode())
        return {"rows": self.texts, "digest": digest.hexdigest()}


def ray_over_processes(tasks: int, texts: int, rounds: int) -> tuple[list[harness.Row], dict[str, float]]:
    """Rows and ratio of the text-only work by each engine, whose workers live through all rounds."""
    from openmofi.engine import Quiet, engine_named

    names, work = (f"processes:{len(os.sched_getaffinity(0))}", "ray"), TextWork(texts)
    with ExitStack() as stack:
        sessions = {name: stack.enter_context(engine_named(name).session()) for name in names}
        outcomes = [session.run(work, range(tasks), Quiet()) for session in sessions.values()]
        assert outcomes[0] == outcomes[1], "the engines' results differ"

        def run(name: str) -> Callable[[], object]:
            return lambda: sessions[name].run(work, range(tasks), Quiet())

        rows = harness.measure(
            f"text-only work, {tasks} tasks",
            {name: run(name) for name in names},
            tasks * texts,
            rounds,
            "texts",
            warm_up=False,
        )
    pairs = zip(*(rows[name]["seconds"] for name in names), strict=True)
    return list(rows.values()), {"ray_over_processes": statistics.median(base / ray for base, ray in pairs)}


def of_shards(requests: Mapping[tuple[str, str], int], names: Sequence[str]) -> int:
    """Requests for objects that are named by a shard."""
    return sum(
        count
        for (_, path), count in requests.items()
        if path.rpartition("/")[2].partition(".")[0].partition("-")[0] in names
    )


def _readable(pair: Any) -> bool:
    """Whether the image can be decoded: a shard with one in a format that is not read costs two requests more."""
    from openmofi.pairs import ImageRefused, decode

    try:
        return bool(pair.image and decode(pair.image))
    except ImageRefused:
        return False


def requests_per_shard(world: Path, shards: int, pairs: int) -> tuple[list[harness.Row], dict[str, float]]:
    """Rows and ratios of the label job in a store, twice."""
    from object_store import object_store

    import openmofi
    from label import opened
    from openmofi.pairs import read_pairs, write_tar

    encoder, _, sources = opened(world)
    stream = filter(_readable, chain.from_iterable(map(read_pairs, sources)))
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as home, object_store() as (store, environment):
        os.environ |= {**environment, "OPENMOFI_HOME": f"{home}/cache"}
        names = [f"{number:05}" for number in range(shards)]
        for name in names:
            write_tar(f"{home}/pairs/{name}.tar", islice(stream, pairs))
        store.put_folder(Path(home, "pairs"), "pairs")
        store.put_folder(world / "kb", "kb")
        for out in ("first", "again"):
            store.requests.clear()
            openmofi.label(
                "s3://data/pairs",
                kb="s3://data/kb",
                encoder=encoder,
                out=f"s3://data/{out}",
                engine="local",
                progress=False,
            )
            counted, every = of_shards(store.requests, names), sum(store.requests.values())
            row = {"contender": f"requests, {out}", "shards": len(names), "per_shard": counted / len(names)}
            rows.append(row | {"beside": every - counted})
    first, again = (row["per_shard"] for row in rows)
    return rows, {"requests_per_shard": first, "requests_per_shard_again": again}


def main() -> None:
    """Measure and write `results/engines.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", type=Path, default=Path("runs/bench"))
    parser.add_argument("--entities", type=int, default=250)
    parser.add_argument("--tasks", type=int, default=64)
    parser.add_argument("--texts", type=int, default=20_000, help="Of a task.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--shards", type=int, default=8, help="In the store.")
    parser.add_argument("--pairs", type=int, default=100, help="Of a shard in the store.")
    parser.add_argument("--only", choices=["ray", "store"])
    parser.add_argument("--results", type=Path, default=harness.RESULTS)
    given = parser.parse_args()
    rows: list[harness.Row] = []
    ratios: dict[str, float] = {}
    if given.only != "store":
        rows, ratios = ray_over_processes(given.tasks, given.texts, given.rounds)
    if given.only != "ray":
        from label import prepare

        if not (given.world / "encoders/partial-labels").exists():
            prepare(given.world, given.entities)
        more, of_store = requests_per_shard(given.world, given.shards, given.pairs)
        rows, ratios = rows + more, ratios | of_store
    harness.write_result("engines", rows, ratios, given.results, keeps=True)


if __name__ == "__main__":
    import engines  # workers import what they are sent from there, and not from `__main__`

    engines.main()
