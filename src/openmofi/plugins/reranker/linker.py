"""The reranker in use: each candidate's relevance, mixed with how common it is; of a folder, a server or a model.

P(e | m) ∝ exp(relevance / T) · commonness^α over the candidates, times the share of the name's occurrences that mean
one of them; the rest is NIL's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qsl

import numpy as np

from openmofi.arrays import Doubles
from openmofi.errors import OpenMofiError, UsageError
from openmofi.knowledge import KnowledgeBase
from openmofi.plugins.fusion.examples import LinkCandidate, LinkExample
from openmofi.plugins.fusion.questions import LinkQuestion, QuestionLinker, fitted_calibration, log_priors
from openmofi.plugins.reranker.examples import HELD_OUT
from openmofi.storage import fingerprint, read_json, write_json

SPEC_FILE = "reranker.json"
FORMAT_VERSION = 1
_MIX = ("temperature", "prior_weight")
_HINT = "Options are temperature, prior_weight, and a server's model and scores, as in ?model=NAME&temperature=2."


class Scorer(Protocol):
    """Says how relevant candidates are to the text of a mention."""

    @property
    def fingerprint(self) -> str:
        """What decides its answers."""

    def relevance(self, questions: Sequence[LinkQuestion]) -> list[Doubles]:
        """Return one number for each candidate of each question, on a scale of log-odds."""


def candidate_text(candidate: LinkCandidate) -> str:
    """Return "name: description (type)", of what the knowledge base has."""
    described = f"{candidate.title}: {candidate.description}" if candidate.description else candidate.title
    return f"{described} ({candidate.type})" if candidate.type else described


def query_text(question: LinkQuestion) -> str:
    """Return "mention: text"."""
    return f"{question.text[question.start : question.end]}: {question.text}"


@dataclass(frozen=True)
class Reranker:
    """A scorer and its mix with the prior.

    Attributes:
        scorer: see `Scorer`.
        temperature: T, which relevance is divided by.
        prior_weight: α, the weight of log commonness.
    """

    scorer: Scorer
    temperature: float = 1.0
    prior_weight: float = 1.0

    @property
    def fingerprint(self) -> str:
        """What decides its answers."""
        return fingerprint([self.scorer.fingerprint, self.temperature, self.prior_weight])

    def scores(self, questions: Sequence[LinkQuestion]) -> list[Doubles]:
        """Score each question's candidates and, last, NIL, which gets −∞: the prior alone says how likely it is."""
        return [
            np.append(relevance, -np.inf) / self.temperature + self.prior_weight * log_priors(question.candidates)
            for question, relevance in zip(questions, self.scorer.relevance(questions), strict=True)
        ]


class RerankerLinker(QuestionLinker):
    """A reranker as a `Linker`: `--linker reranker:PATH-OR-URL`."""

    name = "reranker"

    def __init__(self, kb: KnowledgeBase, reranker: Reranker) -> None:
        super().__init__(kb)
        self.reranker = reranker

    def scores(self, questions: Sequence[LinkQuestion]) -> list[Doubles]:
        """See `QuestionLinker.scores`."""
        return self.reranker.scores(questions)


def open_reranker(argument: str) -> Reranker:
    """Open a reranker: a folder that `train` wrote, `http://…` or `https://…`, or `st:PATH-OR-ID`.

    Raises:
        UsageError: an option is unknown, or not a number.
        MissingExtraError: its package is not installed.
        OpenMofiError: the folder holds no reranker, the server does not answer, or the model cannot be read.
    """
    if argument.startswith(("http://", "https://")):
        from openmofi.plugins.reranker.server import open_server

        address, options = _options(argument, "model", "scores")
        return _mixed(open_server(address, options.get("model", ""), options.get("scores", "probability")), options)
    if argument.startswith("st:"):
        from openmofi.plugins.reranker.cross_encoder import CrossEncoder

        location, options = _options(argument.removeprefix("st:"))
        return _mixed(CrossEncoder(location), options)
    raw = _read(Path(argument))
    from openmofi.plugins.reranker.minilm import MiniLMScorer

    try:
        scorer = MiniLMScorer(np.array(raw["weights"], np.float64))
        return Reranker(scorer, float(raw["temperature"]), float(raw["prior_weight"]))
    except (KeyError, TypeError, ValueError) as error:
        raise OpenMofiError(f"The reranker {argument} is damaged: {error}.", "Train or copy it again.") from error


def reranker_fingerprint(argument: str) -> str:
    """Identify a reranker by its content, or by address and model where a server has it.

    Raises:
        UsageError, OpenMofiError: see `open_reranker`.
    """
    if argument.startswith(("http://", "https://", "st:")):
        return open_reranker(argument).fingerprint
    return fingerprint(_read(Path(argument)))


def save_reranker(folder: Path, reranker: Reranker, weights: Doubles) -> None:
    """Write a folder that `open_reranker` opens.

    Raises:
        OpenMofiError: it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mix = {name: getattr(reranker, name) for name in _MIX}
    write_json(folder / SPEC_FILE, {"format_version": FORMAT_VERSION, **mix, "weights": weights.tolist()})


def fitted(scorer: Scorer, examples: Sequence[LinkExample]) -> Reranker:
    """Fit temperature and prior weight on the examples that are held out."""
    reranker = Reranker(scorer)
    held_out = [example for example in examples if example.split == HELD_OUT]
    relevance = scorer.relevance([question_of(example) for example in held_out])
    targets = [[candidate.id for candidate in example.candidates].index(example.gold) for example in held_out]
    temperature, weight = fitted_calibration(
        [np.append(of_mention, -np.inf) for of_mention in relevance],
        [log_priors(example.candidates) for example in held_out],
        targets,
        nil=False,
    )
    return replace(reranker, temperature=temperature, prior_weight=weight)


def question_of(example: LinkExample) -> LinkQuestion:
    """Return what is asked about an example."""
    return LinkQuestion(example.text, example.start, example.end, example.candidates)


def accuracy(reranker: Reranker, examples: Sequence[LinkExample]) -> float:
    """Return the share of examples whose best candidate is the right one."""
    scores = reranker.scores([question_of(example) for example in examples])
    return float(
        np.mean(
            [
                example.candidates[int(of_mention[:-1].argmax())].id == example.gold
                for example, of_mention in zip(examples, scores, strict=True)
            ]
        )
    )


def _options(argument: str, *more: str) -> tuple[str, dict[str, str]]:
    """Split `PLACE?NAME=VALUE&…` into the place and the options, which are those of the mix and `more`.

    Raises:
        UsageError: another option.
    """
    place, _, query = argument.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    unknown = next((name for name in options if name not in (*_MIX, *more)), None)
    if unknown is not None or (query and not options):
        raise UsageError(f"The option {unknown or query!r} of reranker:{argument} is unknown.", _HINT)
    return place, options


def _mixed(scorer: Scorer, options: dict[str, str]) -> Reranker:
    try:
        mix = {name: float(options[name]) for name in _MIX if name in options}
    except ValueError as error:
        raise UsageError(f"An option of the reranker is not a number: {error}.", _HINT) from error
    if not all(np.isfinite(value) and value >= 0 for value in mix.values()) or mix.get("temperature") == 0:
        raise UsageError("temperature has to be above 0, prior_weight 0 or more.", _HINT)
    return Reranker(scorer, **mix)


def _read(folder: Path) -> dict[str, Any]:
    missing = OpenMofiError(
        f"{folder} is not a reranker: it has no {SPEC_FILE}.", "Train one with `openmofi link rerank`."
    )
    raw = read_json(folder / SPEC_FILE, dict[str, Any], "Train or copy it again.", missing=missing)
    if raw.get("format_version") != FORMAT_VERSION:
        raise OpenMofiError(
            f"{folder} has a format that this version does not read.", f"It reads format {FORMAT_VERSION}."
        )
    return raw
