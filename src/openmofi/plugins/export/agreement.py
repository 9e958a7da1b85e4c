"""How well an encoder that was made from another agrees with it, on images and texts."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from openmofi.arrays import Array
from openmofi.encoders.encoder import Encoder
from openmofi.errors import OpenMofiError
from openmofi.pairs import ImageRefused, decode_image, read_pairs
from openmofi.storage import expand_shards, fingerprint

IMAGES = 256
_GENERATED = 64
_NEIGHBOURS = 10
_TEXTS = tuple(
    f"{start} {thing}"
    for start in ("a photo of a", "two", "the logo of", "an old drawing of one")
    for thing in (
        "crane, a large bird",
        "crane, a lifting machine",
        "river in the mountains",
        "red apple",
        "company that builds computers",
        "city in Italy",
        "violin",
        "flag with three stripes",
    )
)


@dataclass(frozen=True)
class Samples:
    """The images and texts that two encoders are compared on.

    Attributes:
        source: where it is from, in words.
        images: decoded, RGB.
        texts: as many as images where `paired`: the text of each; otherwise any.
        paired: see above.
    """

    source: str
    images: Sequence[Image.Image]
    texts: Sequence[str]
    paired: bool

    @property
    def fingerprint(self) -> str:
        """Return a fingerprint of pixels and texts."""
        return fingerprint(
            [
                [[image.size, hashlib.blake2b(image.tobytes()).hexdigest()] for image in self.images],
                list(self.texts),
                self.paired,
            ]
        )


@dataclass(frozen=True)
class Agreement:
    """The agreement of two encoders; cosines are between their embeddings of an image or a text.

    Attributes:
        source, images, texts: what was compared.
        image_mean, image_min: cosines of images.
        neighbours: share of an image's ten nearest others (fewer where there are few) that the new encoder keeps.
        text_mean, text_min: cosines of texts; `None` of an encoder of images alone.
        map_before, map_after: mean average precision of texts that look for their own image, with either encoder;
            `None` where images came without texts.
    """

    source: str
    images: int
    texts: int
    image_mean: float
    image_min: float
    neighbours: float
    text_mean: float | None = None
    text_min: float | None = None
    map_before: float | None = None
    map_after: float | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Agreement:
        """Read what `as_dict` returned."""
        return cls(**{name: values[name] for name in cls.__dataclass_fields__})

    @property
    def loss(self) -> float:
        """Return 1 − the mean cosine of the worse side."""
        return 1 - min(self.image_mean, 1.0 if self.text_mean is None else self.text_mean)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, with the loss."""
        return {**asdict(self), "loss": self.loss}


def samples_of(paths: Sequence[str], size: int, *, decode_size: int | None = None, limit: int = IMAGES) -> Samples:
    """Read the first usable pairs of shards or folders; without paths, return generated images.

    Args:
        paths: as of the label job: tars, Parquet, tables, folders, patterns.
        size: pixels a side that the encoder takes.
        decode_size: its `preprocessing.decode_size`; `None` decodes images at their full size.
        limit: images at most.

    Raises:
        OpenMofiError: no image can be read, or a path does not exist.
    """
    if not paths:
        images = [_generated(seed, size) for seed in range(_GENERATED)]
        return Samples(f"{_GENERATED} generated images", images, _TEXTS, paired=False)
    pairs = list(itertools.islice(_readable(paths, decode_size), limit))
    if not pairs:
        raise OpenMofiError(f"No image of {', '.join(paths)} can be read.", "Give other shards to --images.")
    texts, paired = [text for _, text in pairs], all(text for _, text in pairs)
    return Samples(
        f"{len(pairs)} images of {', '.join(paths)}",
        [image for image, _ in pairs],
        texts if paired else _TEXTS,
        paired=paired,
    )


def agreement(before: Encoder, after: Encoder, samples: Samples, *, texts: bool) -> Agreement:
    """Compare two encoders of equal preprocessing and dimension.

    Args:
        before, after: the original and what was made of it.
        samples: at least one image, and a text where `texts`.
        texts: whether there is a text side.
    """
    pixels = np.stack([before.preprocess(image) for image in samples.images])
    old, new = (encoder.project_images(encoder.image_features(pixels)) for encoder in (before, after))
    both = [encoder.embed_texts(samples.texts) for encoder in (before, after)] if texts else None
    return compared(samples, (old, new), both)


def compared(samples: Samples, images: Sequence[Array], texts: Sequence[Array] | None) -> Agreement:
    """Compare two encoders' embeddings of the same samples.

    Args:
        samples: what was embedded.
        images: before and after, (n, dim) each, L2-normalised.
        texts: the same of the texts; `None` without a text side.
    """
    old, new = images
    cosines = (old * new).sum(1)
    result = Agreement(
        samples.source, len(old), 0, float(cosines.mean()), float(cosines.min()), _kept_neighbours(old, new)
    )
    if texts is None:
        return result
    old_texts, new_texts = texts
    cosines = (old_texts * new_texts).sum(1)
    result = replace(result, texts=len(samples.texts), text_mean=float(cosines.mean()), text_min=float(cosines.min()))
    if not samples.paired:
        return result
    return replace(result, map_before=_mean_precision(old_texts, old), map_after=_mean_precision(new_texts, new))


def check_loss(result: Agreement, most: float) -> None:
    """Refuse an export that is further from the original than `most`.

    Raises:
        OpenMofiError: it is.
    """
    # A comparison with what is not a number is false, and no number is no agreement.
    if result.loss <= most:
        return
    sides = f"images {result.image_mean:.4f}" + ("" if result.text_mean is None else f", texts {result.text_mean:.4f}")
    raise OpenMofiError(
        f"The export loses {result.loss:.4f} (1 − mean cosine; {sides}) on {result.source}, more than "
        f"{most:g}: nothing was written.",
        "Choose a higher --precision, or allow the loss with --max-loss after you have measured what it costs you.",
    )


def _readable(paths: Sequence[str], size: int | None) -> Iterator[tuple[Image.Image, str]]:
    for shard in expand_shards(list(paths)):
        for pair in read_pairs(shard):
            try:
                yield decode_image(pair.image or b"", size_hint=size), pair.text or ""
            except ImageRefused:
                continue


def _generated(seed: int, size: int) -> Image.Image:
    """A coarse colour field with shapes on it: no real image, but not noise either."""
    draw = np.random.default_rng(seed)
    field = draw.integers(0, 256, (4, 4, 3)).astype(np.uint8)
    image = Image.fromarray(field).resize((size, size), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(image)
    for _ in range(int(draw.integers(2, 9))):
        left, top = (int(value) for value in draw.integers(0, size - 8, 2))
        width, height = (int(value) for value in draw.integers(8, size // 2, 2))
        shape = pen.ellipse if draw.random() < 0.5 else pen.rectangle
        red, green, blue = (int(value) for value in draw.integers(0, 256, 3))
        shape((left, top, left + width, top + height), fill=(red, green, blue))
    return image


def _kept_neighbours(old: Array, new: Array) -> float:
    count = min(_NEIGHBOURS, len(old) - 1)
    if count < 1:
        return 1.0
    before, after = (_nearest(vectors, count) for vectors in (old, new))
    return float(np.mean([len({*ours} & {*theirs}) / count for ours, theirs in zip(before, after, strict=True)]))


def _nearest(vectors: Array, count: int) -> Any:
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -np.inf)
    return np.argsort(-scores, axis=1, kind="stable")[:, :count]


def _mean_precision(texts: Array, images: Array) -> float:
    """Mean average precision with one relevant image a text: the mean of 1 / rank; ties count against it."""
    scores = texts @ images.T
    ranks = (scores >= np.diagonal(scores)[:, None]).sum(1)
    return float((1 / ranks).mean())
