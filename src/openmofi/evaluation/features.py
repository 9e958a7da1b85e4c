"""Features of images, computed once for an encoder, its preprocessing and the images; all protocols share them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from openmofi.dataset.report.thumbnails import thumbnail
from openmofi.encoders import Encoder
from openmofi.engine import Progress, Quiet
from openmofi.errors import OpenMofiError, UsageError
from openmofi.features.images import EmbeddedImages, embed_images
from openmofi.features.sources import ImageSource, shard_source
from openmofi.storage import Shard, fingerprint

CHOICES = ("auto", "joint", "backbone")


@dataclass
class Features:
    """Embeds images for protocols.

    Attributes:
        encoder: see `Encoder`.
        cache: keeps backbone features; may be removed at any time.
        progress: told of each part.
        choice: `joint`: the encoder's joint space of images and texts; `backbone`: what comes before its projection;
            `auto`: the joint space, and the backbone where there is none.
        half: keep features as float16.
        seconds: what embedding took so far.
    """

    encoder: Encoder
    cache: Path
    progress: Progress
    choice: str = "auto"
    half: bool = False
    seconds: float = 0.0
    _seen: dict[str, ImageSource] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.choice not in CHOICES:
            raise UsageError(f"There are no features {self.choice!r}.", f"Choose one of {', '.join(CHOICES)}.")
        if self.choice == "auto":
            self.choice = "joint" if self.encoder.has_joint_space else "backbone"

    def embed(self, sources: Sequence[Shard | ImageSource]) -> EmbeddedImages:
        """Every usable image, L2-normalised; see `embed_images`."""
        opened = [one if isinstance(one, ImageSource) else shard_source(one) for one in sources]
        self._seen.update({source.name: source for source in opened})
        started = time.perf_counter()
        found = embed_images(opened, self.encoder, self.cache, self.progress, backbone=self.choice == "backbone",
                             half=self.half)
        self.seconds += time.perf_counter() - started
        return found

    def stream(self, sources: Sequence[ImageSource]) -> Iterator[EmbeddedImages]:
        """As `embed`, one source at a time, for images of which not all embeddings fit into memory."""
        self.progress.begin("embed", len(sources))
        for source in sources:
            started = time.perf_counter()
            found = embed_images([source], self.encoder, self.cache, Quiet(), backbone=self.choice == "backbone",
                                 half=self.half)
            self.seconds += time.perf_counter() - started
            self.progress.advance({"rows": len(found.keys) + len(found.refused)})
            yield found

    def describe(self) -> dict[str, Any]:
        """What stands in every result."""
        joint = self.choice == "joint"
        return {"choice": self.choice, "normalisation": "l2", "dtype": "float16" if self.half else "float32",
                "dim": self.encoder.dim if joint else self.encoder.feature_dim,
                "preprocessing": asdict(self.encoder.preprocessing)}

    def thumbnails(self, places: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """(source, key) → small image as a data URI, for those that can be shown."""
        wanted = set(places)
        found = {}
        for name in sorted({source for source, _ in wanted}):
            for key, load in self._seen[name].read():
                if (name, key) in wanted:
                    pair = load()
                    if pair.image and (uri := thumbnail(pair.image)):
                        found[name, key] = uri
        return found


def require_texts(encoder: Encoder, protocol: str) -> None:
    """Refuse an encoder that cannot compare images with texts.

    Raises:
        UsageError: the encoder has no text side that its images compare with.
    """
    try:
        encoder.embed_texts(["a photo"])
    except OpenMofiError as error:
        raise UsageError(f"{protocol} compares images with texts, and the encoder {encoder.spec!r} embeds no texts "
                         f"({error.message.rstrip('.')}).", "Choose an image–text encoder.") from error


def data_fingerprint(images: Sequence[EmbeddedImages], labels: Sequence[Sequence[Any]]) -> str:
    """Names images by their content, in order, with their classes; where they lie plays no part."""
    return fingerprint([[list(zip(one.keys, one.contents, map(str, of), strict=True)),
                         [(key, status) for _, key, status in one.refused]]
                        for one, of in zip(images, labels, strict=True)])


def as_dinov2(encoder: Encoder) -> Encoder:
    """`encoder` with DINOv2's evaluation transform: shorter side to 256/224 of the size, bicubic, centre crop."""
    own = encoder.preprocessing
    told = replace(own, resize_size=round(own.size * 256 / 224), interpolation="bicubic", resize="shortest",
                   antialias=True)
    return encoder.with_preprocessing(told)
