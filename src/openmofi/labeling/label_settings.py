"""Settings of the label job. Everything here is in the manifest: equal settings and inputs make the same bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from msgspec import Meta

from openmofi.config import Fraction, NonNegativeInt, PositiveInt, Settings
from openmofi.errors import UsageError
from openmofi.knowledge.texts import DEFAULT_TEMPLATE, check_template
from openmofi.pairs import MAX_PIXELS, ReadSettings


@dataclass(frozen=True)
class TextSettings(Settings):
    """What is done with a pair's text.

    Attributes:
        detector: `gazetteer[?languages=A,B]`, `spacy[:MODEL]`, `gliner:MODEL[?types=A,B]`, or several joined by `+`,
            as in `gazetteer+spacy`.
        linker: `coherence`, `prior`, `fusion:PATH`, which `openmofi link train` wrote to RUN/linker, or
            `reranker:PATH-OR-URL`.
        max_candidates: candidates of a mention that the image judges, likeliest first by the text.
        boilerplate: mark what texts repeat whatever is shown, credits, addresses, dates and file names; a mention in
            them keeps its row, with a reason, and gets no candidates.
        read_text: read what images say, which is one more text of a pair; takes openmofi[ocr].
    """

    detector: str = "gazetteer"
    linker: str = "coherence"
    max_candidates: PositiveInt = 8
    boilerplate: bool = True
    read_text: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        # Imported here: the settings alone are read for a command's help.
        from openmofi.linking import check_linker
        from openmofi.mentions import detector_names

        detector_names(self.detector)
        check_linker(self.linker)


@dataclass(frozen=True)
class SelectionSettings(Settings):
    """Which of the linked entities become labels.

    Attributes:
        template: the entity text that the encoder reads; `{name}` and `{description}` are filled in.
        threshold: accept an entity from this calibrated probability on, 0..1.
        target_precision: choose the threshold for this expected precision instead.
        confidence: with verdicts: the threshold at which `target_precision` is met with this confidence.
        trust_anyway: accept labels also where the encoder can't tell the entities apart.
        top_k: labels of an image, at most, by probability.
        sibling_margin: by how much in probability the best candidate of a mention must lead the second one.
    """

    # MOFI §3.1 describes entities so; which template Apple used is not published.
    template: str = DEFAULT_TEMPLATE
    threshold: Fraction = 0.8
    target_precision: Annotated[float, Meta(gt=0, lt=1)] | None = None
    confidence: Annotated[float, Meta(gt=0, lt=1)] | None = None
    trust_anyway: bool = False
    top_k: PositiveInt = 5
    sibling_margin: Fraction = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_template(self.template)
        if self.confidence is not None and self.target_precision is None:
            raise UsageError(
                "A confidence is that of a target precision, and none is given.", "Add --target-precision, e.g. 0.9."
            )


@dataclass(frozen=True)
class JudgeSettings(Settings):
    """A judge beyond the encoder, which is asked about candidates of a probability of .2 to .8.

    Attributes:
        judge: address of a vision server that speaks as OpenAI's do (vLLM, Ollama, llama.cpp), such as
            `http://localhost:8000/v1`; its token is that of OPENAI_API_KEY.
        judge_model: the model that answers; the first that the server lists where not given.
        judge_questions: so many at most, a quarter of them decoys; of doubtful mentions they are drawn evenly.
    """

    judge: str = ""
    judge_model: str = ""
    judge_questions: PositiveInt = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        if "@" in self.judge or "?" in self.judge:
            raise UsageError(
                "The address of the judge holds a secret, or may, and manifests name it.",
                "Give the address alone, such as http://localhost:8000/v1, and the token as OPENAI_API_KEY.",
            )


@dataclass(frozen=True)
class LabelSettings(Settings):
    """The label job.

    Attributes:
        text: Mentions and linking.
        selection: Which entities become labels.
        asking: A judge beyond the encoder.
        adapt: fit a light adapter over the encoder on the job's own links; it is used where a check finds it better.
        rescue: judge again with the accepted entities as witnesses, up to two times, while that makes the evidence
            likelier.
        batch_size: images a forward pass. It may change the last bits of an embedding.
        max_image_pixels: larger images are refused before they are decoded.
        read: Reading pairs.
        seed: of the calibration's shuffles and the adapter.
    """

    text: TextSettings = field(default_factory=TextSettings)
    selection: SelectionSettings = field(default_factory=SelectionSettings)
    asking: JudgeSettings = field(default_factory=JudgeSettings)
    adapt: bool = False
    rescue: bool = False
    batch_size: PositiveInt = 64
    max_image_pixels: PositiveInt = MAX_PIXELS
    read: ReadSettings = field(default_factory=ReadSettings)
    seed: NonNegativeInt = 0
