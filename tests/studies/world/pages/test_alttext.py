import math
from collections import Counter
from dataclasses import replace

import pytest

from openmofi.errors import UsageError
from openmofi.knowledge import normalise
from studies.world.images.entities import DepictedEntity
from studies.world.pages.alttext import AltTexts, TextKind, plural
from studies.world.seeds import rng_of
from studies.world.world_settings import TextNoise

DRAWS = 6000
NAMES = ("apple tree", "Blue Bird", "cedar", "dune", "ember", "flute", "glacier", "harbor", "island", "jungle")


def entity(number, domain):
    name = f"{NAMES[number % len(NAMES)]} {chr(97 + number // len(NAMES))}ox"
    return DepictedEntity(f"{domain}:{number}", name, domain, "", {"en": (name,), "de": (f"{name} auf Deutsch",)})


ENTITIES = [entity(number, "food" if number < 40 else "travel") for number in range(80)]
UNDEPICTED = [(f"wn:{number}", (f"plain noun {number}",)) for number in range(50)]


def draw(noise=None, count=DRAWS):
    writer = AltTexts(noise or TextNoise(), ENTITIES, UNDEPICTED, normalise)
    return [writer.write(ENTITIES[number % 80], rng_of("test", number)) for number in range(count)]


def within(successes, trials, rate):
    """Within 4.5 standard deviations of a binomial."""
    return abs(successes - trials * rate) <= 4.5 * math.sqrt(trials * rate * (1 - rate)) + 1


@pytest.fixture(scope="module")
def texts():
    return draw()


def test_kinds_have_their_shares(texts):
    noise, counts = TextNoise(), Counter(text.kind for text in texts)
    for kind in TextKind:
        assert within(counts[kind], DRAWS, getattr(noise, kind.value)), kind


def test_further_entities_have_the_mean_of_the_settings(texts):
    counts = Counter(len(text.further) for text in texts if text.kind is TextKind.TRUTH)
    total = sum(counts.values())
    for number, share in enumerate(TextNoise().further):
        assert within(counts[number], total, share), number
    assert sum(n * c for n, c in counts.items()) / total == pytest.approx(1.2, abs=0.08)


def test_half_of_the_further_entities_are_of_the_same_domain(texts):
    same = other = plain = 0
    for number, text in enumerate(texts):
        for further in text.further:
            domain = further.partition(":")[0]
            plain += domain == "wn"
            same += domain == ENTITIES[number % 80].domain
            other += domain not in ("wn", ENTITIES[number % 80].domain)
    noise, total = TextNoise(), same + other + plain
    # The other half is drawn from all domains, in which the same one comes again.
    assert within(plain, total, (1 - noise.same_domain) * noise.unpictured)
    assert within(same, total, noise.same_domain + (1 - noise.same_domain) * (1 - noise.unpictured) / 2)


def test_languages_and_lower_case_have_their_shares(texts):
    spoken = [text for text in texts if text.kind is not TextKind.BOILERPLATE]
    assert within(sum(text.language != "en" for text in spoken), len(spoken), 0.15)
    english = [text.text for text in spoken if text.language == "en" and text.kind is TextKind.NOTHING]
    # Texts that are lower-case anyhow come on top of the half.
    assert sum(text == text.lower() for text in english) / len(english) == pytest.approx(0.5, abs=0.1)


def test_plural_and_hyphen_have_their_shares(texts):
    surfaces = [text.surface for text in texts if text.kind is TextKind.TRUTH and text.language == "en"]
    common = [surface for surface in surfaces if surface.endswith(("x", "xes"))]
    assert len(common) == len(surfaces)
    assert within(sum("-" in surface for surface in surfaces), len(surfaces), 0.15)
    assert within(sum(surface.endswith("xes") for surface in common), len(common), 0.12)


def test_truth_is_named_exactly_where_it_is_said_to_be(texts):
    for number, text in enumerate(texts):
        key = f" {normalise(text.text)} "
        named = f" {normalise(text.surface)} " in key if text.surface else False
        assert named == (text.kind is TextKind.TRUTH)
        if text.kind is not TextKind.TRUTH:
            assert f" {normalise(ENTITIES[number % 80].name)} " not in key


def test_only_wrong_texts_name_at_least_one(texts):
    assert all(text.further for text in texts if text.kind is TextKind.WRONG)
    assert not any(text.further for text in texts if text.kind in (TextKind.NOTHING, TextKind.BOILERPLATE))


def test_foreign_names_are_used_in_foreign_texts(texts):
    german = [text.surface for text in texts if text.language == "de" and text.surface]
    assert german
    assert all(surface.endswith("auf Deutsch") for surface in german)


def test_rates_are_settings():
    noise = replace(TextNoise(), names_truth=0.2, only_wrong=0.65, foreign=0.0)
    texts = draw(noise, 2000)
    assert within(sum(text.kind is TextKind.TRUTH for text in texts), 2000, 0.2)
    assert not any(text.language not in ("", "en") for text in texts)


def test_shares_that_do_not_sum_to_one_are_refused():
    with pytest.raises(UsageError, match="do not sum"):
        TextNoise(names_truth=0.9)


def test_same_seed_same_text(texts):
    assert draw(count=50) == texts[:50]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("apple", "apples"),
        ("box", "boxes"),
        ("cherry", "cherries"),
        ("mouse", "mice"),
        ("fire engine", "fire engines"),
        ("glasses", "glasses"),
        ("boy", "boys"),
        ("C++", "C++"),
        ("old man", "old men"),
        ("猫", "猫"),
        ("DVD", "DVD"),
        ("Xd", "Xd"),
        ("flag of Haiti", "flag of Haiti"),
    ],
)
def test_plural(name, expected):
    assert plural(name) == expected
