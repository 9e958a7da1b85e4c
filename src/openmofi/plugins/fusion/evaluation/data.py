"""Data of the linker protocols: tables of examples, and ZELDA's files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from openmofi.errors import OpenMofiError, UsageError
from openmofi.evaluation.data.plain_pickle import read_plain_pickle
from openmofi.evaluation.sources import DataSource, Finding, counted
from openmofi.plugins.fusion.corpora.examples import Example, read_examples
from openmofi.plugins.fusion.corpora.zelda import CandidateLists, read_counts, read_descriptions, zelda_examples

NOT_JUDGED = ("train", "validation")
"""Splits that are left out by default."""

_MAX_LIST_BYTES = 1 << 30
_LISTS = ("zelda_mention_entities_counter.pickle", "zelda_mention_entities_counter.json")
_DESCRIPTIONS = "entity_descriptions.jsonl"
_ZELDA_FOLDERS = ("other", "train_data", "")
_TESTS = ("test_data/jsonl", "jsonl", "")


def read_candidate_counts(path: str | Path) -> Mapping[str, Mapping[str, int]]:
    """ZELDA's candidate lists, mention → {title: count}: the published pickle, read without running code, or JSON.

    Raises:
        OpenMofiError: it cannot be read, or has another layout.
    """
    if Path(path).suffix not in (".pickle", ".pkl"):
        return read_counts(path)
    raw: Any = read_plain_pickle(path, max_bytes=_MAX_LIST_BYTES)
    if not isinstance(raw, dict) or not all(isinstance(titles, dict) for titles in raw.values()):
        raise OpenMofiError(f"{path} has no mentions with their counts.", "It must be {mention: {title: count}}.")
    return raw


def judged_examples(data: str | Path, splits: Sequence[str] = (), *, candidates: int = 0) -> list[Example]:
    """The examples of a linker protocol.

    Args:
        data: a table of `linking.corpora.examples`, or the folder of ZELDA.
        splits: use only these; all but `train` and `validation` by default.
        candidates: list at most this many candidates of a mention, the most common ones; 0 for all.

    Raises:
        UsageError: a split does not exist, or none is left.
        OpenMofiError: the data cannot be read.
    """
    examples = read_zelda(data) if Path(data).is_dir() else read_examples(data)
    present = sorted({example.split for example in examples})
    chosen = list(splits) or [split for split in present if split not in NOT_JUDGED]
    absent = next((split for split in chosen if split not in present), None)
    if absent is not None or not chosen:
        raise UsageError(
            f"{data} has no examples {f'of the split {absent!r}' if absent else 'to judge a linker on'}.",
            f"It has the splits {', '.join(present) or '(none)'}; choose some with splits=A,B.",
        )
    return [_cut(example, candidates) for example in examples if example.split in chosen]


@dataclass(frozen=True)
class ZeldaFiles:
    """ZELDA's files in a folder.

    Attributes:
        tests: split, e.g. `aida-b` → its jsonl file.
        lists: the candidate lists, if present.
        descriptions: of entities, if present.
    """

    tests: dict[str, Path]
    lists: Path | None
    descriptions: Path | None


def zelda_files(folder: str | Path) -> ZeldaFiles:
    """ZELDA's files in a folder, in the layout of its archive (zelda_full.zip) or of its repository."""
    root = Path(folder)
    tests = next((files for name in _TESTS if (files := sorted((root / name).glob("test_*.jsonl")))), [])
    return ZeldaFiles(
        {file.stem.removeprefix("test_"): file for file in tests}, _first(root, _LISTS), _first(root, (_DESCRIPTIONS,))
    )


def read_zelda(folder: str | Path) -> list[Example]:
    """The test splits of ZELDA with their whole candidate lists, and descriptions of entities if present.

    Raises:
        OpenMofiError: files are missing or not as published.
    """
    files = zelda_files(folder)
    if not files.tests or files.lists is None:
        absent = f"other/{_LISTS[0]}" if files.tests else "test_data/jsonl/test_*.jsonl"
        raise OpenMofiError(
            f"{folder} is not ZELDA as published: it has no {absent}.",
            "Unpack zelda_full.zip there, or give a table of `openmofi link examples`.",
        )
    descriptions = read_descriptions(files.descriptions) if files.descriptions else None
    lists = CandidateLists(read_candidate_counts(files.lists))
    return [
        example
        for split, file in files.tests.items()
        for example in zelda_examples(file, lists, descriptions, split=split, limit=None)
    ]


def _first(folder: Path, names: Sequence[str]) -> Path | None:
    return next((path for sub in _ZELDA_FOLDERS for name in names if (path := folder / sub / name).is_file()), None)


def _cut(example: Example, limit: int) -> Example:
    listed = example.listed
    if not limit or len(listed) <= limit:
        return example
    kept = {candidate.id for candidate in sorted(listed, key=lambda candidate: -candidate.prior)[:limit]}
    return replace(
        example,
        candidates=tuple(
            candidate if candidate.id in kept else replace(candidate, listed=False) for candidate in example.candidates
        ),
    )


_ZELDA = {
    "aida-b": 231,
    "cweb": 320,
    "reddit-comments": 360,
    "reddit-posts": 377,
    "shadowlinks-shadow": 904,
    "shadowlinks-tail": 901,
    "shadowlinks-top": 904,
    "tweeki": 500,
    "wned-wiki": 319,
}
"""Test split → documents in its file; two counts of the authors' README are off by one."""


def _zelda(folder: Path) -> list[Finding]:
    files = zelda_files(folder)
    documents = {split: _lines(file) for split, file in files.tests.items()}
    optional = {"candidate lists": files.lists, "entity descriptions": files.descriptions}
    return [
        *(counted(f"{split}: documents", documents.get(split, 0), count) for split, count in _ZELDA.items()),
        *(Finding(what, path is not None, str(path or "are missing")) for what, path in optional.items()),
    ]


def _lines(path: Path) -> int:
    with open(path, "rb") as handle:
        return sum(bool(line.strip()) for line in handle)


SOURCES: Mapping[str, DataSource] = {
    "zelda": DataSource(
        ("disambiguation",),
        "https://github.com/flairNLP/zelda (zelda_full.zip)",
        "Training texts CC BY-SA 3.0; each test corpus under its own terms.",
        "DIR/test_data/jsonl/test_SPLIT.jsonl, DIR/other/zelda_mention_entities_counter.pickle, "
        "DIR/other/entity_descriptions.jsonl",
        "nine test splits; documents: " + ", ".join(f"{split} {count}" for split, count in _ZELDA.items()),
        _zelda,
    ),
}
