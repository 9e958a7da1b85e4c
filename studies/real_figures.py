"""What the study of real pairs shows: figures of all worlds side by side, calibration, errors with their images."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from openmofi.dataset.report.examples import thumbnails
from openmofi.dataset.report.plots import calibration
from openmofi.dataset.tables import Folder
from openmofi.knowledge import KnowledgeBase
from studies.label_errors import MISSED_KINDS, WRONG_KINDS, LabelError
from studies.real_scores import ScoredRun
from studies.report import Table, interval, number, print_end, signed, study_page

WORLD_NAMES: Mapping[str, str] = {"openclipart": "Openclipart", "photos": "photos", "icons": "icons"}
RUN_NAMES: Mapping[str, str] = {"default": "defaults", "adapt": "--adapt", "audited": "audited"}
_EXAMPLES, _TEXT, _BEFORE = 12, 260, 90
_STYLE = Markup("""<style>
body { max-width:1120px; } td, th { white-space:nowrap; font-variant-numeric:tabular-nums; }
h2 + p { max-width:75ch; } .wide { overflow-x:auto; } .wide tr:nth-child(3n+5) td { border-top:2px solid #b8c0ca; }
.plots { display:grid; grid-template-columns:repeat(auto-fit,minmax(320px,1fr)); gap:14px; }
.cases { display:grid; grid-template-columns:repeat(auto-fill,minmax(min(400px,100%),1fr)); gap:14px; }
.case { display:grid; grid-template-columns:104px 1fr; gap:12px; border:1px solid #e4e8ee; border-radius:8px;
  padding:10px; overflow-wrap:anywhere; }
.case img { width:104px; height:104px; object-fit:contain; background:#fff; }
.case p { margin:4px 0 0; font-size:13px; } .case small { color:#a05a12; } h3 { margin:18px 0 8px; font-size:15px; }
summary { cursor:pointer; margin:10px 0; } mark { background:#fdebd3; }
</style>""")


def real_report(metrics: Mapping[str, Any], runs: Mapping[str, Mapping[str, ScoredRun]], kb: KnowledgeBase) -> str:
    """The page as HTML; equal labels give equal bytes but for the seconds.

    Args:
        metrics: see `studies.real.run_real`.
        runs: world → run, as in `RUN_NAMES` → its labels and errors.
        kb: names the entities.
    """
    sections = [
        ("Labels against the truth", _STYLE + _wide(_figures(metrics)), _lead(metrics)),
        ("By the number of senses", _wide(_senses(metrics)), _SENSES_LEAD),
        ("What the jobs say of themselves", _wide(_claims(metrics)), _CLAIMS_LEAD),
        ("The audit", _wide(_audits(metrics)), _AUDIT_LEAD),
        ("Calibration", _calibration(metrics), _CALIBRATION_LEAD),
        *(
            (f"{title}, by kind", _wide(_kinds(metrics, side, kinds)), _kinds_lead(kinds))
            for title, side, kinds in (
                ("Wrong labels", "wrong", WRONG_KINDS),
                ("Missed entities", "missed", MISSED_KINDS),
            )
        ),
        *(
            (f"Errors: {_world(world)}", Markup("\n").join(_errors(of_world, kb)), "Drawn at random.")
            for world, of_world in runs.items()
        ),
        (
            "Seconds",
            Table(
                ("step", "seconds"), [(step, f"{seconds:,.0f}") for step, seconds in metrics["seconds"].items()]
            ).html(),
            "A step that was stopped and went on counts whole.",
        ),
    ]
    heading = "Drawings, photographs and icons, labelled by their own texts"
    return study_page("OpenMOFI on real pairs", heading, sections)


def print_real(out: object, metrics: Mapping[str, Any]) -> None:
    """Print the figures and the kinds of errors, as wide as a terminal; the page has the rest."""
    _summary(metrics).print("Outside pairs, judged rows")
    if blind := [" ".join(names) for names, figures in _runs(metrics) if figures["blind"]]:
        print(f"These jobs call themselves blind: {', '.join(blind)}")
    _kinds(metrics, "wrong", WRONG_KINDS).print("Wrong labels")
    _kinds(metrics, "missed", MISSED_KINDS).print("Missed entities")
    print_end(out, metrics)


_SENSES_LEAD = (
    "Accepted labels by how many entities the knowledge base has for the name in the text, of which a job judges eight "
    "at most."
)
_CLAIMS_LEAD = (
    "Of all pairs, judged or not. Separation: by how many standard deviations what is shown lies above decoys. "
    "Exchangeability: whether the losing senses of a name are like decoys. Claimed: the precision that the job states."
)
_AUDIT_LEAD = (
    "A hundred labels, drawn as openmofi label audit draws them but from judged rows alone, with truthful verdicts: "
    "doubtful ones are unsure. They chose the threshold for a target precision of 0.9. The labels that were looked at "
    "are among those that are scored; the last columns leave them out. Where the audit had nothing to draw, the labels "
    "are the defaults'."
)
_CALIBRATION_LEAD = (
    "All candidates of the judged rows, in bins by the probability that they were given: the share that is right, with "
    "95 % intervals (Wilson). The probabilities of audited labels are the defaults'."
)


def _lead(metrics: Mapping[str, Any]) -> str:
    counts = "; ".join(
        f"{_world(name)}: {made['pairs']:,} pairs, {made['scored']:,} judged by hand"
        + (f" (of {made['judged']:,}; the others are not in these files)" if made["scored"] < made["judged"] else "")
        + ("" if made["as_judged"] else ", other files than were judged")
        for name, made in metrics["worlds"].items()
    )
    return (
        f"{counts}. An entity counts once a row, doubtful ones are left out. Recall of rows: those with something "
        "right that were given something right. Average precision is over all candidates, by probability and by the "
        "link score of the text alone. Intervals are 95 %: of precision the wider ends of Wilson's and of a bootstrap "
        "over rows, of average precision bootstrapped over rows, of recall Wilson's. Blind: the job itself says that "
        "its encoder cannot tell these entities apart, and accepts nothing before people have looked "
        "(docs/labels.md)."
    )


def _kinds_lead(kinds: Mapping[str, str]) -> str:
    meanings = "; ".join(f"{kind}: {meaning}" for kind, meaning in kinds.items())
    return f"As far as it can be told automatically; an error has the first kind that holds. {meanings}."


def _world(name: str) -> str:
    return WORLD_NAMES.get(name, name)


def _runs(metrics: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], Mapping[str, Any]]]:
    """The first two cells of a row, and the figures of a run."""
    for world in metrics["worlds"]:
        for run, figures in metrics[world].items():
            yield (_world(world), RUN_NAMES[run]), figures


def _with_interval(value: float | None, edges: Sequence[float] | None) -> str:
    return " ".join(filter(None, (number(value), interval(edges) and f"({interval(edges)})")))


def _precision(figures: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """Labels, precision, what was expected, and how far it lies above."""
    gap = signed(figures["precision"] - figures["expected"]) if figures["accepted"] else "–"
    found = _with_interval(figures["precision"], figures["interval"])
    return f"{figures['accepted']:,}", found, number(figures["expected"]), gap


def _summary(metrics: Mapping[str, Any]) -> Table:
    rows = [
        (
            *names,
            f"{figures['accepted']:,}",
            number(figures["precision"]),
            interval(figures["interval"]),
            *(number(figures[name]) for name in ("expected", "row_recall", "average_precision")),
        )
        for names, figures in _runs(metrics)
    ]
    head = ("pairs", "run", "labels", "right", "95 %", "expected", "recall", "AP")
    return Table(head, rows, range(2, len(head)))


def _figures(metrics: Mapping[str, Any]) -> Table:
    rows = [
        (
            *names,
            *_precision(figures),
            _with_interval(figures["row_recall"], figures["row_recall_wilson"]),
            _with_interval(figures["average_precision"], figures["average_precision_bootstrap"]),
            number(figures["text_average_precision"]),
            "blind" if figures["blind"] else "",
        )
        for names, figures in _runs(metrics)
    ]
    rows += [
        ("all", RUN_NAMES[run], *_precision(figures), "", "", "", "") for run, figures in metrics["together"].items()
    ]
    head = ("pairs", "run", "labels", "right", "expected", "difference", "recall, rows", "AP", "AP, text alone", "")
    return Table(head, rows, range(2, len(head)))


def _senses(metrics: Mapping[str, Any]) -> Table:
    rows = [
        (*names, *(cell for part in figures["senses"].values() for cell in _senses_cells(part)))
        for names, figures in _runs(metrics)
    ]
    head = ("pairs", "run", "labels, 1 sense", "right", "expected", "labels, 2–8", "right", "expected")
    return Table(head, rows, range(2, len(head)))


def _senses_cells(figures: Mapping[str, Any]) -> tuple[str, str, str]:
    return (
        f"{figures['accepted']:,}",
        _with_interval(figures["precision"], figures["precision_wilson"]),
        number(figures["expected"]),
    )


def _claims(metrics: Mapping[str, Any]) -> Table:
    rows = []
    for names, figures in _runs(metrics):
        job, report = figures["job"], figures["job"]["calibration"]
        exchangeability = report.get("exchangeability", {})
        rows.append(
            (
                *names,
                f"{job['accepted']:,}",
                number(figures["claimed"]),
                number(job["threshold"]),
                number(report.get("separation")),
                exchangeability.get("status", "–"),
                number(exchangeability.get("shift")),
                number(report.get("share")),
                "yes" if figures["blind"] else "no",
            )
        )
    head = (
        "pairs",
        "run",
        "labels",
        "claimed",
        "threshold",
        "separation",
        "exchangeability",
        "shift",
        "share",
        "blind",
    )
    return Table(head, rows, range(2, len(head)))


def _audits(metrics: Mapping[str, Any]) -> Table:
    rows = []
    for world in metrics["worlds"]:
        figures = metrics[world]["audited"]
        said = figures.get("verdicts")
        audit = (
            " / ".join(str(said[verdict]) for verdict in ("y", "n", "u")) if said else "nothing to draw",
            _with_interval(figures["claimed"], figures["job"].get("verdicts", {}).get("interval")),
        )
        rest = _precision(figures["without_judged"])[:3] if said else ("–", "–", "–")
        rows.append((_world(world), *audit, *_precision(figures)[:3], *rest))
    head = ("pairs", "yes / no / unsure", "claimed", "labels", "right", "expected", "others", "right", "expected")
    return Table(head, rows)


def _wide(table: Table) -> Markup:
    return Markup('<div class="wide">{}</div>').format(table.html())


def _calibration(metrics: Mapping[str, Any]) -> Markup:
    plots = []
    for names, figures in _runs(metrics):
        if "verdicts" in figures:
            continue
        bins = figures["calibration"]
        drawn = calibration(
            bins["expected"], bins["observed"], bins["counts"], list(zip(bins["low"], bins["high"], strict=True))
        )
        plots.append(Markup("<div><h3>{}</h3>{}</div>").format(", ".join(names), drawn))
    return Markup('<div class="plots">{}</div>').format(Markup("").join(plots))


def _kinds(metrics: Mapping[str, Any], side: str, kinds: Mapping[str, str]) -> Table:
    rows = [(*names, *(str(figures["errors"][side][kind]) for kind in kinds)) for names, figures in _runs(metrics)]
    return Table(("pairs", "run", *kinds), rows, range(2, 2 + len(kinds)))


def _errors(runs: Mapping[str, ScoredRun], kb: KnowledgeBase) -> Iterator[Markup]:
    for name, run in runs.items():
        for title, errors, kinds in (("Wrong", run.wrong, WRONG_KINDS), ("Missed", run.missed, MISSED_KINDS)):
            chosen = random.Random(0).sample(list(errors), min(_EXAMPLES, len(errors)))
            if chosen:
                yield Markup("<details{}><summary>{}, {}: {} of {}</summary>{}</details>").format(
                    Markup(" open") if name == "default" else "",
                    title,
                    RUN_NAMES[name],
                    len(chosen),
                    len(errors),
                    _cases(chosen, kinds, run.labels, kb),
                )


def _cases(errors: Sequence[LabelError], kinds: Mapping[str, str], labels: Folder, kb: KnowledgeBase) -> Markup:
    images = {
        (shard.name, key): uri
        for shard in labels.shards
        for key, uri in thumbnails(
            shard, {error.row.truth.key for error in errors if error.row.truth.shard == shard.name}
        ).items()
    }
    cases = [
        Markup(
            '<div class="case"><img src="{}" alt=""><div><b>{}</b>{}<br><small>{}</small><p>{}</p></div></div>'
        ).format(
            images.get((error.row.truth.shard, error.row.truth.key), ""),
            *_described(error, kb),
            kinds[error.kind],
            _text(error),
        )
        for error in errors
    ]
    return Markup('<div class="cases">{}</div>').format(Markup("\n").join(cases))


def _described(error: LabelError, kb: KnowledgeBase) -> tuple[str, str]:
    """The entity's name, its identifier where the knowledge base has not got it; its description and probability."""
    if error.entity not in kb:
        return error.entity, ": not in the knowledge base"
    known, candidate = kb.entity(kb.row(error.entity)), error.row.candidates.get(error.entity)
    description = f": {known.description[:80]}" if known.description else ""
    return known.name, description + (f" ({candidate.probability:.2f})" if candidate else "")


def _text(error: LabelError) -> Markup:
    """The text around the entity's first mention, which is marked."""
    text, candidate = error.row.text, error.row.candidates.get(error.entity)
    if candidate is None:
        return Markup("{}").format(text[:_TEXT] + "…" * (len(text) > _TEXT))
    mention = error.row.mentions[min(candidate.mentions)]
    start, end = mention["start"], mention["end"]
    first = max(0, start - _BEFORE)
    last = max(end, first + _TEXT)
    return Markup("{}{}<mark>{}</mark>{}{}").format(
        "…" * (first > 0), text[first:start], text[start:end], text[end:last], "…" * (last < len(text))
    )
