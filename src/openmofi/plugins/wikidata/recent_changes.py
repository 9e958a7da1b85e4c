"""What was edited on Wikidata since a day, asked of its API: items as they are now, deleted ones, and merged ones.

The API: https://www.wikidata.org/w/api.php?action=help&modules=query%2Brecentchanges and
https://www.wikidata.org/w/api.php?action=help&modules=wbgetentities; how to ask it:
https://www.mediawiki.org/wiki/API:Etiquette.
"""

from __future__ import annotations

import gzip
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar
from urllib.parse import urlencode

import msgspec

from openmofi.engine.protocol import Progress
from openmofi.errors import OpenMofiError, UsageError
from openmofi.plugins.sharing.sources import AGENT, CONTINUES, read_blocks
from openmofi.storage import atomic_path, make_folder, write_bytes, write_text

API = "https://www.wikidata.org/w/api.php"
DAYS = 30
"""So far back goes the list of recent changes."""
_LISTED, _ASKED = "500", 50
"""Changes and items that the API gives at once to those who have not signed in."""
_TRIES, _LAG = 60, 5.0
"""How often to try where the servers are behind, and seconds to wait in between."""
_MOST_BYTES = 1 << 28
_STAMP = "%Y%m%dT%H%M%SZ"
T = TypeVar("T")
_Onwards: TypeAlias = dict[Literal["rccontinue", "continue"], str]
_ITEM = re.compile(r"Q[1-9][0-9]{0,15}")


@dataclass(frozen=True)
class RecentChanges:
    """Files of edits, as `openmofi.plugins.wikidata.update.apply_edits` takes them; `None` where there are none.

    Attributes:
        changed: JSON lines of items as they were when they were asked for.
        deleted: an id a line.
        merged: lines of Q1,Q2.
        until: time up to which edits were listed, to go on from the next time.
    """

    changed: Path | None
    deleted: Path | None
    merged: Path | None
    until: datetime


class _Error(msgspec.Struct):
    code: str = ""
    info: str = ""


@dataclass(frozen=True)
class Api:
    """Wikidata's API, asked one thing at a time.

    Attributes:
        address: of `api.php`.
        contact: mail address or page of who asks, for the `User-Agent`; Wikimedia's policy wants one.
    """

    address: str = API
    contact: str = ""

    def answer(self, **parameters: str) -> dict[str, Any]:
        """Ask; wait where the servers are behind.

        Raises:
            OpenMofiError: see `fetch_changes`.
        """
        url, why = f"{self.address}?{urlencode(parameters | {'format': 'json', 'maxlag': '5'})}", ""
        agent = f"{AGENT} ({self.contact})" if self.contact else AGENT
        for _ in range(_TRIES):
            content = b"".join(read_blocks(url, 0, _MOST_BYTES, f"Check the address, and {CONTINUES}", agent))
            try:
                answer = msgspec.json.decode(content, type=dict[str, Any])
                if "error" not in answer:
                    return answer
                error = msgspec.convert(answer["error"], _Error)
                why = f"{error.code}: {error.info}"
                if error.code not in ("maxlag", "ratelimited"):
                    break
            except msgspec.MsgspecError:
                why = f"its answer is no JSON: {content[:60].decode('utf-8', 'replace')!r}"
            time.sleep(_LAG)
        raise OpenMofiError(f"{self.address} does not answer ({why.rstrip('.')}).", f"Wait some time, and {CONTINUES}")


def fetch_changes(since: datetime, folder: Path, progress: Progress, api: Api) -> RecentChanges:
    """Ask Wikidata what was edited since; one request at a time, each kept, so that it goes on where it stopped.

    Args:
        since: with a time zone.
        folder: gets the files.
        progress: receives requests for items.
        api: see there.

    Raises:
        UsageError: `since` is too long ago, or to come.
        MissingExtraError: the package that asks web servers is not installed.
        OpenMofiError: nothing was edited; the server cannot be reached, refuses, or is behind for minutes; the disk is
            full.
    """
    began = since.astimezone(UTC).strftime(_STAMP)
    pieces = folder / f"edits-{began}"
    if not (done := _done(folder, began)):
        noted = pieces / "until"
        if not noted.exists():
            now = datetime.now(UTC).replace(microsecond=0)
            if not timedelta(0) < now - since < timedelta(DAYS):
                raise UsageError(
                    f"Wikidata lists the edits of the last {DAYS} days, and not those since {since:%Y-%m-%d %H:%M}.",
                    "Give a day in between, or a newer dump.",
                )
            make_folder(pieces)
            write_text(noted, now.strftime(_STAMP))
        ended = noted.read_text()
        ids = sorted({id_ for page in _listed(pieces, began, ended, api) for id_ in page}, key=lambda id_: int(id_[1:]))
        if not ids:
            shutil.rmtree(pieces)  # another time there may be some
            raise OpenMofiError(f"Nothing was edited since {since:%Y-%m-%d %H:%M}.", "Give an earlier day.")
        _ask_for(ids, pieces, progress, api)
        _join(pieces, folder, f"{began}-{ended}")
        done = _done(folder, began)
    shutil.rmtree(pieces, ignore_errors=True)
    files = {path.name.partition("-")[0]: path for path in done}
    until = datetime.strptime(files["until"].name.rpartition("-")[2], _STAMP).replace(tzinfo=UTC)
    progress.say(f"Edits up to {until:%Y-%m-%dT%H:%M:%SZ} are known; go on from there with --since.")
    return RecentChanges(files.get("changed"), files.get("deleted"), files.get("merged"), until)


def _done(folder: Path, began: str) -> list[Path]:
    """Return the files of a time that was asked for to its end; else none."""
    ends = list(folder.glob(f"until-{began}-*"))
    return [*ends, *folder.glob(f"*-{ends[0].name.partition('-')[2]}.*")] if ends else []


class _Change(msgspec.Struct):
    title: str = ""


class _Changes(msgspec.Struct):
    recentchanges: list[_Change]


class _Listing(msgspec.Struct):
    """A page of the list, and what the next one is asked for by."""

    query: _Changes
    onwards: _Onwards = msgspec.field(default_factory=dict, name="continue")


class _Answers(msgspec.Struct):
    """Entities by the ids that were asked for."""

    entities: dict[str, dict[str, Any]] = {}


class _Page(msgspec.Struct):
    """What is kept of a page."""

    ids: list[str]
    on: _Onwards


def _read(answer: dict[str, Any], kind: type[T], api: Api) -> T:
    """Return an answer, as what it has to be."""
    try:
        return msgspec.convert(answer, kind)
    except msgspec.ValidationError as error:
        raise OpenMofiError(
            f"{api.address} answers otherwise than Wikidata does: {error}.", "Check the address."
        ) from error


def _listed(pieces: Path, began: str, ended: str, api: Api) -> Iterator[list[str]]:
    """Yield the ids of changed items, a page of the list at a time."""
    number, on, seen = 0, _Onwards(), set[frozenset[tuple[str, str]]]()
    while True:
        path = pieces / f"listed-{number:07}.json"
        if not path.exists():
            answer = api.answer(
                action="query",
                list="recentchanges",
                rcnamespace="0",
                rctype="edit|new|log",
                rcprop="title",
                rcdir="newer",
                rcstart=began,
                rcend=ended,
                rclimit=_LISTED,
                **on,
            )
            said = _read(answer, _Listing, api)
            titles = [change.title for change in said.query.recentchanges]
            page = _Page(sorted(filter(_ITEM.fullmatch, titles)), said.onwards)
            if frozenset(page.on.items()) in seen:
                raise OpenMofiError(f"{api.address} lists the same changes again and again.", "Check the address.")
            write_bytes(path, msgspec.json.encode(page))
        page = msgspec.json.decode(path.read_bytes(), type=_Page)
        yield page.ids
        if not page.on:
            return
        number, on = number + 1, page.on
        seen.add(frozenset(on.items()))


def _ask_for(ids: list[str], pieces: Path, progress: Progress, api: Api) -> None:
    """Ask for items: those that are there, a line each, in a file a request; those that are gone in one beside it."""
    batches = [ids[start : start + _ASKED] for start in range(0, len(ids), _ASKED)]
    progress.begin("edits", len(batches))
    for number, batch in enumerate(batches):
        path = pieces / f"changed-{number:07}"
        if not path.exists():
            items, deleted, merged = list[bytes](), list[str](), list[str]()
            for id_, entity in _entities(batch, api):
                if "missing" in entity:
                    deleted.append(f"{id_}\n")
                    continue
                if entity.pop("redirects", None):
                    merged.append(f"{id_},{entity.get('id')}\n")
                if not _ITEM.fullmatch(str(entity.get("id"))):
                    raise OpenMofiError(f"{api.address} gives no item for {id_}.", "Check the address.")
                items.append(msgspec.json.encode(entity) + b"\n")
            write_text(pieces / f"deleted-{number:07}", "".join(deleted))
            write_text(pieces / f"merged-{number:07}", "".join(merged))
            write_bytes(path, b"".join(items))
        progress.advance({})


def _entities(ids: list[str], api: Api) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each id and what the API says of it.

    An answer that would be too long lacks entities, without an error; these are asked for again, fewer at once.
    """
    props = "info|labels|descriptions|aliases|claims|sitelinks"
    found = _read(api.answer(action="wbgetentities", ids="|".join(ids), props=props), _Answers, api).entities
    yield from ((id_, found[id_]) for id_ in ids if id_ in found)
    absent = [id_ for id_ in ids if id_ not in found]
    if absent and len(ids) == 1:
        raise OpenMofiError(f"{api.address} says nothing of {ids[0]}.", f"Wait some time, and {CONTINUES}")
    half = len(absent) if len(absent) < len(ids) else len(ids) // 2
    for part in (absent[:half], absent[half:]):
        if part:
            yield from _entities(part, api)


def _join(pieces: Path, folder: Path, span: str) -> None:
    """Make of the pieces a file of each kind, where it has a line; `until-SPAN` says that all are there."""
    for kind, suffix in (("deleted", ".txt"), ("merged", ".csv"), ("changed", ".json.gz")):
        parts = [path for path in sorted(pieces.glob(f"{kind}-*")) if path.stat().st_size]
        if parts:
            with atomic_path(folder / f"{kind}-{span}{suffix}") as temporary:
                _concatenated(parts, temporary)
    write_text(folder / f"until-{span}", "")


def _concatenated(parts: Iterable[Path], out: Path) -> None:
    with open(out, "wb") as plain:
        # Without a time in its header equal content is equal bytes.
        packed: Any = gzip.GzipFile("", "wb", 6, plain, mtime=0) if ".gz" in out.name else plain
        for part in parts:
            packed.write(part.read_bytes())
        packed.close()
