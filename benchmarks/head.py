"""One training step of the class head: time on the processor and peak memory, against peers, at growing class counts.

Batch 256, dimension 256, one label an image; one thread and one process a row. A step is forward, backward, the
optimiser, and dropping the gradients. Time is CPU time (user and system) after a first, untimed step; memory is the
process's greatest resident set over what it held before the weights. Contenders:
- `pytorch-metric-learning`: its CosFaceLoss, with AdamW as it comes;
- `naive dense`: normalise all rows, one matrix product, margin, cross-entropy; fused AdamW;
- `exact`: ours, in tiles of 16,384 classes; fused AdamW;
- `sampled 10 %` with row AdamW or row-wise Adagrad, and `sampled 1 %` with row AdamW: ours.
Besides, a sampled step (10 %, row AdamW) at 2 M classes of dimension 512.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import harness

if TYPE_CHECKING:
    import torch
    from torch import Tensor

BATCH, DIM, MARGIN, SCALE = 256, 256, 0.15, 32.0
PML, DENSE, EXACT = "pytorch-metric-learning", "naive dense", "exact"
SAMPLED, ADAGRAD, FEW = "sampled 10 %, row AdamW", "sampled 10 %, row-wise Adagrad", "sampled 1 %, row AdamW"
CONTENDERS = (PML, DENSE, EXACT, SAMPLED, ADAGRAD, FEW)
CLASSES = (10_000, 100_000, 1_000_000)
LARGE = ("sampled 10 %, row AdamW", 2_000_000, 512)
Loss = Callable[["Tensor", "Tensor"], "Tensor"]


def metric_learning(classes: int, dim: int) -> tuple[Loss, torch.optim.Optimizer]:
    import torch
    from pytorch_metric_learning.losses import CosFaceLoss

    head = CosFaceLoss(classes, dim, margin=MARGIN, scale=SCALE)
    return head, torch.optim.AdamW(head.parameters())


def dense(classes: int, dim: int) -> tuple[Loss, torch.optim.Optimizer]:
    import torch
    from torch.nn.functional import cross_entropy, normalize

    weight = torch.nn.Parameter(torch.randn(classes, dim))

    def loss(images: Tensor, labels: Tensor) -> Tensor:
        cosine = images @ normalize(weight, dim=1).T
        cosine[torch.arange(len(labels)), labels] -= MARGIN
        return cross_entropy(SCALE * cosine, labels)

    return loss, torch.optim.AdamW([weight], fused=True)


def ours(contender: str, classes: int, dim: int) -> tuple[Loss, torch.optim.Optimizer]:
    import torch

    from openmofi.objectives.margin_softmax import MarginSoftmax
    from openmofi.objectives.objective_settings import MarginSoftmaxSettings
    from openmofi.training.optimization import RowAdagrad, RowAdamW

    settings = MarginSoftmaxSettings(
        implementation="exact" if contender.startswith("exact") else "sampled",
        margin=MARGIN,
        scale=SCALE,
        min_sampled=1,
        sample_rate=0.01 if contender == FEW else 0.1,
    )
    head = MarginSoftmax(classes, dim, settings, seed=0)
    if contender == EXACT:
        optimizer: torch.optim.Optimizer = torch.optim.AdamW(head.parameters(), fused=True)
    else:
        optimizer = (RowAdagrad if contender == ADAGRAD else RowAdamW)(head.parameters())
    return lambda images, labels: head({"image": images}, {"labels": labels[:, None]}).loss, optimizer


def row(contender: str, classes: int, dim: int, rounds: int) -> dict[str, Any]:
    """What a process of its own measures: CPU seconds of each step, MiB of the peak over the baseline and in all."""
    import torch
    from torch.nn.functional import normalize

    torch.set_num_threads(1)
    makers = {PML: metric_learning, DENSE: dense}
    make = makers.get(contender, partial(ours, contender))
    # A tiny step first, so that libraries are loaded before the baseline is read.
    for number, size in enumerate((64, classes)):
        baseline = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
        loss, optimizer = make(size, dim)
        seconds = []
        for _ in range(1 + rounds if number else 1):
            images = normalize(torch.randn(BATCH, dim), dim=1).requires_grad_()
            labels = torch.randint(size, (BATCH,))
            start = time.process_time()
            loss(images, labels).backward()
            optimizer.step()
            optimizer.zero_grad()
            seconds.append(time.process_time() - start)
    peak = harness.peak_mib()
    return {"seconds": seconds[1:], "peak_mib": peak - baseline, "resident_mib": peak}


def measured(contender: str, classes: int, dim: int, rounds: int) -> dict[str, Any]:
    """`row` in a new process."""
    command = [sys.executable, __file__, "--row", contender, str(classes), str(dim), str(rounds)]
    done = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def ratios(found: dict[tuple[str, int], dict[str, Any]]) -> dict[str, float]:
    """The ratios that the project keeps, as far as their rows were measured."""
    wanted = {
        "pml_over_sampled_100k": (PML, SAMPLED, 100_000, "median_s"),
        "pml_over_sampled_1m": (PML, SAMPLED, 1_000_000, "median_s"),
        "memory_sampled_over_pml_1m": (SAMPLED, PML, 1_000_000, "peak_mib"),
        "dense_over_exact_1m": (DENSE, EXACT, 1_000_000, "median_s"),
        "memory_exact_over_dense_1m": (EXACT, DENSE, 1_000_000, "peak_mib"),
    }
    return {
        name: found[above, classes][key] / found[below, classes][key]
        for name, (above, below, classes, key) in wanted.items()
        if {(above, classes), (below, classes)} <= found.keys()
    }


def main() -> None:
    """Measure and write `results/head.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--row", nargs=4, metavar=("CONTENDER", "CLASSES", "DIM", "ROUNDS"), help="measure one, here")
    parser.add_argument("--classes", type=int, nargs="*", default=list(CLASSES))
    parser.add_argument("--contenders", nargs="*", default=list(CONTENDERS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-large", action="store_true", help="leave out 2 M × 512")
    arguments = parser.parse_args()
    if arguments.row:
        contender, *numbers = arguments.row
        print(json.dumps(row(contender, *map(int, numbers))))
        return
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for classes in arguments.classes:
        rows = {name: measured(name, classes, DIM, arguments.rounds) for name in arguments.contenders}
        table = harness.summarise({name: one["seconds"] for name, one in rows.items()}, 1)
        for name, one in table.items():
            found[name, classes] = one | rows[name] | {"classes": classes, "dim": DIM}
        harness.show(
            f"head, {classes:,} classes × {DIM}",
            {name: found[name, classes] for name in rows},
            "steps",
            extra=("peak_mib",),
        )
    if not arguments.no_large:
        one = measured(*LARGE, 1)
        found[LARGE[0], LARGE[1]] = (
            harness.summarise({LARGE[0]: one["seconds"]}, 1)[LARGE[0]] | one | {"classes": LARGE[1], "dim": LARGE[2]}
        )
        harness.show(
            "head, 2 M classes × 512", {"": found[LARGE[0], LARGE[1]]}, "steps", extra=("peak_mib", "resident_mib")
        )
    extra = {} if arguments.no_large else {"gib_2m_512": found[LARGE[0], LARGE[1]]["resident_mib"] / 2**10}
    harness.write_result("head", list(found.values()), ratios(found) | extra)


if __name__ == "__main__":
    main()
