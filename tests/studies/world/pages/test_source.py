import pytest

from openmofi.knowledge import normalise
from studies.world.images.gather import rename
from studies.world.pages.source import make_source
from studies.world.world_settings import world_settings


@pytest.fixture(scope="module")
def shares(whole):
    source = make_source(rename(whole), world_settings())

    def of(name):
        key = normalise(name)
        counts = {}
        for (spelling, identifier), count in source.counts.items():
            if normalise(spelling) == key:
                counts[identifier] = counts.get(identifier, 0.0) + count
        return {identifier: count / sum(counts.values()) for identifier, count in counts.items()}

    return of


@pytest.mark.parametrize(
    "name",
    [
        "apple",
        "turkey",
        "python",
        "java",
        "crane",
        "bat",
        "mouse",
        "orange",
        "shell",
        "georgia",
    ],
)
def test_names_are_really_ambiguous(shares, name):
    by_entity = shares(name)
    assert len(by_entity) > 1
    assert max(by_entity.values()) < 1


def test_brands_have_their_share_of_a_name(shares):
    assert shares("apple")["brand:apple"] == pytest.approx(0.3)
    assert shares("python")["brand:python"] == pytest.approx(0.3)
    assert shares("debian") == {"brand:debian": 1.0}


def test_countries_are_commoner_than_their_namesakes(shares):
    for name, country in (("Turkey", "country:TR"), ("Georgia", "country:GE"), ("China", "country:CN")):
        by_entity = shares(name)
        assert max(by_entity, key=by_entity.__getitem__) == country
        # Not so much that nothing else is ever meant.
        assert by_entity[country] < 0.97


def test_sense_counts_decide_among_nouns(shares):
    by_entity = shares("mouse")
    assert max(by_entity, key=by_entity.__getitem__) == "wn:02332897-n"
    assert by_entity["wn:03799022-n"] < 0.2
