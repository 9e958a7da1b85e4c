"""Which priors make links likeliest that were held out: links alone, sitelinks or page views alone, or mixed.

On a generated world (`tests/plugins/wikidata/joined_world.py`) whose dumps of items and pages belong together:
anchors are counted in four fifths of the pages, and the links of the others are predicted. The weights of the mixture
are found by the build, from the counted four fifths (`openmofi.plugins.wikidata.priors`).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import harness

sys.path[:0] = [str(Path(__file__).parents[1] / "tests/plugins/wikidata" / name) for name in ("", "anchors")]


def compare(folder: Path, entities: int, seed: int) -> list[dict[str, Any]]:
    """A row a prior: accuracy@1 and mean log-likelihood of the links, and the weights that the build found."""
    from joined_world import held_out_links, linked_priors, priors_of, score, world, write_files

    from openmofi.knowledge import KnowledgeBase
    from openmofi.plugins.wikidata.build import Extras, build_wikidata

    files = write_files(world(entities, seed), folder)
    bases = {}
    for name, extras in {
        "sitelinks": Extras(),
        "page views": Extras.of(pageviews=files.pageviews),
        "links and sitelinks": Extras.of([files.anchors]),
        "links and page views": Extras.of([files.anchors], files.pageviews),
    }.items():
        build_wikidata([files.items], folder / name, extras=extras, work=folder / "work")
        bases[name] = KnowledgeBase.open(folder / name)
    titles = next((folder / "work").glob("tables-*/titles.parquet"))
    held = held_out_links(files, titles)
    candidates = priors_of(bases["links and sitelinks"], held)
    rows = [{"prior": "links", **score(linked_priors(files, titles), held, candidates)}]
    for name, kb in bases.items():
        found = kb.manifest.counts["priors"]
        rows.append(
            {
                "prior": name,
                **score(priors_of(kb, held), held, candidates),
                **{key: found[key] for key in ("alpha", "beta", "gamma") if key in found},
            }
        )
    return rows


def main() -> None:
    """Measure and write `results/priors.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entities", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = compare(Path(folder), arguments.entities, arguments.seed)
    named = {row["prior"].replace(" ", "_"): row for row in rows}
    harness.write_result(
        "priors",
        rows,
        {f"{name}_{metric}": row[metric] for name, row in named.items() for metric in ("accuracy", "log_likelihood")},
    )


if __name__ == "__main__":
    main()
