"""How far class vectors move: the bound beside the optimisers themselves, and learning at the ratios of full size."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from openmofi.objectives.margin_softmax import MarginSoftmax
from openmofi.objectives.objective_settings import MarginSoftmaxSettings
from openmofi.training.data.plan import ClassPlan, RepeatPlan, members_of_classes
from openmofi.training.evaluators import class_weights, expected_updates, greatest_move, stuck_head
from openmofi.training.log import Unwatched
from openmofi.training.optimization import Trained, learning_rate, set_learning_rate, sharded_optimizer
from openmofi.training.recipe import DataSettings, OptimizerSettings
from openmofi.training.recipe.rules import load_recipe

from .small_runs import trained

ADAMW, ADAGRAD = OptimizerSettings(lr=5e-4, warmup=10), OptimizerSettings(lr=5e-4, warmup=10, head="row-adagrad")
SLOW_ADAGRAD = replace(ADAGRAD, head_lr=5e-4)


@pytest.mark.parametrize("settings", [ADAMW, ADAGRAD, SLOW_ADAGRAD, replace(ADAMW, head_lr=0.03)])
@pytest.mark.parametrize("updates", [40, 400])
def test_a_steady_gradient_moves_a_row_by_the_bound(settings, updates):
    steps, dim = 400, 64
    weight = torch.nn.Parameter(torch.zeros(1, dim))
    optimizer = sharded_optimizer([Trained("head", weight, 1)], settings, weight_decay=0.0)
    signs = torch.sign(torch.randn(1, dim, generator=torch.Generator().manual_seed(0)))
    for step in np.unique(np.linspace(0, steps - 1, updates).round().astype(int)).tolist():
        weight.grad = signs * 0.01
        set_learning_rate([optimizer], learning_rate(step, steps, settings))
        optimizer.inner.step()
    bound = greatest_move(np.array([float(updates)]), dim, steps, settings)[0]
    assert float(weight.detach().norm()) == pytest.approx(bound, rel=0.15)


def test_expected_updates_are_those_of_drawn_batches():
    counts, steps, size = np.array([400, 90, 9, 1, 0]), 3000, 8
    rows, labels = np.arange(500), np.repeat(np.arange(5), counts)
    offsets, members = members_of_classes(rows, labels, 5)
    for sampler in ("sqrt", "class-balanced", "repeat-factor"):
        data = DataSettings(sampler=sampler, repeat_threshold=0.1)
        plan = (
            RepeatPlan.of([(rows, labels)], counts, len(rows), 0.1, size, 0)
            if sampler == "repeat-factor"
            else ClassPlan(offsets, members, size, 0.5 if sampler == "sqrt" else 0.0, 0)
        )
        batches = labels[np.stack([plan.rows(step) for step in range(steps)])]
        drawn = [(batches == number).any(1).sum() for number in range(len(counts))]
        expected = expected_updates(class_weights(counts, data), steps=steps, batch_size=size)
        np.testing.assert_allclose(expected, drawn, rtol=0.05, atol=15)


def aligned(settings, *, classes, batch, steps, dim=512):
    """Mean cosine of class vectors and their prototypes, for thirds of the classes by count, as features are
    simulated: a prototype and noise, long-tailed counts; a tenth of the classes is sampled.
    """
    draw = torch.Generator().manual_seed(0)
    weights = (torch.arange(classes, dtype=torch.float64) + classes / 100) ** -0.8
    prototypes = normalize(torch.randn(classes, dim, generator=draw), dim=1)
    head = MarginSoftmax(classes, dim, MarginSoftmaxSettings(1.0, "sampled", sample_rate=0.1, min_sampled=1), seed=1)
    optimizer = sharded_optimizer([Trained("head", head.weight, classes)], settings, weight_decay=0.0)
    for step in range(steps):
        labels = torch.multinomial(weights, batch, replacement=True, generator=draw)
        noise = torch.randn(batch, dim, generator=draw) * 0.7 * dim**-0.5
        head.weight.grad = None
        head({"image": normalize(prototypes[labels] + noise, dim=1)}, {"labels": labels[:, None]}).loss.backward()
        set_learning_rate([optimizer], learning_rate(step, steps, settings))
        optimizer.inner.step()
    cosine = (normalize(head.weight.detach(), dim=1) * prototypes).sum(1)
    return [float(part.mean()) for part in cosine.split(-(-classes // 3))]


def test_head_and_tail_align_with_adagrad_at_its_own_rate_as_with_adamw_and_not_at_the_towers_rate():
    sizes = {"classes": 192, "batch": 96, "steps": 150}
    adamw, adagrad, slow = (aligned(settings, **sizes) for settings in (ADAMW, ADAGRAD, SLOW_ADAGRAD))
    for third in range(3):
        assert adagrad[third] >= adamw[third] - 0.02
        assert slow[third] < 0.3 * adagrad[third]
    assert min(adagrad) > 0.45


@pytest.mark.slow
def test_the_same_at_the_ratios_of_two_million_classes():
    # MOFI's: a batch of 32,768 is a 61st of 2 M classes; here a 64th of 512.
    sizes = {"classes": 512, "batch": 8, "steps": 1500}
    adamw, adagrad = (aligned(settings, **sizes) for settings in (ADAMW, ADAGRAD))
    assert all(ours >= theirs - 0.02 for ours, theirs in zip(adagrad, adamw, strict=True))


def full_size(*overrides):
    return load_recipe("mofi_vit_b16", overrides), np.full(2_000_000, 500)


def test_a_head_that_cannot_turn_is_said_and_the_packaged_recipe_can():
    assert stuck_head(*full_size()) == ""
    few = ("run.steps=6000", "optimizer.head_lr=5.0e-4")
    message = stuck_head(*full_size(*few))
    assert "2,000,000 classes" in message
    assert "row-adagrad at a learning rate of 0.0005" in message
    advised = float(message.partition("set optimizer.head_lr to ")[2].split()[0])
    assert stuck_head(*full_size("run.steps=6000", f"optimizer.head_lr={advised}")) == ""
    assert stuck_head(load_recipe("clip_vit_b16"), np.full(9, 1)) == ""
    short = ["run.steps=2", "optimizer.warmup=1"]
    random = ["model.start=random", "model.start_share=0"]
    assert stuck_head(load_recipe("entity_head", [*short, *random]), np.full(900, 1))
    assert stuck_head(load_recipe("entity_head", short), np.full(900, 1)) == ""


def test_a_run_says_that_its_head_cannot_learn(make, tmp_path):
    said, watcher = [], Unwatched()
    watcher.say = said.append
    trained(make("sampled", optimizer={"lr": 1e-5}), tmp_path / "run", watcher=watcher)
    assert any("the class head cannot learn" in message for message in said)
