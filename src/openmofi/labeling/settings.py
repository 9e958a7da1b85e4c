"""Settings of the label job. Everything here is in the manifest: equal settings and inputs make the same bytes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from string import Formatter
from typing import Any

from openmofi.errors import UsageError
from openmofi.linking import check_linker
from openmofi.mentions import detector_names
from openmofi.pairs import ReadSettings
from openmofi.pairs.images.decode import MAX_PIXELS

_TEMPLATE_HINT = "It must hold {name} or {description}, and nothing else in braces."


@dataclass(frozen=True)
class TextSettings:
    """What is done with a pair's text.

    Attributes:
        detector: spec of the mention detector, e.g. `gazetteer` or `gazetteer+spacy`.
        linker: `prior`, `coherence`, or `fusion:PATH` (what `openmofi link train` wrote to RUN/linker).
        max_candidates: candidates a mention that the image judges, by descending link score.
    """

    detector: str = "gazetteer"
    linker: str = "coherence"
    max_candidates: int = 8

    def __post_init__(self) -> None:
        detector_names(self.detector)
        check_linker(self.linker)
        if self.max_candidates < 1:
            raise UsageError(f"max_candidates is {self.max_candidates}; it must be at least 1.")


@dataclass(frozen=True)
class SelectionSettings:
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

    template: str = "{name}: {description}"
    threshold: float = 0.8
    target_precision: float | None = None
    top_k: int = 5
    sibling_margin: float = 0.0

    def __post_init__(self) -> None:
        for name in ("threshold", "sibling_margin"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} is {getattr(self, name)}; it must lie between 0 and 1.")
        if self.target_precision is not None and not 0 < self.target_precision < 1:
            raise UsageError(f"target_precision is {self.target_precision}; it must lie between 0 and 1.")
        if self.top_k < 1:
            raise UsageError(f"top_k is {self.top_k}; it must be at least 1.")
        try:
            fields = {field for _, field, _, _ in Formatter().parse(self.template) if field is not None}
        except ValueError as error:
            raise UsageError(f"The template {self.template!r} does not work: {error}.", _TEMPLATE_HINT) from error
        if not fields or not fields <= {"name", "description"}:
            raise UsageError(f"The template {self.template!r} holds {sorted(fields)}.", _TEMPLATE_HINT)


@dataclass(frozen=True)
class LabelSettings:
    """The label job.

    Attributes:
        text, selection: see there.
        adapt: fit a light adapter over the encoder on the job's own links before selecting.
        batch_size: images a forward pass; part of the settings because it may change the last bits of an embedding.
        max_image_pixels: larger images are refused before they are decoded.
        read: see `openmofi.pairs.ReadSettings`.
        seed: of the calibration's shuffles and the adapter.
    """

    text: TextSettings = TextSettings()
    selection: SelectionSettings = SelectionSettings()
    adapt: bool = False
    batch_size: int = 64
    max_image_pixels: int = MAX_PIXELS
    read: ReadSettings = ReadSettings()
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("batch_size", "max_image_pixels"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; it must be at least 1.")

    def as_dict(self) -> dict[str, Any]:
        """Nested plain values, for the manifest."""
        return asdict(self)
