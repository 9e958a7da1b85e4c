"""What the contenders of `peers_label.py` share: the job that they are given, the preprocessing, and the encoder.

It runs in the environments of all of them, which have NumPy, Pillow, ONNX Runtime and PyArrow, and not OpenMOFI.
"""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

BATCH = 64
"""Images a forward pass, as in the label job."""
CORES = 2
"""Cores that a contender has, and threads that it may keep busy."""


@dataclass(frozen=True)
class Job:
    """What a contender is given.

    Attributes:
        graph: the image tower, an ONNX file.
        shards: tar files of images, `KEY.jpg`.
        out: a folder that does not exist yet.
        side: of the graph's input, in pixels.
        mean, std: for each channel of values in 0..1.
        dim: of an embedding.
    """

    graph: str
    shards: tuple[str, ...]
    out: str
    side: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    dim: int

    def pixels(self, image: bytes) -> NDArray[np.float32]:
        """Return the encoder's input, (3, side, side), for a JPEG: shorter side resized, centre crop, normalised."""
        with Image.open(io.BytesIO(image)) as opened:
            return self.preprocess(opened)

    def preprocess(self, image: Image.Image) -> NDArray[np.float32]:
        """As `pixels`, for an opened image."""
        rgb = image if image.mode == "RGB" else image.convert("RGB")
        scale = self.side / min(rgb.size)
        width, height = (self.side if each == min(rgb.size) else int(scale * each) for each in rgb.size)
        left, top = round((width - self.side) / 2), round((height - self.side) / 2)
        resized = np.asarray(rgb.resize((width, height), Image.Resampling.BICUBIC))
        values = resized[top : top + self.side, left : left + self.side].astype(np.float32)
        mean, std = np.array(self.mean, np.float32) * 255, np.array(self.std, np.float32) * 255
        return ((values - mean) / std).transpose(2, 0, 1)


class Tower:
    """The encoder.

    Args:
        job: names its graph.
        threads: of ONNX Runtime. They do not spin while they wait, since others need the cores.
    """

    def __init__(self, job: Job, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.job = job
        self._session = onnxruntime.InferenceSession(job.graph, options, providers=["CPUExecutionProvider"])

    def __call__(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, 3, side, side) → (n, dim)."""
        (features,) = self._session.run(None, {"pixels": pixels})
        return np.asarray(features)

    def of_files(self, images: Sequence[bytes]) -> NDArray[np.float32]:
        """JPEGs → (n, dim)."""
        return self(np.stack([self.job.pixels(image) for image in images]))


def given() -> Job:
    """Return the job that the file on the command line describes."""
    raw: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    return Job(**{name: tuple(value) if isinstance(value, list) else value for name, value in raw.items()})


def timed(work: Callable[[], object]) -> None:
    """Do `work` and print the seconds that it took on the last line, as JSON."""
    start = time.perf_counter()
    work()
    print(json.dumps({"seconds": time.perf_counter() - start}), flush=True)
