"""The result of an evaluation: a JSON file, with a Parquet file of its items for paired tests.

A metric's name holds the protocol and the convention, `gpr1200/map_incl_query`, and for a part of the data the part in
between: `gpr1200/landmarks/map_incl_query`.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from openmofi.errors import OpenMofiError
from openmofi.storage import as_type, fingerprint, read_json, write_json, write_table

ITEM, GROUP, PART = "item", "group", "part"
"""Columns of an item table; all others are metrics: float64, null where an item has no value."""

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Result:
    """The result of one protocol on one encoder or linker and one data set.

    Attributes:
        protocol, version: of the protocol; the version changes when its values may change.
        metrics: name → value.
        intervals: name → 95 % interval, for the metrics that have one; `interval_over` says over what.
        encoder: as of `Encoder.describe`: spec, fingerprint, preprocessing, device …; for the protocol `labels` the
            encoder of the labels; for linkers their spec and fingerprint.
        features: `choice` (`joint` or `backbone`), `normalisation`, `dtype`, `dim`, `preprocessing`; empty without an
            encoder.
        data: `path`, `fingerprint` (of the content of all images, with their classes) and fields of the protocol.
        settings: of the protocol.
        counts: numbers of images, classes, queries …, and `excluded`.
        excluded: image → reason; see `rule`.
        headline: the main metric.
        rule: how images that cannot be read are handled.
        facts: further outputs, such as the chosen λ.
        seconds: of `features` and `protocol`.
        versions: of packages.
    """

    protocol: str
    version: int
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    encoder: dict[str, Any]
    features: dict[str, Any]
    data: dict[str, Any]
    settings: dict[str, Any]
    counts: dict[str, int]
    excluded: dict[str, str]
    headline: str
    rule: str
    interval_over: str
    facts: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    @property
    def fingerprint(self) -> str:
        """Identifies the measurement; results of equal fingerprints must have equal metrics."""
        return fingerprint(
            [self.protocol, self.version, self.encoder, self.features, self.data.get("fingerprint"), self.settings]
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with the fingerprint."""
        return asdict(self) | {"fingerprint": self.fingerprint}

    @property
    def name(self) -> str:
        """A file name: protocol, encoder, fingerprint."""
        spec = re.sub(r"[^A-Za-z0-9.]+", "-", str(self.encoder.get("spec", ""))).strip("-")[-60:].lstrip("-.")
        return "-".join(filter(None, (self.protocol, spec, self.fingerprint[:8])))


def items_table(
    items: list[str],
    groups: list[str],
    values: Mapping[str, Any],
    parts: list[str] | None = None,
) -> pa.Table:
    """An item table.

    Args:
        items: (n,) unique names.
        groups: (n,) what the bootstrap draws: classes, or the items themselves.
        values: metric, without the protocol's name → (n,) numbers; NaN where an item has no value.
        parts: (n,) e.g. domains.
    """
    columns: dict[str, pa.Array] = {ITEM: pa.array(items, pa.string()), GROUP: pa.array(groups, pa.string())}
    if parts is not None:
        columns[PART] = pa.array(parts, pa.string())
    for name, numbers in values.items():
        columns[name] = pa.array(np.asarray(numbers, np.float64), pa.float64(), from_pandas=True)
    return pa.table(columns)


def write_result(folder: str | Path, result: Result, items: pa.Table | None) -> Path:
    """Write `NAME.json` and, before it, `NAME.parquet`, atomically. Returns the JSON's path."""
    path = result_path(folder, result)
    if items is not None:
        write_table(path.with_suffix(".parquet"), items, {"result": result.fingerprint})
    write_json(path, result.as_dict())
    return path


def result_path(folder: str | Path, result: Result) -> Path:
    """The JSON file of a result in `folder`."""
    return Path(folder) / f"{result.name}.json"


def read_result(path: str | Path) -> Result:
    """Read a result of `write_result`.

    Raises:
        OpenMofiError: it does not exist, is not a result, or has another format.
    """
    hint = "Give the .json files that `openmofi eval` wrote with --out."
    raw = read_json(path, dict[str, Any], hint)
    raw.pop("fingerprint", None)
    unknown = set(raw) - {column.name for column in fields(Result)}
    if raw.get("format_version") != FORMAT_VERSION or unknown:
        raise OpenMofiError(
            f"{path} has format {raw.get('format_version')}; this version reads {FORMAT_VERSION}.", "Evaluate again."
        )
    return as_type(raw, Result, str(path), hint)


def read_items(path: str | Path, result: Result) -> pa.Table | None:
    """The items of a result; `None` where its JSON has no Parquet file beside it.

    Raises:
        OpenMofiError: the table is damaged, or belongs to another result.
    """
    items = Path(path).with_suffix(".parquet")
    if not items.exists():
        return None
    try:
        table = pq.read_table(items)
    except (OSError, pa.ArrowException) as error:
        raise OpenMofiError(f"{items} cannot be read: {error}.", "Evaluate again.") from error
    if (table.schema.metadata or {}).get(b"result", b"").decode() != result.fingerprint:
        raise OpenMofiError(f"{items} does not belong to {path}.", "Evaluate again, or copy both files.")
    return table
