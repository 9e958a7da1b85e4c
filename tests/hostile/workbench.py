"""What is attacked: a small world with its base, labels, dataset and encoders, and the ways in that a user takes."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
from PIL import Image

import openmofi
from openmofi.encoders import Encoder, as_encoder
from openmofi.errors import OpenMofiError
from openmofi.knowledge import KnowledgeBase
from openmofi.pairs import Record, write_tar
from small_world import SHAPES, drawn_image, make_small_world

PAIRS = 32
_COLOUR = re.compile(r"colour \((\d+), (\d+), (\d+)\)")
_WAVES = np.random.default_rng(5).normal(0, 0.02, (3, 64))


class Broken(AssertionError):
    """The invariant does not hold: neither whole nor refused."""


@dataclass(frozen=True)
class Case:
    """One bad input.

    Attributes:
        name: tells it from the others of its family, and repeats it.
        act: given an empty folder, writes the input and does with it what a user would. It returns where the outcome
            is whole, raises `OpenMofiError` where the input is refused, and anything else where we are at fault.
    """

    name: str
    act: Callable[[Path], object]


@dataclass(frozen=True)
class Workbench:
    """The folders that `make_workbench` wrote."""

    root: Path

    @property
    def shard(self) -> Path:
        """A tar of `PAIRS` pairs with small images."""
        return self.root / "small.tar"

    @property
    def kb(self) -> Path:
        return self.root / "world" / "kb"

    @property
    def labels(self) -> Path:
        return self.root / "labels"

    @property
    def dataset(self) -> Path:
        return self.root / "dataset"

    @property
    def clip(self) -> Path:
        """A tiny CLIP checkpoint of transformers."""
        return self.root / "clip"

    @property
    def class_folders(self) -> Path:
        """A folder an entity, with 12 images each."""
        return self.root / "classes"

    @property
    def truth(self) -> Path:
        return self.root / "truth.csv"

    def label(self, pairs: Path, out: Path, kb: KnowledgeBase | None = None, **settings: object) -> int:
        """Label pairs by the colour encoder, and count the rows that came out.

        Raises:
            Broken: the counts of the job, of its tables and of its statuses contradict each other.
        """
        labels = openmofi.label(
            str(pairs),
            kb=kb or self.open_kb(),
            encoder=colour_encoder(),
            out=out,
            progress=False,
            calibration=self.labels / "calibration.json",
            **settings,
        )  # type: ignore[arg-type]
        counts = labels.summary
        rows = labels.to_arrow().num_rows
        if not counts["rows_in"] == counts["rows_out"] == sum(counts["status"].values()) == rows:
            raise Broken(f"counts contradict each other: {counts}, {rows} rows in the tables")
        return rows

    def open_kb(self) -> KnowledgeBase:
        if self.kb not in _OPENED:
            _OPENED[self.kb] = KnowledgeBase.open(self.kb)
        return _OPENED[self.kb]


_OPENED: dict[Path, KnowledgeBase] = {}
_ENCODERS: list[Encoder] = []


def make_workbench(root: Path) -> None:
    """Write all that is attacked into an empty folder."""
    from tests.encoders.conftest import save_clip

    world = make_small_world(root / "world")
    labels = openmofi.label(world.shards, kb=world.kb, encoder=colour_encoder(), out=root / "labels", progress=False)
    openmofi.build_dataset(labels, kb=world.kb, out=root / "dataset", report=False)
    lines = [f"{shard},{key},{entity}" for (shard, key), entity in world.truth.items()]
    (root / "truth.csv").write_text("\n".join(["shard,key,entity", *lines]) + "\n")
    write_tar(root / "small.tar", small_records())
    save_clip(root / "clip")
    draw = np.random.default_rng(9)
    for number, entity in enumerate(SHAPES):
        (root / "classes" / str(number)).mkdir(parents=True)
        for image in range(12):
            (root / "classes" / str(number) / f"{image}.jpg").write_bytes(drawn_image(entity, draw))


def small_records() -> list[Record]:
    """Pairs whose encoded images take 1 to 2 kB."""
    draw, records = np.random.default_rng(3), []
    for number in range(PAIRS):
        entity = list(SHAPES)[number % len(SHAPES)]
        image = Image.open(io.BytesIO(drawn_image(entity, draw))).resize((48, 40))
        out = io.BytesIO()
        image.save(out, "JPEG", quality=80)
        records.append(Record(f"{number:03d}", out.getvalue(), f"the {SHAPES[entity][0]} and a tent"))
    return records


def colour_encoder() -> Encoder:
    """Knows the small world's entities by the colours that their descriptions name."""
    if not _ENCODERS:
        _ENCODERS.append(as_encoder((embed_images, embed_texts)))
    return _ENCODERS[0]


def embed_images(images: list[Image.Image]) -> np.ndarray:
    pixels = np.stack([np.asarray(image.convert("RGB").resize((24, 20)), np.float32) for image in images])
    details = pixels.reshape(len(images), -1)[:, ::22][:, :64]
    return _waves(pixels[:, 8:12, 8:16].mean((1, 2))) + 1e-3 * details / 255


def embed_texts(texts: list[str]) -> np.ndarray:
    colours = [match.groups() if (match := _COLOUR.search(text)) else (128, 128, 128) for text in texts]
    noise = np.stack([np.random.default_rng(zlib.crc32(text.encode())).normal(0, 0.02, 64) for text in texts])
    return _waves(np.asarray(colours, np.float32)) + noise


def _waves(colours: np.ndarray) -> np.ndarray:
    return np.cos(colours @ _WAVES + np.arange(64)).astype(np.float32)


def command(*arguments: str | Path) -> str:
    """Run `openmofi ARGUMENTS` in this process and return what it prints.

    Raises:
        OpenMofiError: it ended with the exit code 1 or 2, and one sentence.
        Broken: any other ending.
    """
    from openmofi.cli.main import run

    printed, said = io.StringIO(), io.StringIO()
    code: object = 0
    try:
        with (
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(said),
            mock.patch.dict(os.environ),
            mock.patch.object(sys, "argv", ["openmofi", *map(str, arguments)]),
        ):
            run()
    except SystemExit as end:
        code = end.code or 0
    if code not in (0, 1, 2) or "internal error" in said.getvalue() or "Traceback" in said.getvalue():
        raise Broken(f"exit code {code}: {said.getvalue()[-600:]}")
    if code:
        raise OpenMofiError(said.getvalue()[-600:])
    return printed.getvalue()


class _Warnings(logging.Handler):
    """Keeps what the log warns of, as a user reads it beside the outcome."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@contextlib.contextmanager
def warnings_of(path: Path) -> Iterator[Callable[[], bool]]:
    """What is yielded says whether a warning of the block named the file."""
    handler = _Warnings()
    logging.getLogger().addHandler(handler)
    try:
        yield lambda: any(str(path) in message for message in handler.messages)
    finally:
        logging.getLogger().removeHandler(handler)


def expect(rows: int, expected: int, *, warned: bool = False) -> None:
    """Rows in = rows out, or it was said.

    Raises:
        Broken: they differ, and nothing was said.
    """
    if rows != expected and not warned:
        raise Broken(f"{expected} rows in, {rows} rows out, and not a word")
