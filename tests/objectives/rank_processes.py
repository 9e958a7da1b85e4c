"""What tests of objectives on several ranks share: a test file that starts itself as three processes over gloo."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from forked import Fork

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


def run_ranks(file: str, folder: Path) -> None:
    """Start a test file as so many processes as `WORLDS` needs, each as FILE FOLDER RANK, and wait for their ends."""
    forks = [Fork(Path(file), folder, rank) for rank in range(max(WORLDS))]
    done = [fork.finish() for fork in forks]
    assert [one.returncode for one in done] == [0] * max(WORLDS), "".join(one.stderr for one in done)


def found_on_ranks(file: str, folder: Path) -> dict[int, list[Any]]:
    """World size → what each rank found; `file` calls `work_on_ranks` as a script."""
    run_ranks(file, folder)
    return {world: [torch.load(folder / f"found-{world}-{rank}.pt") for rank in range(world)] for world in WORLDS}


def averaged(gradients: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Gradients as a trainer has them: the mean over the ranks."""
    if (world := ranks()[0]) > 1:
        for gradient in gradients.values():
            dist.all_reduce(gradient)
            gradient /= world
    return gradients
