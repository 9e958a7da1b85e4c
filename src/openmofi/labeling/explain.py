"""The whole reasoning for one pair: mentions, candidates, priors, coherence, what the image says, the verdict."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from openmofi.encoders import Encoder, open_encoder
from openmofi.engine import LocalEngine, Progress
from openmofi.errors import OpenMofiError
from openmofi.features.entities import embed_entities
from openmofi.knowledge import KnowledgeBase
from openmofi.labeling.job import stored_calibration
from openmofi.labeling.judge.calibration import Calibration
from openmofi.labeling.judge.evidence import Looked, View
from openmofi.labeling.judge.selection import judge
from openmofi.labeling.judge.stage import judged_positions
from openmofi.labeling.read.links import link_arrays
from openmofi.labeling.settings import LabelSettings
from openmofi.linking import open_linker
from openmofi.mentions import open_detector
from openmofi.pairs import ImageRefused, decode
from openmofi.schema import LINK, Mention, Reason


@dataclass(frozen=True)
class Explained:
    """One candidate of a mention, fully judged; see `openmofi.schema.JUDGEMENT`."""

    mention: str
    detector: str
    entity: str
    name: str
    description: str
    prior: float
    link_score: float
    image_score: float
    probability: float
    reason: Reason


@dataclass(frozen=True)
class Explanation:
    """What `explain` found: the mentions, the candidates in the order of the text, and the threshold."""

    text: str
    mentions: tuple[Mention, ...]
    candidates: tuple[Explained, ...]
    threshold: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def explain(image: str | Path, text: str, kb_folder: str | Path, settings: LabelSettings, *, cache: str | Path,
            progress: Progress, calibration: str | Path | None = None) -> Explanation:
    """Reason about one pair as the label job would.

    Raises:
        OpenMofiError: the image cannot be read, or the encoder has no calibration for this knowledge base.
    """
    try:
        data = Path(image).read_bytes()
    except OSError as error:
        raise OpenMofiError(f"{image} cannot be read: {error.strerror}.", "Check the path.") from error
    kb, encoder = KnowledgeBase.open(kb_folder), open_encoder(settings.encoder)
    decision = _calibration(encoder, kb, settings, calibration)
    mentions = open_detector(settings.text.detector, kb).detect([text])
    links = open_linker(settings.text.linker, kb).link([text], mentions)
    column = pa.array([[{"entity": link.entity, "mention": link.mention, "prior": link.prior,
                         "link_score": link.link_score} for link in links[0]]], pa.list_(LINK))
    arrays = link_arrays(column, settings.text.max_candidates)
    ids = sorted({*arrays.entity_ids.to_pylist(), *decision.reference})
    known = embed_entities(kb, encoder, ids, settings.selection.template, cache, LocalEngine(), progress)
    try:
        picture = decode(data, max_pixels=settings.max_image_pixels, size_hint=encoder.preprocessing.size).image
    except ImageRefused as refused:
        raise OpenMofiError(f"{image} is no usable image: {refused.why}.") from refused
    features = encoder.image_features(encoder.batch([encoder.preprocess(picture)]))
    view = View.of(encoder, known, decision.reference)
    looked = Looked((view,), np.zeros(1, np.int64), encoder.project_images(features))
    verdicts = judge(arrays, np.ones(1, bool), looked, judged_positions(arrays, known), decision, settings.selection,
                     settings.selection.threshold)
    found = []
    for place, score, probability, reason in zip(verdicts.index, verdicts.image_score, verdicts.probability,
                                                 verdicts.reason, strict=True):
        mention = mentions[0][arrays.mention[place]]
        entity = kb.entity(kb.row(arrays.entity_ids[int(arrays.entity[place])].as_py()))
        found.append(Explained(mention.surface, mention.detector, entity.id, entity.name, entity.description,
                               float(arrays.prior[place]), float(arrays.link_score[place]), float(score),
                               float(probability), reason))
    return Explanation(text, tuple(mentions[0]), tuple(found), settings.selection.threshold)


def _calibration(encoder: Encoder, kb: KnowledgeBase, settings: LabelSettings, given: str | Path | None) -> Calibration:
    found = Calibration.load(given) if given else stored_calibration(encoder, kb, settings.selection.template)
    if found is None:
        raise OpenMofiError(f"The encoder {encoder.spec} has no calibration for this knowledge base.",
                            "Give the calibration.json of a label job with --calibration.")
    return found
