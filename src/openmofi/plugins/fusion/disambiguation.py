"""Entity disambiguation: a linker chooses among the given candidates of each mention.

As in ZELDA (Milich and Akbik, EACL 2023): accuracy over mentions whose gold is an entity (InKB), for each split, and
the macro average over splits; `macro_accuracy_inkb` is what ZELDA publishes, the mean over its nine test splits. A
mention whose gold is not among its candidates counts as wrong; the share of the others is the ceiling. The prior, which
always answers the name's most common entity, is reported too. A mention is shadowed if a more common entity of the same
name hides the gold (ShadowLink, arXiv 2108.10949).

Data: A table of `openmofi link examples`, or ZELDA (https://github.com/flairNLP/zelda; texts and candidate lists under
the terms of their sources). Layout: DIR/test_data/jsonl/test_*.jsonl, DIR/other/zelda_mention_entities_counter.pickle,
DIR/other/entity_descriptions.jsonl.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from itertools import groupby, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openmofi.arrays import Bools
from openmofi.bootstrap import Interval, bootstrap_interval, macro_interval
from openmofi.config import NonNegativeInt, Settings
from openmofi.errors import OpenMofiError, UsageError
from openmofi.evaluation.protocol import LINKER, EvaluationProtocol, Measured, Subject
from openmofi.evaluation.result import items_table
from openmofi.knowledge import KnowledgeBase
from openmofi.linking import CoherenceLinker, CoherenceSettings, linker_fingerprint
from openmofi.mentions import MentionDetector, detector_fingerprint, open_detector
from openmofi.plugins.fusion.examples import NIL, LinkExample
from openmofi.plugins.fusion.zelda import judged_examples
from openmofi.schema import Link, Mention
from openmofi.storage import fingerprint

BUCKETS = (0, 1, 2, 4, 8, 16)
"""Smallest number of candidates of each bucket."""


@dataclass(frozen=True)
class JudgedMentions:
    """Mentions with a gold entity.

    Attributes:
        rows: (n,) int64, positions among the examples.
        splits: (n,) str, the split of each.
        candidates: (n,) int64, number of listed candidates.
        correct: (n,) whether the answer is the gold.
        prior: (n,) whether the most common candidate is the gold.
        reachable: (n,) whether the gold is listed.
        shadowed: (n,) whether another candidate is more common than the gold.
    """

    rows: NDArray[np.int64]
    splits: NDArray[np.str_]
    candidates: NDArray[np.int64]
    correct: Bools
    prior: Bools
    reachable: Bools
    shadowed: Bools

    def take(self, mask: Bools) -> JudgedMentions:
        """The mentions at which `mask`, (n,), is true."""
        return JudgedMentions(*(getattr(self, column.name)[mask] for column in fields(self)))


def prior_answers(examples: Sequence[LinkExample]) -> list[str]:
    """Return each example's commonest listed candidate, the first of equals; `NIL` without candidates."""
    return [
        max(listed, key=lambda candidate: candidate.prior).id if (listed := example.listed) else NIL
        for example in examples
    ]


def judge(examples: Sequence[LinkExample], answers: Sequence[str]) -> JudgedMentions:
    """Compare answers, identifiers or `NIL`, with the gold of the examples that have a gold entity.

    Raises:
        OpenMofiError: no example has a gold entity, or the number of answers differs.
    """
    if len(answers) != len(examples):
        raise OpenMofiError(
            f"There are {len(answers):,} answers to {len(examples):,} examples.",
            "Give one answer for each example, in order.",
        )
    require_gold(example.gold != NIL for example in examples)
    rows = [row for row, example in enumerate(examples) if example.gold != NIL]
    judged = [examples[row] for row in rows]
    golds, priors = np.array([example.gold for example in judged]), np.array(prior_answers(judged))
    return JudgedMentions(
        np.array(rows, np.int64),
        np.array([example.split for example in judged]),
        np.array([len(example.listed) for example in judged], np.int64),
        np.array([answers[row] for row in rows]) == golds,
        priors == golds,
        np.array([example.reachable for example in judged]),
        np.array([example.shadowed for example in judged]),
    )


def require_gold(golds: Iterable[object]) -> None:
    """Check that there is a gold entity: that any of `golds` is true.

    Raises:
        OpenMofiError: there is none.
    """
    if not any(golds):
        raise OpenMofiError(
            "No example has a gold entity, so there is nothing to judge.",
            "Give examples whose gold is one of their candidates.",
        )


def scores_of_judged(judged: JudgedMentions) -> dict[str, Any]:
    """Compute all metrics, as JSON values.

    Returns:
        `mentions` (InKB); `accuracy`, `ceiling`, `prior` over all mentions, and prefixed with
        `macro_` the mean over splits; `shadowed` over `shadowed_mentions`, `None` without any; 95 % bootstrap intervals
        over mentions as `NAME_interval`; `splits` and `by_candidates`: the same for each split and each number of
        candidates (`"2-3"`), without macro averages.
    """
    splits = {name: judged.take(judged.splits == name) for name in dict.fromkeys(judged.splits.tolist())}
    return {
        **_scores(judged),
        **{
            f"macro_{name}": float(np.mean([getattr(split, column).mean() for split in splits.values()]))
            for name, column in (("accuracy", "correct"), ("ceiling", "reachable"), ("prior", "prior"))
        },
        "macro_accuracy_interval": macro_interval([split.correct for split in splits.values()]),
        "splits": {name: _scores(split) for name, split in splits.items()},
        "by_candidates": {name: _scores(judged.take(mask)) for name, mask in _buckets(judged) if mask.any()},
    }


def _scores(judged: JudgedMentions) -> dict[str, Any]:
    shadowed = judged.correct[judged.shadowed]
    return {
        "mentions": len(judged.rows),
        "accuracy": float(judged.correct.mean()),
        "accuracy_interval": _interval(judged.correct),
        "ceiling": float(judged.reachable.mean()),
        "prior": float(judged.prior.mean()),
        "shadowed_mentions": len(shadowed),
        "shadowed": float(shadowed.mean()) if len(shadowed) else None,
        "shadowed_interval": _interval(shadowed) if len(shadowed) else None,
    }


def _interval(correct: Bools) -> Interval:
    return bootstrap_interval(correct, np.arange(len(correct)))


def _buckets(judged: JudgedMentions) -> list[tuple[str, Bools]]:
    last = BUCKETS[-1]
    buckets = [
        (str(low) if high == low + 1 else f"{low}-{high - 1}", (judged.candidates >= low) & (judged.candidates < high))
        for low, high in pairwise(BUCKETS)
    ]
    return [*buckets, (f"{last}+", judged.candidates >= last)]


DISAMBIGUATORS = ("prior", "fusion:PATH", "coherence:KB")


@dataclass(frozen=True)
class Disambiguator:
    """A linker for mentions with given candidates.

    Attributes:
        spec: as given.
        fingerprint: identifies its answers.
        answers: examples → for each the identifier of a listed candidate, or `NIL`. Examples of the same text must be
            in one call.
        kb: the knowledge base that it uses, if any.
    """

    spec: str
    fingerprint: str
    answers: Callable[[Sequence[LinkExample]], list[str]]
    kb: KnowledgeBase | None = None


def open_disambiguator(spec: str, *, detector: str = "gazetteer", device: str = "cpu") -> Disambiguator:
    """Open a linker by its spec.

    Args:
        spec: `prior`: the most common candidate; `fusion:PATH`: a fusion decoder; `coherence:KB`: see
            `coherence_answers`.
        detector: finds the other mentions of a text, for `coherence`.
        device: of the fusion decoder.

    Raises:
        UsageError: the linker is unknown.
        OpenMofiError: its path has no fusion decoder or knowledge base.
    """
    kind, _, rest = spec.partition(":")
    if spec == "prior":
        return Disambiguator(spec, linker_fingerprint(spec), prior_answers)
    if kind == "fusion" and rest:
        from openmofi.plugins.fusion.linker import answers_of
        from openmofi.plugins.fusion.store import open_fusion

        fusion = open_fusion(rest)
        fusion.model.to(device)
        return Disambiguator(spec, linker_fingerprint(spec), partial(answers_of, fusion))
    if kind == "coherence" and rest:
        kb = KnowledgeBase.open(rest)
        identity = fingerprint([kind, kb.fingerprint, asdict(CoherenceSettings()), detector_fingerprint(detector)])
        return Disambiguator(spec, identity, partial(coherence_answers, kb, open_detector(detector, kb)), kb)
    raise UsageError(f"Unknown value {spec!r} for linker, with given candidates.", f"Use {', '.join(DISAMBIGUATORS)}.")


def coherence_answers(kb: KnowledgeBase, detector: MentionDetector, examples: Sequence[LinkExample]) -> list[str]:
    """Answer by context coherence: with the listed candidate that best fits the rest of the text.

    Names and priors come from its own knowledge base; the rest of the text are the mentions of other examples and of
    the detector. Where the knowledge base has none of the listed candidates under the mention's name, the example's
    prior decides.
    """
    texts = list(dict.fromkeys(example.text for example in examples))
    spans: dict[str, set[tuple[int, int]]] = {text: set() for text in texts}
    for example in examples:
        spans[example.text].add((example.start, example.end))
    mentions = [
        _with_given(text, spans[text], detected) for text, detected in zip(texts, detector.detect(texts), strict=True)
    ]
    links_of: dict[tuple[str, int, int], list[Link]] = {}
    for text, of_text, links in zip(texts, mentions, CoherenceLinker(kb).link(texts, mentions), strict=True):
        for link in links:
            mention = of_text[link.mention]
            links_of.setdefault((text, mention.start, mention.end), []).append(link)
    answers = prior_answers(examples)
    for row, example in enumerate(examples):
        listed = {candidate.id for candidate in example.listed}
        links = links_of.get((example.text, example.start, example.end), [])
        answers[row] = next((link.entity for link in links if link.entity in listed), answers[row])
    return answers


def _with_given(text: str, given: set[tuple[int, int]], detected: Sequence[Mention]) -> list[Mention]:
    """The given spans, and detected mentions that overlap none of them."""
    others = [
        mention for mention in detected if all(mention.end <= start or end <= mention.start for start, end in given)
    ]
    mentions = [Mention(start, end, text[start:end], "given") for start, end in given]
    return sorted([*others, *mentions], key=lambda mention: (mention.start, mention.end))


def count_unknown(kb: KnowledgeBase, entities: Iterable[str], what: str) -> int:
    """Count the entities that a knowledge base lacks; `what` describes them in the error.

    Raises:
        OpenMofiError: it has none of them.
    """
    distinct = sorted(set(entities))
    unknown = int((kb.rows(distinct) < 0).sum())
    if distinct and unknown == len(distinct):
        raise OpenMofiError(
            f"The knowledge base {kb.path} has none of the {unknown:,} {what}.",
            "Give the knowledge base whose identifiers the examples use.",
        )
    return unknown


def in_parts(subject: Subject, parts: Sequence[Any], link: Callable[[Any], list[Any]]) -> list[Any]:
    """Call `link` for each part, with progress, and concatenate its outputs."""
    subject.progress.begin("link", len(parts))
    outputs: list[Any] = []
    for part in parts:
        outputs += link(part)
        subject.progress.advance({"rows": len(part)})
    return outputs


ACCURACY, SHADOWED = "accuracy_inkb", "shadowed_accuracy_inkb"
_PART = 2000


@dataclass(frozen=True)
class DisambiguationSettings(Settings):
    """Settings of `disambiguation`.

    Attributes:
        splits: use only these; all but `train` and `validation` by default.
        candidates: use at most this many candidates of a mention, the most common ones; 0 for all, as published.
        detector: finds the other mentions of a text, for `coherence`.
    """

    splits: tuple[str, ...] = ()
    candidates: NonNegativeInt = 0
    detector: str = "gazetteer"


def measure(subject: Subject) -> Measured:
    """Measure a linker by the protocol of this module."""
    settings: DisambiguationSettings = subject.settings
    linker = open_disambiguator(subject.linker, detector=settings.detector, device=subject.device)
    examples = judged_examples(subject.data, settings.splits, candidates=settings.candidates)
    if linker.kb is not None:
        count_unknown(linker.kb, (candidate.id for example in examples for candidate in example.listed), "candidates")
    answers = in_parts(subject, list(_parts(examples)), linker.answers)
    judged = judge(examples, answers)
    scores = scores_of_judged(judged)
    metrics, intervals = _metrics(scores)
    return Measured(
        metrics=metrics,
        intervals=intervals,
        interval_over="mentions",
        counts={
            "mentions": scores["mentions"],
            "nil": len(examples) - scores["mentions"],
            "shadowed": scores["shadowed_mentions"],
            "splits": len(scores["splits"]),
        },
        data_fingerprint=fingerprint([asdict(example) for example in examples]),
        items=_items(judged),
        encoder={"spec": linker.spec, "fingerprint": linker.fingerprint},
        facts={
            "splits": scores["splits"],
            "by_candidates": scores["by_candidates"],
            "wrong": _wrong(judged, examples, answers, subject.failures),
        },
    )


def _parts(examples: Sequence[LinkExample]) -> Iterator[list[LinkExample]]:
    """Parts of at least `_PART` examples; neighbours of the same text stay together."""
    part: list[LinkExample] = []
    for _, of_text in groupby(examples, key=lambda example: example.text):
        part += of_text
        if len(part) >= _PART:
            yield part
            part = []
    if part:
        yield part


def _metrics(scores: dict[str, Any]) -> tuple[dict[str, float], dict[str, Interval]]:
    metrics = {
        ACCURACY: scores["accuracy"],
        f"macro_{ACCURACY}": scores["macro_accuracy"],
        "macro_ceiling": scores["macro_ceiling"],
        "macro_prior": scores["macro_prior"],
    }
    intervals: dict[str, Interval] = {f"macro_{ACCURACY}": scores["macro_accuracy_interval"]}
    parts = {"": scores, **{f"{split}/": values for split, values in scores["splits"].items()}}
    for part, values in parts.items():
        metrics |= {
            f"{part}{ACCURACY}": values["accuracy"],
            f"{part}ceiling": values["ceiling"],
            f"{part}prior": values["prior"],
        }
        intervals[f"{part}{ACCURACY}"] = values["accuracy_interval"]
        if values["shadowed"] is not None:
            metrics[f"{part}{SHADOWED}"] = values["shadowed"]
            intervals[f"{part}{SHADOWED}"] = values["shadowed_interval"]
    metrics |= {
        f"candidates_{bucket}/{ACCURACY}": values["accuracy"] for bucket, values in scores["by_candidates"].items()
    }
    return metrics, intervals


def _items(judged: JudgedMentions) -> Any:
    names = [str(row) for row in judged.rows.tolist()]
    shadowed = np.where(judged.shadowed, judged.correct, np.nan)
    return items_table(names, names, {ACCURACY: judged.correct, SHADOWED: shadowed}, judged.splits.tolist())


def _wrong(
    judged: JudgedMentions, examples: Sequence[LinkExample], answers: Sequence[str], count: int
) -> list[dict[str, Any]]:
    """At most `count` wrong answers to mentions whose gold is listed, evenly spread."""
    rows = judged.rows[judged.reachable & ~judged.correct].tolist()
    step = max(1, len(rows) // count) if count else 1
    return [
        {
            "text": examples[row].text,
            "mention": examples[row].mention,
            "start": examples[row].start,
            "gold": examples[row].gold,
            "answer": answers[row],
        }
        for row in rows[::step][:count]
    ]


PROTOCOL = EvaluationProtocol(
    name="disambiguation",
    version=1,
    headline=ACCURACY,
    settings=DisambiguationSettings,
    measure=measure,
    judges=LINKER,
    rule="Mentions whose gold is not an entity (NIL) are left out; one whose gold is not listed is wrong.",
)
