"""Settings of the label job. Everything here is in the manifest: equal settings and inputs make the same bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from openmofi.config import Fraction, NonNegativeInt, PositiveInt, Settings
from openmofi.knowledge.texts import DEFAULT_TEMPLATE, check_template
from openmofi.linking import check_linker
from openmofi.mentions import detector_names
from openmofi.pairs import ReadSettings
from openmofi.pairs.images.decode import MAX_PIXELS


@dataclass(frozen=True)
class TextSettings(Settings):
    """What is done with a pair's text.

    Attributes:
        detector: spec of the mention detector, e.g. `gazetteer` or `gazetteer+spacy`; see `open_detector`.
        linker: `prior`, `coherence`, or `fusion:PATH` (what `openmofi link train` wrote to RUN/linker).
        max_candidates: candidates a mention that the image judges, by descending link score.
        boilerplate: look for what the texts of the corpus repeat, for credits, addresses, dates and file names; a
            mention in them keeps its place with a reason, and gets no candidates.
    """

    detector: str = "gazetteer"
    linker: str = "coherence"
    max_candidates: PositiveInt = 8
    boilerplate: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        detector_names(self.detector)
        check_linker(self.linker)


@dataclass(frozen=True)
class SelectionSettings(Settings):
    """Which of the linked entities become labels.

    Attributes:
        template: the entity text that the encoder reads; `{name}` and `{description}` are filled in
            (MOFI §3.1 describes entities so; which template Apple used is not published).
        threshold: an entity is accepted from this calibrated probability on, 0..1.
        target_precision: if set, the threshold is the lowest one at which the calibration expects this precision,
            and `threshold` is not used.
        top_k: accepted entities an image, at most, by probability.
        sibling_margin: by how much in probability the best candidate of a mention must lead the second one.
    """

    template: str = DEFAULT_TEMPLATE
    threshold: Fraction = 0.8
    target_precision: Annotated[float, Meta(gt=0, lt=1)] | None = None
    top_k: PositiveInt = 5
    sibling_margin: Fraction = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_template(self.template)


@dataclass(frozen=True)
class LabelSettings(Settings):
    """The label job.

    Attributes:
        text, selection: see there.
        adapt: fit a light adapter over the encoder on the job's own links before selecting.
        rescue: judge again with the votes of what was found, up to two times, while that makes the evidence likelier.
        batch_size: images a forward pass; part of the settings because it may change the last bits of an embedding.
        max_image_pixels: larger images are refused before they are decoded.
        read: see `openmofi.pairs.ReadSettings`.
        seed: of the calibration's shuffles and the adapter.
    """

    text: TextSettings = TextSettings()
    selection: SelectionSettings = SelectionSettings()
    adapt: bool = False
    rescue: bool = False
    batch_size: PositiveInt = 64
    max_image_pixels: PositiveInt = MAX_PIXELS
    read: ReadSettings = ReadSettings()
    seed: NonNegativeInt = 0
