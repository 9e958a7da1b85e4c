"""A step by way of the embeddings: against plain autograd, cut into micro-batches or not, with dropout or without."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from openmofi.objectives.contrastive import Contrastive
from openmofi.objectives.margin_softmax import MarginSoftmax
from openmofi.objectives.objective_settings import ContrastiveSettings, MarginSoftmaxSettings
from openmofi.training.state import Term, forward_backward, micro_batches

CLASSES, DIM, ROWS = 5, 6, 12


class TwoTowers(nn.Module):
    """Towers without batch statistics; `drop` of their hidden units is dropped."""

    def __init__(self, drop=0.0):
        super().__init__()
        torch.manual_seed(0)
        self.image = nn.Sequential(nn.Linear(7, 9), nn.GELU(), nn.Dropout(drop), nn.Linear(9, DIM))
        self.text = nn.Sequential(nn.Linear(4, 9), nn.GELU(), nn.Dropout(drop), nn.Linear(9, DIM))
        self.calls = 0

    def forward(self, batch):
        self.calls += 1
        return {
            "image": normalize(self.image(batch["image"]), dim=1),
            "text": normalize(self.text(batch["text_features"]), dim=1),
        }


def a_batch():
    draw = torch.Generator().manual_seed(1)
    return {
        "image": torch.randn(ROWS, 7, generator=draw),
        "text_features": torch.randn(ROWS, 4, generator=draw),
        "labels": torch.randint(-1, CLASSES, (ROWS, 2), generator=draw),
        "label_weights": torch.rand(ROWS, 2, generator=draw),
        "text_id": torch.randint(0, 9, (ROWS,), generator=draw),
        "row": torch.arange(ROWS),
    }


def terms_of(chunk=0, weights=(1.0, 0.3)):
    head = MarginSoftmax(CLASSES, DIM, MarginSoftmaxSettings(1.0, "exact"), seed=3)
    return {
        "margin_softmax": Term(head, weights[0]),
        "contrastive": Term(Contrastive(ContrastiveSettings(1.0, positives="entity", chunk=chunk)), weights[1]),
    }


def stepped(count, drop=0.0, seed=11, terms=None, **more):
    model, terms = TwoTowers(drop), terms or terms_of(**more)
    found = forward_backward(model, model, terms, a_batch(), count=count, seed=seed)
    gradients = {name: value.grad.clone() for name, value in model.named_parameters()}
    for name, term in terms.items():
        gradients |= {f"{name}.{key}": value.grad.clone() for key, value in term.objective.named_parameters()}
    return found, gradients, model


def plain(weights=(1.0, 0.3), only=None):
    """The same by autograd alone: the sum's gradient through the towers in one backward pass."""
    model, terms, batch = TwoTowers(), terms_of(weights=weights), a_batch()
    embeddings = model(batch)
    for value in embeddings.values():
        value.retain_grad()
    parts = {name: term.weight * term.objective(embeddings, batch).loss for name, term in terms.items()}
    loss = sum(parts.values()) if only is None else parts[only]
    loss.backward()
    gradients = {name: value.grad for name, value in model.named_parameters()}
    for name, term in terms.items():
        gradients |= {f"{name}.{key}": value.grad for key, value in term.objective.named_parameters()}
    return loss.detach(), gradients, embeddings["image"].grad


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_loss_and_all_gradients_are_those_of_plain_autograd(count):
    loss, expected, _ = plain()
    found, gradients, model = stepped(count)
    torch.testing.assert_close(found.loss, loss, rtol=1e-5, atol=1e-6)
    assert gradients.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-5, atol=1e-5, msg=name)
    assert model.calls == (1 if count == 1 else 2 * count)


def test_each_objectives_gradient_norm_is_autograds():
    found, _, _ = stepped(1)
    for name in ("margin_softmax", "contrastive"):
        _, _, gradient = plain(only=name)
        torch.testing.assert_close(found.gradients[name], gradient.norm(), rtol=1e-5, atol=0)
        assert found.gradients[name] > 0
    assert not torch.isclose(found.gradients["margin_softmax"], found.gradients["contrastive"])


def test_the_weights_of_the_sum_count():
    found, _, _ = stepped(2, weights=(0.0, 2.0))
    assert found.gradients["margin_softmax"] == 0
    torch.testing.assert_close(found.loss, 2 * found.results["contrastive"].loss.detach())


def differentiated(drop, count, seed=11):
    """Gradients by autograd over one graph in which the micro-batches draw as `forward_backward` seeds them."""
    model, terms, batch = TwoTowers(drop), terms_of(), a_batch()
    outputs = []
    for number, part in enumerate(micro_batches(batch, count)):
        torch.manual_seed(seed + number)
        outputs.append(model(part))
    whole = {name: torch.cat([found[name] for found in outputs]) for name in outputs[0]}
    sum(term.weight * term.objective(whole, batch).loss for term in terms.values()).backward()
    return {name: value.grad for name, value in model.named_parameters()}


@pytest.mark.parametrize("count", [1, 2, 4])
def test_the_second_pass_draws_the_dropout_of_the_first(count):
    expected = differentiated(0.5, count)
    _, gradients, _ = stepped(count, drop=0.5)
    for name, gradient in expected.items():
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-5, atol=1e-5, msg=name)


def test_the_test_above_would_see_other_random_numbers(monkeypatch):
    expected, true, seeds = differentiated(0.5, 2), torch.manual_seed, []

    def once(seed):
        if seed >= 11:
            seeds.append(seed)
        return true(seed) if len(seeds) <= 2 else torch.default_generator

    monkeypatch.setattr(torch, "manual_seed", once)
    _, gradients, _ = stepped(2, drop=0.5)
    assert seeds == [11, 12, 11, 12]
    assert any(not torch.allclose(gradients[name], gradient, atol=1e-4) for name, gradient in expected.items())


def test_the_seed_decides_the_dropout_whatever_was_drawn_before():
    one = stepped(2, drop=0.5)
    torch.rand(17)
    other, changed = stepped(2, drop=0.5), stepped(2, drop=0.5, seed=12)
    assert torch.equal(one[0].loss, other[0].loss)
    assert all(torch.equal(value, other[1][name]) for name, value in one[1].items())
    assert not torch.equal(one[0].loss, changed[0].loss)


def test_micro_batches_have_every_row_once():
    parts = micro_batches(a_batch(), 4)
    assert torch.cat([part["row"] for part in parts]).tolist() == list(range(ROWS))
    assert {len(values) for part in parts for values in part.values()} == {3}


@pytest.mark.parametrize("count", [1, 2])
def test_a_loss_that_is_not_finite_sends_nothing_through_the_towers(count):
    model, batch = TwoTowers(), a_batch()
    batch["image"][3] = torch.inf
    found = forward_backward(model, model, terms_of(), batch, count=count, seed=0)
    assert not found.finite
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_gradient_norm_that_is_not_finite_is_not_finite():
    found, _, _ = stepped(1)
    assert found.finite
    assert replace(found, norms={"towers": torch.tensor(1.0)}).finite
    assert not replace(found, norms={"towers": torch.tensor(1.0), "head": torch.tensor(torch.inf)}).finite


def test_a_tower_that_is_frozen_gets_no_gradient():
    model, terms = TwoTowers(), terms_of()
    for parameter in model.text.parameters():
        parameter.requires_grad_(False)
    for count in (1, 3):
        forward_backward(model, model, terms, a_batch(), count=count, seed=0)
    assert all(parameter.grad is None for parameter in model.text.parameters())
    assert all(parameter.grad is not None for parameter in model.image.parameters())


def test_nested_lengths_count_alike_and_their_gradients_are_of_the_whole():
    terms = terms_of()
    embeddings = {name: value.detach().requires_grad_() for name, value in TwoTowers()(a_batch()).items()}
    for name, term in terms.items():
        nested = replace(term, dims=(DIM, 3))
        result = nested(embeddings, a_batch())
        short = {key: normalize(value[:, :3], dim=1) for key, value in embeddings.items()}
        expected = (term.objective(embeddings, a_batch()).loss + term.objective(short, a_batch()).loss) / 2
        torch.testing.assert_close(result.loss, expected)
        assert set(result.metrics) == {*term(embeddings, a_batch()).metrics, f"loss/{DIM}", "loss/3"}
        for ours, theirs in zip(
            torch.autograd.grad(result.loss, embeddings["image"]),
            torch.autograd.grad(expected, embeddings["image"]),
            strict=True,
        ):
            torch.testing.assert_close(ours, theirs)
        assert term.weight == terms_of()[name].weight
