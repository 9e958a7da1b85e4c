"""Learning rates against torch's schedulers, clipping against torch's, and the optimisers that settings name."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

from openmofi.training.distributed import Ranks
from openmofi.training.loop import buffers_of, restore_buffers
from openmofi.training.model import build_model, inputs_of
from openmofi.training.optimization import (
    RowAdagrad,
    RowAdamW,
    Trained,
    clip_gradients,
    dense_optimizer,
    gradient_norm,
    learning_rate,
    set_learning_rate,
    sharded_optimizer,
)
from openmofi.training.recipe import ImageModel, OptimizerSettings
from openmofi.training.state import build_optimizers, build_terms, logit_scale

ALONE = Ranks(0, 1, torch.device("cpu"), None)


def torchs(steps, warm, peak, low):
    """The rates that torch's own schedulers give."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=peak)
    cosine = CosineAnnealingLR(optimizer, max(steps - 1 - warm, 1), eta_min=low * peak)
    schedule = cosine
    if warm:
        rising = LinearLR(optimizer, 1 / warm, 1.0, max(warm - 1, 1)) if warm > 1 else LinearLR(optimizer, 1.0, 1.0, 1)
        schedule = SequentialLR(optimizer, [rising, cosine], [warm])
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("steps", "warm", "low"), [(20, 5, 0.0), (20, 5, 0.1), (30, 1, 0.0), (9, 0, 0.5), (2, 0, 0.0), (1, 0, 0.0)]
)
def test_the_schedule_is_torchs(steps, warm, low):
    settings = OptimizerSettings(lr=3e-4, warmup=warm, min_lr=low)
    found = [learning_rate(step, steps, settings) for step in range(steps)]
    assert found == pytest.approx(torchs(steps, warm, 3e-4, low), rel=1e-6, abs=1e-12)


@given(some.integers(1, 400), some.integers(0, 500), some.floats(0, 1))
def test_a_schedule_rises_to_the_peak_and_falls_to_its_end(steps, warm, low):
    settings = OptimizerSettings(lr=2.0, warmup=warm, min_lr=low)
    rates = [learning_rate(step, steps, settings) for step in range(steps)]
    top = rates.index(max(rates))
    assert all(0 <= rate <= 2.0 for rate in rates)
    assert max(rates) == pytest.approx(2.0)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] == pytest.approx(2.0 * low if steps - 1 > min(warm, steps - 1) else 2.0)


def parameters_with_gradients(dtype=torch.float32):
    draw = torch.Generator().manual_seed(0)
    found = []
    for shape in ((3, 4), (5,), ()):
        parameter = nn.Parameter(torch.zeros(shape, dtype=dtype))
        parameter.grad = torch.randn(shape, generator=draw, dtype=torch.float32).to(dtype)
        found.append(parameter)
    return [*found, nn.Parameter(torch.zeros(2))]  # the last one got no gradient


@pytest.mark.parametrize("clip", [0.0, 0.5, 100.0])
def test_clipping_is_torchs(clip):
    ours, theirs = parameters_with_gradients(), parameters_with_gradients()
    optimizer = dense_optimizer(
        [{"params": ours, "names": list("abcd"), "lr_scale": 1.0, "weight_decay": 0.0}], OptimizerSettings(), clip
    )
    norm = gradient_norm(optimizer, ALONE)
    clip_gradients(optimizer, norm)
    expected = nn.utils.clip_grad_norm_(theirs, clip or torch.inf)
    torch.testing.assert_close(norm, expected)
    for one, other in zip(ours[:3], theirs[:3], strict=True):
        torch.testing.assert_close(one.grad, other.grad)
    assert ours[3].grad is None


def test_sparse_rows_are_clipped_by_their_values():
    parameter = nn.Parameter(torch.zeros(9, 2))
    parameter.grad = torch.sparse_coo_tensor([[1, 4]], [[3.0, 0.0], [0.0, 4.0]], (9, 2), is_coalesced=True)
    optimizer = sharded_optimizer([Trained("head", parameter, 9)], OptimizerSettings(head_clip=1.0), weight_decay=0.0)
    norm = gradient_norm(optimizer, ALONE)
    clip_gradients(optimizer, norm)
    assert norm == 5.0
    assert parameter.grad.to_dense().norm() == pytest.approx(1.0, rel=1e-5)
    assert parameter.grad.to_dense()[1, 0] == pytest.approx(0.6, rel=1e-5)


def test_rows_that_two_losses_touch_count_once():
    parameter = nn.Parameter(torch.zeros(9, 2))
    rows = [torch.sparse_coo_tensor([[4]], [[value, 0.0]], (9, 2), is_coalesced=True) for value in (3.0, 1.0)]
    parameter.grad = rows[0] + rows[1]
    optimizer = sharded_optimizer([Trained("head", parameter, 9)], OptimizerSettings(head_clip=1.0), weight_decay=0.0)
    norm = gradient_norm(optimizer, ALONE)
    assert norm == 4.0
    clip_gradients(optimizer, norm)
    assert parameter.grad.to_dense()[4, 0] == pytest.approx(1.0, rel=1e-5)


def test_the_head_gets_the_optimiser_and_the_rate_that_are_named():
    for name, kind, head_lr, rate in (
        ("row-adamw", RowAdamW, 0.0, 0.1),
        ("row-adamw", RowAdamW, 0.06, 0.3),
        ("row-adagrad", RowAdagrad, 0.0, 0.05),
        ("row-adagrad", RowAdagrad, 0.002, 0.01),
    ):
        settings = OptimizerSettings(lr=0.02, head=name, head_lr=head_lr)
        made = sharded_optimizer([Trained("head", nn.Parameter(torch.zeros(2, 2)), 2)], settings, weight_decay=0.5)
        assert type(made.inner) is kind
        set_learning_rate([made], 0.1)
        group = made.inner.param_groups[0]
        assert (group["lr"], group["weight_decay"]) == (pytest.approx(rate), 0.5)


def test_every_trained_parameter_has_one_optimiser_and_its_share_of_the_rate(make):
    recipe = make("multi_sampled", image={"layer_decay": 0.5, "freeze": ("trunk.patch_embed.*",)})
    recipe = replace(recipe, optimizer=replace(recipe.optimizer, text_lr_multiplier=0.1))
    model = build_model(recipe.model, inputs_of(recipe.model), seed=0)
    terms = build_terms(recipe, torch.tensor([5, 4, 3, 2, 1, 0]).numpy(), torch.device("cpu"))
    made = build_optimizers(recipe, model, terms)
    names = [item.name for optimizer in made.values() for item in optimizer.trained]
    wanted = {name for name, value in model.named_parameters() if value.requires_grad}
    assert sorted(names) == sorted(wanted | {"objective.margin_softmax.weight", "objective.contrastive.log_scale"})
    assert [item.name for item in made["head"].trained] == ["objective.margin_softmax.weight"]
    set_learning_rate(made.values(), 1.0)
    rates = {
        id(parameter): group["lr"]
        for optimizer in made.values()
        for group in optimizer.inner.param_groups
        for parameter in group["params"]
    }
    blocks = model.image.trunk.blocks
    assert rates[id(blocks[0].norm1.weight)] == pytest.approx(0.5 * rates[id(blocks[1].norm1.weight)])
    assert rates[id(model.image.head.weight)] == 1.0
    assert rates[id(model.text.head.weight)] == pytest.approx(0.1)
    assert logit_scale(terms) == pytest.approx(recipe.objectives.contrastive.scale, rel=1e-5)


def test_a_run_without_texts_has_no_scale(make):
    recipe = make("exact", image={"freeze": ("*",)})
    model = build_model(recipe.model, inputs_of(recipe.model), seed=0)
    terms = build_terms(recipe, torch.ones(6, dtype=torch.int64).numpy(), torch.device("cpu"))
    assert list(terms) == ["margin_softmax"]
    assert list(build_optimizers(recipe, model, terms)) == ["head"]
    assert logit_scale(terms) == 1.0
    assert isinstance(recipe.model.image, ImageModel)


def test_batch_statistics_forget_a_batch_that_is_not_finite():
    towers = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    images = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    towers(images)
    norm = towers[1]
    kept = buffers_of(towers)
    mean = norm.running_mean.clone()
    towers(torch.where(torch.arange(8)[:, None] == 5, torch.nan, images))
    assert norm.running_mean.isnan().any()
    restore_buffers(towers, kept)
    assert torch.equal(norm.running_mean, mean)
    assert norm.running_var.isfinite().all()
    towers.eval()
    assert towers(images).isfinite().all()
