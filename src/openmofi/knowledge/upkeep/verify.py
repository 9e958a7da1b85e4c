"""Whether a knowledge base is what was built: all of it is read."""

from __future__ import annotations

from pathlib import Path

from openmofi.engine import Progress, Quiet
from openmofi.knowledge.files import integrity
from openmofi.knowledge.files.tries import further_files
from openmofi.knowledge.layout import FILES, IDS, KIND, REBUILD
from openmofi.knowledge.store import KnowledgeBase
from openmofi.storage import read_manifest
from openmofi.storage.fingerprints.digests import let_settle, note_checked


def verify(kb: str | Path, progress: Progress | None = None) -> dict[str, str]:
    """Read all of a knowledge base, whether it was checked before or not.

    Args:
        kb: its folder.
        progress: receives the check, where it takes more than two seconds.

    Returns:
        file → what is wrong with it, `""` for nothing.

    Raises:
        OpenMofiError: it is not a finished knowledge base, its manifest is damaged, or it has no digests, since an
            earlier version built it.
    """
    folder = integrity.mappable(kb)
    manifest = read_manifest(folder, KIND, outdated=REBUILD)
    files = integrity.listed_files(folder, manifest, (*FILES, *further_files(manifest.counts)), IDS)
    integrity.require_digests(folder, manifest)
    problems = integrity.wrong_sizes(folder, files)
    if not problems:
        let_settle(folder, files)
        stamp = integrity.stamp_of(folder, manifest, files)
        problems = (
            integrity.wrong_digests(folder, manifest, files, progress or Quiet())
            or KnowledgeBase(folder, manifest).wrong_contents()
        )
        note_checked(stamp, passed=not problems)
    return {name: problems.get(name, "") for name in files}
