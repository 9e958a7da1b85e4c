"""Builds the sample world: pages, images for retrieval, knowledge source, truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from openmofi.engine import Engine, Progress, Quiet, engine_named
from openmofi.schema import TRUTH
from openmofi.storage import Manifest, Outputs, claimed, file_fingerprint, finish_manifest, write_table
from studies.world.images.entities import CORRECTIONS
from studies.world.images.gather import World, gather, rename
from studies.world.images.packages import package_versions
from studies.world.pages.draw import DrawTask, open_drawer
from studies.world.pages.plan import HELDOUT_ENTITIES, PlannedShard, heldout_entities, make_plan, split_of
from studies.world.pages.source import KnowledgeSource, make_source, write_source
from studies.world.world_settings import WorldSettings

ARTWORKS = pa.schema(
    [(column, pa.string()) for column in ("picture", "entity", "name", "set", "icon", "domain", "rule", "split")]
)
"""`pictures.parquet`: a row an icon that shows an entity; `rule` is how the entity was found."""

OUTPUTS = Outputs(("pages/*/*.tar", "retrieval/*.tar", "kb/*.parquet", "truth.parquet", "pictures.parquet"))


def build_world(
    sources: Path,
    out: Path,
    settings: WorldSettings | None = None,
    engine: Engine | None = None,
    progress: Progress | None = None,
    *,
    restart: bool = False,
) -> Manifest:
    """Build the world in `out`, or go on with a stopped build.

    Args:
        sources: the fetched packages (`studies.world.images.packages.fetch`).
        out: gets `pages/`, `retrieval/`, `kb/`, `truth.parquet`, `pictures.parquet`, `manifest.json`.
        settings: defaults are those of docs/sample-world.md.
        engine: default is one process a core.
        progress: receives every shard.
        restart: remove what was made in `out` before, and begin anew.

    Raises:
        OpenMofiError: `out` was made with other settings, sources are missing, or the disk is full.
    """
    settings = settings or WorldSettings()
    progress = progress or Quiet()
    inputs = package_versions() | {CORRECTIONS.name: file_fingerprint(CORRECTIONS)}
    with claimed(out, "world", asdict(settings), inputs, outputs=OUTPUTS, restart=restart) as manifest:
        if manifest.finished:
            return manifest
        return finish_manifest(out, manifest, _build(sources, out, settings, engine, progress))


def _build(
    sources: Path, out: Path, settings: WorldSettings, engine: Engine | None, progress: Progress
) -> dict[str, Any]:
    """Write the world; its counts."""
    world = rename(gather(sources, settings))
    source = make_source(world, settings)
    plan = make_plan(world, source, settings)
    tasks = [_task(out, shard, world, settings) for shard in plan if not _path(out, shard).exists()]
    progress.begin("world", len(tasks))
    (engine or engine_named("processes")).run(open_drawer, tasks, progress)
    tables = write_source(out / "kb", world, source)
    _write_truth(out, plan)
    _write_artworks(out, world, settings)
    return _counts(world, source, plan, settings) | {"kb": tables}


def _path(out: Path, shard: PlannedShard) -> Path:
    folder = out / "retrieval" if shard.split == HELDOUT_ENTITIES else out / "pages" / shard.split
    return folder / f"{shard.name}.tar"


def _task(out: Path, shard: PlannedShard, world: World, settings: WorldSettings) -> DrawTask:
    artworks = {page.artwork.id: page.artwork for page in shard.pages}
    svgs = {name: world.icons[artwork.set].svg(artwork.icon) for name, artwork in artworks.items()}
    return DrawTask(_path(out, shard), shard, svgs, settings)


def _write_truth(out: Path, plan: Iterable[PlannedShard]) -> None:
    rows = [
        {
            "shard": shard.name,
            "key": page.key,
            "entity": "" if page.broken else page.entity,
            "named": page.named and not page.broken,
            "ambiguous": page.ambiguous,
            "domain": page.domain,
            "split": shard.split,
        }
        for shard in plan
        for page in shard.pages
    ]
    write_table(out / "truth.parquet", pa.Table.from_pylist(rows, schema=TRUTH))


def _write_artworks(out: Path, world: World, settings: WorldSettings) -> None:
    held = heldout_entities(world.depicted, settings)
    rows = [
        {
            "picture": artwork.id,
            "entity": entity.id,
            "name": entity.name,
            "set": artwork.set,
            "icon": artwork.icon,
            "domain": entity.domain,
            "rule": artwork.rule,
            "split": split_of(entity.id, artwork, held, settings),
        }
        for entity in world.depicted
        for artwork in entity.artworks
    ]
    write_table(out / "pictures.parquet", pa.Table.from_pylist(rows, schema=ARTWORKS))


def _counts(world: World, source: KnowledgeSource, plan: list[PlannedShard], settings: WorldSettings) -> dict[str, Any]:
    pages = [page for shard in plan for page in shard.pages if page.text is not None]
    held = heldout_entities(world.depicted, settings)
    rules = Counter((entity.domain, artwork.rule) for entity in world.depicted for artwork in entity.artworks)
    return {
        "pairs": len(pages),
        "pairs_by_split": _sorted(Counter(shard.split for shard in plan for _ in shard.pages)),
        "entities": len(world.depicted),
        "entities_heldout": len(held),
        "entities_by_domain": _sorted(Counter(entity.domain for entity in world.depicted)),
        "entities_by_kind": _sorted(Counter(entity.id.partition(":")[0] for entity in world.depicted)),
        "entities_ambiguous": sum(source.ambiguous(entity.name) for entity in world.depicted),
        "pictures": sum(rules.values()),
        "pictures_by_rule": {f"{domain}/{rule}": count for (domain, rule), count in sorted(rules.items())},
        "texts_by_kind": _sorted(Counter(str(page.text.kind) for page in pages if page.text)),
        "broken": sum(page.broken for page in pages),
        "duplicates": sum(page.duplicate for page in pages),
    }


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items()))
