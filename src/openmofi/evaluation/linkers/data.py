"""Examples of disambiguation as protocols judge them: our own tables, and ZELDA's files where they are on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from openmofi.errors import OpenMofiError, UsageError
from openmofi.evaluation.data.plain_pickle import read_plain_pickle
from openmofi.linking.corpora.examples import Example, read_examples
from openmofi.linking.corpora.zelda import CandidateLists, read_counts, read_descriptions, zelda_examples

NOT_JUDGED = ("train", "validation")
"""Splits that are left out where none are named."""

_MAX_LIST_BYTES = 1 << 30
_LISTS = ("zelda_mention_entities_counter.pickle", "zelda_mention_entities_counter.json")
_DESCRIPTIONS = "entity_descriptions.jsonl"
_ZELDA_FOLDERS = ("other", "train_data", "")
_TESTS = ("test_data/jsonl", "jsonl", "")


def read_candidate_counts(path: str | Path) -> Mapping[str, Mapping[str, int]]:
    """ZELDA's candidate lists, mention → {title: count}: the published pickle, read without running it, or JSON.

    Raises:
        OpenMofiError: it is not readable as that.
    """
    if Path(path).suffix not in (".pickle", ".pkl"):
        return read_counts(path)
    raw: Any = read_plain_pickle(path, max_bytes=_MAX_LIST_BYTES)
    if not isinstance(raw, dict) or not all(isinstance(titles, dict) for titles in raw.values()):
        raise OpenMofiError(f"{path} holds no mentions with their counts.", "It should be {mention: {title: count}}.")
    return raw


def judged_examples(data: str | Path, splits: Sequence[str] = (), *, candidates: int = 0) -> list[Example]:
    """The examples to judge a linker on.

    Args:
        data: a table of `linking.examples`, or the folder of ZELDA.
        splits: only these; all but `train` and `validation` by default.
        candidates: most candidates of a mention that are listed, the commonest ones; 0 for all.

    Raises:
        UsageError: a split is not there, or none is left.
        OpenMofiError: the data cannot be read.
    """
    found = read_zelda(data) if Path(data).is_dir() else read_examples(data)
    there = sorted({example.split for example in found})
    wanted = list(splits) or [split for split in there if split not in NOT_JUDGED]
    lost = next((split for split in wanted if split not in there), None)
    if lost is not None or not wanted:
        raise UsageError(f"{data} has no examples {f'of the split {lost!r}' if lost else 'to judge a linker on'}.",
                         f"It has the splits {', '.join(there) or 'of no name at all'}; name some with splits=A,B.")
    return [_cut(example, candidates) for example in found if example.split in wanted]


@dataclass(frozen=True)
class ZeldaFiles:
    """ZELDA's files in a folder.

    Attributes:
        tests: split, e.g. `aida-b` → its jsonl file.
        lists: the candidate lists, if they are there.
        descriptions: of entities, if they are there.
    """

    tests: dict[str, Path]
    lists: Path | None
    descriptions: Path | None


def zelda_files(folder: str | Path) -> ZeldaFiles:
    """What a folder has of ZELDA, in the layout of its archive (zelda_full.zip) or of its repository."""
    place = Path(folder)
    tests = next((found for name in _TESTS if (found := sorted((place / name).glob("test_*.jsonl")))), [])
    return ZeldaFiles({file.stem.removeprefix("test_"): file for file in tests}, _first(place, _LISTS),
                      _first(place, (_DESCRIPTIONS,)))


def read_zelda(folder: str | Path) -> list[Example]:
    """The test splits of ZELDA with their whole candidate lists; entities have descriptions where they are there.

    Raises:
        OpenMofiError: files are missing or not as published.
    """
    files = zelda_files(folder)
    if not files.tests or files.lists is None:
        lost = f"other/{_LISTS[0]}" if files.tests else "test_data/jsonl/test_*.jsonl"
        raise OpenMofiError(f"{folder} is not ZELDA as published: it has no {lost}.",
                            "Unpack zelda_full.zip there, or give a table of `openmofi link examples`.")
    told = read_descriptions(files.descriptions) if files.descriptions else None
    lists = CandidateLists(read_candidate_counts(files.lists))
    return [example for split, file in files.tests.items()
            for example in zelda_examples(file, lists, told, split=split, limit=None)]


def _first(folder: Path, names: Sequence[str]) -> Path | None:
    return next((path for place in _ZELDA_FOLDERS for name in names if (path := folder / place / name).is_file()), None)


def _cut(example: Example, most: int) -> Example:
    listed = example.listed
    if not most or len(listed) <= most:
        return example
    kept = {one.id for one in sorted(listed, key=lambda one: -one.prior)[:most]}
    return replace(example, candidates=tuple(one if one.id in kept else replace(one, listed=False)
                                             for one in example.candidates))
