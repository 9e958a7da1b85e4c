"""Which pictures teachers find alike: against the definition in numpy, on 1, 2 and 3 processes, and what is refused."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import entropy
from torch.nn.functional import normalize

from openmofi.errors import UsageError
from openmofi.objectives.image_distillation import ImageDistillation
from openmofi.objectives.reinforced import teacher_key

ROWS, DIM = 12, 5
SCALES = {"a": 20.0, "b": 7.0}
DIMS = {"a": 6, "b": 3}
UNKNOWN = ((), (2, 7, 8), tuple(range(1, ROWS)), tuple(range(ROWS)))
Found = dict[str, torch.Tensor]


def unit(*shape: int, seed: int) -> torch.Tensor:
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=-1)


def global_batch(unknown: tuple[int, ...], rows: int = ROWS) -> dict[str, torch.Tensor]:
    known = torch.ones(rows, dtype=torch.bool)
    known[list(unknown)] = False
    return {"known": known, "inputs": unit(rows, 7, seed=4), **{
        teacher_key(teacher, "image"): unit(rows, dim, seed=dim) * known[:, None] for teacher, dim in DIMS.items()}}


def ranks() -> tuple[int, int]:
    return (dist.get_world_size(), dist.get_rank()) if dist.is_initialized() else (1, 0)


def one_case(unknown: tuple[int, ...]) -> Found:
    """Loss, metric and the encoder's gradient as a trainer has it, averaged over the ranks."""
    world, rank = ranks()
    rows = slice(rank * ROWS // world, (rank + 1) * ROWS // world)
    batch = {name: values[rows] for name, values in global_batch(unknown).items()}
    encoder = torch.linspace(-1, 1, 7 * DIM, dtype=torch.float64).reshape(7, DIM).sin().requires_grad_()
    result = ImageDistillation(SCALES)({"image": normalize(batch["inputs"] @ encoder, dim=1)}, batch)
    result.loss.backward()
    if world > 1:
        dist.all_reduce(encoder.grad)
        encoder.grad /= world
    return {"loss": result.loss.detach(), **result.metrics, "gradient": encoder.grad}


def reference(image: np.ndarray, batch: dict[str, torch.Tensor]) -> tuple[float, float]:
    """The mean cross-entropy and the mean divergence, row by row."""
    rows = np.flatnonzero(batch["known"].numpy())
    crosses, divergences = [], []
    for row in rows:
        others = rows[rows != row]
        for teacher, scale in SCALES.items() if len(others) else ():
            seen = batch[teacher_key(teacher, "image")].numpy()
            target = softmax(scale * seen[others] @ seen[row])
            divergence = entropy(target, softmax(scale * image[others] @ image[row]))
            divergences.append(divergence)
            crosses.append(divergence + entropy(target))
    count = max(1, len(rows)) * len(SCALES)
    return sum(crosses) / count, sum(divergences) / count


@pytest.mark.parametrize("unknown", UNKNOWN)
def test_it_is_the_teachers_cross_entropies(unknown):
    batch = global_batch(unknown)
    image = unit(ROWS, DIM, seed=1)
    found = ImageDistillation(SCALES)({"image": image}, batch)
    cross, divergence = reference(image.numpy(), batch)
    assert found.loss.item() == pytest.approx(cross, abs=1e-9)
    assert found.metrics["divergence"].item() == pytest.approx(divergence, abs=1e-6)


@given(st.integers(1, 9), st.sets(st.integers(0, 8)), st.floats(1e-3, 100))
def test_a_student_that_is_the_teacher_has_the_least_loss(rows, unknown, scale):
    batch = global_batch(tuple(one for one in unknown if one < rows), rows)
    image = unit(rows, 6, seed=6).requires_grad_()  # as teacher a sees
    found = ImageDistillation({"a": scale})({"image": image}, batch)
    found.loss.backward()
    assert abs(found.metrics["divergence"]) < 1e-5
    assert float(image.grad.abs().max()) < 1e-6 * max(1, scale)


def test_gradient():
    batch = global_batch((2, 3), 6)
    module = ImageDistillation(SCALES)
    assert torch.autograd.gradcheck(lambda image: module({"image": image}, batch).loss,
                                    unit(6, DIM, seed=2).requires_grad_())


def test_a_greatest_scale_stays_finite():
    batch = global_batch((1,))
    image = unit(ROWS, DIM, seed=1).float().requires_grad_()
    found = ImageDistillation({"a": 1e4})({"image": image}, batch)
    found.loss.backward()
    assert torch.isfinite(found.loss)
    assert torch.isfinite(image.grad).all()


@pytest.mark.parametrize("scales", [{}, {"a": 0.0}, {"a": float("inf")}, {"a": -1.0}])
def test_what_is_refused(scales):
    with pytest.raises(UsageError, match="scales"):
        ImageDistillation(scales)


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
