"""Checkpoints: every file of a CLIP folder damaged or missing; what opens tells texts and images apart."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

import openmofi
from hostile.tars import flipped
from hostile.workbench import Broken, Case, Workbench, small_records

PARTS = (
    "config.json",
    "model.safetensors",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
)


def cases(bench: Workbench, seed: int) -> Iterator[Case]:
    draw = np.random.default_rng(seed)
    for file in (name for name in PARTS if (bench.clip / name).exists()):
        whole = (bench.clip / file).read_bytes()
        damaged: dict[str, bytes | None] = {
            "missing": None,
            "empty": b"",
            "half": whole[: len(whole) // 2],
            "null": b"null",
            "list": b"[]",
            "deep": b"[" * 100_000,
            "noise": b"\xff" * 500,
        }
        end = min(len(whole), 3000)
        damaged |= {f"flipped-{at}": flipped(whole, 8 * at) for at in map(int, draw.integers(0, end, 6))}
        if file.endswith(".json"):
            settings = json.loads(whole)
            for key in list(settings)[:12]:
                for number, value in enumerate((None, -1, "x", 10**9)):
                    if isinstance(settings[key], bool) or (number == 3 and not isinstance(settings[key], int)):
                        continue
                    damaged[f"{key}-{number}"] = json.dumps({**settings, key: value}).encode()
        for name, content in damaged.items():
            yield Case(f"encoders/{file}-{name}", partial(open_folder, bench, {file: content}))
    without_words = dict.fromkeys(name for name in PARTS if "token" in name)
    yield Case("encoders/no-tokenizer", partial(open_folder, bench, without_words))


def open_folder(bench: Workbench, changes: dict[str, bytes | None], folder: Path) -> None:
    shutil.copytree(bench.clip, folder / "clip")
    for file, content in changes.items():
        (folder / "clip" / file).unlink(missing_ok=True)
        if content is not None:
            (folder / "clip" / file).write_bytes(content)
    encoder = openmofi.load_encoder(f"hf:{folder / 'clip'}")
    texts = encoder.embed_texts(["a crane", "a red apple"])
    images = encoder.embed_images([record.image for record in small_records()[:2]])
    for what, embeddings in (("texts", texts), ("images", images)):
        if not np.isfinite(embeddings).all():
            raise Broken(f"embeddings of {what} are not finite")
        if np.abs(embeddings[0] - embeddings[1]).max() < 1e-6:
            raise Broken(f"two {what} embed alike")
