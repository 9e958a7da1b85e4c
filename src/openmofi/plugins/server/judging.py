"""The addresses of verdicts: what people say of labels, what they said before, labels of images as a file."""

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
import pyarrow as pa
import pyarrow.csv as pv
import pyarrow.parquet as pq
from fastapi import APIRouter, Query, Response
from msgspec import Meta

from openmofi.pairs.problems import uncomputed
from openmofi.plugins.server.context import Context
from openmofi.plugins.server.messages import Refused, VerdictBody, answer, described, sent
from openmofi.plugins.server.routes import Few, Limit, Number, Offset, Shared, Short
from openmofi.search.query import ImageId
from openmofi.search.records import EntityRecord, ImageRecord, Verdict
from openmofi.search.store.connection import Connection
from openmofi.search.store.reading import entity_records, image_records
from openmofi.search.verdicts import ReviewedPrecision, ToJudge, precision, to_judge, undo_verdicts, verdicts_of

router = APIRouter()
Long = Annotated[str, Query(max_length=4096)]
Verdicts = Annotated[list[VerdictBody], Meta(min_length=1, max_length=1000)]
VerdictIds = Annotated[list[ImageId], Meta(min_length=1, max_length=1000)]
Exported = Annotated[list[ImageId], Meta(min_length=1, max_length=50_000)]

_MOST_SAID = 1000
_IMAGE = """
    SELECT images.id FROM sources JOIN images ON images.source = sources.id AND images.key = ? AND images.copy = 0
    WHERE sources.shard = ? ORDER BY images.id LIMIT 1"""
_EXPORT = pa.schema(
    [
        ("image", pa.int64()),
        *((name, pa.string()) for name in ("shard", "key", "file", "entity", "name")),
        ("probability", pa.float64()),
        ("accepted", pa.bool_()),
        ("verdict", pa.string()),
    ]
)


@router.post("/api/verdicts", response_model=list[Verdict], status_code=201, openapi_extra=described(Verdicts))
def add_verdicts(body: Annotated[list[VerdictBody], sent(Verdicts)], context: Shared) -> Response:
    """Keep verdicts, all of them or none; of several on one label the last counts."""
    verdicts = [Verdict(**msgspec.structs.asdict(each)) for each in body]
    return answer(context.index.add_verdicts(verdicts), 201)


@router.get("/api/verdicts", response_model=list[Verdict])
def verdicts(
    context: Shared, entity: Short = "", who: Short | None = None, limit: Limit = 1000, offset: Offset = 0
) -> Response:
    """Verdicts that were not taken back, latest first; of the reviewer `who`, which is "" for one without a name."""
    of = ({"entity": entity} if entity else {}) | ({} if who is None else {"who": who})
    return answer(verdicts_of(context.index.connection, limit, offset, **of))


@router.get("/api/verdicts.parquet", response_class=Response)
def verdict_table(context: Shared, entity: Short = "", labels: Long = "") -> Response:
    """All verdicts that were not taken back, as the table that `openmofi label --verdicts` takes."""
    return _file(_parquet(context.index.verdict_table(labels, entity)), "verdicts.parquet")


@router.delete("/api/verdicts/{verdict}", status_code=204)
def undo_verdict(verdict: Number, context: Shared) -> Response:
    """Take a verdict back."""
    if not context.index.undo_verdict(verdict):
        raise Refused(404, f"There is no verdict {verdict}, or it was taken back before.")
    return Response(status_code=204)


@router.post("/api/verdicts/undo", status_code=204, openapi_extra=described(VerdictIds))
def undo_several(body: Annotated[list[int], sent(VerdictIds)], context: Shared) -> Response:
    """Take verdicts back by their ids, all of them at once; those that were taken back before stay so."""
    undo_verdicts(context.index.connection, body)
    return Response(status_code=204)


@dataclass(frozen=True)
class Judged:
    """A verdict, and what it is on.

    Attributes:
        verdict: as it was given.
        image: `None` where it is no longer in the index.
        entity: with its name alone where the index does not know it.
        instead: what it is instead; `None` where nobody said so.
    """

    verdict: Verdict
    image: ImageRecord | None
    entity: EntityRecord
    instead: EntityRecord | None


@router.get("/api/review/history", response_model=list[Judged])
def history(context: Shared, who: Short = "", limit: Few = 50, offset: Offset = 0) -> Response:
    """A reviewer's verdicts that were not taken back, latest first, with their images and entities."""
    connection = context.index.connection
    said = verdicts_of(connection, limit, offset, who=who)
    found = {(each.shard, each.key): _image_of(connection, each) for each in said}
    images = image_records(connection, [image for image in found.values() if image])
    entities = entity_records(connection, [name for each in said for name in (each.entity, each.instead) if name])

    def known(entity: str) -> EntityRecord:
        return entities.get(entity, EntityRecord(entity, entity))

    return answer(
        [
            Judged(
                each,
                images.get(found[each.shard, each.key]),
                known(each.entity),
                known(each.instead) if each.instead else None,
            )
            for each in said
        ]
    )


def _image_of(connection: Connection, verdict: Verdict) -> int:
    """Id of the image that a verdict is on, 0 where the index has none."""
    return next((int(image) for (image,) in connection.execute(_IMAGE, (verdict.key, verdict.shard))), 0)


@router.get("/api/images/{image}/verdicts", response_model=list[Verdict])
def image_verdicts(image: Number, context: Shared) -> Response:
    """What was said of an image, and not taken back, latest first; a thousand verdicts at most."""
    record = context.image(image)
    return answer(verdicts_of(context.index.connection, _MOST_SAID, shard=record.shard, key=record.key))


@router.get("/api/review", response_model=list[ToJudge])
def labels_to_judge(
    context: Shared,
    entity: Short = "",
    order: Literal["active", "doubt", "sure"] = "active",
    accepted: bool | None = None,
    who: Short = "",
    limit: Limit = 50,
) -> Response:
    """Labels that nobody has judged yet, those first that say most."""
    return answer(to_judge(context.index.connection, entity, order=order, accepted=accepted, who=who, limit=limit))


@router.get("/api/review/precision", response_model=ReviewedPrecision)
def reviewed_precision(context: Shared, entity: Short = "", accepted: bool | None = True) -> Response:
    """The precision that the verdicts so far show, by strata of probability, with intervals."""
    return answer(precision(context.index.connection, entity, accepted))


@router.post("/api/labels.{kind}", response_class=Response, openapi_extra=described(Exported))
def export(kind: Literal["csv", "parquet"], body: Annotated[list[int], sent(Exported)], context: Shared) -> Response:
    """Labels of images as a table, by the images' ids: one row a label, and one for an image that has none."""
    table = labels_table(context, body)
    if kind == "parquet":
        return _file(_parquet(table), "labels.parquet")
    for name in table.column_names:
        if pa.types.is_string(table.schema.field(name).type):
            cells = [cell and uncomputed(cell) for cell in table[name].to_pylist()]
            table = table.set_column(table.column_names.index(name), name, pa.array(cells, pa.string()))
    out = io.BytesIO()
    pv.write_csv(table, out)
    return _file(out.getvalue(), "labels.csv", "text/csv; charset=utf-8")


def labels_table(context: Context, ids: Iterable[int]) -> pa.Table:
    """Labels, candidates below the threshold and what people said, of images in this order; others are left out."""
    connection = context.index.connection
    ids = list(dict.fromkeys(ids))
    images = image_records(connection, ids)
    last: dict[tuple[str, str], dict[str, str]] = {}
    for each in verdicts_of(connection):
        last.setdefault((each.shard, each.key), {}).setdefault(each.entity, each.verdict)
    given = {entity for said in last.values() for entity in said}
    names = {entity: record.name for entity, record in entity_records(connection, sorted(given)).items()}
    found = (images[image] for image in ids if image in images)
    rows = [row for record in found for row in _rows(record, last.get((record.shard, record.key), {}), names)]
    return pa.Table.from_pylist(rows, _EXPORT)


def _rows(record: ImageRecord, said: Mapping[str, str], names: Mapping[str, str]) -> list[dict[str, object]]:
    file = record.path.encode("utf-8", "replace").decode()  # Linux's names of files need not be UTF-8
    which = {"image": record.id, "shard": record.shard, "key": record.key, "file": file}
    labels = [{**which, **vars(each), "verdict": said.get(each.entity)} for each in record.labels]
    known = {each.entity for each in record.labels}
    added = [entity for entity in said if entity not in known]
    rows = [
        *labels,
        *({**which, "entity": each, "name": names.get(each, each), "verdict": said[each]} for each in added),
    ]
    return rows or [which]


def _parquet(table: pa.Table) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd")
    return out.getvalue()


def _file(data: bytes, name: str, kind: str = "application/vnd.apache.parquet") -> Response:
    return Response(data, headers={"Content-Disposition": f'attachment; filename="{name}"'}, media_type=kind)
