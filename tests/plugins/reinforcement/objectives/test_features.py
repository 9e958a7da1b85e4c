"""Teachers' embeddings through a linear map: against SciPy's cosine, on 1, 2 and 3 processes, and what is refused."""

import numpy as np
import pytest
import torch
from rank_processes import averaged, found_on_ranks, ranks, work_on_ranks
from scipy.spatial.distance import cosine
from torch.nn.functional import normalize

from openmofi.errors import UsageError
from openmofi.plugins.reinforcement.objectives import FeatureDistillation, teacher_key

ROWS, DIM = 12, 5
DIMS = {"a.b/c": 6, "b": 3}  # a teacher's name may hold dots and slashes
UNKNOWN = ((), (2, 7, 8), tuple(range(1, ROWS)), tuple(range(ROWS)))
Found = dict[str, torch.Tensor]


def unit(*shape: int, seed: int) -> torch.Tensor:
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=-1)


def global_batch(unknown: tuple[int, ...]) -> dict[str, torch.Tensor]:
    known = torch.ones(ROWS, dtype=torch.bool)
    known[list(unknown)] = False
    return {
        "known": known,
        "inputs": unit(ROWS, 7, seed=4),
        **{teacher_key(teacher, "image"): unit(ROWS, dim, seed=dim) * known[:, None] for teacher, dim in DIMS.items()},
    }


def one_case(unknown: tuple[int, ...]) -> Found:
    """Loss and gradients as a trainer has them: the encoder's and the objective's averaged over the ranks."""
    world, rank = ranks()
    rows = slice(rank * ROWS // world, (rank + 1) * ROWS // world)
    batch = {name: values[rows] for name, values in global_batch(unknown).items()}
    encoder = torch.linspace(-1, 1, 7 * DIM, dtype=torch.float64).reshape(7, DIM).sin().requires_grad_()
    module = FeatureDistillation(DIM, DIMS).double()
    result = module({"image": normalize(batch["inputs"] @ encoder, dim=1)}, batch)
    result.loss.backward()
    gradients = averaged({"encoder": encoder.grad, **{name: value.grad for name, value in module.named_parameters()}})
    return {"loss": result.loss.detach(), **gradients}


@pytest.mark.parametrize("unknown", UNKNOWN)
def test_it_is_the_mean_cosine_distance(unknown):
    batch, image = global_batch(unknown), unit(ROWS, DIM, seed=1)
    module = FeatureDistillation(DIM, DIMS, seed=3).double()
    maps = {teacher: made(image).detach().numpy() for teacher, made in zip(DIMS, module.maps, strict=True)}
    distances = [
        cosine(maps[teacher][row], batch[teacher_key(teacher, "image")][row].numpy())
        for row in np.flatnonzero(batch["known"].numpy())
        for teacher in DIMS
    ]
    assert module({"image": image}, batch).loss.item() == pytest.approx(np.mean(distances) if distances else 0.0)


def test_nothing_is_lost_where_the_map_gives_the_teacher():
    batch = global_batch(())
    image = batch[teacher_key("b", "image")].clone().requires_grad_()
    module = FeatureDistillation(3, {"b": 3}).double()
    with torch.no_grad():
        module.maps[0].weight.copy_(2 * torch.eye(3))
    loss = module({"image": image}, batch).loss
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-12)
    assert float(image.grad.abs().max()) < 1e-12


def test_gradient():
    batch, module = global_batch((2, 3)), FeatureDistillation(DIM, DIMS).double()
    assert torch.autograd.gradcheck(
        lambda image: module({"image": image}, batch).loss, unit(ROWS, DIM, seed=2).requires_grad_()
    )


def test_equal_seeds_give_equal_maps():
    one, same, other = (FeatureDistillation(DIM, DIMS, seed=seed).maps[0].weight for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_without_teachers_it_is_refused():
    with pytest.raises(UsageError, match="no teacher"):
        FeatureDistillation(DIM, {})


@pytest.mark.slow
def test_ranks_change_nothing(tmp_path):
    expected = [one_case(case) for case in UNKNOWN]
    for each in found_on_ranks(__file__, tmp_path).values():
        for found in each:
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


if __name__ == "__main__":
    work_on_ranks(lambda: [one_case(case) for case in UNKNOWN])
