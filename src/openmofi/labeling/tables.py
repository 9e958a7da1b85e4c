"""Where the tables of a label job lie: each is named by what makes it.

So another encoder over the same backbone, another template or threshold, or a job that was restarted finds what it
needs in the cache, and does not read the shards again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from openmofi.features.store import FeatureStore
from openmofi.knowledge import KnowledgeBase
from openmofi.labeling.label_settings import TextSettings
from openmofi.linking import linker_fingerprint
from openmofi.mentions import detector_fingerprint
from openmofi.storage import Shard, fingerprint

_VERSION = 5


@dataclass(frozen=True)
class Tables:
    """The tables of a corpus, beside its labels. Workers get it.

    Attributes:
        kb: the knowledge base.
        text: see `TextSettings`.
        features: computes and keeps the features; its `cache` holds the other tables too.
        texts_key: names what makes the texts and their n-grams.
        links_key: names what makes the links; where repeated texts are looked for, that is the whole corpus.
        repeats: path of the corpus' repeated n-grams; empty where none are looked for.
        groups: path of the table that says which pairs of the corpus belong together.
    """

    kb: KnowledgeBase
    text: TextSettings
    features: FeatureStore
    texts_key: str
    links_key: str
    repeats: str
    groups: str

    @classmethod
    def of(cls, kb: KnowledgeBase, text: TextSettings, features: FeatureStore, shards: Sequence[Shard]) -> Tables:
        """Name the tables of a corpus of `shards`."""
        read, content = asdict(features.read), sorted(shard.fingerprint for shard in shards)
        corpus = fingerprint([_VERSION, read, content]) if text.boilerplate else ""
        kinds = ["kinds"] if features.read.has_kinds else []
        detector, linker = detector_fingerprint(text.detector), linker_fingerprint(text.linker)
        links = fingerprint([_VERSION, kb.fingerprint, detector, linker, read, corpus, *kinds])
        groups = fingerprint([_VERSION, links, features.folder.rpartition("/")[2], content])
        return cls(
            kb,
            text,
            features,
            fingerprint([_VERSION, read, text.boilerplate, *kinds]),
            links,
            f"{features.cache}/repeats/{corpus}.parquet" if corpus else "",
            f"{features.cache}/groups/{groups}.arrow",
        )

    def texts(self, shard: Shard) -> str:
        """Return the path of a shard's texts, with their n-grams where repeated ones are looked for."""
        return f"{self.features.cache}/texts/{self.texts_key}/{shard.name}-{shard.fingerprint}.parquet"

    def links(self, shard: Shard) -> str:
        """Return the path of a shard's links."""
        return f"{self.features.cache}/links/{self.links_key}/{shard.name}-{shard.fingerprint}.parquet"
