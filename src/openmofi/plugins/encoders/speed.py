"""How fast encoders are on this machine, and how much memory they take; each in a process of its own."""

from __future__ import annotations

import io
import multiprocessing
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from openmofi.api.given import Pairs, check_placement, shards_of
from openmofi.encoders import Encoder, open_encoder
from openmofi.encoders.devices import CUDA
from openmofi.encoders.preprocess import as_image
from openmofi.engine.protocol import cores
from openmofi.errors import OpenMofiError, UsageError
from openmofi.features.stream import ahead
from openmofi.pairs import read_pairs
from openmofi.progress import shown_progress
from openmofi.schema import PairStatus

if TYPE_CHECKING:
    from openmofi.engine import Progress

COUNT, REPEATS, BATCH = 64, 5, 32
_SIZE = (640, 480)


@dataclass(frozen=True)
class Rate:
    """Items a second over repeats.

    Attributes:
        median, least, most: of the repeats.
    """

    median: float
    least: float
    most: float


@dataclass(frozen=True)
class EncoderSpeed:
    """The speed of an encoder on this machine.

    Attributes:
        spec: the encoder.
        device, precision: where and how it ran.
        hardware: the processor's or the GPU's name.
        threads: cores that decode images and compute.
        count, repeats, batch_size: images (and texts) of a repeat, repeats after one for warming up, images a batch.
        source: what images and texts were used.
        images: encoded images a second, decoding included.
        texts: texts a second; `None` for an encoder of images alone.
        open_seconds: that opening it took.
        memory_mib: greatest resident memory of its process, in MiB.
        device_memory_mib: greatest memory that PyTorch allocated on a CUDA device, in MiB; `None` elsewhere.
    """

    spec: str
    device: str
    precision: str
    hardware: str
    threads: int
    count: int
    repeats: int
    batch_size: int
    source: str
    images: Rate
    texts: Rate | None
    open_seconds: float
    memory_mib: float
    device_memory_mib: float | None


@dataclass(frozen=True)
class _Load:
    """What a process measures with: encoded images, as many texts, and how often."""

    images: Sequence[bytes]
    texts: Sequence[str]
    source: str
    repeats: int
    batch_size: int
    device: str
    precision: str


def bench_encoders(
    specs: Sequence[str],
    *,
    pairs: Pairs = (),
    count: int = COUNT,
    repeats: int = REPEATS,
    batch_size: int = BATCH,
    device: str = "auto",
    precision: str = "fp32",
    progress: bool | Progress | None = None,
) -> list[EncoderSpeed]:
    """Measure encoders one after the other, each in a new process.

    An image is decoded, preprocessed and embedded as the label job does it, the next batch being decoded while one is
    embedded. The first repeat warms up and is not counted.

    Args:
        specs: encoders, see `openmofi.load_encoder`.
        pairs: shards of image–text pairs to measure with; generated images and texts where not given.
        count: images and texts a repeat.
        repeats: timed repeats.
        batch_size: images a batch.
        device, precision: of the encoders, see `openmofi.load_encoder`.
        progress: see `openmofi.label`.

    Raises:
        UsageError: `count`, `repeats` or `batch_size` below 1, an unknown encoder or device.
        OpenMofiError: an encoder cannot be opened, no image can be read, or a process died.
    """
    for name, value in (("count", count), ("repeats", repeats), ("batch_size", batch_size)):
        if value < 1:
            raise UsageError(f"{name} is {value}, not at least 1.")
    check_placement(device, precision)
    images, texts, source = _of_pairs(pairs, count) if pairs else _generated(count)
    load, measured = _Load(images, texts, source, repeats, batch_size, device, precision), []
    with shown_progress(progress) as console:
        console.begin("bench", len(specs))
        for spec in specs:
            try:
                with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
                    measured.append(process.submit(_measured, spec, load).result())
            except BrokenProcessPool as error:
                raise OpenMofiError(
                    f"The process that measures {spec} has died, perhaps of too little memory.",
                    "Take a smaller encoder or batch_size. A script calls this below `if __name__ == '__main__':`.",
                ) from error
            console.advance({})
    return measured


def _measured(spec: str, load: _Load) -> EncoderSpeed:
    start = time.perf_counter()
    encoder = open_encoder(spec, device=load.device, precision=load.precision)
    opened = time.perf_counter() - start
    images = _rate(lambda: _embed_images(encoder, load), len(load.images), load.repeats)
    texts = (
        _rate(lambda: encoder.text_features(load.texts), len(set(load.texts)), load.repeats)
        if encoder.text_tower
        else None
    )
    hardware, gpu_mib = _processor(), None
    if encoder.device.startswith(CUDA) and not encoder.runs_graphs:
        import torch

        hardware = torch.cuda.get_device_name(encoder.device)
        gpu_mib = round(torch.cuda.max_memory_allocated(encoder.device) / 2**20, 1)
    return EncoderSpeed(
        spec,
        encoder.device,
        encoder.precision,
        hardware,
        cores(),
        len(load.images),
        load.repeats,
        load.batch_size,
        load.source,
        images,
        texts,
        round(opened, 2),
        round(_peak_mib(), 1),
        gpu_mib,
    )


def _embed_images(encoder: Encoder, load: _Load) -> None:
    def prepared(data: bytes) -> object:
        return encoder.preprocess(as_image(data, encoder.preprocessing))

    with closing(ahead(load.images, prepared, load.batch_size)) as batches:
        for batch in batches:
            encoder.image_features(encoder.batch([pixels for _, pixels in batch]))


def _rate(work: Callable[[], object], items: int, repeats: int) -> Rate:
    rates = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        work()
        rates.append(round(items / (time.perf_counter() - start), 2))
    return Rate(statistics.median(rates[1:]), min(rates[1:]), max(rates[1:]))


def _of_pairs(pairs: Pairs, count: int) -> tuple[list[bytes], list[str], str]:
    readable = (
        (pair.image, pair.text)
        for shard in shards_of(pairs)
        for pair in read_pairs(shard)
        if pair.image and (pair.status == PairStatus.OK or pair.status.startswith("text"))
    )
    taken = list(islice(readable, count))
    if not taken:
        raise OpenMofiError(f"No image of {pairs} can be read.", "Give shards of pairs, or leave --pairs out.")
    texts = [text for _, text in taken if text] or _sentences(count)
    return [image for image, _ in taken], texts, f"the first {len(taken)} images of {pairs}"


def _generated(count: int) -> tuple[list[bytes], list[str], str]:
    draw, images = np.random.default_rng(0), []
    for _ in range(count):
        coarse = Image.fromarray(draw.integers(0, 256, (30, 40, 3)).astype(np.uint8))
        out = io.BytesIO()
        coarse.resize(_SIZE, Image.Resampling.BICUBIC).save(out, "JPEG", quality=90)
        images.append(out.getvalue())
    return images, _sentences(count), f"{count} generated JPEGs of {_SIZE[0]} × {_SIZE[1]}"


def _sentences(count: int) -> list[str]:
    return [f"number {number}: a red crane beside the river, seen from the old bridge" for number in range(count)]


def _processor() -> str:
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def _peak_mib() -> float:
    """Greatest resident memory of this process. `getrusage` on Linux would begin at that of the starting process."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 * 1024 if sys.platform == "darwin" else 1024)
