"""What an index holds, counted."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from openmofi.search.rank.state import State
from openmofi.search.records import IndexInfo


def describe_index(folder: Path, connection: sqlite3.Connection, state: State) -> IndexInfo:
    """See `Index.info`."""
    def count(query: str) -> int:
        return int(connection.execute(query).fetchone()[0])

    statuses = dict(connection.execute("SELECT status, count(*) FROM images GROUP BY status ORDER BY status"))
    columns = tuple(name for name, in connection.execute(
        "SELECT DISTINCT json_each.key FROM images, json_each(images.columns) ORDER BY 1"))
    last = connection.execute("SELECT made FROM commits ORDER BY id DESC LIMIT 1").fetchone()
    alive = int(state.alive.sum())
    return IndexInfo(
        str(folder), sum(statuses.values()), statuses, alive, int(state.meta["dim"]), state.meta["dtype"],
        len(state.segments), len(state.images) - alive, count("SELECT count(*) FROM labels WHERE accepted"),
        count("SELECT count(*) FROM entities"), count("SELECT count(*) FROM verdicts WHERE NOT undone"),
        state.meta["encoder"], state.meta["fingerprint"],
        tuple(path for path, in connection.execute("SELECT path FROM sources ORDER BY path")), columns,
        bool(state.ending and (state.ending.text or state.ending.image)),
        state.vectors.name, state.commit, last[0] if last else "", _bytes(folder))


def _bytes(folder: Path) -> dict[str, int]:
    """Part of the folder → bytes."""
    parts = {"database": "index.db*", "vectors": "vectors/*", "thumbnails": "thumbnails.db*", "cache": "cache/*"}
    return {part: sum(path.stat().st_size for path in folder.glob(pattern)) for part, pattern in parts.items()}
