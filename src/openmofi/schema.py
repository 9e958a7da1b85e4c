"""The tables that pass between stages: Arrow schemas, their row dataclasses, schema versions.

Identifiers of entities (`"Q42"`, `"wn:02084071-n"`) are what is kept on disk; row numbers of a knowledge base are
used only inside a run, because another build of the knowledge base may number its rows otherwise.
"""

from dataclasses import dataclass, field
from enum import StrEnum

import pyarrow as pa

SCHEMA_VERSION = 1
KIND_VERSIONS = {"labels": 2, "knowledge_base": 2}
"""Versions of the kinds of folders (`Manifest.kind`) whose tables have changed since; labels 2: mentions have reasons;
knowledge bases 2: several record batches, identifiers as numbers.
"""


_TEXT, _WHOLE, _REAL, _HASH = pa.string(), pa.int32(), pa.float32(), pa.uint64()


def _table(**columns: pa.DataType) -> pa.Schema:
    return pa.schema(list(columns.items()))


def _record(**fields: pa.DataType) -> pa.StructType:
    return pa.struct(list(fields.items()))


class PairStatus(StrEnum):
    """Whether a pair can be used, and if not, why. Counts in = counts out: no row is ever dropped."""

    OK = "ok"
    TEXT_MISSING = "text_missing"
    TEXT_EMPTY = "text_empty"
    TEXT_INVALID = "text_invalid_utf8"
    TEXT_TOO_LONG = "text_too_long"
    IMAGE_MISSING = "image_missing"
    IMAGE_BROKEN = "image_broken"
    IMAGE_TOO_LARGE = "image_too_large"
    IMAGE_UNSUPPORTED_FORMAT = "image_unsupported_format"
    DUPLICATE_KEY = "duplicate_key"


class LabelStatus(StrEnum):
    """The outcome for a usable pair. A pair that was not usable keeps its `PairStatus` instead."""

    LABELLED = "labelled"
    REJECTED = "rejected"
    UNLINKED = "unlinked"
    BOILERPLATE = "boilerplate"
    NO_MENTION = "no_mention"


class RecogniseStatus(StrEnum):
    """The outcome of `openmofi recognise` for a usable image; one that was not usable keeps its `PairStatus`."""

    RECOGNISED = "recognised"
    NOTHING_LIKELY = "nothing_likely"
    UNCALIBRATED = "uncalibrated"


class Reason(StrEnum):
    """Why an entity of a pair was accepted or not."""

    ACCEPTED = "accepted"
    BELOW_THRESHOLD = "below_threshold"
    SIBLING = "sibling_preferred"
    TOP_K = "beyond_top_k"


class JudgeAnswer(StrEnum):
    """What a judge beyond the encoder (`--judge`) said of a candidate; one that it was not asked about has ""."""

    YES = "yes"
    OTHER = "other"
    NONE = "none"
    NO_ANSWER = "no_answer"


class Boilerplate(StrEnum):
    """Why a mention is boilerplate: it is of the image's page, file or author, or stands there whatever is shown."""

    URL = "url"
    EMAIL = "email"
    HASH = "hash"
    DATE = "date"
    FILE_NAME = "file_name"
    CREDIT = "credit"
    REPEATED = "repeated"


IN_IMAGE = "in_image"
"""The kind of the text that an image itself says (`label --read-text`); it stands behind the others."""


@dataclass(frozen=True, slots=True)
class Pair:
    """An image with its text, as read.

    Attributes:
        key: unique within its shard, but for rows with the status `DUPLICATE_KEY`.
        image: the encoded bytes; `None` if missing.
        text: the caption; cut to the reader's limit, `""` where it is missing or not UTF-8.
        status: `PairStatus.OK` or why this pair cannot be used.
        url: where it came from: its address, where that is unknown the name of its source or collection, or `""`.
        kinds: of a text that is several, or one of several columns: each part's kind, and where it ends in `text`.
        offset: first byte of the image in its shard, where that is an uncompressed tar; else −1.
    """

    key: str
    image: bytes | None
    text: str
    status: PairStatus = PairStatus.OK
    url: str = ""
    kinds: tuple[tuple[str, int], ...] = ()
    offset: int = field(default=-1, compare=False)


@dataclass(frozen=True, slots=True)
class Entity:
    """An entity of the knowledge base.

    Attributes:
        id: stable identifier, e.g. `"Q42"`.
        name: preferred English name, as displayed.
        description: one line that tells it from its namesakes.
        types: coarse types, e.g. `("noun.animal",)`.
        popularity: non-negative; only the order and ratios within one knowledge base mean something.
        image: name of a file on Wikimedia Commons that shows it, where the knowledge base knows one.
    """

    id: str
    name: str
    description: str = ""
    types: tuple[str, ...] = ()
    popularity: float = 0.0
    image: str = ""


@dataclass(frozen=True, slots=True)
class Mention:
    """A span of a text that names something.

    Attributes:
        start, end: in characters (code points) of the text, end exclusive.
        surface: what stands there; while detectors read a text (`openmofi.mentions.patterns`), as they read it.
        detector: what detected it.
        reason: a `Boilerplate` where it is no mention of what the image may show, which gives it no candidates; or "".
    """

    start: int
    end: int
    surface: str
    detector: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """A candidate entity of a mention.

    Attributes:
        entity: entity identifier.
        mention: index into the text's mentions.
        prior: commonness P(entity | name), 0..1.
        link_score: P(entity | name, rest of the text), 0..1; over a mention's candidates and NIL it sums to 1.
    """

    entity: str
    mention: int
    prior: float
    link_score: float


MENTION = _record(start=_WHOLE, end=_WHOLE, surface=_TEXT, detector=_TEXT, reason=_TEXT)
LINK = _record(entity=_TEXT, mention=_WHOLE, prior=_REAL, link_score=_REAL)
JUDGEMENT = pa.struct([*LINK, *_record(image_score=_REAL, probability=_REAL, accepted=pa.bool_(), reason=_TEXT)])
"""An entity of a pair, judged by its image: a `Link`, then the encoder's raw `image_score` (cosine × logit
scale), the calibrated `probability` (0..1) that the image shows the entity, whether it is a label, and the `Reason`."""

ENTITIES = _table(id=_TEXT, name=_TEXT, description=_TEXT, types=pa.list_(_TEXT), popularity=_REAL)
"""entities: one row an entity. Sources and built knowledge bases share it."""

NAMES = _table(name=_TEXT, entity=_TEXT, count=_REAL)
"""names of a source: a surface form, the entity that it may mean, and how often it does (any positive unit)."""

RELATIONS = _table(head=_TEXT, relation=_TEXT, tail=_TEXT)
"""relations of a source: head and tail are entity identifiers."""

SURFACES = _table(name=_TEXT, link_probability=_REAL)
"""optional table of a source: how often a surface form is a mention at all, 0..1. Absent names have 1."""

LANGUAGES = _table(name=_TEXT, language=_TEXT)
"""optional table of a source: a surface form and a language that it comes from, such as `en`, or `mul` for every one.
Absent names may be of any."""

KIND = _record(kind=_TEXT, end=_WHOLE)
"""A part of a pair's text: its kind, which is the name of its column, and where it ends, in characters, exclusive."""

NGRAMS = _table(ngram=_HASH, images=pa.int64(), sketch=_HASH)
"""ngrams: a word n-gram's hash, in how many images' texts it stands, and a sketch of which images these are
(`openmofi.mentions.repeats`); those of a block of rows are ascending by hash, and so are a corpus'."""

TEXTS = _table(
    key=_TEXT, text=_TEXT, status=_TEXT, url=_TEXT, kinds=pa.list_(KIND), ngrams=pa.list_(pa.struct(list(NGRAMS)))
)
"""texts: pairs without their images; one file a shard of pairs. `kinds`: see `Pair`. `ngrams` of the first row of each
block (`openmofi.storage.table_files`) are those of all its usable texts; of other rows, or where none are counted, it
is empty.
"""

GROUPS = _table(key=_HASH, group=_HASH)
"""groups: a hash of what several pairs of a corpus share, and the number of their group
(`openmofi.labeling.groups`); ascending by hash."""

LINKS = _table(
    key=_TEXT, text=_TEXT, status=_TEXT, mentions=pa.list_(MENTION), links=pa.list_(LINK), template=_HASH, source=_HASH
)
"""links: a pair's text, its mentions and their candidate entities, and hashes of what it shares with other pairs
(`openmofi.labeling.groups`; 0 for nothing); one file a shard of pairs."""


def with_kinds(schema: pa.Schema) -> pa.Schema:
    """`LINKS` or `LABELS` of a job that was told of several columns of texts, or reads images: a mention has a `kind`
    too, the name of the column that it was found in, or `IN_IMAGE`; of a text that stands in several columns all of
    them ("title+tags").
    """
    mention = pa.struct([*MENTION, ("kind", pa.string())])
    return schema.set(schema.get_field_index("mentions"), pa.field("mentions", pa.list_(mention)))


def with_judge(schema: pa.Schema) -> pa.Schema:
    """`LABELS` of a job with a judge beyond the encoder: a judged entity has `judge` too, a `JudgeAnswer` or "".

    A page on which people judge labels does not read it: they decide for themselves.
    """
    judgement = pa.struct([*JUDGEMENT, ("judge", pa.string())])
    return schema.set(schema.get_field_index("entities"), pa.field("entities", pa.list_(judgement)))


def features_schema(dim: int, dtype: str = "float16") -> pa.Schema:
    """features: an image's embedding and properties; one file a shard, rows as in the shard.

    `feature` has length `dim` and type `dtype` (float16 or float32): the encoder's unnormalised backbone output, zeros
    where the image was not usable; `status` is a `PairStatus`; `width`/`height` are those of the image as stored, in
    pixels; `phash` is its 64-bit perceptual hash, null where none was asked for; `content` is 16 hexadecimal digits of
    the encoded bytes, empty where there are none.
    """
    value = pa.float16() if dtype == "float16" else pa.float32()
    return _table(
        key=_TEXT, status=_TEXT, width=_WHOLE, height=_WHOLE, phash=_HASH, content=_TEXT, feature=pa.list_(value, dim)
    )


LABELS = _table(
    key=_TEXT,
    text=_TEXT,
    status=_TEXT,
    mentions=pa.list_(MENTION),
    entities=pa.list_(JUDGEMENT),
    width=_WHOLE,
    height=_WHOLE,
    phash=_HASH,
)
"""labels: a pair, judged; one file a shard of pairs."""

ANSWERS = _table(shard=_TEXT, key=_TEXT, content=_TEXT, options=pa.list_(_TEXT), said=_TEXT, decoy=pa.bool_())
"""answers: a question to a judge beyond the encoder, and what it said. `content` is the digest of the image that it
saw; `options` are the entities that a mention may mean, of a `decoy` those of another pair. `said` is the entity that
the image shows, "" for none of them, null where there is no answer."""

RECOGNISED = _table(
    key=_TEXT,
    status=_TEXT,
    entities=pa.list_(
        _record(
            entity=_TEXT,
            name=_TEXT,
            probability=_REAL,
            similarity=_REAL,
            evidence=pa.list_(_record(image=pa.int64(), cosine=_REAL)),
        )
    ),
    unnamed=_REAL,
    width=_WHOLE,
    height=_WHOLE,
    content=_TEXT,
)
"""recognised: an image and what it may show, likeliest first; one file a shard, rows as in the shard.

`probability` is calibrated, null where the index cannot say; `similarity` is the cosine of image and entity text;
`evidence` has the nearest images of the index that are labelled with the entity, by their ids. `unnamed` is the
probability that no label of the index names what is shown, likewise calibrated or null."""

VERDICTS = _table(
    shard=_TEXT,
    key=_TEXT,
    entity=_TEXT,
    verdict=_TEXT,
    instead=_TEXT,
    who=_TEXT,
    when=_TEXT,
    probability=pa.float64(),
    stratum=_WHOLE,
)
"""verdicts: a person's word on a label (`y`, `n` or `u`), earliest first; the last one of a label counts.

`instead` is what it is instead, or empty, `when` ISO time in UTC. `probability` is the label's, and `stratum` the
position of its stratum among those that the file's metadata describe (`openmofi.review.verdicts`); both are
null where the label is not counted in any.
"""

VOCABULARY = _table(class_id=_WHOLE, id=_TEXT, name=_TEXT, images=pa.int64())
"""vocabulary: a class of the labelled dataset, most images first."""

EXCLUDED = _table(shard=_TEXT, key=_TEXT, set=_TEXT, image=_TEXT, bits=pa.int8(), cosine=_REAL)
"""excluded: a labelled image and an evaluation set that has a copy of it, `image`; `bits` by which their hashes differ,
null where too many; `cosine` of their features, null where too little or not compared.
"""

DATASET = _table(
    shard=_TEXT, key=_TEXT, text=_TEXT, classes=pa.list_(_WHOLE), entities=pa.list_(_TEXT), scores=pa.list_(_REAL)
)
"""dataset: an image with at least one label of the vocabulary; the image itself stays in its shard of pairs."""

TRUTH = _table(shard=_TEXT, key=_TEXT, entity=_TEXT, named=pa.bool_(), ambiguous=pa.bool_(), domain=_TEXT, split=_TEXT)
"""truth: what a pair's image really shows; read by nothing but the audit.

`entity` is its identifier (`""` where unknown), `named` whether the text names it, `ambiguous` whether the name that
the text uses has more than one entity, `split` one of `train`, `heldout_pages`, `heldout_entities`.
"""
