"""What an index holds, counted."""

from __future__ import annotations

from openmofi.search.rank.state import State
from openmofi.search.records import IndexInfo
from openmofi.search.store.connection import Connection


def describe_index(connection: Connection, state: State) -> IndexInfo:
    """See `Index.info`."""

    def count(query: str) -> int:
        return int(connection.execute(query).fetchone()[0])

    statuses = dict(connection.execute("SELECT status, count(*) FROM images GROUP BY status ORDER BY status"))
    columns = tuple(name for (name,) in connection.execute(connection.column_names))
    last = connection.execute("SELECT made FROM commits ORDER BY id DESC LIMIT 1").fetchone()
    effort = state.vectors.effort
    alive = int(state.alive.sum())
    return IndexInfo(
        str(connection.place),
        sum(statuses.values()),
        statuses,
        alive,
        int(state.meta["dim"]),
        state.meta["dtype"],
        len(state.segments),
        len(state.images) - alive,
        count("SELECT count(*) FROM labels WHERE accepted = 1"),
        count("SELECT count(*) FROM entities"),
        count("SELECT count(*) FROM verdicts WHERE undone = 0"),
        state.meta["encoder"],
        state.meta["fingerprint"],
        tuple(path for (path,) in connection.execute("SELECT path FROM sources ORDER BY path")),
        columns,
        bool(state.ending and (state.ending.text or state.ending.image)),
        state.vectors.name,
        effort.value if effort else 0,
        effort.recall if effort else None,
        state.commit,
        last[0] if last else "",
        connection.sizes(),
    )
