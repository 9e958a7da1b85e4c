"""What pages are made of: their templates, images in them, and the entities and pairs that the report shows."""

import base64
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any, Literal

import jinja2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from openmofi.dataset.tables import Folder, Judged
from openmofi.errors import OpenMofiError
from openmofi.pairs import ImageRefused, ReadSettings, decode_image, read_pairs
from openmofi.pairs.images.memory import of_machine
from openmofi.schema import LabelStatus
from openmofi.storage import Shard

SIDE = 160
_QUALITY = 82


def template(package: str | None, name: str, **filters: Callable[..., object]) -> jinja2.Template:
    """Open a template beside the modules of a package: of a page (`NAME.html.j2`), which escapes all values, or of
    Markdown. A value that it asks for and is not given is an error.

    Args:
        package: its name.
        name: of the file.
        filters: further filters, by their names.
    """
    page = name.endswith(".html.j2")
    environment = jinja2.Environment(
        autoescape=page,
        undefined=jinja2.StrictUndefined,
        trim_blocks=page,
        lstrip_blocks=page,
        keep_trailing_newline=not page,
    )
    environment.filters |= filters
    return environment.from_string(files(str(package)).joinpath(name).read_text("utf-8"))


def thumbnails(
    shard: Shard,
    keys: Iterable[str],
    read: ReadSettings = ReadSettings(),
    *,
    side: int = SIDE,
    form: Literal["JPEG", "WebP"] = "JPEG",
) -> dict[str, str]:
    """Key → image of at most `side` px a side as a data URI, for those of `keys` whose image can be shown.

    `read` says how the pairs were read when they were labelled.

    Reading stops when all have been read. A shard that has moved gives no images; the report is written
    without them.

    Raises:
        MemoryError, OSError: the machine is short of memory or open files: images that are there would be missing.
    """
    missing, uris = set(keys), {}
    if not missing:
        return {}
    try:
        for pair in read_pairs(shard, replace(read, on_damage="keep")):
            if pair.key in missing and pair.image is not None:
                missing.discard(pair.key)
                if uri := thumbnail(pair.image, side, form):
                    uris[pair.key] = uri
            if not missing:
                break
    except (OpenMofiError, OSError) as error:
        if of_machine(error):
            raise
    return uris


def thumbnail(data: bytes, side: int = SIDE, form: Literal["JPEG", "WebP"] = "JPEG") -> str | None:
    """The image, shrunk, as a data URI; `None` if it cannot be decoded."""
    try:
        image = decode_image(data, size_hint=side)
    except ImageRefused:
        return None
    image.thumbnail((side, side))
    buffer = io.BytesIO()
    image.save(buffer, form, quality=_QUALITY)
    return f"data:image/{form.lower()};base64," + base64.b64encode(buffer.getvalue()).decode()


_SHARDS = 12
_ENTITIES = 5
_IMAGES = 8
_FEW = 3
_PAIRS = 8
_JUDGEMENTS = 5
_TEXT = 280

Describe = Callable[[str], tuple[str, str]]
"""Identifier → (name, description)."""


@dataclass(frozen=True)
class ExampleImage:
    """A labelled image of an entity: its shard and key, its text and the label's probability."""

    shard: str
    key: str
    text: str
    probability: float


@dataclass(frozen=True)
class EntityRow:
    """An entity with some of its images."""

    id: str
    name: str
    description: str
    images: int
    examples: tuple[ExampleImage, ...]


@dataclass(frozen=True)
class ExamplePair:
    """A judged pair.

    Attributes:
        pieces: the text in order, as (piece, class); the class is `""`, `accepted`, `rejected`, `unlinked` or
            `boilerplate`.
        candidates: its judged entities (`schema.JUDGEMENT`, with `name`, `description`, `surface` and the text's
            `kind`), accepted ones first, then by probability.
        more: how many further ones are not shown.
    """

    shard: str
    key: str
    pieces: tuple[tuple[str, str], ...]
    candidates: tuple[dict[str, Any], ...]
    more: int


def choose_shards(folder: Folder) -> list[Shard]:
    """At most 12 shards, spread over all."""
    chosen = np.unique(np.linspace(0, len(folder.shards) - 1, _SHARDS).round().astype(int))
    return [folder.shards[position] for position in chosen]


def entity_rows(
    images: pa.Table, vocabulary: pa.Table, describe: Describe, seed: int = 0
) -> dict[str, list[EntityRow]]:
    """Rows for `head`, `middle` and `tail` entities that have images in `images` (rows of `schema.DATASET`).

    Middle and tail are drawn from the entities with at least 3 images there, if there are enough of them.
    """
    row = pc.list_parent_indices(images["classes"]).to_numpy().astype(np.int64)
    classes = pc.list_flatten(images["classes"]).to_numpy()
    scores = pc.list_flatten(images["scores"]).to_numpy()
    seen, counts = np.unique(classes, return_counts=True)
    several = seen[counts >= _FEW]
    third = len(seen) // 3
    generator = np.random.default_rng(seed)
    parts = {
        "head": seen[: min(max(third, 1), _ENTITIES)],
        "middle": _some(seen[max(third, 1) : 2 * third], several, generator),
        "tail": _some(seen[max(2 * third, 1) :], several, generator),
    }
    return {
        part: [
            _entity_row(
                int(label), np.flatnonzero(classes == label), row, scores, images, vocabulary, describe, generator
            )
            for label in chosen
        ]
        for part, chosen in parts.items()
    }


def _some(classes: np.ndarray, several: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    preferred = np.intersect1d(classes, several)
    classes = preferred if len(preferred) >= _ENTITIES else classes
    return np.sort(generator.permutation(classes)[:_ENTITIES])


def _entity_row(
    label: int,
    positions: np.ndarray,
    row: np.ndarray,
    scores: np.ndarray,
    images: pa.Table,
    vocabulary: pa.Table,
    describe: Describe,
    generator: np.random.Generator,
) -> EntityRow:
    chosen = np.sort(generator.permutation(positions)[:_IMAGES])
    rows = images.take(pa.array(row[chosen])).to_pylist()
    examples = tuple(
        ExampleImage(entry["shard"], entry["key"], entry["text"][:_TEXT], float(scores[position]))
        for entry, position in zip(rows, chosen, strict=True)
    )
    entry = vocabulary.slice(label, 1).to_pylist()[0]
    name, description = describe(entry["id"])
    return EntityRow(entry["id"], name or entry["name"], description, entry["images"], examples)


def examples(
    tables: Sequence[tuple[Shard, pa.Table]], describe: Describe, seed: int = 0
) -> dict[str, list[ExamplePair]]:
    """Pairs of label tables: `accepted`, `settled` (the text alone prefers another namesake) and `rejected` ones."""
    chosen: dict[str, list[ExamplePair]] = {"settled": [], "accepted": [], "rejected": []}
    generator = np.random.default_rng(seed)
    share = -(-_PAIRS // max(len(tables), 1))
    for shard, table in tables:
        for kind, rows in _kinds(table).items():
            for row in sorted(generator.permutation(rows)[:share].tolist()):
                chosen[kind].append(_example(shard.name, table.slice(row, 1).to_pylist()[0], describe))
    return {kind: rows[:_PAIRS] for kind, rows in chosen.items()}


def _kinds(table: pa.Table) -> dict[str, np.ndarray]:
    status = np.array(table["status"].to_pylist(), object)
    judged = Judged.of(table)
    preferred = np.zeros(int(judged.mention.max(initial=-1)) + 1, np.float32)
    np.maximum.at(preferred, judged.mention, judged.link_score)
    settled = np.zeros(len(table), bool)
    settled[judged.row[judged.accepted & (judged.link_score < preferred[judged.mention])]] = True
    labelled = status == LabelStatus.LABELLED
    return {
        "settled": np.flatnonzero(labelled & settled),
        "accepted": np.flatnonzero(labelled & ~settled),
        "rejected": np.flatnonzero(status == LabelStatus.REJECTED),
    }


def _example(shard: str, row: dict, describe: Describe) -> ExamplePair:
    best_first = sorted(
        row["entities"], key=lambda entity: (not entity["accepted"], -entity["probability"], entity["entity"])
    )
    distinct: dict[str, dict] = {}
    for entity in best_first:  # an entity that two mentions may mean is shown once
        distinct.setdefault(entity["entity"], entity)
    candidates = []
    for entity in list(distinct.values())[:_JUDGEMENTS]:
        name, description = describe(entity["entity"])
        candidates.append(
            {
                **entity,
                "name": name or entity["entity"],
                "description": description,
                "surface": row["mentions"][entity["mention"]]["surface"],
                "kind": row["mentions"][entity["mention"]].get("kind"),
            }
        )
    return ExamplePair(shard, row["key"], _pieces(row), tuple(candidates), max(0, len(distinct) - _JUDGEMENTS))


def _pieces(row: dict) -> tuple[tuple[str, str], ...]:
    accepted = {entity["mention"] for entity in row["entities"] if entity["accepted"]}
    linked = {entity["mention"] for entity in row["entities"]}
    text, position, pieces = row["text"], 0, []
    for number, mention in enumerate(row["mentions"]):
        start, end = mention["start"], mention["end"]
        if not position <= start < end <= len(text) or end > _TEXT:
            continue
        pieces.append((text[position:start], ""))
        kind = (
            "boilerplate"
            if mention["reason"]
            else "accepted"
            if number in accepted
            else "rejected"
            if number in linked
            else "unlinked"
        )
        pieces.append((text[start:end], kind))
        position = end
    rest = text[position:]
    room = max(_TEXT - position, 0)
    pieces.append((rest if len(rest) <= room else rest[:room] + "…", ""))
    return tuple(piece for piece in pieces if piece[0])
