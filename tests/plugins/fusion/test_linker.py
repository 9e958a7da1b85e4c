from dataclasses import replace

import numpy as np
import pytest
from fusion_world import tiny
from kb_tables import write_source
from word_mentions import link

from openmofi.errors import OpenMofiError, UsageError
from openmofi.knowledge import KnowledgeBase, build_table
from openmofi.linking import PriorLinker, check_linker, linker_fingerprint, open_linker
from openmofi.plugins.fusion.fusion_settings import FusionLinkSettings
from openmofi.plugins.fusion.linker import FusionLinker, scores_of
from openmofi.plugins.fusion.questions import LinkQuestion
from openmofi.plugins.fusion.store import build_fusion, save_fusion

NAMES = [
    ("crane", "crane-bird", 2.0),
    ("crane", "crane-machine", 3.0),
    ("owl", "owl", 1.0),
    ("bat", "bat-animal", 99.0),
    ("bat", "bat-club", 1.0),
]
IDS = ["crane-bird", "crane-machine", "owl", "bat-animal", "bat-club"]


@pytest.fixture(scope="module")
def kb(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fusion-kb")
    build_table(
        write_source(
            folder / "s", ids=IDS, names=NAMES, relations=[("owl", "hypernym", "bat-animal")], surfaces=[("crane", 0.5)]
        ),
        folder / "kb",
    )
    return KnowledgeBase.open(folder / "kb")


@pytest.fixture(scope="module")
def fusion(tmp_path_factory):
    return replace(
        build_fusion(tiny(tmp_path_factory.mktemp("tokenizer")), seed=1), nil=True, temperature=0.5, prior_weight=0.7
    )


def test_only_what_leaves_doubt_is_asked(kb, fusion):
    linker = FusionLinker(kb, fusion)
    (found,) = link(linker, "owl bat nothing")
    assert linker.asked == 0
    assert found == link(PriorLinker(kb), "owl bat nothing")[0]
    link(linker, "crane", "a crane", "a crane")
    assert linker.asked == 2
    link(linker, "a crane")
    assert linker.asked == 2
    eager = FusionLinker(kb, fusion, FusionLinkSettings(prior_margin=1.0))
    link(eager, "bat owl")
    assert eager.asked == 1


def test_scores_are_the_models_probabilities_times_the_names(kb, fusion):
    linker = FusionLinker(kb, fusion)
    (found,) = link(linker, "a crane")
    candidates = [linker._described(row) for row in kb.candidates("crane").rows.tolist()]
    (logits,) = scores_of(
        replace(fusion, temperature=1.0, prior_weight=0.0), [LinkQuestion("a crane", 2, 7, tuple(candidates))]
    )
    weights = np.exp(logits / 0.5) * [0.6**0.7, 0.4**0.7, 1]
    expected = dict(zip([one.id for one in candidates], 0.5 * weights[:-1] / weights.sum(), strict=True))
    assert {one.entity: one.link_score for one in found} == pytest.approx(expected, abs=1e-4)
    assert [one.link_score for one in found] == sorted((one.link_score for one in found), reverse=True)
    assert {one.entity: one.prior for one in found} == pytest.approx({"crane-bird": 0.4, "crane-machine": 0.6})


def test_a_text_is_linked_alike_whatever_comes_with_it(kb, fusion):
    texts = ["crane", "the crane near a wing", "owl crane bat", "", "a crane " * 9]
    together = link(FusionLinker(kb, fusion), *texts)
    assert together == [link(FusionLinker(kb, fusion), text)[0] for text in texts]
    assert together == link(FusionLinker(kb, fusion, FusionLinkSettings(cache=2, mentions_at_once=1)), *texts)


def test_it_opens_by_name_and_is_named_by_its_content(kb, fusion, tmp_path):
    save_fusion(tmp_path / "a", fusion)
    save_fusion(tmp_path / "b", fusion)
    save_fusion(tmp_path / "c", replace(fusion, temperature=2.0))
    save_fusion(tmp_path / "d", replace(fusion, prior_weight=0.0))
    spec = f"fusion:{tmp_path / 'a'}"
    assert link(open_linker(spec, kb), "a crane") == link(FusionLinker(kb, fusion), "a crane")
    a, b, c, d = (linker_fingerprint(f"fusion:{tmp_path / name}") for name in "abcd")
    assert a == b
    assert len({a, c, d}) == 3
    assert linker_fingerprint("prior") == "prior"
    with pytest.raises(UsageError, match="unknown value 'fusion:' for linker"):
        check_linker("fusion:")
    with pytest.raises(OpenMofiError, match="not a fusion decoder"):
        open_linker(f"fusion:{tmp_path}", kb)
