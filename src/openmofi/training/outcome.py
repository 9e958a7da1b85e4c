"""A finished training run, as an object to look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from openmofi.encoders import Encoder, open_encoder
from openmofi.errors import OpenMofiError
from openmofi.storage import read_manifest
from openmofi.training.log import read_log
from openmofi.training.run import ENCODER, KIND


@dataclass(frozen=True)
class Run:
    """What `openmofi train` left in a folder.

    Attributes:
        path: the folder: `manifest.json`, `log.jsonl`, `checkpoints/`, `encoder/`.
        summary: `steps`, the last means of the log (`metrics`), and the best checkpoint where there is one.
    """

    path: Path
    summary: Mapping[str, Any]

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """A run of an earlier session.

        Raises:
            OpenMofiError: there is none, it is damaged, or it is not finished.
        """
        manifest = read_manifest(path, KIND)
        if not manifest.finished:
            raise OpenMofiError(f"The run {path} is not finished.", "Go on with it: train with resume.")
        return cls(Path(path), manifest.counts)

    @cached_property
    def encoder(self) -> Encoder:
        """The trained encoder, opened once, on the CPU; `run.encoder.to("cuda")` is it elsewhere.

        Raises:
            OpenMofiError: it is missing or damaged.
        """
        return open_encoder(f"run:{self.path / ENCODER}")

    def log(self) -> list[dict[str, Any]]:
        """The lines of `log.jsonl`: `step` and the means of an interval."""
        return read_log(self.path)
