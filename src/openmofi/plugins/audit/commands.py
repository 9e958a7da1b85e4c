"""`openmofi.audit` and `openmofi dataset audit`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openmofi.api.given import Folder, kb_of, names_index, place_of, public, verdicts_of
from openmofi.cli.command import index_place, output_path, print_json
from openmofi.cli.options import Call, Json, made_of
from openmofi.cli.tables import percent, print_table

if TYPE_CHECKING:
    from openmofi.dataset.objects import Dataset, Labels
    from openmofi.dataset.report.page import Corrected
    from openmofi.knowledge import KnowledgeBase
    from openmofi.plugins.audit.audit import Audit


@public()
def audit(
    labels: Labels | Dataset | Folder,
    truth: Folder,
    *,
    at_recall: float = 0.75,
    split: str | None = None,
    kb: KnowledgeBase | Folder | None = None,
) -> Audit | Corrected:
    """Compare labels, or a dataset, with the truth: precision, recall, calibration, the text-only linker beside them.

    Args:
        labels: folder of labels or of a dataset. In Python also what `label` or `build_dataset` returned.
        truth: what images show: a CSV, TSV, JSON-lines or Parquet table with the columns key and entity, and any of the
            others of `openmofi.schema.TRUTH`. Or verdicts on labels (the file of `openmofi label audit`, an index, also
            one in a store): then the answer is `Labels.corrected`'s.
        at_recall: recall at which precision is compared with the text-only linker's.
        split: only the pairs of this split of the truth.
        kb: knowledge base for the names of entities in the truth; by default the labels' own.

    Raises:
        OpenMofiError: the truth cannot be read, or does not match.
    """
    from openmofi.dataset.objects import Labels
    from openmofi.plugins.audit.audit import audit
    from openmofi.review.verdicts import holds_verdicts

    if names_index(truth) or holds_verdicts(truth):
        opened = Labels.open(place_of(labels))
        return opened.corrected(verdicts_of(truth), kb=kb_of(kb) if kb else None)
    return audit(place_of(labels), truth, at_recall=at_recall, split=split, kb=kb_of(kb) if kb else None)


@made_of(audit, truth=Annotated[Any, typer.Option(parser=index_place, metavar="FILE|INDEX")])
def audit_command(
    call: Call,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", parser=output_path, help="Write the whole audit as JSON.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare labels with the truth: precision, recall, groups, the text-only linker beside it."""
    from openmofi.cli.tables import print_corrected
    from openmofi.storage import write_json

    result = call().as_dict()
    if out:
        write_json(out, result)
    if as_json:
        print_json(result)
    else:
        (print_audit if "overall" in result else print_corrected)(result)


def print_audit(result: Mapping[str, Any]) -> None:
    """Print an audit's plain values: a row a group, the text-only linker beside the labels."""
    _audit_warnings(result)
    rows = [_audit_row("all", "", result["overall"])]
    for group, values in result["groups"].items():
        rows += [
            _audit_row("" if position else group, value, figures)
            for position, (value, figures) in enumerate(values.items())
        ]
    print_table(
        ("group", "", "pairs", "precision", "95 %", "recall", "text-only precision, recall"),
        rows,
        numbers=range(2, 7),
        whole=(0, 1),
    )
    if hierarchy := result.get("hierarchy"):
        print(
            f"labels that are the true class: {hierarchy['exact']:,}; below it: {hierarchy['below']:,}; above it: "
            f"{hierarchy['above']:,}; another: {hierarchy['other']:,}; precision with those below "
            f"{percent(hierarchy['precision_or_below'])}, with those above as well "
            f"{percent(hierarchy['precision_or_related'])}"
        )
    for name, precision in result["precision_at_recall"].items():
        if result["curve"]:
            print(f"precision of {name} at recall {result['recall_asked']:.2f}: {percent(precision)}")


def _audit_warnings(result: Mapping[str, Any]) -> None:
    if result["keys_unmatched"]:
        print(
            f"warning: {result['keys_unmatched']:,} keys of the truth are not in the labels, such as "
            f"{', '.join(map(repr, result['examples']))}; they count as missed",
            file=sys.stderr,
        )
    if unknown := result["unknown_entities"]:
        print(
            f"warning: {len(unknown):,} entities of the truth are unknown to the labels, such as "
            f"{', '.join(map(repr, unknown[:3]))}",
            file=sys.stderr,
        )


def _audit_row(group: str, value: str, figures: Mapping[str, Any]) -> tuple[str, ...]:
    labels, text = figures["labels"], figures["text_only"] or {}
    return (
        group,
        value,
        f"{labels['pairs']:,}",
        percent(labels["precision"]),
        "–".join(f"{edge:.0%}" for edge in labels["precision_interval"] or ()),
        percent(labels["recall"]),
        f"{percent(text.get('precision'))}, {percent(text.get('recall'))}" if text else percent(None),
    )
