"""What tests of objectives on several ranks share: a test file that starts itself as three processes over gloo."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from forked import Forked

WORLDS = (3, 2)


def ranks() -> tuple[int, int]:
    """World size and rank of this process; (1, 0) outside of a group."""
    return (dist.get_world_size(), dist.get_rank()) if dist.is_initialized() else (1, 0)


def work_on_ranks(find: Callable[[], Any]) -> None:
    """A process, started as FILE FOLDER RANK: saves what it finds among three ranks, then among the first two."""
    folder, rank = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(1)
    for world in WORLDS:
        if rank < world:
            dist.init_process_group("gloo", f"file://{folder}/meet-{world}", rank=rank, world_size=world)
            torch.save(find(), folder / f"found-{world}-{rank}.pt")
            dist.destroy_process_group()


def found_on_ranks(file: str, folder: Path) -> dict[int, list[Any]]:
    """World size → what each rank found; `file` calls `work_on_ranks` as a script."""
    # Pytest's own path: a script finds what the tests share as they do.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    processes = [Forked([sys.executable, file, folder, rank], env=environment)
                 for rank in range(max(WORLDS))]
    assert [process.wait(timeout=240) for process in processes] == [0] * max(WORLDS)
    return {world: [torch.load(folder / f"found-{world}-{rank}.pt") for rank in range(world)] for world in WORLDS}


def averaged(gradients: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Gradients as a trainer has them: the mean over the ranks."""
    if (world := ranks()[0]) > 1:
        for gradient in gradients.values():
            dist.all_reduce(gradient)
            gradient /= world
    return gradients
