"""Distillation beside InfoNCE: against the definition, on 1, 2 and 3 processes, and what is refused."""

import numpy as np
import pytest
import torch
from rank_processes import averaged, found_on_ranks, ranks, work_on_ranks
from scipy.special import logsumexp
from scipy.special import softmax as scipy_softmax
from scipy.stats import entropy
from torch.nn.functional import normalize

from openmofi.errors import UsageError
from openmofi.objectives.contrastive import Contrastive
from openmofi.objectives.objective_settings import ContrastiveSettings, ReinforcedSettings
from openmofi.plugins.reinforcement.objectives import Reinforced, teacher_key, teacher_targets

ROWS, DIM = 12, 5
SCALES = {"a": 40.0, "b": 9.0}
DIMS = {"a": 6, "b": 3}
CASES = [
    (share, captions, rule, chunk)
    for share, captions, rule in ((0.75, 1.0, "none"), (1.0, 0.5, "text"), (0.3, 0.0, "entity-or-text"))
    for chunk in (0, 3)
]
Found = dict[str, torch.Tensor]


def unit(*shape: int, generator: torch.Generator) -> torch.Tensor:
    return normalize(torch.randn(*shape, generator=generator, dtype=torch.float64), dim=-1)


def global_batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    known = torch.ones(ROWS, dtype=torch.bool)
    known[[2, 7, 8]] = False
    batch = {
        "inputs": torch.randn(ROWS, 3, 7, generator=generator, dtype=torch.float64),
        "known": known,
        "labels": torch.randint(-1, 5, (ROWS, 2), generator=generator),
        "text_id": torch.randint(0, 8, (ROWS,), generator=generator),
        "caption_id": torch.randint(0, 8, (ROWS,), generator=generator),
    }
    for teacher, dim in DIMS.items():
        for what in ("image", "text", "caption"):
            batch[teacher_key(teacher, what)] = unit(ROWS, dim, generator=generator) * known[:, None]
    return batch


def one_case(case: tuple[float, float, str, int]) -> Found:
    """Loss, metrics and gradients as a trainer has them: the encoder's and the objective's averaged over the ranks."""
    share, captions, rule, chunk = case
    world, rank = ranks()
    rows = slice(rank * ROWS // world, (rank + 1) * ROWS // world)
    batch = {name: values[rows] for name, values in global_batch().items()}
    encoder = torch.linspace(-1, 1, 3 * 7 * DIM, dtype=torch.float64).reshape(3, 7, DIM).requires_grad_()
    module = Reinforced(ReinforcedSettings(1.0, share, captions, rule, scale=6.0, chunk=chunk), SCALES).double()
    names = ("image", "text", "caption")
    embeddings = {name: normalize(batch["inputs"][:, side] @ encoder[side], dim=1) for side, name in enumerate(names)}
    result = module(embeddings, batch)
    result.loss.backward()
    gradients = averaged({"encoder": encoder.grad, **{name: value.grad for name, value in module.named_parameters()}})
    return {"loss": result.loss.detach(), **result.metrics, **{f"grad/{name}": g for name, g in gradients.items()}}


def embeddings_of(batch: dict[str, torch.Tensor], seed: int = 1) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: unit(len(batch["known"]), DIM, generator=generator) for name in ("image", "text", "caption")}


def reference(embeddings: dict, batch: dict, share: float, captions: float, scale: float) -> tuple[float, float]:
    """The loss, row by row in numpy, and with KL divergences of each teacher in place of the cross-entropies."""
    known = batch["known"].numpy()
    sides = [("text", 1.0), ("caption", captions)]
    loss = constant = 0.0
    for name, weight in sides:
        for one, other in (("image", name), (name, "image")):
            logits = scale * embeddings[one].numpy() @ embeddings[other].numpy().T
            for row in range(len(known)):
                plain = logsumexp(logits[row]) - logits[row][row]
                if not known[row]:
                    loss += weight * plain / 2
                    continue
                student = scipy_softmax(logits[row][known])
                each = [
                    scipy_softmax(
                        SCALES[k]
                        * batch[teacher_key(k, one)][row].numpy()
                        @ batch[teacher_key(k, other)].numpy()[known].T
                    )
                    for k in SCALES
                ]
                divergence = np.mean([entropy(target, student) for target in each])
                loss += weight * ((1 - share) * plain + share * divergence) / 2
                constant += weight * share * np.mean([entropy(target) for target in each]) / 2
    return loss / len(known), constant / len(known)


@pytest.mark.parametrize(("share", "captions"), [(0.75, 1.0), (1.0, 0.25)])
def test_it_is_the_teachers_divergences_and_infonce_up_to_a_constant(share, captions):
    batch = global_batch()
    embeddings = embeddings_of(batch)
    module = Reinforced(ReinforcedSettings(1.0, share, captions, scale=8.0), SCALES).double()
    expected, constant = reference(embeddings, batch, share, captions, float(module.log_scale.detach().exp()))
    assert module(embeddings, batch).loss.item() == pytest.approx(expected + constant, abs=1e-9)


@pytest.mark.parametrize(("share", "expected"), [(1.0, 51.617588608669855), (0.75, 47.78282684297662)])
def test_it_is_the_authors_loss_to_the_digit(share, expected):
    """`expected`: their DRClipLoss (apple/ml-mobileclip 4144bb1, training/open_clip_v2.patch) on the same numbers, with
    the scales of MobileCLIP2's teachers and their means after the softmax."""

    def waves(dim, phase):
        values = torch.sin(torch.arange(8 * dim, dtype=torch.float64) * 1.7 + phase)
        return normalize(values.reshape(8, dim), dim=1)

    embeddings = {name: waves(6, phase) for phase, name in enumerate(("image", "text", "caption"))}
    batch = {"known": torch.ones(8, dtype=torch.bool)}
    for phase, what in enumerate(("image", "text", "caption"), 3):
        batch |= {teacher_key("a", what): waves(7, phase), teacher_key("b", what): waves(5, phase + 0.5)}
    module = Reinforced(ReinforcedSettings(1.0, share, 1.0, "none", scale=20.0), {"a": 70.0, "b": 60.0}).double()
    module.log_scale.data = torch.tensor(20.0, dtype=torch.float64).log()
    assert module(embeddings, batch).loss.item() == pytest.approx(expected, abs=1e-9)


def test_without_distillation_it_is_infonce():
    batch = global_batch()
    embeddings = embeddings_of(batch)
    ours = Reinforced(ReinforcedSettings(1.0, 0.0, 0.0, "text", scale=8.0), SCALES).double()
    theirs = Contrastive(ContrastiveSettings(1.0, positives="text", scale=8.0)).double()
    torch.testing.assert_close(ours(embeddings, batch).loss, theirs(embeddings, batch).loss)


def test_a_batch_that_no_teacher_knows_has_infonce_alone():
    batch = {**global_batch(), "known": torch.zeros(ROWS, dtype=torch.bool)}
    embeddings = {name: values.requires_grad_() for name, values in embeddings_of(batch).items()}
    ours = Reinforced(ReinforcedSettings(1.0, 0.9, 0.0, scale=8.0), SCALES).double()(embeddings, batch)
    theirs = Contrastive(ContrastiveSettings(1.0, positives="none", scale=8.0)).double()(embeddings, batch).loss
    torch.testing.assert_close(ours.loss, theirs)
    ours.loss.backward()
    assert torch.isfinite(embeddings["image"].grad).all()
    assert ours.metrics["known"] == 0
    assert ours.metrics["distillation"] == 0


def test_a_student_that_is_the_teacher_has_the_least_loss():
    batch = {**global_batch(), "known": torch.ones(ROWS, dtype=torch.bool)}
    generator = torch.Generator().manual_seed(3)
    teacher = {what: unit(ROWS, 6, generator=generator) for what in ("image", "text", "caption")}
    batch |= {teacher_key("a", what): values for what, values in teacher.items()}
    module = Reinforced(ReinforcedSettings(1.0, 1.0, 1.0, scale=40.0), {"a": 40.0}).double()
    inputs = {name: values.clone().requires_grad_() for name, values in teacher.items()}
    module(inputs, batch).loss.backward()
    assert max(float(values.grad.abs().max()) for values in inputs.values()) < 1e-6


def test_targets_sum_to_one_over_what_is_known():
    batch = global_batch()
    for rows, every in (("image", "text"), ("text", "image")):
        found = teacher_targets(
            [(batch[teacher_key(k, rows)][:4], batch[teacher_key(k, every)], SCALES[k]) for k in SCALES], batch["known"]
        )
        torch.testing.assert_close(found.sum(1), torch.ones(4, dtype=torch.float64))
        assert (found[:, ~batch["known"]] == 0).all()


def test_gradient():
    batch = {name: values[:5] for name, values in global_batch().items()}
    embeddings = embeddings_of(batch)
    module = Reinforced(ReinforcedSettings(1.0, 0.6, 0.7, scale=5.0), SCALES).double()
    inputs = [values.requires_grad_() for values in embeddings.values()]
    assert torch.autograd.gradcheck(
        lambda image, text, caption: module({"image": image, "text": text, "caption": caption}, batch).loss, inputs
    )


def test_the_scale_stays_below_its_greatest():
    module = Reinforced(ReinforcedSettings(1.0, max_scale=20.0), SCALES)
    with torch.no_grad():
        module.log_scale.fill_(9.0)
    module.after_step()
    assert float(module.log_scale.exp()) == pytest.approx(20.0)


@pytest.mark.parametrize(
    ("settings", "scales", "told"),
    [
        ({"positives": "texts"}, SCALES, "positives"),
        ({}, {}, "scales"),
        ({}, {"a": 0.0}, "scales"),
        ({}, {"a": float("nan")}, "scales"),
    ],
)
def test_what_is_refused(settings, scales, told):
    with pytest.raises(UsageError, match=told):
        Reinforced(ReinforcedSettings(**settings), scales)


@pytest.mark.slow
def test_ranks_change_nothing(tmp_path):
    for each in found_on_ranks(__file__, tmp_path).values():
        for one in each:
            for case, found in zip(CASES, one, strict=True):
                expected = one_case(case)
                assert found.keys() == expected.keys()
                for name in expected:
                    torch.testing.assert_close(
                        found[name],
                        expected[name],
                        rtol=1e-5,
                        atol=1e-6,
                        msg=lambda text, name=name, case=case: f"{case} {name}: {text}",
                    )


if __name__ == "__main__":
    work_on_ranks(lambda: [one_case(case) for case in CASES])
