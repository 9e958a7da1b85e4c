"""Settings and options: YAML that bites, values out of range, paths that are something else."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from hostile.workbench import Broken, Case, Workbench, command
from openmofi.errors import OpenMofiError

VALUES = ("nan", "-1", "1e999", "x", "", "[1]", "{}", "0x10", "1,2", "٣")
RECIPES = {
    "laughs": "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{','.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(8)),
    "deep": "[" * 20_000,
    "deep-keys": "{a: " * 5_000,
    "itself": "&a [*a]",
    "list": "[1, 2]",
    "number": "7",
    "empty": "",
    "object": "!!python/object/apply:os.system [id]",
    "two": "a: 1\n---\nb: 2\n",
    "tabs": "a:\t1\n\tb: 2",
    "noise": "\x00\x01",
    "merge": "<<: *nothing",
    "same-key": "optimizer: {lr: 1}\noptimizer: {lr: 2}",
    "date": "run: {steps: 2020-01-01}",
    "infinite": "optimizer: {lr: .inf}",
    "nan": "optimizer: {lr: .nan}",
    "huge": "run: {steps: " + "9" * 5000 + "}",
    "unknown": "optimiser: {lr: 1}",
    "null": "optimizer: null",
    "text": "optimizer: fast",
    "negative": "run: {steps: -1}",
    "not-utf-8": "name: \udcff",
    "long-key": "a" * 100_000 + ": 1",
    "float-steps": "run: {steps: 1.5}",
    "bool-steps": "run: {steps: true}",
    "number-text": "data: {dataset: 7}",
    "nested-null": "data: {dataset: {a: null}}",
}
OPTIONS = (
    "--threshold",
    "--target-precision",
    "--top-k",
    "--sibling-margin",
    "--max-candidates",
    "--batch-size",
    "--engine",
    "--seed",
    "--on-damage",
    "--template",
    "--linker",
    "--detector",
    "--device",
    "--precision",
    "--image-column",
    "--calibration",
    "--cache",
)
FOLDERS = ("o[u]t", "o::t", "o{a,b}t", "o\udcfft", "o t", "o#t?x=1", "o" * 300, "o\nt", "~", "o*t", "-")


def cases(bench: Workbench, seed: int) -> Iterator[Case]:
    for name, text in RECIPES.items():
        yield Case(f"settings/recipe-{name}", partial(train, text))
    for option in OPTIONS:
        for number, value in enumerate(VALUES):
            yield Case(f"settings/label{option}-{number}", partial(label, bench, [option, value]))
    for number, name in enumerate(FOLDERS):
        yield Case(f"settings/out-{number}", partial(build_dataset, bench, name))
        yield Case(f"settings/in-{number}", partial(read_dataset, bench, name))
    for number, value in enumerate(VALUES):
        for option in ("--min-images", "--max-images", "--near-duplicates"):
            yield Case(f"settings/dataset{option}-{number}", partial(dataset_option, bench, [option, value]))


def train(text: str, folder: Path) -> None:
    (folder / "recipe.yaml").write_bytes(text.encode("utf-8", "surrogateescape"))
    command("train", folder / "recipe.yaml", "-o", folder / "run")
    raise Broken("it trained on nothing")


def label(bench: Workbench, options: list[str], folder: Path) -> None:
    command(
        "label",
        bench.shard,
        "--kb",
        bench.kb,
        "--encoder",
        f"hf:{bench.clip}",
        "-o",
        folder / "out",
        "--json",
        *options,
    )


def build_dataset(bench: Workbench, out: str, folder: Path) -> None:
    """What was written is where it was asked for, or it is refused."""
    command("dataset", "build", bench.labels, "-o", f"{folder}/{out}", "--min-images", "2", "--no-report")
    if not (folder / out / "manifest.json").exists():
        raise Broken(f"{out!r} holds nothing; there are {[path.name for path in folder.iterdir()]}")


def read_dataset(bench: Workbench, name: str, folder: Path) -> None:
    """A folder of such a name is found, or it is refused."""
    try:
        (folder / name).symlink_to(bench.labels)
    except OSError as error:
        raise OpenMofiError(f"no such file can be: {error}") from error
    command("dataset", "build", f"{folder}/{name}", "-o", folder / "d", "--min-images", "2", "--no-report")


def dataset_option(bench: Workbench, options: list[str], folder: Path) -> None:
    command("dataset", "build", bench.labels, "-o", folder / "d", "--no-report", *options)
