import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from openmofi.plugins.adapter.losses import partial_label_loss


def naive(logits: np.ndarray, bag: np.ndarray, weights: np.ndarray | None = None) -> float:
    losses = []
    for row, members in enumerate(bag):
        shifted = np.exp(logits[row].astype(np.float64) - logits[row].max())
        softmax = shifted / shifted.sum()
        mass = sum(softmax[e] * (1.0 if weights is None else weights[row, k]) for k, e in enumerate(members) if e >= 0)
        if mass > 0:
            losses.append(-np.log(mass))
    return float(np.mean(losses)) if losses else 0.0


@st.composite
def problems(draw):
    seed = draw(st.integers(0, 2**31))
    rows, classes, size = draw(st.integers(1, 6)), draw(st.integers(1, 9)), draw(st.integers(1, 5))
    random = np.random.default_rng(seed)
    bag = random.integers(-1, classes, (rows, size))
    weights = random.choice([0.0, 0.25, 1.0, 3.0], (rows, size)) if draw(st.booleans()) else None
    return random.normal(0, 4, (rows, classes)), bag, weights


@given(problems())
@settings(max_examples=200, deadline=None)
def test_equals_the_definition(problem):
    logits, bag, weights = problem
    found = partial_label_loss(
        torch.tensor(logits), torch.tensor(bag), None if weights is None else torch.tensor(weights)
    )
    assert found.item() == pytest.approx(naive(logits, bag, weights), abs=1e-9)


@given(problems())
@settings(max_examples=50, deadline=None)
def test_order_and_place_of_padding_do_not_matter(problem):
    logits, bag, weights = problem
    order = np.random.default_rng(0).permutation(bag.shape[1])
    rows = np.random.default_rng(1).permutation(len(bag))
    arguments = [torch.tensor(logits), torch.tensor(bag), None if weights is None else torch.tensor(weights)]
    moved = [
        torch.tensor(logits[rows]),
        torch.tensor(bag[rows][:, order]),
        None if weights is None else torch.tensor(weights[rows][:, order]),
    ]
    assert torch.allclose(partial_label_loss(*moved), partial_label_loss(*arguments), atol=1e-12)


def test_a_bag_of_one_is_cross_entropy():
    logits, target = torch.randn(32, 100, generator=torch.Generator().manual_seed(0)), torch.arange(32) * 3
    expected = torch.nn.functional.cross_entropy(logits, target)
    assert torch.allclose(partial_label_loss(logits, target[:, None]), expected)


def test_a_bag_of_everything_costs_nothing():
    logits = torch.randn(4, 7, generator=torch.Generator().manual_seed(0))
    assert partial_label_loss(logits, torch.arange(7).repeat(4, 1)).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("with_weights", [False, True])
def test_gradient(with_weights):
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(5, 6, dtype=torch.float64, generator=generator, requires_grad=True)
    bag = torch.tensor([[0, 3, -1], [-1, -1, -1], [5, -1, 2], [1, 1, 4], [2, 0, 1]])
    weights = torch.rand(5, 3, dtype=torch.float64, generator=generator) if with_weights else None
    assert torch.autograd.gradcheck(lambda z: partial_label_loss(z, bag, weights), (logits,))


def test_gradient_through_weights():
    logits = torch.randn(2, 4, dtype=torch.float64)
    bag = torch.tensor([[0, 1], [2, -1]])
    weights = torch.rand(2, 2, dtype=torch.float64).add(0.1).requires_grad_()
    assert torch.autograd.gradcheck(lambda w: partial_label_loss(logits, bag, w), (weights,))


def test_ignored_rows_have_no_gradient_and_do_not_change_the_mean():
    logits = torch.randn(3, 5, generator=torch.Generator().manual_seed(0), requires_grad=True)
    bag = torch.tensor([[1, 2], [-1, -1], [4, -1]])
    loss = partial_label_loss(logits, bag)
    loss.backward()
    assert torch.allclose(loss, partial_label_loss(logits[[0, 2]], bag[[0, 2]]))
    assert logits.grad is not None
    assert logits.grad[1].eq(0).all()
    assert logits.grad.isfinite().all()


def test_all_rows_ignored_is_zero_with_zero_gradient():
    logits = torch.randn(3, 5, requires_grad=True)
    loss = partial_label_loss(logits, torch.full((3, 2), -1))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert logits.grad.eq(0).all()


def test_extreme_logits_stay_finite():
    logits = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4]], requires_grad=True)
    loss = partial_label_loss(logits, torch.tensor([[1, -1], [1, 2]]), torch.tensor([[1e-6, 0.0], [1.0, 1e-12]]))
    loss.backward()
    assert loss.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_half_precision_is_computed_in_float32():
    logits = torch.randn(8, 50, generator=torch.Generator().manual_seed(0)).bfloat16()
    bag = torch.arange(16).reshape(8, 2)
    found = partial_label_loss(logits, bag)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(naive(logits.float().numpy(), bag.numpy()), abs=1e-5)


@pytest.mark.parametrize(
    ("bag", "weights"),
    [
        (torch.zeros(2, 2, dtype=torch.int64), None),
        (torch.zeros(3, dtype=torch.int64), None),
        (torch.zeros(3, 2, dtype=torch.int64), torch.ones(3, 1)),
    ],
)
def test_wrong_shapes(bag, weights):
    with pytest.raises(ValueError, match="bag"):
        partial_label_loss(torch.zeros(3, 4), bag, weights)
