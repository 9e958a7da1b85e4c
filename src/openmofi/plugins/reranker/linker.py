"""The reranker as a linker: opened from a folder, a server's address or a model of others."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np

from openmofi.arrays import Doubles
from openmofi.errors import OpenMofiError, UsageError
from openmofi.knowledge import KnowledgeBase
from openmofi.linking import CoherenceLinker, CoherenceSettings
from openmofi.linking.candidates import NameCandidates
from openmofi.plugins.fusion.fusion_settings import FusionLinkSettings
from openmofi.plugins.fusion.questions import LinkQuestion, QuestionLinker
from openmofi.plugins.reranker.scorer import Reranker, Scorer
from openmofi.schema import Link, Mention
from openmofi.storage import fingerprint, read_json, write_json

SPEC_FILE = "reranker.json"
FORMAT_VERSION = 1
_MIX = ("temperature", "prior_weight")
_DIGITS, _LEAST_ANSWER = 4, 1e-5
_BY_COHERENCE = 2
"""The version of what is made of a reranker's answers."""
_LEAST, _MOST = 1e-3, 1e3
_HINT = "Options are temperature, prior_weight, and a server's model and scores, as in ?model=NAME&temperature=2."


class RerankerLinker(QuestionLinker):
    """A reranker as a `Linker`: `--linker reranker:PATH-OR-URL`.

    Its answers take the place of the prior in `CoherenceLinker`, which weighs them by the other names of the text; a
    name has one meaning in a text.
    """

    name = "reranker"

    def __init__(self, kb: KnowledgeBase, reranker: Reranker) -> None:
        super().__init__(kb)
        self.reranker = reranker
        self._coherence = CoherenceLinker(kb)

    def link(self, texts: Sequence[str], mentions: Sequence[Sequence[Mention]]) -> list[list[Link]]:
        """See `Linker.link`."""
        return self._coherence.links([_of_one_meaning(names) for names in self.answered(texts, mentions)])

    def scores(self, questions: Sequence[LinkQuestion]) -> list[Doubles]:
        """See `QuestionLinker.scores`."""
        return self.reranker.scores(questions)


def _of_one_meaning(names: Sequence[NameCandidates]) -> list[NameCandidates]:
    """Give a name that occurs several times in a text the mean of its answers.

    No candidate gets 0, which nothing else in the text could lift; the last digits, which another batch could change,
    are rounded off.
    """
    answers: dict[str, list[Doubles]] = {}
    for name in names:
        answers.setdefault(name.key, []).append(name.prior)
    means = {
        key: np.maximum(np.round(np.mean(of_name, axis=0), _DIGITS), _LEAST_ANSWER) for key, of_name in answers.items()
    }
    return [replace(name, prior=means[name.key]) for name in names]


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
        return _mixed(MiniLMScorer(np.array(raw["weights"], np.float64)), {name: raw[name] for name in _MIX})
    except (KeyError, TypeError, ValueError, OverflowError, UsageError) as error:
        raise OpenMofiError(f"The reranker {argument} is damaged: {error}.", "Train or copy it again.") from error


def reranker_fingerprint(argument: str) -> str:
    """Identify a reranker by its content, or by address and model where a server has it.

    Raises:
        UsageError, OpenMofiError: see `open_reranker`.
    """
    by_address = argument.startswith(("http://", "https://", "st:"))
    own = open_reranker(argument).fingerprint if by_address else _read(Path(argument))
    return fingerprint([own, _BY_COHERENCE, CoherenceSettings().as_dict(), FusionLinkSettings().as_dict()])


def save_reranker(folder: Path, reranker: Reranker, weights: Doubles) -> None:
    """Write a folder that `open_reranker` opens.

    Raises:
        OpenMofiError: it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mix = {name: getattr(reranker, name) for name in _MIX}
    write_json(folder / SPEC_FILE, {"format_version": FORMAT_VERSION, **mix, "weights": weights.tolist()})


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


def _mixed(scorer: Scorer, options: Mapping[str, Any]) -> Reranker:
    try:
        mix = {name: float(options[name]) for name in _MIX if name in options}
    except ValueError as error:
        raise UsageError(f"An option of the reranker is not a number: {error}.", _HINT) from error
    if not (_LEAST <= mix.get("temperature", 1) <= _MOST and 0 <= mix.get("prior_weight", 1) <= _MOST):
        raise UsageError(
            f"temperature has to be from {_LEAST:g} to {_MOST:g}, prior_weight from 0 to {_MOST:g}.", _HINT
        )
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
