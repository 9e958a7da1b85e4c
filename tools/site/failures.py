"""Makes docs/failures.md, the failure gallery, of a finished demo: `python tools/site/failures.py openmofi-demo`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from openmofi.knowledge import KnowledgeBase
from openmofi.pairs import read_pairs
from openmofi.storage import expand_shards

DOCS = Path(__file__).parents[2] / "docs"
WRONG, MISSED = 8, 8
HEAD = """# Failures

What goes wrong, and why. The images are those of `openmofi demo --tiny`: all {wrong} wrong labels among its {accepted} accepted
ones were ranked by probability, and the first of each true entity are shown; then right entities that were named and not accepted,
the least probable first. Nothing is chosen by hand. `python tools/site/failures.py openmofi-demo` makes this page.

## Labels that are wrong, the most certain first

| image | text | accepted | probability | truth |
|---|---|---|---|---|
"""  # noqa: E501
MISSED_HEAD = """
## Named, shown, and not accepted

| image | text | shown | probability | preferred |
|---|---|---|---|---|
"""
END = """
## What these have in common

- **The text names a thing that looks like the true one.** In the first table no text names what is shown, and what it names has
  the colours and shapes of it: a sunflower for a tulip, a kiwi fruit for a chestnut, one face for another. Decoys are near
  neighbours for this reason, and still few are as near as this.
- **Look-alikes by the hundred.** Faces differ by a mouth, persons by what they hold. An encoder of a few MB hardly tells them apart.
- **Something else of the text is preferred.** In the second table the right entity is named beside others, and the image lies nearer
  to one of these, or near to none. Nothing was accepted in its place unless its own probability was enough.
- **Small in the image.** Artwork is 45 to 95 % of a page's shorter side, and a fifth hangs over the edge.

On other images the failures are others. Those of drawings, photographs, icons and noise that repeats itself are in
[labels](labels.md); what retrieval gets wrong is on each result's page of worst queries ([evaluation](evaluation.md)).

## What helps

A threshold of .95 would have left out most of the first table, and right labels with it ([thresholds](guides/thresholds.md)). A better
encoder, descriptions that tell namesakes apart and a [look by a person](audit.md) help without that.
"""  # noqa: E501


def shown(kb: KnowledgeBase, identifier: str) -> str:
    """Name and the head of the description, for a cell; what this base does not know, by its identifier."""
    if identifier not in kb:
        return f"`{identifier}`"
    entity = kb[identifier]
    return cell(f"{entity.name}: {entity.description[:50]}…")


def cell(text: str) -> str:
    """Text in a cell of a table."""
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())


def judged(demo: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]], int]:
    """Wrong labels, right ones that were not accepted, and the number of accepted labels."""
    truth = {row["key"]: row["entity"] for row in pq.read_table(demo / "truth.parquet").to_pylist()}
    wrong, missed, accepted = [], [], 0
    for row in pq.read_table(demo / "labels/labels/pages.parquet").to_pylist():
        true = truth[row["key"]]
        for entity in row["entities"]:
            one = {"key": row["key"], "text": row["text"], "true": true, **entity}
            accepted += entity["accepted"]
            if entity["accepted"] and entity["entity"] != true:
                wrong.append(one)
            elif entity["entity"] == true and not entity["accepted"]:
                best = max(row["entities"], key=lambda each: float(each["probability"]))["entity"]
                missed.append(one | {"best": best})
    return wrong, missed, accepted


def firsts(rows: list[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """The first row of each true entity."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        found.setdefault(row["true"], row)
    return list(found.values())[:most]


def main(demo: Path) -> None:
    """See the module."""
    kb = KnowledgeBase.open(demo / "kb")
    wrong, missed, accepted = judged(demo)
    mistaken = firsts(sorted(wrong, key=lambda row: -float(row["probability"])), WRONG)
    unfound = firsts(sorted(missed, key=lambda row: float(row["probability"])), MISSED)
    [shard] = expand_shards([str(demo / "pages")])
    images = {pair.key: pair.image or b"" for pair in read_pairs(shard)}
    folder = DOCS / "failures"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    lines = [HEAD.format(wrong=len(wrong), accepted=accepted)]
    for row in mistaken + unfound:
        (folder / f"{row['key']}.webp").write_bytes(images[row["key"]])
    for row in mistaken:
        lines.append(
            f"| ![page {row['key']}](failures/{row['key']}.webp) | {cell(row['text'])} | "
            f"{shown(kb, row['entity'])} | {row['probability']:.2f} | {shown(kb, row['true'])} |\n"
        )
    lines.append(MISSED_HEAD)
    for row in unfound:
        other = "nothing" if row["best"] == row["true"] else shown(kb, row["best"])
        lines.append(
            f"| ![page {row['key']}](failures/{row['key']}.webp) | {cell(row['text'])} | "
            f"{shown(kb, row['true'])} | {row['probability']:.2f} | {other} |\n"
        )
    (DOCS / "failures.md").write_text("".join([*lines, END]), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
