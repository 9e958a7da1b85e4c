"""From pairs and their labels to what teachers see: drawn augmentations as pixels, and synthetic texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

import numpy as np
from PIL import Image

from openmofi.dataset.tables import Folder
from openmofi.encoders import Array, Preprocessing, preprocess
from openmofi.errors import OpenMofiError
from openmofi.knowledge import KnowledgeBase
from openmofi.pairs import ImageRefused, ReadSettings, decode_image, read_pairs
from openmofi.pairs.images.scaled import ScaledImage
from openmofi.reinforcement.augmentation import draw_augmentation, drawing, image_hash, replayed
from openmofi.reinforcement.captioner import Captioner, accepted_entities, entity_captions
from openmofi.reinforcement.reinforce_settings import ReinforceSettings
from openmofi.reinforcement.table import Sample, StoreStatus
from openmofi.schema import LabelStatus, Pair, PairStatus
from openmofi.storage import Shard

_CAPTION = -1  # the number of the draw for texts; augmentations have 0, 1, …


@dataclass(frozen=True)
class LabelledPair:
    """A pair beside its label.

    Attributes:
        pair: see there.
        status: `ok` where it is to be reinforced.
        text: the pair's own.
        texts: synthetic ones; empty where there are none, or where a captioner writes them.
    """

    pair: Pair
    status: PairStatus | StoreStatus
    text: str
    texts: tuple[str, ...]


@dataclass(frozen=True)
class PreparedSample:
    """A sample before the teachers see it; where its status is not `ok`, it is all that there is.

    Attributes:
        sample: without final texts.
        text: the pair's own.
        pixels: backbone → (augmentations, 3, size, size) float32.
        whole: the image for a captioner.
    """

    sample: Sample
    text: str = ""
    pixels: Mapping[int, Array] = field(default_factory=dict)
    whole: Image.Image | None = None

    @property
    def usable(self) -> bool:
        """Whether the teachers see it."""
        return self.sample.status == PairStatus.OK


def labelled_pairs(
    shard: Shard,
    read: ReadSettings,
    labels: Folder,
    dataset: str,
    kb: KnowledgeBase | None,
    settings: ReinforceSettings,
) -> Iterator[LabelledPair]:
    """The shard's pairs beside their labels, in order.

    Args:
        shard, read: the pairs, and how they were read when they were labelled.
        labels: their labels.
        dataset: folder of the dataset whose rows alone are reinforced, or `""`.
        kb: describes the entities in synthetic texts.
        settings: see there.

    Raises:
        OpenMofiError: the shard has other rows than its labels.
    """
    table = labels.read(shard, ["key", "text", "status", "mentions", "entities"])
    included = Folder.open(dataset, "dataset").read(shard, ["key"])["key"].to_pylist() if dataset else ()
    keys = frozenset(included)
    rows = zip(
        *(table.column(name).to_pylist() for name in ("key", "status", "text")),
        accepted_entities(table, kb),
        strict=True,
    )
    for pair, row in zip(chain(read_pairs(shard, read), [None]), chain(rows, [None]), strict=False):
        if pair is None and row is None:
            return
        if pair is None or row is None or pair.key != row[0]:
            raise OpenMofiError(
                f"The rows of {shard.path} differ from those of its labels.",
                "It has changed since it was labelled: label it again.",
            )
        key, status, text, entities = row
        if status not in tuple(LabelStatus):
            yield LabelledPair(pair, PairStatus(status), text, ())
        elif dataset and key not in keys:
            yield LabelledPair(pair, StoreStatus.NOT_IN_DATASET, text, ())
        else:
            draw = drawing(settings.seed, shard.name, key, _CAPTION)
            texts = () if settings.captioner else tuple(entity_captions(entities, settings.captions, draw))
            yield LabelledPair(pair, PairStatus.OK, text, texts)


def prepared(
    labelled: LabelledPair,
    shard: str,
    settings: ReinforceSettings,
    interpolation: str,
    backbones: Mapping[int, Preprocessing],
) -> PreparedSample:
    """Draw a sample's augmentations and preprocess them for each backbone; thread-safe."""
    pair = labelled.pair
    if labelled.status != PairStatus.OK:
        return PreparedSample(Sample(pair.key, labelled.status))
    if pair.image is None:
        return PreparedSample(Sample(pair.key, PairStatus.IMAGE_MISSING))
    try:
        with ScaledImage.opened(pair.image) as image:
            drawn = tuple(
                draw_augmentation(
                    settings.augment, drawing(settings.seed, shard, pair.key, number), image.width, image.height
                )
                for number in range(settings.augmentations)
            )
            images = [replayed(image, augmentation, settings.size, interpolation) for augmentation in drawn]
        whole = decode_image(pair.image, size_hint=settings.size) if settings.captioner else None
    except ImageRefused as refused:
        return PreparedSample(Sample(pair.key, refused.status))
    sample = Sample(pair.key, PairStatus.OK, image.width, image.height, image_hash(pair.image), drawn, labelled.texts)
    pixels = {
        number: np.stack([preprocess(image, preprocessing) for image in images])
        for number, preprocessing in backbones.items()
    }
    return PreparedSample(sample, labelled.text, pixels, whole)


def with_texts(usable: Sequence[PreparedSample], captioner: Captioner | None, count: int) -> list[PreparedSample]:
    """The samples with `count` synthetic texts each; the pair's own text stands in for missing ones."""
    texts: Sequence[Sequence[str]] = [item.sample.texts for item in usable]
    if captioner and count:
        texts = captioner([item.whole for item in usable if item.whole is not None], count)
    return [
        replace(
            item,
            sample=replace(item.sample, texts=tuple(text or item.text for text in written) or (item.text,) * count),
        )
        for item, written in zip(usable, texts, strict=True)
    ]
