"""Settings of the sample world; everything that decides its bytes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated

from msgspec import Meta

from openmofi.config import (
    Fraction,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFraction,
    PositiveInt,
    Settings,
)
from openmofi.errors import UsageError

_Quality = Annotated[int, Meta(ge=1, le=100)]


@dataclass(frozen=True)
class TextNoise(Settings):
    """How the alt-texts of the world are wrong. All rates are shares, 0..1; docs/sample-world.md describes each.

    Attributes:
        names_truth: texts that name what the image shows (and maybe further entities).
        only_wrong: texts that name only entities that the image does not show (at least one).
        names_none: texts that read like alt-text but name no entity of the world.
        boilerplate: file names and page boilerplate. The four shares sum to 1.
        foreign: of the texts that are not boilerplate, those in another language than English.
        lower_case: texts written wholly in lower case.
        plural: English common names written in the plural.
        hyphen: English names of several words joined by hyphens.
        further: probabilities of 0, 1, 2, 3 further entities in a text (mean 1.2).
        same_domain: further entities taken from the domain of the image.
        unpictured: of the other further entities, those that no image shows (plain WordNet nouns).
        preferred_name: names of the truth that are its preferred one, not another of its names.
    """

    names_truth: Fraction = 0.70
    only_wrong: Fraction = 0.15
    names_none: Fraction = 0.10
    boilerplate: Fraction = 0.05
    foreign: Fraction = 0.15
    lower_case: Fraction = 0.50
    plural: Fraction = 0.12
    hyphen: Fraction = 0.15
    further: tuple[Fraction, ...] = (0.25, 0.40, 0.25, 0.10)
    same_domain: Fraction = 0.50
    unpictured: Fraction = 0.30
    preferred_name: Fraction = 0.60

    def __post_init__(self) -> None:
        super().__post_init__()
        kinds = self.names_truth + self.only_wrong + self.names_none + self.boilerplate
        if abs(kinds - 1) > 1e-9 or abs(sum(self.further) - 1) > 1e-9:
            raise UsageError(
                "The shares of a text noise model do not sum to 1.",
                "Check names_truth, only_wrong, names_none, boilerplate, and further.",
            )


@dataclass(frozen=True)
class PageNoise(Settings):
    """How the artwork of the world is changed on its pages.

    Attributes:
        pages: probabilities of 1, 2, 3 pages for an artwork.
        side: shortest and longest side of a page's image, pixels.
        scale: share of the page's shorter side that the artwork's longer side takes.
        rotation: largest rotation either way, degrees; half of the artworks are not rotated.
        crop: share of artworks that hang over the edge, by at most a fifth of their side.
        watermark: share of pages with an overlay like a watermark.
        formats: JPEG, WebP, PNG.
        quality: lowest and highest JPEG and WebP quality.
        broken: pages whose image cannot be decoded (cut, garbage, or HTML).
        duplicates: pairs that come twice, under another key.
    """

    pages: tuple[Fraction, ...] = (0.35, 0.35, 0.30)
    side: tuple[PositiveInt, PositiveInt] = (160, 320)
    scale: tuple[PositiveFraction, PositiveFraction] = (0.45, 0.95)
    rotation: Annotated[float, Meta(ge=0, le=180)] = 15.0
    crop: Fraction = 0.2
    watermark: Fraction = 0.12
    formats: tuple[Fraction, Fraction, Fraction] = (0.70, 0.15, 0.15)
    quality: tuple[_Quality, _Quality] = (40, 95)
    broken: Fraction = 0.01
    duplicates: Fraction = 0.01


@dataclass(frozen=True)
class WorldSettings(Settings):
    """The sample world.

    Attributes:
        seed: of everything drawn.
        heldout_entities: share of depicted entities kept out of all training and labelling, by domain.
        heldout_pages: share of the other entities' artworks whose pages go to `heldout_pages`.
        pairs_a_shard: pairs in a tar, about.
        min_sets: how many icon sets must show an emoji concept, a flag, a brand.
        picture_side: side at which artworks are rendered, pixels.
        country_count: pseudo-count of a country's name beside WordNet's sense counts.
        brand_share: share of a name's uses that its brands have together where WordNet, a country or an emoji
            has the name too.
        max_entities: keep only so many depicted entities (0: all), drawn by seed, the domains in proportion.
        whole_wordnet: all of WordNet's nouns in the knowledge base, or (small worlds of tests) only the depicted
            entities, their namesakes and what they are kinds of.
        text: noise of the texts.
        page: noise of the images.
    """

    seed: NonNegativeInt = 20240611
    heldout_entities: Fraction = 0.20
    heldout_pages: Fraction = 0.10
    pairs_a_shard: PositiveInt = 1000
    min_sets: tuple[PositiveInt, PositiveInt, PositiveInt] = (4, 3, 2)
    picture_side: PositiveInt = 256
    country_count: NonNegativeFloat = 20.0
    brand_share: Fraction = 0.30
    max_entities: NonNegativeInt = 0
    whole_wordnet: bool = True
    text: TextNoise = field(default_factory=TextNoise)
    page: PageNoise = field(default_factory=PageNoise)


def world_settings(seed: int | None = None, max_entities: int = 0) -> WorldSettings:
    """The default world, or a small one: that has fewer entities, shards and names, and the same noise."""
    settings = WorldSettings() if seed is None else WorldSettings(seed=seed)
    if not max_entities:
        return settings
    return replace(settings, max_entities=max_entities, whole_wordnet=False, pairs_a_shard=200)
