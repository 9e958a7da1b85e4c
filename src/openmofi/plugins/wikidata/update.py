"""A knowledge base of Wikidata again, from newer dumps, as the older one was built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from openmofi.engine.protocol import Progress
from openmofi.errors import UsageError
from openmofi.knowledge.projection import ProjectionSettings
from openmofi.knowledge.store import KnowledgeBase, opened
from openmofi.knowledge.upkeep.diff import Differences, diff_kb
from openmofi.plugins.wikidata.build import BUILDER, Extras, WikidataSettings, build_wikidata
from openmofi.storage import Manifest


def update_kb(
    kb: KnowledgeBase | str | Path,
    dumps: Sequence[str | Path],
    out: str | Path,
    *,
    extras: Extras | None = None,
    work: str | Path | None = None,
    memory: str = "4GB",
    workers: int = 0,
    progress: Progress | None = None,
    restart: bool = False,
) -> Differences:
    """Build a base of newer dumps under the settings of an older one, and compare them.

    The older base stays as it is. Of dumps that are the same file nothing is read again.

    Args:
        kb: a base of Wikidata, or its folder.
        dumps, out, memory, workers, progress, restart: see `build_wikidata`.
        extras: newer anchors, page views and redirects: of each kind that the older base was built with, since priors
            would be others without.
        work: see `build_wikidata`; that of the older base, `KB.work`, where not given.

    Raises:
        UsageError: `kb` is not of Wikidata, or was built with files that are not given; `out` is `kb`.
        OpenMofiError: see `build_wikidata`.
    """
    old, extras = opened(kb, progress), extras or Extras()
    settings = _settings_of(old.manifest, old.path)
    if Path(out).resolve() == old.path.resolve():
        raise UsageError(f"{out} is the base that is brought up to date.", "Choose another output with -o.")
    given = {name.partition("/")[0] for name in extras.inputs()}
    for name in old.manifest.inputs:
        kind, slash, file = name.partition("/")
        if slash and kind not in given:
            raise UsageError(
                f"{old.path} was built with --{kind} {file}, and none is given.",
                f"Give the newest with --{kind}, or build anew without: openmofi kb build wikidata.",
            )
    build_wikidata(
        dumps,
        out,
        settings,
        extras=extras,
        work=work or f"{old.path}.work",
        memory=memory,
        workers=workers,
        progress=progress,
        restart=restart,
    )
    return diff_kb(old, out)


def _settings_of(manifest: Manifest, path: Path) -> WikidataSettings:
    kept: dict[str, Any] = dict(manifest.settings)
    if kept.pop("builder", "") != BUILDER:
        raise UsageError(
            f"{path} is not of Wikidata: its builder is {manifest.settings.get('builder')!r}.",
            "Build it again from its source, and compare: openmofi kb diff OLD NEW.",
        )
    known = {field.name for field in fields(WikidataSettings)}
    kept["projection"] = ProjectionSettings(**kept["projection"])
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in kept.items() if name in known
    }
    return WikidataSettings(**values)
