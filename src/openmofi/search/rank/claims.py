"""For which kinds of query an index says probabilities, and why not for the others."""

from collections.abc import Mapping

from openmofi.search.query import Query
from openmofi.search.rank.calibration import MINIMUM, Curve, Ending
from openmofi.search.records import KindCalibration

_CURVES = {"text": "text", "image": "image", "recognition": "entity", "unnamed": "unnamed"}
"""Kind → its curve, see `Ending`."""
_ASKED = {
    "text": "searches by text",
    "image": "searches by image",
    "recognition": "recognition",
    "unnamed": "recognition of what no label names",
}
_MORE_LABELS = "Take in more labels: openmofi index add INDEX LABELS."
_BY_LABELS = "Images that the label job judged for an entity have the probability that it gave, others none."


def calibration_of(ending: Ending | None, *, texts: bool) -> dict[str, KindCalibration]:
    """Kind of query (`text`, `entity`, `image`, `recognition`, `unnamed`) → whether the index is calibrated for it.

    Args:
        ending: the index's; `None` for that of another version.
        texts: whether the encoder embeds texts.
    """
    kinds = {kind: _calibration(kind, ending, texts) for kind in _CURVES}
    text = kinds["text"]
    labelled = ending is not None and sum(ending.evidence.get("image", (0.0, 0.0))) > 0
    entity = text
    if text.source == "none" and texts and labelled:
        entity = KindCalibration("labels", text.right, text.wrong, f"{_BY_LABELS} {text.why}", text.hint)
    return {"text": text, "entity": entity} | kinds


def uncalibrated(calibration: Mapping[str, KindCalibration], query: Query, judged: bool) -> str:
    """Why results of a query have no probability and what to do, or why some have none where others were `judged`; ""
    where all have, or where nothing is ranked by similarity.
    """
    if not query.has_vector:
        return ""
    each = calibration["image" if query.examples or query.like else "text" if query.text else "entity"]
    if each.source == "fitted":
        return ""
    # Of an entity it says that already.
    return f"{_BY_LABELS} {each}" if judged and each.source == "none" else str(each)


def _calibration(kind: str, ending: Ending | None, texts: bool) -> KindCalibration:
    if ending is None:
        why = "This version of openmofi has not calibrated the index yet."
        return KindCalibration("none", why=why, hint="Bring it up to date with openmofi index add.")
    curve: Curve | None = getattr(ending, _CURVES[kind])
    right, wrong = ending.evidence.get(kind, (None, None))
    if curve:
        return KindCalibration("fitted", right, wrong)
    if kind != "image" and not texts:
        return KindCalibration(
            "none", right, wrong, "Its encoder embeds images only.", "Build an index with an encoder that embeds texts."
        )
    if right is None or wrong is None:
        return KindCalibration("none", why="Its labels say too little.", hint=_MORE_LABELS)
    if not right + wrong:
        return KindCalibration(
            "none",
            right,
            wrong,
            "No label says what its images show.",
            "Label them with openmofi label, and build the index of the folder of labels.",
        )
    count, what = (right, "right") if right < MINIMUM else (wrong, "wrong")
    return KindCalibration(
        "none",
        right,
        wrong,
        f"Only {int(count)} results of {_ASKED[kind]} are known to be {what}, and {MINIMUM} are needed for "
        "probabilities.",
        _MORE_LABELS,
    )
