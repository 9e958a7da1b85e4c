import copy

import pytest
import torch

from openmofi.training.optimization import RowAdagrad, RowAdamW


def sparse(rows, values, shape):
    return torch.sparse_coo_tensor(torch.tensor([rows]), values, shape, check_invariants=True)


def gradients(shape, steps=5):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator) for _ in range(steps)]


@pytest.mark.parametrize("as_sparse", [False, True])
@pytest.mark.parametrize("shape", [(50, 7), (3000, 256), (11,)])
def test_row_adamw_over_all_rows_is_adamw(as_sparse, shape):
    chosen = {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1}
    ours, theirs = (torch.nn.Parameter(torch.ones(shape)) for _ in range(2))
    row, dense = RowAdamW([ours], **chosen), torch.optim.AdamW([theirs], **chosen)
    for gradient in gradients(shape):
        theirs.grad = gradient
        ours.grad = sparse(list(range(shape[0])), gradient, shape) if as_sparse else gradient.clone()
        row.step()
        dense.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(row.state[ours]["exp_avg_sq"], dense.state[theirs]["exp_avg_sq"])


def test_a_row_is_treated_as_if_it_were_alone_and_others_stay():
    shape, touched = (6, 4), ([0, 3], [3], [3, 5], [0, 3])
    matrix = torch.nn.Parameter(torch.ones(shape))
    optimizer = RowAdamW([matrix], lr=0.1, weight_decay=0.2)
    alone = {row: torch.nn.Parameter(torch.ones(4)) for row in (0, 3, 5)}
    each = {row: torch.optim.AdamW([parameter], lr=0.1, weight_decay=0.2) for row, parameter in alone.items()}
    for rows, gradient in zip(touched, gradients(shape, 4), strict=True):
        matrix.grad = sparse(rows, gradient[rows], shape)
        optimizer.step()
        for row in rows:
            alone[row].grad = gradient[row]
            each[row].step()
    for row, parameter in alone.items():
        torch.testing.assert_close(matrix[row], parameter)
    assert (matrix[[1, 2, 4]] == 1).all()
    assert optimizer.state[matrix]["steps"].tolist() == [2, 0, 0, 4, 0, 1]


@pytest.mark.parametrize("as_sparse", [False, True])
def test_row_adagrad_follows_its_formula(as_sparse):
    shape, rows = (5, 3), [0, 2, 3] if as_sparse else [0, 1, 2, 3, 4]
    matrix = torch.nn.Parameter(torch.ones(shape))
    optimizer = RowAdagrad([matrix], lr=0.5, eps=1e-8, weight_decay=0.1)
    expected, sums = torch.ones(shape, dtype=torch.float64), torch.zeros(5, dtype=torch.float64)
    for gradient in gradients(shape):
        matrix.grad = sparse(rows, gradient[rows], shape) if as_sparse else gradient.clone()
        optimizer.step()
        for row in rows:
            sums[row] += gradient[row].double().square().mean()
            expected[row] = expected[row] * 0.95 - 0.5 * gradient[row] / (sums[row].sqrt() + 1e-8)
    torch.testing.assert_close(matrix, expected.float())
    assert optimizer.state[matrix]["sum"].shape == (5,)


def test_row_adagrad_on_one_column_is_adagrad():
    ours, theirs = (torch.nn.Parameter(torch.ones(9, 1)) for _ in range(2))
    row, dense = RowAdagrad([ours], lr=0.1), torch.optim.Adagrad([theirs], lr=0.1)
    for gradient in gradients((9, 1)):
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        row.step()
        dense.step()
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("kind", [RowAdamW, RowAdagrad])
def test_rows_named_twice_are_summed_first_and_the_state_travels(kind):
    shape = (6, 2)
    once, twice, moved = (torch.nn.Parameter(torch.ones(shape)) for _ in range(3))
    first, second, third = kind([once]), kind([twice]), kind([moved])
    gradient = gradients(shape, 1)[0][:2]
    once.grad, twice.grad = sparse([1, 4], gradient, shape), sparse([1, 4, 1, 4], gradient.repeat(2, 1) / 2, shape)
    first.step()
    second.step()
    torch.testing.assert_close(once, twice)
    moved.data.copy_(once.data)
    third.load_state_dict(copy.deepcopy(first.state_dict()))
    moved.grad = once.grad
    first.step()
    third.step()
    assert torch.equal(once, moved)


@pytest.mark.parametrize("kind", [RowAdamW, RowAdagrad])
def test_no_row_no_gradient_closure_and_wrong_settings(kind):
    matrix = torch.nn.Parameter(torch.ones(3, 2))
    optimizer = kind([matrix, torch.nn.Parameter(torch.ones(0, 2))], weight_decay=0.5)
    optimizer.step()
    matrix.grad = sparse([], torch.zeros(0, 2), (3, 2))
    optimizer.param_groups[0]["params"][1].grad = torch.zeros(0, 2)
    assert optimizer.step(lambda: 7) == 7
    assert (matrix == 1).all()
    with pytest.raises(ValueError, match="out of range"):
        kind([matrix], lr=-1)
