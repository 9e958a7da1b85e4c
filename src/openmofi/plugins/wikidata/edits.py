"""Edits of Wikidata since a base was built: what was read for that base, with what is changed, deleted and merged now.

What was read of its dumps holds every item, also those that were dropped. So classes, names, popularity and priors are
computed of all items as they are now, as from a dump of today.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from openmofi.errors import OpenMofiError, UsageError
from openmofi.knowledge.database import connected, number_of
from openmofi.plugins.wikidata.items import ITEMS, item_number
from openmofi.plugins.wikidata.parts import PARQUET, blocks_file, kept_aside, parts_of
from openmofi.plugins.wikidata.select import REDIRECTED
from openmofi.storage import (
    Manifest,
    atomic_path,
    file_fingerprint,
    fingerprint,
    make_folder,
    read_parquet,
    write_table,
)

BASE = "base/older"
"""Name of the older base's fingerprint among the inputs of one that edits were applied to."""
EXTRAS = ("anchors", "pageviews", "redirects", "columns")
"""What comes beside dumps, by the first part of its name among a base's inputs."""
_DELETED = "deleted"
_SHOWN = 3
_DIGEST = re.compile(r"[0-9a-f]{8,128}")
"""Of a manifest, which others may have written; parts are named by it."""
_REVISIONS = pa.schema([ITEMS.field("id"), ITEMS.field("revision")])
_GONE = {
    "name": "",
    "description": "",
    "unread": False,
    "sitelinks": 0,
    **dict.fromkeys(("aliases", "languages", "kinds", "parents", "relations", "titles", "external"), ()),
}
"""What is known of an item that is gone. Of all that has its revision it is the first in the order of
`openmofi.plugins.wikidata.select.select_tables`, and without a name it goes."""


@dataclass(frozen=True)
class Edits:
    """A base and what was deleted since; the changed items are the dumps of `build_wikidata`.

    Attributes:
        path: of the base.
        manifest: of the base.
        work: folder for what was read when the base was built.
        deleted: file with an id of an item a line; `None` where nothing was deleted.
    """

    path: Path
    manifest: Manifest
    work: Path
    deleted: Path | None = None

    def inputs(self) -> dict[str, str]:
        """Return name → fingerprint of the base, of all that it was read of, and of the list of what was deleted.

        Raises:
            UsageError: the base was built of Parquet of others.
        """
        read = {name: digest for name, digest in self.manifest.inputs.items() if _is_read(name)}
        if other := next((name for name in read if name.endswith(PARQUET)), None):
            raise UsageError(
                f"{self.path} was built of {other}, and edits are applied to what was read of JSON dumps.",
                f"Build it of newer Parquet: openmofi kb update {self.path} FILE… -o NEW.",
            )
        gone = {f"{_DELETED}/{self.deleted.name}": file_fingerprint(self.deleted)} if self.deleted else {}
        return {**read, **gone, BASE: self.manifest.fingerprint}

    def take_over(self, folder: Path, parts: str) -> list[str]:
        """Link what was read for the base, in the folder `parts` of its work, into that of `folder`; return the paths.

        Raises:
            OpenMofiError: it is not there; the disk is full.
        """
        make_folder(folder / parts)
        paths = list[str]()
        for name, digest in self.manifest.inputs.items():
            if not _is_read(name):
                continue
            if not _DIGEST.fullmatch(digest) or not (there := parts_of(self.work / parts, digest)):
                raise self._lacks(f"what was read of {name}")
            aside = [path for path in map(kept_aside, there) if path.exists()]
            for path in (*there, *aside, blocks_file(self.work / parts, digest)):
                _link(path, folder / parts / path.name)
            paths += [str(folder / parts / path.name) for path in there]
        return paths

    def known(self) -> tuple[pa.Table, pa.Table]:
        """Return the base's redirects (`REDIRECTED`), and id and revision of the items that earlier edits deleted.

        Raises:
            OpenMofiError: they are not there.
        """
        state = state_of(self.manifest.inputs)
        redirects, gone = redirects_file(self.work, state), _gone_file(self.work, state)
        if "redirects" in self.manifest.counts and not redirects.exists():
            raise self._lacks("its redirects")
        if BASE in self.manifest.inputs and not gone.exists():
            raise self._lacks("what earlier edits deleted")
        return (
            read_parquet(redirects, REDIRECTED) if redirects.exists() else REDIRECTED.empty_table(),
            read_parquet(gone, _REVISIONS) if gone.exists() else _REVISIONS.empty_table(),
        )

    def _lacks(self, what: str) -> OpenMofiError:
        return OpenMofiError(
            f"{self.work} lacks {what}, to which edits are applied.",
            f"Name the folder where {self.path} was read with --work, or build it again of whole dumps: openmofi kb "
            f"update {self.path} DUMP… -o NEW.",
        )


@dataclass(frozen=True)
class Edited:
    """All items as they are after edits.

    Attributes:
        paths: of parts (`openmofi.plugins.wikidata.items.ITEMS`), of which one holds what is gone.
        redirects: `REDIRECTED`; `None` where there are none.
        counts: how many items were `changed`, how many that were read are `gone`, and the newest `revision`.
    """

    paths: list[str]
    redirects: pa.Table | None
    counts: dict[str, int]


def edited(
    edits: Edits, changed: Sequence[str], redirects: pa.Table | None, folder: Path, parts: str, state: str, memory: int
) -> Edited:
    """Apply edits to what was read before.

    What is deleted or merged now is gone, whatever else is said of it. What is changed now is there, though earlier
    edits deleted or merged it. Of all that was read of an item its last revision counts.

    Args:
        edits: see there.
        changed: paths of the parts of changed items.
        redirects: of items that were merged since; they go before those that were known.
        folder: of what is read, for the new base.
        parts: name of the folder of parts in it.
        state: see `state_of`, of the new base.
        memory: bytes that joins may use.

    Raises:
        OpenMofiError: what was read for the base is not there; a changed item has no revision; the list of what was
            deleted has another line than an id.
    """
    known, buried = edits.known()
    tables = {
        "changed": _revisions(changed),
        "deleted": _read_deleted(edits.deleted),
        "known": known,
        "merged": REDIRECTED.empty_table() if redirects is None else redirects,
        "buried": buried,
    }
    paths = [*edits.take_over(folder, parts), *changed]
    with connected(folder, memory) as connection:
        for name, table in tables.items():
            connection.register(name, table)
        gone = connection.sql(
            """
            SELECT id, max(revision) AS revision FROM (
                SELECT id, revision FROM read_parquet(?)
                SEMI JOIN (SELECT id FROM deleted UNION SELECT old FROM merged) USING (id)
                UNION ALL SELECT id, revision FROM buried ANTI JOIN changed USING (id))
            GROUP BY id ORDER BY id""",
            params=[paths],
        ).to_arrow_table()
        followed = connection.sql("""
            SELECT old, new FROM known
            ANTI JOIN (SELECT old FROM merged UNION SELECT id FROM changed) AS now USING (old)
            UNION SELECT old, new FROM merged ORDER BY old, new""").to_arrow_table()
        counts = {
            "changed": number_of(connection, "SELECT count(DISTINCT id) FROM changed"),
            "gone": len(gone),
            "revision": number_of(connection, "SELECT coalesce(max(revision), 0) FROM changed"),
        }
    path = _gone_file(folder, state)
    write_table(path, pa.Table.from_pylist([row | _GONE for row in gone.to_pylist()], ITEMS))
    return Edited([*paths, str(path)], followed if len(followed) else None, counts)


def state_of(inputs: Mapping[str, str]) -> str:
    """Return by what name is kept, beside the parts, which items a base of these inputs knows to be gone."""
    return fingerprint(sorted(inputs.items()))


def redirects_file(folder: Path, state: str) -> Path:
    """Return the path of the redirects of a base (`REDIRECTED`) in the folder of what was read for it."""
    return folder / f"redirects-{state}{PARQUET}"


def _gone_file(folder: Path, state: str) -> Path:
    return folder / f"gone-{state}{PARQUET}"


def _is_read(name: str) -> bool:
    """Whether an input of this name is a dump or a file of changed items."""
    kind, slash, _ = name.partition("/")
    return not slash or kind not in (*EXTRAS, _DELETED, "base")


def _link(path: Path, to: Path) -> None:
    """Give a file a second name, or copy it where the file system knows none: it is never written again."""
    if to.exists():
        return
    try:
        os.link(path, to)
    except OSError:
        with atomic_path(to) as temporary:
            shutil.copyfile(path, temporary)


def _revisions(changed: Sequence[str]) -> pa.Table:
    """Return id and revision of changed items.

    Raises:
        OpenMofiError: an item has no revision.
    """
    tables = (read_parquet(path, _REVISIONS, columns=_REVISIONS.names) for path in changed)
    table = pa.concat_tables([_REVISIONS.empty_table(), *tables])
    if unknown := table.filter(pc.equal(table["revision"], 0))["id"].to_pylist():
        shown = ", ".join(f"Q{number}" for number in unknown[:_SHOWN])
        raise OpenMofiError(
            f"{len(unknown):,} of {len(table):,} changed items have no revision ({shown}), so nobody can tell whether "
            "they are newer.",
            "Fetch them with 'lastrevid', as Special:EntityData has it; ids of items that are gone go into --deleted.",
        )
    return table


def _read_deleted(path: Path | None) -> pa.Table:
    """Return the numbers of deleted items.

    Raises:
        OpenMofiError: the file cannot be read, has no id, or a line is none.
    """
    hint = "Give a file with an id such as Q42 a line."
    try:
        numbers = [item_number(line) for line in path.read_text("utf-8").split()] if path else []
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise OpenMofiError(f"{path} cannot be read as ids of items: {reason}.", hint) from error
    if path and not numbers:
        raise OpenMofiError(f"{path} has no id.", hint)
    return pa.table({"id": pa.array(numbers, pa.int64())})
