"""The whole reasoning for one pair: mentions, candidates, priors, coherence, what the image says, the decisions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from openmofi.encoders import Encoder, ImageInput
from openmofi.encoders.preprocess import as_image
from openmofi.engine import LocalEngine, Progress
from openmofi.errors import OpenMofiError
from openmofi.features.entities import embed_entities
from openmofi.features.store import content_digits
from openmofi.knowledge import KnowledgeBase, normalise
from openmofi.labeling.answers import JUDGE_FILE, Answers
from openmofi.labeling.calibrate.evidence import ImageEvidence, View
from openmofi.labeling.calibrate.rounds import Fitted
from openmofi.labeling.decide import calibration_keys, load_fitted, require_fitted
from openmofi.labeling.in_image import ImageReader, with_lines
from openmofi.labeling.judge import CorpusContext, Judgements, Opinion, select
from openmofi.labeling.label_settings import LabelSettings
from openmofi.labeling.link import TextLinker, kind_at
from openmofi.labeling.tables import LinkArrays, judged_rows, link_arrays
from openmofi.labeling.witness import ANSWERS
from openmofi.pairs.formats.columns import joined_texts
from openmofi.schema import IN_IMAGE, LINK, Mention, Pair, PairStatus, Reason
from openmofi.storage import exists


@dataclass(frozen=True)
class Explained:
    """One candidate of a mention, fully judged; see `openmofi.schema.JUDGEMENT`. `kind` is the name of the text that
    its mention was found in, where texts have names, or ""; `judge` a `JudgeAnswer` that `openmofi label --judge` left
    beside the calibration, on this image, or "".
    """

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
    kind: str = ""
    judge: str = ""


@dataclass(frozen=True)
class Explanation:
    """What `explain` found: the mentions, the candidates in the order of the text, and the threshold."""

    text: str
    mentions: tuple[Mention, ...]
    candidates: tuple[Explained, ...]
    threshold: float

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def explain(
    image: ImageInput,
    text: str | Mapping[str, str],
    kb: KnowledgeBase,
    encoder: Encoder,
    settings: LabelSettings,
    *,
    cache: str | Path,
    progress: Progress,
    calibration: str | Path | None = None,
) -> Explanation:
    """Reason about one pair as the label job would; but a text alone has no corpus that could repeat it.

    Args:
        image: a path, encoded bytes, or a PIL image.
        text: its text; several by the names of their kinds, as the columns that a label job is told of.
        kb, encoder, settings: as of the label job.
        cache: keeps entity embeddings.
        progress: receives the entities that have to be embedded first.
        calibration: a label job's calibration file; that beside the encoder where not given.

    Raises:
        OpenMofiError: the encoder cannot compare images with texts, the image cannot be read, or the encoder has no
            calibration for this knowledge base.
    """
    encoder.require_comparison()
    text, kinds = (text, ()) if isinstance(text, str) else joined_texts(text)
    decoded = as_image(image, encoder.preprocessing, max_pixels=settings.max_image_pixels)
    if settings.text.read_text:
        text, kinds = _with_text_of(decoded, text, kinds, settings, progress)
    fitted, answers = _calibration(encoder, kb, settings, calibration)
    content = _content(image) if answers else ""
    decision = fitted.calibration
    linked = TextLinker(kb, settings.text).link([text])[0]
    arrays = link_arrays(pa.array([list(map(asdict, linked.links))], pa.list_(LINK)), settings.text.max_candidates)
    kind = [kind_at(linked.mentions[number].start, kinds) for number in arrays.mention]
    arrays = replace(arrays, in_image=np.array(kind, object) == IN_IMAGE)
    ids = sorted({*arrays.entity_ids.to_pylist(), *decision.reference})
    template = settings.selection.template
    entities = embed_entities(kb, encoder, ids, template, cache, LocalEngine(), progress, images=True)
    # No page of the corpus, so no fold: the heads that were fitted on everything judge.
    view = View.of(encoder, entities, decision.reference, encoder.logit_scale or decision.logit_scale)
    features = encoder.image_features(encoder.batch([encoder.preprocess(decoded)]))
    names = [normalise(linked.mentions[number].surface) for number in arrays.mention]
    unknown = np.zeros(1, np.uint64)
    context = CorpusContext.of(arrays, names, decision, kb, fitted.gallery, features, [text], unknown)
    images = ImageEvidence((view,), np.zeros(1, np.int64), encoder.project_images(features))
    judgements = select(
        arrays,
        np.ones(1, bool),
        [Opinion(images, decision, context)],
        judged_rows(arrays, entities),
        settings.selection,
        settings.selection.threshold,
        partial(answers.heard, [content]) if answers else None,
    )
    explained = _explained(judgements, arrays, linked.mentions, kinds, kb)
    return Explanation(text, tuple(linked.mentions), tuple(explained), settings.selection.threshold)


def _with_text_of(
    image: Image.Image, text: str, kinds: tuple[tuple[str, int], ...], settings: LabelSettings, progress: Progress
) -> tuple[str, tuple[tuple[str, int], ...]]:
    """Return a text with what its image says, and the kinds of both."""
    reader = ImageReader.open()
    if (lines := reader(image)) is None:
        progress.say(f"The text in the image could not be read ({type(reader.error).__name__}: {reader.error}).")
    status = PairStatus.OK if text.strip() else PairStatus.TEXT_EMPTY
    pair = with_lines(Pair("", None, text, status, kinds=kinds), lines or (), settings.read.max_text_chars)
    return pair.text, pair.kinds


def _explained(
    judgements: Judgements,
    arrays: LinkArrays,
    mentions: Sequence[Mention],
    kinds: Iterable[tuple[str, int]],
    kb: KnowledgeBase,
) -> Iterator[Explained]:
    said = np.zeros(len(judgements.index), np.int64) if judgements.said is None else judgements.said
    for row, score, probability, reason, code in zip(
        judgements.index, judgements.image_score, judgements.probability, judgements.reason, said, strict=True
    ):
        mention = mentions[arrays.mention[row]]
        entity = kb.entity(kb.row(arrays.entity_ids[int(arrays.entity[row])].as_py()))
        yield Explained(
            mention.surface,
            mention.detector,
            entity.id,
            entity.name,
            entity.description,
            float(arrays.prior[row]),
            float(arrays.link_score[row]),
            float(score),
            float(probability),
            reason,
            kind_at(mention.start, kinds),
            str(ANSWERS[code]),
        )


def _calibration(
    encoder: Encoder,
    kb: KnowledgeBase,
    settings: LabelSettings,
    given: str | Path | None,
) -> tuple[Fitted, Answers | None]:
    """Load the calibration, and the answers of a judge beyond the encoder beside it."""
    template = settings.selection.template
    keys = calibration_keys(encoder, kb, template)
    path = given or next((path for key, path in encoder.calibrations.items() if key in keys), None)
    path = path or encoder.companions.calibration
    if path is None:
        raise OpenMofiError(
            f"The encoder {encoder.spec} has no calibration for this knowledge base.",
            "Label pairs with it first, or give the calibration.json of a label job.",
        )
    fitted = load_fitted(path)
    require_fitted(fitted.calibration, path, encoder, kb, template)
    folder = str(path).rpartition("/")[0] or "."
    return fitted, Answers.load(folder) if exists(f"{folder}/{JUDGE_FILE}") else None


def _content(image: ImageInput) -> str:
    """Return the digest of an image that was given encoded, or as a path; else ""."""
    data = image if isinstance(image, bytes) else Path(image).read_bytes() if isinstance(image, str | Path) else None
    return content_digits(data)
