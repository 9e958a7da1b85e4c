import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kb_tables import write_source
from word_mentions import link

from openmofi.errors import UsageError
from openmofi.knowledge import KnowledgeBase, build_table
from openmofi.linking import CoherenceLinker, CoherenceSettings, LinkSettings, PriorLinker, candidates, open_linker
from openmofi.linking.coherence import MOST_NAMES, iterate
from openmofi.mentions import GazetteerDetector

FAMILIES = {
    "bird": "animal",
    "stork": "animal",
    "owl": "animal",
    "crane-bird": "animal",
    "bat-animal": "animal",
    "hammer": "tool",
    "drill": "tool",
    "crane-machine": "tool",
    "bat-club": "tool",
    "saw": "tool",
}
NAMES = [
    ("crane", "crane-bird", 2.0),
    ("crane", "crane-machine", 3.0),
    ("bat", "bat-animal", 1.0),
    ("bat", "bat-club", 1.0),
    ("stork", "stork", 1.0),
    ("owl", "owl", 1.0),
    ("hammer", "hammer", 1.0),
    ("drill", "drill", 1.0),
    ("saw", "saw", 1.0),
    ("bird", "bird", 1.0),
    ("lonely", "alone", 1.0),
]


@pytest.fixture(scope="module")
def kb(tmp_path_factory):
    folder = tmp_path_factory.mktemp("linking")
    build_table(
        write_source(
            folder / "s",
            ids=[*FAMILIES, "animal", "tool", "alone"],
            names=NAMES,
            relations=[(child, "hypernym", parent) for child, parent in FAMILIES.items()],
            surfaces=[("saw", 0.4)],
        ),
        folder / "kb",
    )
    return KnowledgeBase.open(folder / "kb")


def best(links, mention):
    return next(link.entity for link in links if link.mention == mention)


def test_the_prior_is_commonness_times_link_probability(kb):
    linker = PriorLinker(kb, LinkSettings(nil_floor=0.0))
    crane, saw = link(linker, "crane", "saw")
    assert [(one.entity, one.prior, one.link_score) for one in crane] == [
        ("crane-machine", pytest.approx(0.6), pytest.approx(0.6)),
        ("crane-bird", pytest.approx(0.4), pytest.approx(0.4)),
    ]
    assert [(one.prior, one.link_score) for one in saw] == [(1.0, pytest.approx(0.4))]


@pytest.mark.parametrize("name", ["prior", "coherence"])
def test_every_mention_may_be_nil(kb, name):
    (links,) = link(open_linker(name, kb), "stork owl")
    assert all(0.9 < one.link_score < 0.9999 for one in links)


def test_context_settles_an_ambiguous_name(kb):
    linker = CoherenceLinker(kb)
    birds, tools = link(linker, "crane stork owl", "crane hammer drill")
    assert best(birds, 0) == "crane-bird"
    assert best(tools, 0) == "crane-machine"


def test_two_ambiguous_names_settle_each_other_with_a_third(kb):
    (links,) = link(CoherenceLinker(kb), "bat crane owl")
    assert (best(links, 0), best(links, 1)) == ("bat-animal", "crane-bird")


@pytest.mark.parametrize("text", ["crane", "crane crane", "crane cranes Crane", "crane unheardof", "crane lonely"])
def test_a_name_without_context_keeps_its_prior(kb, text):
    with_context, prior = link(CoherenceLinker(kb), text), link(PriorLinker(kb), text)
    assert with_context == prior


@pytest.mark.parametrize("name", ["prior", "coherence"])
def test_no_known_mention_is_lost_and_unknown_ones_have_no_link(kb, name):
    words = "crane unheardof stork crane lonely 123 saw bat"
    (links,) = link(open_linker(name, kb), words)
    assert [one.mention for one in links] == sorted(one.mention for one in links)
    assert {one.mention for one in links} == {0, 2, 3, 4, 6, 7}
    assert [len([one for one in links if one.mention == number]) for number in (0, 3, 7)] == [2, 2, 2]


@pytest.mark.parametrize("name", ["prior", "coherence"])
def test_empty_texts_and_batches(kb, name):
    linker = open_linker(name, kb)
    assert linker.link([], []) == []
    assert link(linker, "", "nothing known", "") == [[], [], []]


@pytest.mark.parametrize("name", ["prior", "coherence"])
def test_scores_fall_and_sum_to_at_most_one(kb, name):
    for links in link(open_linker(name, kb), "crane bat owl saw", "bat hammer", "lonely bat crane"):
        for number in {one.mention for one in links}:
            scores = [one.link_score for one in links if one.mention == number]
            assert scores == sorted(scores, reverse=True)
            assert 0 < sum(scores) <= 1


WORDS = st.lists(st.sampled_from([name for name, _, _ in NAMES] + ["unheardof", "cranes"]), max_size=12).map(" ".join)


@given(texts=st.lists(WORDS, min_size=1, max_size=12))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_text_is_linked_the_same_in_any_batch(kb, texts):
    linker = CoherenceLinker(kb)
    together = link(linker, *texts)
    assert together == [link(linker, text)[0] for text in texts]
    assert link(linker, *reversed(texts)) == together[::-1]


def test_a_text_with_more_names_than_take_part_loses_none(tmp_path):
    ids = [f"e{number}" for number in range(MOST_NAMES + 8)]
    build_table(
        write_source(
            tmp_path / "s",
            ids=ids,
            names=[(one, one, 1.0) for one in ids],
            relations=[(ids[0], "part", one) for one in ids[1:]],
        ),
        tmp_path / "kb",
    )
    (links,) = link(CoherenceLinker(KnowledgeBase.open(tmp_path / "kb")), " ".join(ids))
    assert [one.entity for one in links] == ids


def naive(prior, vectors, settings):
    """The formula of the module, one text, in plain loops."""
    now = [list(row) for row in prior]
    for _ in range(settings.iterations):
        fresh = []
        for name in range(len(prior)):
            context = sum(
                (
                    now[other][k] * vectors[other][k]
                    for other in range(len(prior))
                    if other != name
                    for k in range(len(prior[other]))
                ),
                np.zeros(len(vectors[0][0])),
            )
            length = np.linalg.norm(context)
            if length < 1e-4:
                fresh.append(list(prior[name]))
                continue
            weights = [
                p**settings.prior_weight * np.exp(settings.coherence_weight * (v @ context) / length)
                for p, v in zip(prior[name], vectors[name], strict=True)
            ]
            nil = (1 - sum(prior[name])) ** settings.prior_weight * np.exp(
                settings.coherence_weight * settings.nil_cosine
            )
            fresh.append([weight / (sum(weights) + nil) for weight in weights])
        now = [
            [settings.damping * old + (1 - settings.damping) * new for old, new in zip(was, is_, strict=True)]
            for was, is_ in zip(now, fresh, strict=True)
        ]
    return now


@given(seed=st.integers(0, 1000), names=st.integers(1, 4), width=st.integers(1, 5))
@settings(max_examples=50)
def test_the_fixed_point_equals_plain_loops(seed, names, width):
    rng = np.random.default_rng(seed)
    prior = rng.dirichlet(np.ones(width + 1), names)[:, :width]
    vectors = rng.normal(size=(names, width, 16))
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    rules = CoherenceSettings(prior_weight=0.8, nil_cosine=0.1, tolerance=0.0)
    found = iterate(prior[None], vectors[None].astype(np.float32), rules)[0]
    np.testing.assert_allclose(found, naive(prior, vectors, rules), atol=1e-5)


def test_the_linkers_take_what_the_gazetteer_finds(kb):
    texts = ["A crane, a stork and an owl.", "Nothing here", "Bats & hammers"]
    mentions = GazetteerDetector(kb).detect(texts)
    links = open_linker("coherence", kb).link(texts, mentions)
    assert [len({one.mention for one in found}) for found in links] == [3, 0, 2]


def test_an_unknown_linker_is_one_sentence(kb):
    with pytest.raises(UsageError, match="'fusion'"):
        open_linker("fusion", kb)


def test_what_is_remembered_changes_nothing(kb, monkeypatch):
    texts = ["crane saw", "bat owl crane", "hammer drill bat", "crane saw owl"]
    expected = link(PriorLinker(kb), *texts)
    monkeypatch.setattr(candidates, "_REMEMBERED", 2)
    forgetful = PriorLinker(kb)
    assert [link(forgetful, text)[0] for text in texts] == expected
