"""Requests that a shard costs where everything lies in a store: the label job against a real S3 server.

The server is moto's, in a process of its own, behind a proxy that counts (`tests/storage/object_store.py`). What counts
for a shard are requests for objects that are named by it: its content, its fingerprint, its tables. The job runs twice,
into two outputs with caches of their own: the second time the fingerprints are known. Requests beside these (locks,
manifests, listings of a thousand names, the knowledge base, the calibration) are told apart; they do not grow with the
shards but for the listings.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import harness

sys.path.append(str(Path(__file__).parents[1] / "tests/storage"))


def of_shards(requests: dict[tuple[str, str], int], names: Sequence[str]) -> int:
    """Requests for objects that are named by a shard."""
    return sum(
        count
        for (_, path), count in requests.items()
        if path.rpartition("/")[2].partition(".")[0].partition("-")[0] in names
    )


def main() -> None:
    """Measure, and write two ratios into `results/engines.json`, which must be there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", type=Path, default=Path("runs/bench"))
    parser.add_argument("--entities", type=int, default=250)
    arguments = parser.parse_args()
    from label import opened, prepare

    prepare(arguments.world, arguments.entities)
    encoder, _, shards = opened(arguments.world)
    names = [shard.name for shard in shards]
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as home:
        from object_store import object_store

        with object_store() as (store, environment):
            os.environ |= {**environment, "OPENMOFI_HOME": home}
            store.put_folder(Path(shards[0].path).parent, "pairs")
            store.put_folder(arguments.world / "kb", "kb")
            import openmofi

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
                rows.append(
                    {
                        "contender": f"requests, {out}",
                        "shards": len(shards),
                        "per_shard": counted / len(shards),
                        "beside": every - counted,
                    }
                )
    written = harness.RESULTS / "engines.json"
    before = json.loads(written.read_text(encoding="utf-8"))
    harness.write_result(
        "engines",
        [*(row for row in before["rows"] if "per_shard" not in row), *rows],
        {
            **before["ratios"],
            "requests_per_shard": rows[0]["per_shard"],
            "requests_per_shard_again": rows[1]["per_shard"],
        },
    )


if __name__ == "__main__":
    main()
