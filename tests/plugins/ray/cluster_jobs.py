"""What the tests of a Ray cluster send to its nodes: tasks that wait for files, an encoder of NumPy alone, a driver."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from small_world import OTHER_NAMES, SHAPES

_COLOURS = np.stack([np.array(colour, np.float32) for _, colour, _ in SHAPES.values()])


@dataclass(frozen=True)
class Waits:
    """Tasks from the tenth on wait until there is a file, or until so many nodes have begun one: FILE-NODE each."""

    file: str
    nodes: int = 0

    def __call__(self) -> Any:
        return self.do

    def _ready(self) -> bool:
        path = Path(self.file)
        return len(list(path.parent.glob(f"{path.name}-*"))) >= self.nodes if self.nodes else path.exists()

    def do(self, task: int) -> dict[str, Any]:
        import ray

        node = ray.get_runtime_context().get_node_id()
        if task >= 10 and self.nodes:
            Path(f"{self.file}-{node}").touch()
        while task >= 10 and not self._ready():
            time.sleep(0.05)
        return {"task": task, "node": node, "gpus": ray.get_gpu_ids()}


class Colours:
    """An encoder that sees which of the small world's colours an image has, and reads its names.

    Args:
        hangs: where there is a file of this name, the first who sees it removes it and hangs.
    """

    logit_scale, fingerprint = 10.0, "colours-1"

    def __init__(self, hangs: str = "") -> None:
        self.hangs = hangs

    def embed_images(self, images: Any) -> Any:
        if self.hangs:
            try:
                Path(self.hangs).unlink()
                time.sleep(600)
            except FileNotFoundError:
                pass
        rows = []
        for image in images:
            pixels = np.asarray(image.convert("RGB").resize((24, 20)), np.float32).reshape(-1, 1, 3)
            rows.append(np.exp(-((pixels - _COLOURS) ** 2).sum(2) / 800).mean(0) + 1e-3)
        return np.stack(rows)

    def embed_texts(self, texts: Any) -> Any:
        names = [{name, OTHER_NAMES.get(entity, name)} for entity, (name, _, _) in SHAPES.items()]
        return np.stack([[any(name in text for name in called) + 1e-2 for called in names] for text in texts])


def drive(shards: str, kb: str, out: str, engine: str) -> None:
    """The label job as a process of its own, which a test kills."""
    import openmofi

    openmofi.label(shards, kb=kb, encoder=Colours(), out=out, engine=engine)


if __name__ == "__main__":
    from cluster_jobs import drive  # so that what is pickled is of a module, and not of __main__

    drive(*sys.argv[1:])
