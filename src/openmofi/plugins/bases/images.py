"""Reference images of a base's entities: read like pairs whose text is an identifier, made small, kept in the base."""

from __future__ import annotations

import csv
import io
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from openmofi.api.given import Folder, kb_of, public
from openmofi.errors import OpenMofiError, UsageError
from openmofi.features.images import file_sources, images_in
from openmofi.features.store import content_digits
from openmofi.features.stream import ahead
from openmofi.knowledge import KnowledgeBase, layout
from openmofi.knowledge.arrays import taken_table
from openmofi.knowledge.beside import IMAGES, IMAGES_STEM, images_file
from openmofi.pairs import ImageRefused, ReadSettings, read_pairs
from openmofi.pairs.formats.columns import IMAGE, find_column
from openmofi.pairs.formats.delimited import read_records
from openmofi.pairs.images.decode import decoding
from openmofi.schema import Pair, PairStatus
from openmofi.storage import TABLES, digits64, expand_shards, fingerprint, require_local
from openmofi.storage.claims import written_together
from openmofi.storage.manifest import finish_manifest
from openmofi.storage.table_files import arrow_blocks

MOST, SIDE, QUALITY = 16, 512, 90
_TOGETHER, _ROWS, _SHOWN = 64, 256, 5
_LISTS = "images"

Load = Callable[[], Pair]


@public()
def add_images(
    kb: KnowledgeBase | Folder, source: Folder, *, images: Folder | None = None, most: int = MOST
) -> Mapping[str, Any]:
    """Add reference images to the entities of a knowledge base, in its folder.

    Each image is stored as a JPEG of at most 512 pixels a side, without metadata. Images that the base has stay. A base
    that is in use meanwhile keeps the images that it was opened with.

    Args:
        source: a table with the columns `entity` or `id`, and `image`, or `images` with a list; shards whose texts are
            identifiers; or a folder with an image file or a folder of images for each identifier.
        images: folder that the images of a table lie below; the table's own where not given.
        most: images of an entity that are kept, at most; the first ones.

    Returns:
        `images` and `entities_with_images` of the base now; `status` of the source's rows (`ok`, `unknown_entity`,
        `repeated`: the entity has the image, `beyond_most`, or a `PairStatus`); some `unknown` identifiers.

    Raises:
        UsageError: the table lacks a column, or the base is not on a local disk.
        OpenMofiError: `kb` is no knowledge base, the source cannot be read, or no image can be used.
    """
    if most < 1:
        raise UsageError(f"most is {most}.", "Keep at least 1 image of an entity.")
    opened = kb_of(kb)
    require_local(str(opened.address))
    with written_together(opened.path):
        opened = KnowledgeBase.open(opened.path)  # another process may have added some meanwhile
        adding = _Adding(opened, most)
        with ExitStack() as held:
            images_now = adding.write(held, _of_source(Path(source), images, held))
    entities, status = len(adding.seen), dict(sorted(adding.status.items()))
    return {"images": images_now, "entities_with_images": entities, "status": status, "unknown": [*adding.unknown]}


def _of_source(source: Path, root: Folder | None, held: ExitStack) -> Iterator[tuple[str, Load]]:
    """Yield the identifier of each image of a source, and what loads it."""
    if source.is_dir() and not any(path.name.endswith((*TABLES, ".parquet", ".tar")) for path in source.iterdir()):
        for files in file_sources(source, images_in(source)):
            for key, load in files.read():
                yield key.partition("/")[0] if "/" in key else Path(key).stem, load
        return
    settings = ReadSettings(image_root=str(root or ""))
    if source.suffix in (*TABLES, ".parquet"):
        source, settings = _table(source, settings, held)
    for shard in expand_shards([str(source)]):
        for pair in read_pairs(shard, settings):
            yield pair.text.strip(), lambda pair=pair: pair  # type: ignore[misc]


def _table(path: Path, settings: ReadSettings, held: ExitStack) -> tuple[Path, ReadSettings]:
    """The table to read, and how: one whose images are lists becomes a table of a row an image."""
    if path.suffix == ".parquet":
        names = pq.read_schema(path).names
        records = (row for batch in pq.ParquetFile(path).iter_batches() for row in batch.to_pylist())
    else:
        lines = read_records(str(path), settings)
        first = next(lines, ([], {}))
        names, records = first[0], (row for _, row in chain([first], lines))
    if not (entity := next((name for name in ("entity", "id") if name in names), "")):
        raise UsageError(f"{path} has no column 'entity' or 'id'; it has: {', '.join(names)}.", "Rename one.")
    if _LISTS not in names or find_column(str(path), names, "", IMAGE, "image"):
        return path, replace(settings, text_column=entity)
    flat = Path(held.enter_context(tempfile.TemporaryDirectory())) / "images.csv"
    with flat.open("w", encoding="utf-8", newline="") as handle:
        rows = csv.writer(handle)
        rows.writerow(("entity", "image"))
        for row in records:
            listed = row.get(_LISTS) or []
            for image in listed.split("|") if isinstance(listed, str) else listed:
                rows.writerow((row[entity], image))
    root = settings.image_root or str(path.parent)
    return flat, replace(settings, image_root=root, text_column="entity", image_column="image")


def write_images(path: Path, images: pa.Table) -> dict[str, Any]:
    """Write reference images, sorted by identifier; return the counts of a base that they add, with its `files`."""
    order = pc.sort_indices(images.column("id")).to_numpy()  # stable: the first ones stay the first
    with arrow_blocks(path, IMAGES, _ROWS) as add:
        for start in range(0, len(order), _ROWS):
            add(taken_table(images, order[start : start + _ROWS]))
    entities = pc.count_distinct(images.column("id")).as_py()
    return {"images": len(images), "entities_with_images": entities, "files": {path.name: path.stat().st_size}}


@dataclass
class _Adding:
    """Images on their way into a base.

    Attributes:
        kb: the base.
        most: images of an entity, at most.
        seen: row of an entity → digests of its images.
        status: what became of the rows of the source.
        unknown: some identifiers that the base does not know.
    """

    kb: KnowledgeBase
    most: int
    seen: dict[int, set[str]] = field(default_factory=dict)
    status: Counter[str] = field(default_factory=Counter)
    unknown: dict[str, None] = field(default_factory=dict)

    def write(self, held: ExitStack, source: Iterator[tuple[str, Load]]) -> int:
        """Write the images of the base and of the source, and the manifest; return how many there are.

        Raises:
            OpenMofiError: there are none.
        """
        unsorted = Path(held.enter_context(tempfile.TemporaryDirectory(dir=self.kb.path, prefix="."))) / "images.arrow"
        with arrow_blocks(unsorted, IMAGES, _ROWS) as add:
            for table in chain(self._there(), self._read(source)):
                add(table)
        if not self.seen:
            rows = ", ".join(f"{count:,} × {status}" for status, count in sorted(self.status.items())) or "no rows"
            ids = f" (such as {next(iter(self.unknown))!r})" if self.unknown else ""
            raise OpenMofiError(f"No image can be added to {self.kb.path}: {rows}{ids}.", "Check ids and paths.")
        table = pa.ipc.open_file(pa.memory_map(str(unsorted))).read_all()
        digest = fingerprint([sorted((row, sorted(digests)) for row, digests in self.seen.items())])
        old = images_file(self.kb.manifest.counts["files"])
        if old != (name := f"{IMAGES_STEM}.{digest}.arrow"):
            self._note(write_images(self.kb.path / name, table))
            (self.kb.path / old if old else unsorted).unlink()
        return len(table)

    def _note(self, written: Mapping[str, Any]) -> None:
        counts = {key: value for key, value in self.kb.manifest.counts.items() if key != layout.DIGESTS}
        files = {file: size for file, size in counts["files"].items() if not images_file([file])}
        counts |= {**written, "files": files | written["files"]}
        finish_manifest(self.kb.path, self.kb.manifest, layout.with_digests(self.kb.path, self.kb.manifest, counts))

    def _there(self) -> Iterator[pa.Table]:
        for batch in self.kb.images.to_batches() if self.kb.images is not None else ():
            for entity, image in zip(batch["id"].to_pylist(), batch["image"].to_pylist(), strict=True):
                self.seen.setdefault(self.kb.row(entity), set()).add(digits64(image))
            yield pa.Table.from_batches([batch])

    def _read(self, source: Iterator[tuple[str, Load]]) -> Iterator[pa.Table]:
        with closing(ahead(self._wanted(source), lambda item: _small(item[1]()), _TOGETHER)) as batches:
            for batch in batches:
                rows = [self._row(row, *small) for (row, _), small in batch]
                yield pa.Table.from_pylist([row for row in rows if row], IMAGES)

    def _wanted(self, source: Iterator[tuple[str, Load]]) -> Iterator[tuple[int, Load]]:
        for entity, load in source:
            row = int(self.kb.rows([entity])[0])
            if row < 0:
                self.status["unknown_entity"] += 1
                if len(self.unknown) < _SHOWN:
                    self.unknown[entity] = None
            elif len(self.seen.get(row, ())) >= self.most:
                self.status["beyond_most"] += 1
            else:
                yield row, load

    def _row(self, row: int, status: str, image: bytes, content: str, origin: str) -> Mapping[str, Any] | None:
        digests = self.seen.get(row, set())
        if image and digits64(image) in digests:
            status = "repeated"
        elif image and len(digests) >= self.most:
            status = "beyond_most"
        self.status[status] += 1
        if status != PairStatus.OK:
            return None
        self.seen[row] = digests | {digits64(image)}
        return {"id": self.kb.ids([row])[0], "image": image, "content": content, "source": origin}


def _small(pair: Pair) -> tuple[str, bytes, str, str]:
    """Status of an image, its JPEG of at most `SIDE` pixels a side, the digest of its bytes, and where it came from."""
    if pair.image is None:
        return str(PairStatus.IMAGE_MISSING if pair.status == PairStatus.OK else pair.status), b"", "", ""
    try:
        with decoding(pair.image, size_hint=SIDE) as decoded:
            decoded.image.thumbnail((SIDE, SIDE))
            out = io.BytesIO()
            decoded.image.save(out, "JPEG", quality=QUALITY)
            return str(PairStatus.OK), out.getvalue(), content_digits(pair.image), pair.url or pair.key
    except ImageRefused as refused:
        return str(refused.status), b"", "", ""
