"""What an index answers with: frozen rows, which `dataclasses.asdict` makes plain values for JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

from openmofi.arrays import Array, Ints
from openmofi.extensions import extension

VerdictValue = Literal["y", "n", "u"]
"""The image shows the entity, does not, or who looked cannot say; as in `openmofi.review.verdicts`."""


@dataclass(frozen=True)
class Label:
    """An entity that an image was judged to show.

    Attributes:
        entity, name: identifier and name.
        probability: calibrated, 0..1.
        accepted: whether it is a label, or a candidate that was judged.
    """

    entity: str
    name: str
    probability: float
    accepted: bool


@dataclass(frozen=True)
class ImageRecord:
    """An image of the index.

    Attributes:
        id: stable as long as the image is in the index.
        source: path of the folder, table or shard.
        shard: name of the shard, as in tables of labels.
        key: unique in the source.
        path: the image's file; empty where it lies in a shard.
        status: a `openmofi.schema.PairStatus`; images that are not `ok` have no vector.
        content: 16 hexadecimal digits of the encoded bytes.
        width, height: as stored, upright, in pixels.
        text: its caption.
        url: where it came from, or "".
        columns: its metadata.
        labels: likeliest first, accepted or not.
    """

    id: int
    source: str
    shard: str
    key: str
    path: str
    status: str
    content: str
    width: int
    height: int
    text: str
    url: str
    columns: Mapping[str, Any] = field(default_factory=dict)
    labels: tuple[Label, ...] = ()


@dataclass(frozen=True)
class Hit:
    """A result.

    Attributes:
        image: it.
        rank: from 1 on.
        cosine: similarity to the query's vector, −1..1; `None` where keywords alone were asked for.
        keyword: rank among the keyword results from 1 on; `None` where it is none.
        probability: calibrated, that it is right; `None` where the index cannot say.
        basis: what the probability is from: `labels`, the label job's or a person's word on what was asked for;
            `similarity`, by what is calibrated for such queries; `mark`, of the query itself; "" without one.
        expected: expected precision of the results down to this one; `None` likewise.
        duplicates: ids of near-duplicates that are folded into it.
    """

    image: ImageRecord
    rank: int
    cosine: float | None = None
    keyword: int | None = None
    probability: float | None = None
    expected: float | None = None
    duplicates: tuple[int, ...] = ()
    basis: Literal["", "labels", "similarity", "mark"] = ""


@dataclass(frozen=True)
class EntityRecord:
    """An entity that the index knows.

    Attributes:
        id, name, description, types, popularity: see `openmofi.schema.Entity`.
        aliases: further names.
        images: how many images are labelled with it.
        named: how many images' texts name it, as the label job read them.
    """

    id: str
    name: str
    description: str = ""
    types: tuple[str, ...] = ()
    popularity: float = 0.0
    aliases: tuple[str, ...] = ()
    images: int = 0
    named: int = 0


@dataclass(frozen=True)
class Results:
    """What a search gives.

    Attributes:
        hits: best first.
        total: results that are ranked: of a large index the nearest images, and those that labels or words name.
        until: the precision that `end` is about: the query's, or 0.9.
        end: how many results are expected to be right with precision `until` together, each by itself with at least .5
            (or `until`, where that is less); `None` without a calibration.
        expected_right: how many of these `end` are expected to be right; `None` likewise.
        expected_in_all: how many right images the index is expected to have at all; `None` likewise.
        note: a sentence for the user, such as that no result is likely; or "".
        seconds: how long it took.
        uncalibrated: why results, or all but those that were judged for it, have no probability, and what to do; or "".
        entity: identifier of the entity that was asked for, or that the text was taken for, see `Query.named`; or "".
        meant: that entity, or all that the text is a name of, the commonest first, at most 10.
    """

    hits: tuple[Hit, ...]
    total: int
    until: float = 0.9
    end: int | None = None
    expected_right: float | None = None
    expected_in_all: float | None = None
    note: str = ""
    seconds: float = 0.0
    uncalibrated: str = ""
    entity: str = ""
    meant: tuple[EntityRecord, ...] = ()

    def limit(self, most: int) -> Self:
        """Return the results with no more than so many hits."""
        return replace(self, hits=self.hits[:most])

    def to_pandas(self) -> Any:
        """A row a hit, with the names of the image's accepted labels; raises `MissingExtraError` without pandas."""
        return extension("views", "results")(self)


@dataclass(frozen=True)
class EntityImage:
    """A label as the entity's page and the review show it.

    Attributes:
        image: its image.
        probability, accepted: see `Label`.
        verdict: what was said of it last, or "".
    """

    image: ImageRecord
    probability: float
    accepted: bool
    verdict: str = ""


@dataclass(frozen=True)
class Mention:
    """Where a text names something, see `openmofi.schema.MENTION`.

    Attributes:
        start, end: in the text, in code points.
        surface, detector, reason: what it says, who saw it, why it is boilerplate or "".
        kind: which column of texts it was found in, where the label job was told of several, or "".
    """

    start: int
    end: int
    surface: str
    detector: str
    reason: str
    kind: str


@dataclass(frozen=True)
class Candidate:
    """An entity that a mention may mean, judged by the image; see `openmofi.schema.JUDGEMENT`.

    Attributes:
        entity, name, description: see `openmofi.schema.Entity`.
        mention: position of its mention.
        prior, link_score, image_score: of the linker and the encoder; `None` where there is none.
        probability, accepted, reason: the verdict of the label job.
    """

    entity: str
    name: str
    description: str
    mention: int
    prior: float | None
    link_score: float | None
    image_score: float | None
    probability: float | None
    accepted: bool
    reason: str


@dataclass(frozen=True)
class TextReading:
    """How an image's text was read.

    Attributes:
        text, status: of the pair.
        mentions: in the order of the text.
        candidates: of all mentions, likeliest first.
    """

    text: str
    status: str
    mentions: tuple[Mention, ...]
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True)
class Recognised:
    """An entity that an image may show.

    Attributes:
        entity: it.
        probability: calibrated, 0..1; `None` where the index cannot say.
        similarity: of image and entity text, cosine; `None` where the encoder has no texts.
        evidence: nearest images that are labelled with it, nearest first, with their cosines.
        siblings: other entities that are alike, which it might be instead.
    """

    entity: EntityRecord
    probability: float | None
    similarity: float | None
    evidence: tuple[tuple[ImageRecord, float], ...] = ()
    siblings: tuple[EntityRecord, ...] = ()


@dataclass(frozen=True)
class Recognition:
    """What an image may show, likeliest first.

    Attributes:
        entities: see `Recognised`.
        note: a sentence for the user, such as that nothing is likely; or "".
        unnamed: probability that no label of the index names what is shown, 0..1; those of the entities leave room for
            it. `None` where the index cannot say.
        uncalibrated: why entities have no probability, and what to do; or "".
    """

    entities: tuple[Recognised, ...]
    note: str = ""
    unnamed: float | None = None
    uncalibrated: str = ""


@dataclass(frozen=True)
class Verdict:
    """A person's word on a label.

    Attributes:
        shard, key, entity: which label.
        verdict: see `VerdictValue`.
        instead: identifier of what it is instead, or "".
        who: the reviewer.
        when: ISO time in UTC, set by the index.
        id: set by the index; `undo` takes it.
    """

    shard: str
    key: str
    entity: str
    verdict: VerdictValue
    instead: str = ""
    who: str = ""
    when: str = ""
    id: int = 0


@dataclass(frozen=True)
class CollectionMap:
    """Where images lie in the plane; those that are alike lie near each other, distances beyond that say little.

    Attributes:
        images: (n,) int64 ids, ascending.
        places: (n, 2) float32, the longer side −1 to 1.
        areas: (n,) int64, the area of the map that each is in; 0 has most images.
        missing: images with a vector that came after the map was made, and are not on it.
    """

    images: Ints
    places: Array
    areas: Ints
    missing: int


@dataclass(frozen=True)
class Changes:
    """What a command did to an index.

    Attributes:
        added, changed, unchanged, removed: images.
        embedded: images that went through the encoder.
        statuses: status → images that were added or changed.
    """

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    embedded: int = 0
    statuses: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class KindCalibration:
    """Whether an index says probabilities for a kind of query.

    Attributes:
        source: `fitted` to what the index's labels say; `labels`, where those that were judged have a probability and
            others none; or `none`.
        right, wrong: how many of the results that it is fitted to, or would be, are known to be so, by the sums of
            their probabilities; `None` where that was not counted.
        why: it is not fitted, or "".
        hint: what to do, or "".
    """

    source: Literal["fitted", "labels", "none"]
    right: float | None = None
    wrong: float | None = None
    why: str = ""
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.why} {self.hint}".strip()


@dataclass(frozen=True)
class IndexInfo:
    """What an index holds.

    Attributes:
        path: its folder.
        images: rows in all.
        statuses: status → images.
        vectors, dim, dtype: of its segments, removed ones left out.
        segments: vector files.
        dead: vectors of removed images, which `compact` drops.
        labels: accepted labels; `entities`: distinct ones that the index knows.
        verdicts: of people.
        encoder, encoder_fingerprint: by which it was built.
        sources: paths.
        columns: names of metadata columns.
        calibrated: whether searches by text or by image say probabilities.
        calibration: kind of query (`text`, `entity`, `image`, `recognition`, and `unnamed`, of what no label names) →
            whether it has probabilities.
        vector_index: what searches the vectors: `exact`, or FAISS's factory string.
        vector_effort: how far a query looks in it, FAISS's `nprobe`; 0 where that is not measured.
        vector_recall: share of the ten nearest that it finds so, by queries that it did not have; `None` likewise.
        commits: how often it was written; `last` is the last commit's time, ISO, UTC.
        bytes: on disk, by part.
    """

    path: str
    images: int
    statuses: Mapping[str, int]
    vectors: int
    dim: int
    dtype: str
    segments: int
    dead: int
    labels: int
    entities: int
    verdicts: int
    encoder: str
    encoder_fingerprint: str
    sources: tuple[str, ...]
    columns: tuple[str, ...]
    calibrated: bool
    calibration: Mapping[str, KindCalibration]
    vector_index: str
    vector_effort: int
    vector_recall: float | None
    commits: int
    last: str
    bytes: Mapping[str, int]

    @property
    def uncalibrated(self) -> str:
        """A sentence on the kinds of query that have no probability; "" where there are none."""
        kinds = [kind for kind, each in self.calibration.items() if each.source == "none"]
        if not kinds:
            return ""
        reasons = dict.fromkeys(self.calibration[kind].why for kind in kinds)
        return f"No probabilities for {', '.join(kinds)}: {' '.join(reasons)}"
