"""Bring a knowledge base of Wikidata up to date: by newer dumps, or by what was edited since."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from openmofi.engine.protocol import Progress, Quiet
from openmofi.errors import UsageError
from openmofi.knowledge.projection import ProjectionSettings
from openmofi.knowledge.store import KnowledgeBase, opened
from openmofi.plugins.bases.diff import Differences, diff_kb
from openmofi.plugins.wikidata.build import BUILDER, Extras, WikidataSettings, build_wikidata
from openmofi.plugins.wikidata.edits import EXTRAS, Edits
from openmofi.plugins.wikidata.recent_changes import Api, fetch_changes
from openmofi.storage import locked, require_local

_NOT_EDITED = tuple(kind for kind in EXTRAS if kind != "redirects")


def update_kb(
    kb: KnowledgeBase | str | Path,
    dumps: Sequence[str | Path],
    out: str | Path,
    *,
    extras: Extras | None = None,
    work: str | Path | None = None,
    progress: Progress | None = None,
    **how: Any,
) -> Differences:
    """Build a base of newer dumps under the settings of an older one, and compare them.

    The older base stays as it is. Of dumps that are the same file nothing is read again.

    Args:
        kb: a base of Wikidata, or its folder.
        dumps, out, progress: see `build_wikidata`.
        extras: newer anchors, page views and redirects: of each kind that the older base was built with, since priors
            would be others without.
        work: see `build_wikidata`; that of the older base, `KB.work`, where not given.
        how: `memory`, `workers` and `restart` of `build_wikidata`.

    Raises:
        UsageError: `kb` is not of Wikidata, or was built with files that are not given; `out` is `kb`.
        OpenMofiError: see `build_wikidata`.
    """
    old, extras = opened(kb, progress), extras or Extras()
    settings = _settings_of(old, out)
    _require_extras(old, extras, EXTRAS)
    build_wikidata(dumps, out, settings, extras=extras, work=work or f"{old.path}.work", progress=progress, **how)
    return diff_kb(old, out)


def apply_edits(
    kb: KnowledgeBase | str | Path,
    changed: Sequence[str | Path],
    out: str | Path,
    *,
    deleted: str | Path | None = None,
    extras: Extras | None = None,
    work: str | Path | None = None,
    progress: Progress | None = None,
    **how: Any,
) -> Differences:
    """Build a base as an older one is with edits, and compare them; the dumps of the older one are not needed.

    Every file of the new base but its manifest has the bytes that dumps with the same items would give. What was read
    is linked into `OUT.work`, so that edits can be applied to the new base in the same way.

    Args:
        kb: a base of Wikidata, or its folder; it stays as it is.
        changed: JSON of the items that were changed or added, with their `lastrevid`, as `build_wikidata` reads it.
            Where what was read before is newer, it stays.
        out, progress: see `build_wikidata`.
        deleted: file with an id of a deleted item a line. Give it, and redirects, for the same span of time as
            `changed`: a changed item is there, though it was deleted earlier.
        extras: anchors and page views, of each kind that the older base was built with; redirects of the items that
            were merged since, which go before those of the older base.
        work: folder for what was read when the older base was built; `KB.work` where not given.
        how: `memory`, `workers` and `restart` of `build_wikidata`.

    Raises:
        UsageError: nothing was edited; `kb` is not of Wikidata's JSON, or was built with files that are not given;
            `out` is `kb`.
        OpenMofiError: see `build_wikidata`; what was read is not there any more; a changed item has no revision, or a
            line of `deleted` is no id.
    """
    old, extras = opened(kb, progress), extras or Extras()
    settings = _settings_of(old, out)
    if not (changed or deleted or extras.redirects):
        raise UsageError(
            "There are no edits.",
            "Give dumps, or changed, deleted or merged items (--changed, --deleted, --redirects).",
        )
    _require_extras(old, extras, _NOT_EDITED)
    edits = Edits(
        old.path, old.manifest, Path(work or f"{old.path}.work"), Path(deleted) if deleted is not None else None
    )
    build_wikidata(changed, out, settings, extras=extras, edits=edits, progress=progress, **how)
    return diff_kb(old, out)


def update_since(
    kb: KnowledgeBase | str | Path,
    since: datetime,
    out: str | Path,
    *,
    api: Api | None = None,
    extras: Extras | None = None,
    progress: Progress | None = None,
    **how: Any,
) -> Differences:
    """Ask Wikidata what was edited since a time, and apply the edits (`apply_edits`).

    The answers are kept in `OUT.work`: the same call again asks only for what is missing.

    Args:
        kb, out, progress: see `apply_edits`.
        since: when the dumps of `kb` were made, or up to when edits were applied to it; with a time zone.
        api: whom to ask, and who asks.
        extras: anchors and page views.
        how: further arguments of `apply_edits`.

    Raises:
        UsageError, OpenMofiError: see `apply_edits` and `openmofi.plugins.wikidata.recent_changes.fetch_changes`.
        MissingExtraError: the package that asks web servers is not installed.
    """
    old, extras = opened(kb, progress), extras or Extras()
    _settings_of(old, out)
    _require_extras(old, extras, _NOT_EDITED)
    require_local(out)
    work = Path(f"{str(out).rstrip('/')}.work")
    told = progress or Quiet()
    with locked(work / "edits", lambda: told.say(f"Another process fetches edits into {work}. Waiting.")):
        edits = fetch_changes(since, work, told, api or Api())
    changed = [edits.changed] if edits.changed else []
    extras = replace(extras, redirects=edits.merged)
    return apply_edits(old, changed, out, deleted=edits.deleted, extras=extras, progress=progress, **how)


def _require_extras(old: KnowledgeBase, extras: Extras, kinds: Sequence[str]) -> None:
    """Refuse to build without files of a kind that the older base was built with."""
    given = {name.partition("/")[0] for name in extras.inputs()}
    for name in old.manifest.inputs:
        kind, slash, file = name.partition("/")
        if slash and kind in kinds and kind not in given:
            raise UsageError(
                f"{old.path} was built with --{kind} {file}, and none is given.",
                f"Give the newest with --{kind}, or build anew without: openmofi kb build wikidata.",
            )


def _settings_of(old: KnowledgeBase, out: str | Path) -> WikidataSettings:
    """Return the settings of a base that is brought up to date in `out`."""
    saved: dict[str, Any] = dict(old.manifest.settings)
    if saved.pop("builder", "") != BUILDER:
        raise UsageError(
            f"{old.path} is not of Wikidata: its builder is {old.manifest.settings.get('builder')!r}.",
            "Build it again from its source, and compare: openmofi kb diff OLD NEW.",
        )
    if Path(out).resolve() == old.path.resolve():
        raise UsageError(f"{out} is the base that is brought up to date.", "Choose another output with -o.")
    field_names = {field.name for field in fields(WikidataSettings)}
    saved["projection"] = ProjectionSettings(**saved["projection"])
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in saved.items() if name in field_names
    }
    return WikidataSettings(**values)
