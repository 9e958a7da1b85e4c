import pytest

from openmofi.plugins.starter.build import SameAs, found_among, is_one
from openmofi.plugins.starter.things import FORMER, Nouns, Thing, context_of, heads, keys_of, plain_title
from openmofi.plugins.starter.wordnet import Synset


@pytest.mark.parametrize(
    ("description", "last"),
    [
        ("Capital and largest city of France", ["capital", "largest city", "city"]),
        ("Family of large, long-legged birds", ["large"]),
        ("Genus of disease-spreading insects", ["spreading insect", "insect"]),
        ("1968 film by Stanley Kubrick", ["1968 film", "film"]),
        ("American actress and model (1926–1962)", ["american actress", "actress", "model"]),
        ("The highest mountain in Africa", ["highest mountain", "mountain"]),
        ("Large cat native to the Americas", ["large cat", "cat"]),
        ("Species of", []),
        ("", []),
    ],
)
def test_heads_say_what_a_thing_is(description, last):
    assert heads(description) == last


def test_titles_lose_what_tells_namesakes_apart():
    assert plain_title("Georgia (country)") == ("Georgia", "country")
    assert plain_title("Paris") == ("Paris", "")
    assert plain_title("(Sic)") == ("(Sic)", "")


def thing(entity_id, name="x", kinds=("city",), **more):
    return Thing(entity_id, name, "", (), kinds=keys_of(kinds), **more)


def test_a_place_needs_to_be_named_by_the_other():
    texas = thing("a", place=keys_of(("Texas",)))
    assert is_one(texas, thing("b", context=context_of("a town in Texas")))
    assert not is_one(texas, thing("b", context=context_of("a town in Texasville")))
    assert not is_one(thing("b"), texas)
    assert not is_one(thing("a", kinds=("fruit",)), thing("b", kinds=("company",)))
    assert not is_one(thing("a", no_kinds=keys_of(("city",))), thing("b"))


def test_what_has_two_counterparts_is_left():
    same = SameAs()
    same.join([thing("a1"), thing("a2")], found_among([thing("b")]))
    same.join([thing("c")], found_among([thing("d1"), thing("d2")]))
    assert same.pairs() == []
    same.join([thing("e")], found_among([thing("b")]))
    assert same.pairs() == [("b", "e")]
    same.join([thing("f")], found_among([thing("b"), thing("e")]))  # which are one
    assert same.resolve("f") == "b"


def test_preferred_names_are_looked_for_first():
    west = thing("west", "West Germany", aliases=("Federal Republic of Germany",))
    same = SameAs()
    same.join(
        [thing("de", "Germany", aliases=("Federal Republic of Germany",))], found_among([west, thing("wn", "Germany")])
    )
    assert same.into == {"de": "wn"}


def test_nouns_know_what_is_no_more_and_where_towns_lie():
    def synset(number, lemma, definition, *relations):
        return Synset(f"wn:{number}-n", ((lemma, 0),), definition, definition, "noun.location", relations, (1,))

    nouns = Nouns.of(
        [
            synset(1, "city", "a large town"),
            synset(2, "Texas", "a state"),
            synset(3, "Paris", "a town", ("instance_hypernym", "wn:1-n"), ("part_holonym", "wn:2-n")),
            synset(4, "Prussia", "a former kingdom"),
        ]
    )
    paris = nouns.thing("wn:3-n")
    assert paris.place == {"texas"}
    assert paris.kinds == {"city", "noun.location"}
    assert " texas " in paris.context
    assert FORMER in nouns.thing("wn:4-n").kinds
    assert nouns.kind_of("Largest city of Peru").id == "wn:1-n"
    assert nouns.kind_of("Unheard of") is None
