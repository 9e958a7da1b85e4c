"""Mentions of texts as they stand in pairs: places, reasons, and links of those that are no boilerplate only."""

import pytest

from openmofi.engine.two_pass import merged
from openmofi.knowledge import KnowledgeBase
from openmofi.labeling.label_settings import TextSettings
from openmofi.labeling.link import MarkedCounts, TextLinker
from openmofi.linking import open_linker
from openmofi.mentions import open_detector
from openmofi.mentions.repeats import RepeatMerge, Repeats, summary

TAIL = "bricks and tents by our friends of the moon club"


@pytest.fixture(scope="module")
def kb(small_world) -> KnowledgeBase:
    return KnowledgeBase.open(small_world.kb)


def repeated(*texts: str) -> Repeats:
    table = summary(texts, [f"{number:x}" for number in range(len(texts))])
    return Repeats(merged(RepeatMerge(len(texts), len(table)), lambda: [table]))


def test_plain_texts_are_linked_as_the_linker_links_them(kb):
    texts = ["a sun and a moon", "an orange, a brick", "nothing", ""]
    mentions = open_detector("gazetteer", kb).detect(texts)
    links = open_linker("coherence", kb).link(texts, mentions)
    linked = TextLinker(kb, TextSettings()).link(texts)
    assert [row.mentions for row in linked] == mentions
    assert [row.links for row in linked] == links


@pytest.mark.parametrize(
    ("text", "surface"),
    [
        ("my_red_sun_03", "sun"),
        ("BigSunPhoto", "Sun"),
        ("s&#117;n at noon", "s&#117;n"),
        ("moon&amp;stars", "moon"),
        ("sun123.png", "sun"),
        ("TelecomCompany", "TelecomCompany"),
    ],
)
def test_split_and_decoded_words_are_found_where_they_stand(kb, text, surface):
    (row,) = TextLinker(kb, TextSettings()).link([text])
    assert [mention.surface for mention in row.mentions if not mention.reason] == [surface]
    assert all(text[mention.start : mention.end] == mention.surface for mention in row.mentions)
    assert row.links
    assert {link.mention for link in row.links} <= set(range(len(row.mentions)))


def test_a_mention_in_boilerplate_keeps_its_place_with_a_reason_and_gets_no_candidates(kb):
    texts = [f"{name} at {hour}. {TAIL}" for hour in range(20) for name in ("sun", "brick")]
    on, off = (
        TextLinker(kb, TextSettings(boilerplate=marks), repeated(*texts) if marks else None) for marks in (True, False)
    )
    row, plain = on.link([texts[0]])[0], off.link([texts[0]])[0]
    assert [(mention.surface, mention.reason) for mention in row.mentions] == [
        ("sun", ""),
        ("bricks", "repeated"),
        ("tents", "repeated"),
        ("moon", "repeated"),
    ]
    assert {link.mention for link in row.links} == {0}
    assert [mention.surface for mention in plain.mentions] == [mention.surface for mention in row.mentions]
    assert not any(mention.reason for mention in plain.mentions)
    assert {link.mention for link in plain.links} == {0, 1, 2, 3}


def test_links_point_at_their_mentions_behind_boilerplate(kb):
    (row,) = TextLinker(kb, TextSettings()).link(["photo by Brick Moon: an orange and a tent"])
    named = {row.mentions[link.mention].surface for link in row.links}
    assert named == {"orange", "tent"}
    assert {mention.reason for mention in row.mentions if mention.surface in ("Brick", "Moon")} == {"credit"}


def test_context_does_not_come_from_boilerplate(kb):
    """What boilerplate names says nothing of what another name means."""
    tail = TextLinker(kb, TextSettings()).link(["an orange. photo by Telecom Company"])[0]
    alone = TextLinker(kb, TextSettings()).link(["an orange."])[0]
    assert tail.links == alone.links


def test_counts_add_up_and_survive_json():
    first = MarkedCounts(5, 2, {"url": 2}, {"a b c": 1})
    both = first + first + MarkedCounts()
    assert both.as_dict(1) == {"mentions": 10, "marked": 4, "reasons": {"url": 4}, "pieces": [["a b c", 2]]}
