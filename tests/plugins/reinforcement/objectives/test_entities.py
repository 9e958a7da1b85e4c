"""Distillation over classes: against the definition, row by row; on 1, 2 and 3 processes; and what is refused."""

import numpy as np
import pytest
import torch
import torch.distributed as dist
from rank_processes import found_on_ranks, ranks, work_on_ranks
from scipy.special import log_softmax as scipy_log_softmax
from torch.nn.functional import normalize

from openmofi.errors import UsageError
from openmofi.objectives.margin_softmax import MarginSoftmax, shard_bounds
from openmofi.objectives.objective_settings import MarginSoftmaxSettings
from openmofi.plugins.reinforcement.objectives import EntityDistillation, teacher_key

ROWS, DIM, KEPT = 12, 5, 4
TEACHERS = ("a", "b")
# Of the last case, two classes, a third rank holds none.
CASES = {"exact": (11, 1), "sampled": (11, 1), "sub-centers": (9, 2), "few": (2, 1)}
Found = dict[str, torch.Tensor]


def a_head(name: str) -> MarginSoftmax:
    classes, centers = CASES[name]
    settings = MarginSoftmaxSettings(
        1.0, "sampled" if name == "sampled" else "exact", margin=0.3, scale=7.0, sub_centers=centers
    )
    return MarginSoftmax(classes, DIM, settings, seed=2)


def a_batch(classes: int) -> dict[str, torch.Tensor]:
    """Of each teacher distinct ids a row, some of them none, and probabilities; one row is unknown to both."""
    draw = np.random.default_rng(3)
    batch = {}
    for teacher in TEACHERS:
        ids = np.stack([draw.permutation(max(classes, KEPT))[:KEPT] for _ in range(ROWS)])
        ids[ids >= classes] = -1
        ids[draw.random(ids.shape) < 0.25] = -1
        ids[4] = -1
        batch[teacher_key(teacher, "entity_ids")] = torch.from_numpy(ids)
        batch[teacher_key(teacher, "entity_scores")] = torch.from_numpy(
            np.sort(draw.dirichlet(np.ones(KEPT + 3), ROWS)[:, :KEPT])[:, ::-1].astype(np.float32).copy()
        )
    return batch


def raw_images() -> torch.Tensor:
    return torch.randn(ROWS, DIM, generator=torch.Generator().manual_seed(8))


def one_case(name: str) -> Found:
    """Loss, metrics and gradients as a trainer has them: the encoder's averaged over the ranks, the classes' own."""
    world, rank = ranks()
    head = a_head(name)
    own = slice(rank * ROWS // world, (rank + 1) * ROWS // world)
    encoder = torch.eye(DIM).requires_grad_()
    image = normalize(raw_images()[own] @ encoder, dim=1)
    module = EntityDistillation(head, TEACHERS)
    result = module({"image": image}, {key: value[own] for key, value in a_batch(head.classes).items()})
    result.loss.backward()
    if world > 1:
        dist.all_reduce(encoder.grad)
        encoder.grad /= world
    of_classes = torch.zeros_like(head.weight) if head.weight.grad is None else head.weight.grad.to_dense()
    return {"loss": result.loss.detach(), **result.metrics, "encoder": encoder.grad, "classes": of_classes}


def reference(images: np.ndarray, weight: np.ndarray, batch: dict, centers: int, scale: float) -> tuple[float, float]:
    """The loss and the share of known rows, row by row."""
    losses, known = [], []
    unit = weight.reshape(len(weight), centers, DIM)
    unit = unit / np.linalg.norm(unit, axis=2, keepdims=True)
    for teacher in TEACHERS:
        ids, scores = (batch[teacher_key(teacher, what)].numpy() for what in ("entity_ids", "entity_scores"))
        found = []
        for row in range(ROWS):
            kept = [(entity, score) for entity, score in zip(ids[row], scores[row], strict=True) if entity >= 0]
            if not kept:
                continue
            target = np.array([score for _, score in kept], np.float64)
            logits = [scale * max(images[row] @ unit[entity, one] for one in range(centers)) for entity, _ in kept]
            found.append(-(target / target.sum() * scipy_log_softmax(logits)).sum())
        losses.append(np.mean(found))
        known.append(len(found) / ROWS)
    return float(np.mean(losses)), float(np.mean(known))


@pytest.mark.parametrize("name", CASES)
def test_it_is_the_definition(name):
    head = a_head(name)
    images = normalize(raw_images(), dim=1)
    loss, known = reference(
        images.double().numpy(),
        head.weight.detach().double().numpy(),
        a_batch(head.classes),
        head.settings.sub_centers,
        7.0,
    )
    found = one_case(name)
    assert found["loss"].item() == pytest.approx(loss, rel=1e-5)
    assert found["known"].item() == pytest.approx(known)
    assert 0 <= found["agreement"] <= 1


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_small_steps(name):
    head = a_head(name).double()
    image = normalize(raw_images().double(), dim=1).requires_grad_()
    batch = a_batch(head.classes)
    module = EntityDistillation(head.eval(), TEACHERS)  # `sampled` in training gives a sparse gradient

    def loss(images: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(_Over(module), {"head.weight": weight}, (images, batch))

    assert torch.autograd.gradcheck(loss, (image, head.weight))


class _Over(torch.nn.Module):
    """The objective with its head as a submodule, so that `functional_call` can exchange its rows."""

    def __init__(self, objective: EntityDistillation) -> None:
        super().__init__()
        self.head = objective._head[0]
        self.objective = objective

    def forward(self, images: torch.Tensor, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.objective({"image": images}, batch).loss


def test_a_student_of_the_teachers_opinion_has_the_least_loss():
    """With cosines of log-probabilities over the scale the loss is the teacher's entropy."""
    target = torch.tensor([[0.5, 0.2, 0.1]])
    head = MarginSoftmax(3, 4, MarginSoftmaxSettings(1.0, "exact", scale=10.0), seed=0)
    head.weight.data = torch.eye(3, 4)
    image = (target / target.sum()).log() / 10
    rest = (1 - image.square().sum()).sqrt()
    batch = {teacher_key("a", "entity_ids"): torch.tensor([[0, 1, 2]]), teacher_key("a", "entity_scores"): target}
    found = EntityDistillation(head, ["a"])({"image": torch.cat([image, rest.view(1, 1)], dim=1)}, batch)
    share = target / target.sum()
    assert found.loss.item() == pytest.approx(-(share * share.log()).sum().item(), rel=1e-5)
    assert found.metrics["agreement"] == 1


def test_the_classes_stay_the_heads():
    module = EntityDistillation(a_head("exact"), TEACHERS)
    assert not list(module.named_parameters())
    assert not module.state_dict()
    assert module.sharded_parameters() == {}


def test_a_sampled_heads_gradient_is_of_the_rows_that_teachers_name():
    head = a_head("sampled")
    batch = a_batch(head.classes)
    for teacher in TEACHERS:
        batch[teacher_key(teacher, "entity_ids")] = batch[teacher_key(teacher, "entity_ids")].clamp(max=6)
        batch[teacher_key(teacher, "entity_ids")][batch[teacher_key(teacher, "entity_ids")] == 0] = -1
    EntityDistillation(head, TEACHERS)({"image": normalize(raw_images(), dim=1)}, batch).loss.backward()
    assert head.weight.grad.is_sparse
    named = {number for teacher in TEACHERS for number in batch[teacher_key(teacher, "entity_ids")].unique().tolist()}
    assert set(head.weight.grad.coalesce().indices()[0].tolist()) == named - {-1}


def test_nothing_known_is_no_loss():
    batch = {key: torch.full_like(value, -1) if key.endswith("ids") else value for key, value in a_batch(11).items()}
    image = normalize(raw_images(), dim=1).requires_grad_()
    found = EntityDistillation(a_head("exact"), TEACHERS)({"image": image}, batch)
    found.loss.backward()
    assert found.loss == 0
    assert found.metrics["known"] == found.metrics["agreement"] == 0
    assert not image.grad.any()


def test_without_a_teacher_it_is_refused():
    with pytest.raises(UsageError, match="no teacher"):
        EntityDistillation(a_head("exact"), [])


def found_here():
    """Each case on this rank, and which classes it holds."""
    return {name: one_case(name) | {"bounds": torch.tensor(shard_bounds(CASES[name][0]))} for name in CASES}


@pytest.mark.slow
def test_ranks_change_nothing(tmp_path):
    for each in found_on_ranks(__file__, tmp_path).values():
        for name in CASES:
            expected = one_case(name)
            for found in (one[name] for one in each):
                start, stop = found.pop("bounds").tolist()
                for key, value in expected.items():
                    value = value[start:stop] if key == "classes" else value
                    torch.testing.assert_close(
                        found[key],
                        value,
                        rtol=1e-5,
                        atol=1e-6,
                        msg=lambda text, key=key, name=name: f"{name} {key}: {text}",
                    )


if __name__ == "__main__":
    work_on_ranks(found_here)
