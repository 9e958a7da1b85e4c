"""Teachers' embeddings through a linear map: against SciPy's cosine, on 1, 2 and 3 processes, and what is refused."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from scipy.spatial.distance import cosine
from torch.nn.functional import normalize

from openmofi.errors import UsageError
from openmofi.objectives.feature_distillation import FeatureDistillation
from openmofi.objectives.reinforced import teacher_key

ROWS, DIM = 12, 5
DIMS = {"a.b/c": 6, "b": 3}  # a teacher's name may hold dots and slashes
UNKNOWN = ((), (2, 7, 8), tuple(range(1, ROWS)), tuple(range(ROWS)))
Found = dict[str, torch.Tensor]


def unit(*shape: int, seed: int) -> torch.Tensor:
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=-1)


def global_batch(unknown: tuple[int, ...]) -> dict[str, torch.Tensor]:
    known = torch.ones(ROWS, dtype=torch.bool)
    known[list(unknown)] = False
    return {"known": known, "inputs": unit(ROWS, 7, seed=4), **{
        teacher_key(teacher, "image"): unit(ROWS, dim, seed=dim) * known[:, None] for teacher, dim in DIMS.items()}}


def ranks() -> tuple[int, int]:
    return (dist.get_world_size(), dist.get_rank()) if dist.is_initialized() else (1, 0)


def one_case(unknown: tuple[int, ...]) -> Found:
    """Loss and gradients as a trainer has them: the encoder's and the objective's averaged over the ranks."""
    world, rank = ranks()
    rows = slice(rank * ROWS // world, (rank + 1) * ROWS // world)
    batch = {name: values[rows] for name, values in global_batch(unknown).items()}
    encoder = torch.linspace(-1, 1, 7 * DIM, dtype=torch.float64).reshape(7, DIM).sin().requires_grad_()
    module = FeatureDistillation(DIM, DIMS).double()
    result = module({"image": normalize(batch["inputs"] @ encoder, dim=1)}, batch)
    result.loss.backward()
    gradients = {"encoder": encoder.grad, **{name: value.grad for name, value in module.named_parameters()}}
    if world > 1:
        for gradient in gradients.values():
            dist.all_reduce(gradient)
            gradient /= world
    return {"loss": result.loss.detach(), **gradients}


@pytest.mark.parametrize("unknown", UNKNOWN)
def test_it_is_the_mean_cosine_distance(unknown):
    batch, image = global_batch(unknown), unit(ROWS, DIM, seed=1)
    module = FeatureDistillation(DIM, DIMS, seed=3).double()
    maps = {teacher: made(image).detach().numpy() for teacher, made in zip(DIMS, module.maps, strict=True)}
    distances = [cosine(maps[teacher][row], batch[teacher_key(teacher, "image")][row].numpy())
                 for row in np.flatnonzero(batch["known"].numpy()) for teacher in DIMS]
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
    assert torch.autograd.gradcheck(lambda image: module({"image": image}, batch).loss,
                                    unit(ROWS, DIM, seed=2).requires_grad_())


def test_equal_seeds_give_equal_maps():
    one, same, other = (FeatureDistillation(DIM, DIMS, seed=seed).maps[0].weight for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_without_teachers_it_is_refused():
    with pytest.raises(UsageError, match="no teacher"):
        FeatureDistillation(DIM, {})


def main(folder: Path, rank: int) -> None:
    """A process: three ranks first, then the first two of them."""
    torch.set_num_threads(1)
    for world in (3, 2):
        if rank < world:
            dist.init_process_group("gloo", f"file://{folder}/meet-{world}", rank=rank, world_size=world)
            torch.save([one_case(case) for case in UNKNOWN], folder / f"found-{world}-{rank}.pt")
            dist.destroy_process_group()


@pytest.mark.slow
def test_ranks_change_nothing(tmp_path):
    processes = [subprocess.Popen([sys.executable, __file__, str(tmp_path), str(rank)]) for rank in range(3)]
    assert [process.wait(timeout=240) for process in processes] == [0, 0, 0]
    for world in (2, 3):
        for rank in range(world):
            for case, found in zip(UNKNOWN, torch.load(tmp_path / f"found-{world}-{rank}.pt"), strict=True):
                expected = one_case(case)
                assert found.keys() == expected.keys()
                for name in expected:
                    torch.testing.assert_close(found[name], expected[name], rtol=1e-9, atol=1e-9)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
