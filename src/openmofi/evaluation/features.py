"""Features of images, computed once per encoder, preprocessing and image content; all protocols share them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from openmofi.dataset.report.examples import thumbnail
from openmofi.encoders import Encoder
from openmofi.engine import Progress, Quiet
from openmofi.errors import UsageError
from openmofi.features.images import EmbeddedImages, ImageSource, embed_images, shard_source
from openmofi.storage import Shard, fingerprint

CHOICES = ("auto", "joint", "backbone")
ImageId = tuple[str, str]
"""Name of an image's source, and its key there."""


@dataclass
class Features:
    """Embeds images for protocols.

    Attributes:
        encoder: see `Encoder`.
        cache: folder that keeps backbone features; may be deleted at any time.
        progress: receives the progress of each source.
        choice: `joint`: the encoder's joint space of images and texts; `backbone`: the features before the projection;
            `auto`: the joint space, or the backbone where the encoder has no joint space.
        half: keep features as float16.
        seconds: spent on embedding so far.
    """

    encoder: Encoder
    cache: Path
    progress: Progress
    choice: str = "auto"
    half: bool = False
    seconds: float = 0.0
    _sources: dict[str, ImageSource] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.choice not in CHOICES:
            raise UsageError(f"Unknown value {self.choice!r} for features.", f"Use {', '.join(CHOICES)}.")
        if self.choice == "auto":
            self.choice = "joint" if self.encoder.has_joint_space else "backbone"

    def embed(self, sources: Sequence[Shard | ImageSource]) -> EmbeddedImages:
        """All usable images, L2-normalised; see `embed_images`."""
        opened = [source if isinstance(source, ImageSource) else shard_source(source) for source in sources]
        self._sources.update({source.name: source for source in opened})
        return self._embed(opened, self.progress)

    def stream(self, sources: Sequence[ImageSource]) -> Iterator[EmbeddedImages]:
        """As `embed`, one source at a time, for images whose embeddings do not fit into memory together."""
        self.progress.begin("embed", len(sources))
        for source in sources:
            images = self._embed([source], Quiet())
            self.progress.advance({"rows": len(images.keys) + len(images.refused)})
            yield images

    def _embed(self, sources: Sequence[ImageSource], progress: Progress) -> EmbeddedImages:
        started = time.perf_counter()
        images = embed_images(
            sources, self.encoder, self.cache, progress, backbone=self.choice == "backbone", half=self.half
        )
        self.seconds += time.perf_counter() - started
        return images

    def describe(self) -> dict[str, Any]:
        """`Result.features`."""
        return {
            "choice": self.choice,
            "normalisation": "l2",
            "dtype": "float16" if self.half else "float32",
            "dim": self.encoder.dim if self.choice == "joint" else self.encoder.feature_dim,
            "preprocessing": asdict(self.encoder.preprocessing),
        }

    def require_texts(self, protocol: str) -> None:
        """Check that images can be compared with texts.

        Raises:
            UsageError: the encoder has no text side, or backbone features were chosen.
        """
        if not self.encoder.has_texts:
            raise UsageError(
                f"{protocol} compares images with texts, and the encoder {self.encoder.spec!r} embeds no texts.",
                "Choose an image–text encoder.",
            )
        if self.choice != "joint":
            raise UsageError(
                f"{protocol} compares images with texts, which needs joint features.", "Leave --features out."
            )

    def thumbnails(self, ids: Iterable[ImageId]) -> dict[ImageId, str]:
        """Thumbnails as data URIs, of the images that can be shown."""
        remaining = set(ids)
        uris = {}
        for name in sorted({source for source, _ in remaining}):
            for key, load in self._sources[name].read():
                if (name, key) in remaining:
                    pair = load()
                    if pair.image and (uri := thumbnail(pair.image)):
                        uris[name, key] = uri
        return uris


def image_ids(images: EmbeddedImages) -> list[ImageId]:
    """(n,) ids of the embedded images."""
    return list(zip(images.shards, images.keys, strict=True))


def item_names(images: EmbeddedImages) -> list[str]:
    """(n,) keys, with their sources before them where keys repeat."""
    if len(set(images.keys)) == len(images.keys):
        return list(images.keys)
    return [f"{source}/{key}" for source, key in image_ids(images)]


def data_fingerprint(images: Sequence[EmbeddedImages], labels: Sequence[Sequence[Any]]) -> str:
    """Identifies images by their content, in order, and their labels; paths play no part."""
    return fingerprint(
        [
            [
                list(zip(part.keys, part.contents, map(str, classes), strict=True)),
                [(key, status) for _, key, status in part.refused],
            ]
            for part, classes in zip(images, labels, strict=True)
        ]
    )
