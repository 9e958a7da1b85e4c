"""UnED: universal image embeddings over eight domains (Ypsilantis et al., ICCV 2023): R@1 and mMP@5.

The queries of each domain's test split are ranked against the index of all domains together. With n images of the
query's class in the index (without the query, where the index is the test split itself):

- `recall_at_1`: whether the first image is of the query's class and domain;
- `mmp_at_5`: 1 / min(n, 5) · number of these among the first min(n, 5) (nikosips/Universal-Image-Embeddings,
  universal_embedding/knn_utils.py).

Both are means over queries by domain, and over the domains. As in the authors' code, a query is taken out of its
ranking by dropping the image that ranks first. Of equal scores the first domain's image ranks first, in the order of
`DOMAINS`; the authors' order changes from run to run.

Data: https://cmp.felk.cvut.cz/univ_emb (info_files.zip, and the links to the eight datasets). Layout:
DIR/info_files/DOMAIN/test.json and, for inshop, met and gldv2, index.json; DIR/images/PATH; openmofi eval sources uned.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from openmofi.arrays import Doubles, Ints
from openmofi.bootstrap import bootstrap_interval
from openmofi.config import Settings
from openmofi.errors import OpenMofiError
from openmofi.evaluation.protocol import EvaluationProtocol, Measured, Subject, data_fingerprint
from openmofi.evaluation.result import items_table
from openmofi.features.images import EmbeddedImages, file_sources
from openmofi.pairs.formats.files import inside
from openmofi.plugins.benchmarks.nearest import Nearest
from openmofi.plugins.protocols.class_names import require_folder
from openmofi.storage import fingerprint, read_json

SIZES: Mapping[str, tuple[int, int]] = {
    "cars": (8131, 0),
    "sop": (60_502, 0),
    "inshop": (14_218, 12_612),
    "inat": (136_093, 0),
    "met": (1003, 397_121),
    "gldv2": (1129, 761_757),
    "food2k": (9979, 0),
    "rp2k": (10_931, 0),
}
"""Domain → queries, and images of an index of its own (0: the queries are the index)."""

DOMAINS = tuple(SIZES)
DEPTH = 5


@dataclass(frozen=True)
class UnedSettings(Settings):
    """Settings of `uned`.

    Attributes:
        domains: which are judged, and make the index; published figures are of all eight.
    """

    domains: tuple[str, ...] = DOMAINS


UnedSplit = Mapping[str, tuple[str, ...]]
"""Images of a split: path below DIR/images → classes (queries may have several)."""


def read_split(path: Path) -> UnedSplit:
    """Read an info file: a list of `path` and `class_id` (one, or a list).

    Raises:
        OpenMofiError: it cannot be read, or has another layout.
    """
    rows = read_json(path, list[_Row], "It is no split of UnED: unpack info_files.zip again.")
    classes = {
        row.path: tuple(map(str, row.class_id if isinstance(row.class_id, list) else [row.class_id])) for row in rows
    }
    outside = next((name for name in classes if not inside(name)), None)
    if outside is not None or not classes:
        raise OpenMofiError(
            f"{path} {f'names {outside!r}' if outside else 'is empty'}.", "Unpack info_files.zip again."
        )
    return classes


class _Row(msgspec.Struct):
    path: str
    class_id: int | str | list[int | str]


def mmp_at(relevant: Sequence[bool], positives: int, *, own: bool) -> float:
    """Compute the mMP of a query over its first `DEPTH` images.

    Args:
        relevant: of the nearest images, at least `DEPTH`, and one more if `own`.
        positives: images of its class in the index, with the query if `own`.
        own: whether the query is in the index; one of the relevant images is then taken to be itself.
    """
    looked_at = min(DEPTH + own, positives)
    return (sum(map(bool, relevant[:looked_at])) - own) / min(positives - own, DEPTH)


def measure(subject: Subject) -> Measured:
    """Measure an encoder by the protocol of this module."""
    folder, domains = require_folder(subject.data), subject.settings.domains
    unknown = set(domains) - set(DOMAINS)
    if unknown or not domains:
        raise OpenMofiError(f"Unknown domains {', '.join(sorted(unknown)) or '(none)'}.", f"Use {', '.join(DOMAINS)}.")
    splits = {
        name: {
            kind: read_split(folder / f"info_files/{name}/{kind}.json")
            for kind in (("test", "index") if SIZES[name][1] else ("test",))
        }
        for name in domains
    }
    queries = {
        name: subject.features.embed(file_sources(folder / "images", list(splits[name]["test"]), f"uned-{name}-test"))
        for name in domains
    }
    codes: dict[tuple[str, str], int] = {}
    nearest = Nearest(np.concatenate([images.embeddings for images in queries.values()]), DEPTH + 1)
    of_index, refused, prints = [], [], []
    for name in domains:
        kind = "index" if SIZES[name][1] else "test"
        split = splits[name][kind]
        sources = file_sources(folder / "images", list(split), f"uned-{name}-{kind}")
        for part in subject.features.stream(sources):
            nearest.add(part.embeddings)
            of_index += [codes.setdefault((name, split[key][0]), len(codes)) for key in part.keys]
            prints.append(data_fingerprint([part], [[split[key] for key in part.keys]]))
            if kind == "index":
                refused.append(replace(part, shards=[], keys=[], contents=[], embeddings=part.embeddings[:0].copy()))
    return _measured(queries, splits, codes, np.array(of_index, np.int64), nearest, prints, refused)


def _measured(
    queries: Mapping[str, EmbeddedImages],
    splits: Mapping[str, Mapping[str, UnedSplit]],
    codes: Mapping[tuple[str, str], int],
    of_index: Ints,
    nearest: Nearest,
    prints: list[str],
    refused: list[EmbeddedImages],
) -> Measured:
    sizes, labels = Counter(of_index.tolist()), of_index[nearest.rows]
    keys, groups, parts, first, mmp = [], [], [], [], []
    row = 0
    for name, images in queries.items():
        in_index = not SIZES[name][1]
        for key in images.keys:
            wanted = [codes.get((name, each), -1) for each in splits[name]["test"][key]]
            relevant, positives = np.isin(labels[row], wanted), sum(sizes[code] for code in wanted)
            # A query whose class is not in the index has nothing to find.
            answered = positives > in_index
            first.append(float(relevant[int(in_index)]) if answered else np.nan)
            mmp.append(mmp_at(relevant.tolist(), positives, own=in_index) if answered else np.nan)
            keys.append(f"{name}/{key}")
            groups.append(f"{name}/{splits[name]['test'][key][0]}")
            parts.append(name)
            row += 1
    values = {"recall_at_1": np.array(first), f"mmp_at_{DEPTH}": np.array(mmp)}
    metrics, intervals = _means(values, np.array(parts), np.array(groups))
    return Measured(
        metrics=metrics,
        intervals=intervals,
        data_fingerprint=fingerprint(
            [*(data_fingerprint([images], [images.keys]) for images in queries.values()), prints]
        ),
        counts={
            "queries": len(keys),
            "images": nearest.count,
            "domains": len(queries),
            "queries_without_positives": int(np.isnan(values["recall_at_1"]).sum()),
        },
        facts={"as_published": set(queries) == set(DOMAINS)},
        images=[*queries.values(), *refused],
        items=items_table(keys, groups, values, parts),
    )


def _means(values: Mapping[str, Doubles], parts: Any, groups: Any) -> tuple[dict[str, float], dict[str, Any]]:
    """Metrics and intervals by domain, and the mean over domains."""
    metrics: dict[str, float] = {}
    intervals: dict[str, Any] = {}
    for metric, numbers in values.items():
        of_domain = {}
        for name in dict.fromkeys(parts.tolist()):
            rows = parts == name
            if not np.isnan(numbers[rows]).all():
                of_domain[f"{name}/{metric}"] = float(np.nanmean(numbers[rows]))
                intervals[f"{name}/{metric}"] = bootstrap_interval(numbers[rows], groups[rows])
        metrics[metric] = float(np.mean(list(of_domain.values())))
        metrics |= of_domain
    return metrics, intervals


PROTOCOL = EvaluationProtocol(
    name="uned",
    version=1,
    headline="recall_at_1",
    settings=UnedSettings,
    measure=measure,
    rule="Images that cannot be read are neither queries nor in the index; queries whose class is not in the index are "
    "left out.",
)
