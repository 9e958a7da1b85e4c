"""The step that asks a judge beyond the encoder: `--judge`.

The shards are judged without it first, into `unasked/`. Of the mentions with a candidate of probability .2 to .8 a part
is asked about, drawn by a hash: so the sample that chooses the threshold is asked as often as all pairs, and the rates
(`openmofi.labeling.witness`) are those of doubtful mentions and not of the most doubtful. Decoys are the same questions
about the image of another doubtful mention: of one whose likeliest entity is among the 16 nearest by text, and whose
text names none of the options. An answer is kept as soon as 32 are there, by image, question and model: a job that goes
on, or another one on the same cache, asks nothing twice. Shards that could not be read in time are not asked about.
"""

from __future__ import annotations

import heapq
import io
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import groupby, islice
from textwrap import shorten
from typing import Any

import numpy as np
import pyarrow as pa

from openmofi.arrays import Doubles, Ints
from openmofi.errors import OpenMofiError
from openmofi.features.entity_table import EntityEmbeddings
from openmofi.knowledge import KnowledgeBase
from openmofi.labeling.advice import refuses
from openmofi.labeling.answers import (
    ANSWERS_FILE,
    JUDGE_FILE,
    UNASKED,
    Answers,
    ImageJudge,
    JudgeReport,
    Options,
    code_of,
)
from openmofi.labeling.decide import threshold_of
from openmofi.labeling.judge import judged
from openmofi.labeling.label_job import LabelJob
from openmofi.labeling.tables import LinkArrays, first_of_each, link_arrays
from openmofi.labeling.witness import YES, Rates, fit_rates
from openmofi.pairs import ImageRefused, decode_image, read_pairs
from openmofi.schema import ANSWERS, LABELS, PairStatus
from openmofi.storage import Shard, exists, fingerprint, read_json, read_parquet, write_json, write_table
from openmofi.storage.addresses import names_in

DOUBTFUL = (0.2, 0.8)
_NEAREST = 16
_AT_ONCE, _BATCH, _GIVE_UP = 4, 32, 8
_SIDE, _QUALITY, _CHARACTERS = 768, 90, 200


@dataclass(frozen=True)
class Question:
    """Which of the entities that a mention may mean an image shows.

    Attributes:
        shard, key, content: the pair of the image, and the image's digest.
        options: the entities, sorted.
        probability: of each, without the judge.
        named: all entities that the pair's text may name.
        decoy: whether the options are those of another pair.
    """

    shard: Shard
    key: str
    content: str
    options: Options
    probability: tuple[float, ...]
    named: frozenset[str]
    decoy: bool = False

    @property
    def digest(self) -> str:
        """Names the question, by the image and the options."""
        return fingerprint([self.content, self.options])

    def written(self, kb: KnowledgeBase) -> tuple[str, list[str]]:
        """Return the question in words, whose answers are 0, 1, 2 …, and what each means: an entity, or "" for none.

        The order of the options is drawn anew for each question, so that a judge who likes the first is found out.
        """
        order = np.random.default_rng(int(self.digest, 16)).permutation(len(self.options))
        meant = ["", *(self.options[place] for place in order)]
        lines = [
            f"{number}: {entity.name}{f' ({entity.description})' if entity.description else ''}"
            for number, entity in enumerate(map(kb.__getitem__, meant[1:]), start=1)
        ]
        return "\n".join(
            [
                "Which of these does the image show?",
                *(shorten(line, _CHARACTERS, placeholder=" …") for line in lines),
                "0: none of these",
                "Answer with the number alone.",
            ]
        ), meant


@dataclass(frozen=True)
class _Judged:
    """The candidates of a shard, each entity once a pair, as they were judged without the judge.

    Attributes:
        keys, content: (pairs,) of the pairs and their images.
        links: of the pairs; `index` are the (n,) positions of the candidates.
        probability: (n,).
    """

    keys: list[str]
    content: list[str]
    links: LinkArrays
    index: Ints
    probability: Doubles

    @classmethod
    def of(cls, job: LabelJob, shard: Shard) -> _Judged:
        path = f"{job.out}/{UNASKED}/labels/{shard.name}.parquet"
        table = read_parquet(path, LABELS, columns=["key", "entities"])
        images = job.tables.features.open(shard.name, shard.fingerprint).table
        links = link_arrays(table["entities"], sys.maxsize)
        index = first_of_each(links.pair, links.entity)[0]
        probability = table["entities"].combine_chunks().flatten().field("probability").to_numpy()[index]
        return cls(
            table["key"].to_pylist(), images["content"].to_pylist(), links, index, probability.astype(np.float64)
        )

    def doubtful(self, shard: Shard) -> Iterator[Question]:
        """Yield the questions about its doubtful mentions."""
        group, pair = self.links.group[self.index], self.links.pair[self.index]
        ids = np.array(self.links.entity_ids.to_pylist(), object)[self.links.entity[self.index]]
        unsure = (self.probability >= DOUBTFUL[0]) & (self.probability <= DOUBTFUL[1])
        for number in np.unique(group[unsure]):
            start, end = np.searchsorted(group, [number, number + 1])
            first, last = np.searchsorted(pair, [pair[start], pair[start] + 1])
            options = sorted(zip(ids[start:end].tolist(), self.probability[start:end].tolist(), strict=True))
            entities, probability = zip(*options, strict=True)
            row = int(pair[start])
            yield Question(
                shard, self.keys[row], self.content[row], entities, probability, frozenset(ids[first:last].tolist())
            )


def ask(job: LabelJob) -> None:
    """Ask about doubtful mentions, and choose the threshold by probabilities that include the answers."""
    before = judged("doubts", job, f"{job.out}/{UNASKED}")
    if not exists(f"{job.out}/{JUDGE_FILE}"):
        assert job.image_judge is not None
        _hear(job, job.image_judge)
    answers = Answers.load(job.out)
    job.judge_report = {**answers.judge.report, "accepted_without": before.accepted}
    rates, selection = answers.judge.rates, job.settings.selection
    report = job.judges[0].calibration.report
    if rates is None or rates.says_nothing or refuses(report, selection, job.correction is not None):
        return
    parts = [_Judged.of(job, shard) for shard in job.sample if shard in job.shards]
    heard = [answers.heard(part.content, part.links, part.index, part.probability)[0] for part in parts]
    job.threshold = threshold_of(np.concatenate(heard), selection, job.correction)


def _hear(job: LabelJob, judge: ImageJudge) -> None:
    """Ask, and write what was answered and what it is worth."""
    asked_shards = [shard for shard in job.shards if shard.name not in (job.late or ())]
    doubtful: Counter[str] = Counter()

    def drawn() -> Iterator[tuple[str, Question]]:
        for shard in asked_shards:
            for question in _Judged.of(job, shard).doubtful(shard):
                doubtful["mentions"] += 1
                yield question.digest, question

    most = job.settings.asking.judge_questions
    # Copies of an image with the same names are one question.
    distinct = dict(heapq.nsmallest(most - most // 4, drawn(), key=lambda each: each[0]))
    real = list(distinct.values())
    questions = [*real, *_decoys(job, real, min(most // 4, len(real)))]
    said, missing = _asked(job, judge, questions)
    rows = [
        {
            "shard": each.shard.name,
            "key": each.key,
            "content": each.content,
            "options": each.options,
            "said": answer,
            "decoy": each.decoy,
        }
        for each, answer in zip(questions, said, strict=True)
    ]
    write_table(f"{job.out}/{ANSWERS_FILE}", pa.Table.from_pylist(rows, ANSWERS))
    report = _report(judge.model, doubtful["mentions"], questions, said, missing)
    # Last of all: it says that the answers are there.
    write_json(f"{job.out}/{JUDGE_FILE}", asdict(report))


def _decoys(job: LabelJob, questions: Sequence[Question], count: int) -> list[Question]:
    """Put `count` of the questions, which are in a random order, to the image of another; see the head."""
    if not count:
        return []
    likeliest = pa.array([each.options[int(np.argmax(each.probability))] for each in questions])
    vectors = EntityEmbeddings(job.encoder, job.entities).of(job.entities.rows(likeliest))
    draw, decoys = np.random.default_rng(job.settings.seed), dict[str, Question]()
    for question, similarity in zip(questions, vectors[:count] @ vectors.T, strict=False):
        images = (questions[place] for place in np.argsort(-similarity, kind="stable"))
        others = (
            replace(image, options=question.options, probability=(), decoy=True)
            for image in images
            if not image.named & {*question.options}
        )
        if nearest := list(islice((other for other in others if other.digest not in decoys), _NEAREST)):
            decoy = nearest[int(draw.integers(len(nearest)))]
            decoys[decoy.digest] = decoy
    return list(decoys.values())


def _asked(job: LabelJob, judge: ImageJudge, questions: Sequence[Question]) -> tuple[list[str | None], Counter[str]]:
    """Return what was said to each question (`schema.ANSWERS`), and how many have no answer, by why."""
    folder, progress = f"{job.tables.features.cache}/answers/{fingerprint([judge.model])}", job.running.progress
    known: dict[str, str] = {}
    for name in names_in(folder):
        known |= read_json(f"{folder}/{name}", dict[str, str], "Remove it; what it holds is asked again.")
    written = [each.written(job.kb) for each in questions]
    marks = [fingerprint([each.content, text]) for each, (text, _) in zip(questions, written, strict=True)]
    pending = {mark: place for place, mark in enumerate(marks) if mark not in known}
    missing: Counter[str] = Counter()
    silent = 0

    def answer(task: tuple[int, bytes]) -> tuple[str, str | None]:
        nonlocal silent
        place, image = task
        if silent >= _GIVE_UP:
            return marks[place], None
        try:
            text, meant = written[place]
            said = judge.ask(_sent(image, job.settings.max_image_pixels), text, [str(n) for n in range(len(meant))])
        except (OpenMofiError, ImageRefused) as error:
            silent += isinstance(error, OpenMofiError)
            missing[str(error)] += 1
            return marks[place], None
        silent = 0
        return marks[place], said

    progress.begin("ask", len(pending))
    images = _images(job, {place: questions[place] for place in pending.values()}, missing)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        while silent < _GIVE_UP and (tasks := list(islice(images, _BATCH))):
            answered = {mark: said for mark, said in pool.map(answer, tasks) if said is not None}
            for _ in tasks:
                progress.advance({})
            if answered:
                write_json(f"{folder}/{fingerprint(answered)}.json", answered)
            known |= answered
    # What is no number of an option, be it in a file that somebody changed, is no answer.
    options = [{str(number): entity for number, entity in enumerate(meant)} for _, meant in written]
    return [each.get(known.get(mark, "")) for mark, each in zip(marks, options, strict=True)], missing


def _images(job: LabelJob, wanted: Mapping[int, Question], missing: Counter[str]) -> Iterator[tuple[int, bytes]]:
    """Read the encoded images of questions; each comes with its question's key in `wanted`."""
    ordered = sorted(wanted, key=lambda place: wanted[place].shard.name)
    for shard, places in groupby(ordered, key=lambda place: wanted[place].shard):
        by_key: dict[str, list[int]] = {}
        for place in places:
            by_key.setdefault(wanted[place].key, []).append(place)
        try:
            for pair in read_pairs(shard, job.settings.read):
                if pair.image is not None and pair.status != PairStatus.DUPLICATE_KEY:
                    yield from ((place, pair.image) for place in by_key.pop(pair.key, ()))
                if not by_key:
                    break
        except (OpenMofiError, OSError) as error:
            missing[str(error)] += sum(map(len, by_key.values()))


def _sent(image: bytes, max_pixels: int) -> bytes:
    """Return a JPEG of at most 768 pixels a side."""
    decoded, sent = decode_image(image, max_pixels=max_pixels, size_hint=_SIDE), io.BytesIO()
    decoded.thumbnail((_SIDE, _SIDE))
    decoded.save(sent, "JPEG", quality=_QUALITY)
    return sent.getvalue()


def _report(
    model: str, doubtful: int, questions: Sequence[Question], said: Sequence[str | None], missing: Counter[str]
) -> JudgeReport:
    """Estimate what the answers are worth, and say so."""
    answered = [(each, what) for each, what in zip(questions, said, strict=True) if what is not None]
    real = [(each, what) for each, what in answered if not each.decoy]
    probability = np.array([value for each, _ in real for value in each.probability])
    group = np.repeat(np.arange(len(real)), [len(each.options) for each, _ in real])
    codes = np.array([code_of(entity, what) for each, what in real for entity in each.options], np.int64)
    of_decoys = [what != "" for each, what in answered if each.decoy]
    decoys = sum(of_decoys), len(of_decoys) - sum(of_decoys)
    rates = fit_rates(probability, group, codes, decoys)
    asked = sum(not each.decoy for each in questions)
    report: dict[str, Any] = {
        "model": model,
        "doubtful": doubtful,
        "asked": asked,
        "answered": len(real),
        "decoys": len(questions) - asked,
        "decoys_answered": len(of_decoys),
        "unanswered": len(questions) - len(answered),
        "says_one_of_them": round(float((codes == YES).sum() / max(len(real), 1)), 4),
        "says_one_of_them_of_decoys": round(sum(of_decoys) / max(len(of_decoys), 1), 4),
    }
    report["rates"] = asdict(rates) if rates else None
    if rates:
        change = np.abs(rates.weigh(probability, group, codes) - probability)
        report["mean_change"] = round(float(change.mean()), 4)
    why = [f"The judge {model} was asked about {asked:,} of {doubtful:,} doubtful mentions.", _worth(rates, report)]
    if without := report["unanswered"]:
        reason = f": {missing.most_common(1)[0][0]}" if missing else "."
        why.append(f"{without:,} of {len(questions):,} questions have no answer that can be read{reason}")
    return JudgeReport(rates, {**report, "why": " ".join(why)})


def _worth(rates: Rates | None, report: Mapping[str, Any]) -> str:
    if rates is None:
        complete = report["asked"] == report["doubtful"]
        return (
            f"{report['answered']:,} answers and {report['decoys_answered']:,} to decoys (images of other pairs) are "
            "too few to know what they are worth: they change nothing."
            + (" A larger --judge-questions asks about more." if report["answered"] and not complete else "")
        )
    real, decoys = report["says_one_of_them"], report["says_one_of_them_of_decoys"]
    if rates.says_nothing:
        return (
            f"It says that something named is shown in {real:.0%} of the images, and in {decoys:.0%} of the decoys "
            "(images of other pairs): that is no proof that it sees what is shown, and its answers change nothing."
        )
    (low, high), (least, most) = rates.shown_interval, rates.absent_interval
    worth = (
        f"It sees what is shown with {rates.shown:.2f} ({low:.2f}–{high:.2f}), and what is not with {rates.absent:.2f} "
        f"({least:.2f}–{most:.2f})"
        if rates.shown > rates.absent
        else f"It tells meanings of a name apart ({rates.senses:.2f}), but not whether any of them is shown"
    )
    return f"{worth}; probabilities change by {report['mean_change']:.2f} in the mean."
