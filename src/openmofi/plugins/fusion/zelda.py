"""ZELDA (Milich and Akbik, EACL 2023) and AIDA-style CoNLL files as examples of disambiguation.

As published: `train_data/zelda_train.jsonl` and `test_data/jsonl/test_*.jsonl` with a text, its mentions as `index`
([[start, end], …]) and their `wikipedia_titles`/`wikipedia_ids`; `other/zelda_mention_entities_counter` with mention →
{title: count}; `other/entity_descriptions.jsonl`.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

from openmofi.errors import OpenMofiError, UsageError
from openmofi.plugins.benchmarks.plain_pickle import read_plain_pickle
from openmofi.plugins.benchmarks.sources import DataSource, Finding, counted
from openmofi.plugins.fusion.examples import NIL, LinkCandidate, LinkExample, read_examples, with_gold

NOT_JUDGED = ("train", "validation")
"""Splits that are left out by default."""

_MAX_LIST_BYTES = 1 << 30
_LISTS = ("zelda_mention_entities_counter.pickle", "zelda_mention_entities_counter.json")
_DESCRIPTIONS = "entity_descriptions.jsonl"
_ZELDA_FOLDERS = ("other", "train_data", "")
_TESTS = ("test_data/jsonl", "jsonl", "")


def read_candidate_counts(path: str | Path) -> Mapping[str, Mapping[str, int]]:
    """Read ZELDA's candidate lists, mention → {title: count}: the published pickle, without running code, or JSON.

    Raises:
        OpenMofiError: it cannot be read, or has another layout.
    """
    if Path(path).suffix not in (".pickle", ".pkl"):
        return read_counts(path)
    raw: Any = read_plain_pickle(path, max_bytes=_MAX_LIST_BYTES)
    if not isinstance(raw, dict) or not all(isinstance(titles, dict) for titles in raw.values()):
        raise OpenMofiError(f"{path} has no mentions with their counts.", "It must be {mention: {title: count}}.")
    return raw


def judged_examples(data: str | Path, splits: Sequence[str] = (), *, candidates: int = 0) -> list[LinkExample]:
    """Read the examples of a linker protocol.

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
    """Find ZELDA's files in a folder, in the layout of its archive (zelda_full.zip) or of its repository."""
    root = Path(folder)
    tests = next((files for name in _TESTS if (files := sorted((root / name).glob("test_*.jsonl")))), [])
    return ZeldaFiles(
        {file.stem.removeprefix("test_"): file for file in tests}, _first(root, _LISTS), _first(root, (_DESCRIPTIONS,))
    )


def read_zelda(folder: str | Path) -> list[LinkExample]:
    """Read the test splits of ZELDA with their whole candidate lists, and entities' descriptions if present.

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


def _cut(example: LinkExample, limit: int) -> LinkExample:
    listed = example.listed
    if not limit or len(listed) <= limit:
        return example
    listed_ids = {candidate.id for candidate in sorted(listed, key=lambda candidate: -candidate.prior)[:limit]}
    return replace(
        example,
        candidates=tuple(
            candidate if candidate.id in listed_ids else replace(candidate, listed=False)
            for candidate in example.candidates
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


def _findings(folder: Path) -> list[Finding]:
    files = zelda_files(folder)
    documents = {split: _count_lines(file) for split, file in files.tests.items()}
    optional = {"candidate lists": files.lists, "entity descriptions": files.descriptions}
    return [
        *(counted(f"{split}: documents", documents.get(split, 0), count) for split, count in _ZELDA.items()),
        *(Finding(what, path is not None, str(path or "are missing")) for what, path in optional.items()),
    ]


def _count_lines(path: Path) -> int:
    with open(path, "rb") as handle:
        return sum(bool(line.strip()) for line in handle)


SOURCES: Mapping[str, DataSource] = {
    "zelda": DataSource(
        ["disambiguation"],
        "https://github.com/flairNLP/zelda (zelda_full.zip)",
        "Training texts CC BY-SA 3.0; each test corpus under its own terms.",
        "DIR/test_data/jsonl/test_SPLIT.jsonl, DIR/other/zelda_mention_entities_counter.pickle, "
        "DIR/other/entity_descriptions.jsonl",
        "nine test splits; documents: " + ", ".join(f"{split} {count}" for split, count in _ZELDA.items()),
        _findings,
    ),
}


_NOT_WORD = re.compile(r"\W+")
_NO_ENTITY = ("O", "-", "_", "", "--NME--", "NIL")
_Counts = Mapping[str, Mapping[str, int]]


class CandidateLists:
    """Mention → titles with counts, with the look-up of ZELDA's authors.

    First the exact mention; then lower-case without spaces; then also without characters other than letters, digits and
    underscores. The counts of mentions that coincide are added in separate tables: the given counts never change (the
    published script, https://github.com/flairNLP/zelda, aliases them, so that a look-up changes later ones).
    """

    def __init__(self, counts: _Counts) -> None:
        self._exact = counts
        self._spaceless = _merged(counts, _spaceless)
        self._reduced = _merged(counts, _reduced)

    def __call__(self, mention: str) -> dict[str, int]:
        """Return title → count, commonest first, equal counts by title; empty for an unknown mention."""
        titles: Mapping[str, int] = (
            self._exact.get(mention)
            or self._spaceless.get(_spaceless(mention))
            or self._reduced.get(_reduced(mention))
            or {}
        )
        return dict(sorted(titles.items(), key=lambda entry: (-entry[1], entry[0])))


def read_counts(path: str | Path) -> dict[str, dict[str, int]]:
    """Read candidate lists as JSON: mention → {title: count}.

    ZELDA publishes them as a pickle, which `openmofi.plugins.benchmarks.plain_pickle` reads without running it.

    Raises:
        OpenMofiError: it cannot be read as that; names the mention.
    """
    raw = _json("".join(line for _, line in _lines(path)), str(path))
    if not isinstance(raw, dict):
        raise OpenMofiError(f"{path} is not a table of mentions with counts.", "It must be {mention: {title: count}}.")
    for mention, titles in raw.items():
        if not isinstance(titles, dict) or not all(isinstance(count, int) for count in titles.values()):
            raise OpenMofiError(
                f"The candidates of {mention!r} in {path} are not counts.", "It must be {mention: {title: count}}."
            )
    return raw


def read_descriptions(path: str | Path) -> dict[str, str]:
    """Read `entity_descriptions.jsonl`: title (with spaces) → description."""
    descriptions = {}
    for _, raw in _json_lines(path):
        title = raw.get("wikipedia_title") or raw.get("title") or ""
        descriptions[str(title).replace("_", " ")] = str(raw.get("description") or raw.get("text") or "")
    return descriptions


def zelda_examples(
    path: str | Path,
    lists: CandidateLists,
    descriptions: Mapping[str, str] | None = None,
    *,
    split: str,
    limit: int | None = 30,
) -> list[LinkExample]:
    """Read the mentions of a jsonl file of ZELDA.

    Args:
        path: the file.
        lists: of candidates.
        descriptions: title → description.
        split: of the examples.
        limit: most candidates; `None` for all.

    Raises:
        OpenMofiError: a line has another format; names it.
    """
    examples = []
    for number, raw in _json_lines(path):
        try:
            text, spans, titles = raw["text"], raw["index"], raw["wikipedia_titles"]
            for (start, end), title in zip(spans, titles, strict=True):
                # Two published spans exceed their text; the authors' slices end with it.
                end = min(end, len(text))
                if not 0 <= start < end:
                    raise ValueError(f"the span {start}–{end} lies outside the text")
                examples.append(_example(text, start, end, title, lists, descriptions or {}, split, limit))
        except (KeyError, TypeError, ValueError) as error:
            raise OpenMofiError(
                f"Line {number} of {path} is not in ZELDA's format: {error}.",
                "A line has text, index and wikipedia_titles.",
            ) from error
    return examples


def conll_examples(
    path: str | Path,
    lists: CandidateLists,
    descriptions: Mapping[str, str] | None = None,
    *,
    split: str,
    limit: int | None = 30,
) -> list[LinkExample]:
    """Read an AIDA-style CoNLL file: a token a line, tab-separated, documents separated by `-DOCSTART-`.

    Two layouts are read, recognised by their columns: AIDA's (token, B/I, whole mention, entity, …) and ZELDA's
    (token, wikipedia id, title, with `B-`/`I-` before both). The text is the tokens with a space between them. An
    entity `--NME--` is NIL.

    Raises:
        OpenMofiError: the file cannot be read.
    """
    examples = []
    for tokens in _documents(path):
        text = " ".join(token for token, _, _ in tokens)
        starts = list(accumulate((len(token) + 1 for token, _, _ in tokens), initial=0))
        for first, last, title in _conll_spans(tokens):
            examples.append(
                _example(text, starts[first], starts[last + 1] - 1, title, lists, descriptions or {}, split, limit)
            )
    return examples


def _example(
    text: str,
    start: int,
    end: int,
    title: str,
    lists: CandidateLists,
    descriptions: Mapping[str, str],
    split: str,
    limit: int | None,
) -> LinkExample:
    mention = text[start:end]
    counts, gold = lists(mention), title.replace("_", " ")
    total = sum(counts.values())
    listed: dict[str, LinkCandidate] = {}
    for listed_title, count in list(counts.items())[:limit]:
        name = listed_title.replace("_", " ")
        listed.setdefault(name, LinkCandidate(name, name, descriptions.get(name, ""), "", count / total))
    right = None if gold == NIL else LinkCandidate(gold, gold, descriptions.get(gold, ""))
    return LinkExample(text, start, end, with_gold(list(listed.values()), right), gold, split, mention.lower())


def _merged(counts: _Counts, key: Callable[[str], str]) -> dict[str, Counter[str]]:
    merged: dict[str, Counter[str]] = {}
    for mention, titles in counts.items():
        merged.setdefault(key(mention), Counter()).update(titles)
    return merged


def _spaceless(mention: str) -> str:
    return mention.replace(" ", "").lower()


def _reduced(mention: str) -> str:
    return _NOT_WORD.sub("", _spaceless(mention))


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise OpenMofiError(f"{where} is not JSON: {error}.", "Download it again.") from error


def _json_lines(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in _lines(path):
        if line.strip():
            raw = _json(line, f"Line {number} of {path}")
            if not isinstance(raw, dict):
                raise OpenMofiError(f"Line {number} of {path} is not a JSON object.", "Download it again.")
            yield number, raw


def _lines(path: str | Path) -> Iterator[tuple[int, str]]:
    try:
        with open(path, encoding="utf-8") as handle:
            yield from enumerate(handle, 1)
    except (OSError, UnicodeDecodeError) as error:
        raise OpenMofiError(f"{path} cannot be read: {error}.", "Check the path.") from error


def _documents(path: str | Path) -> Iterator[list[tuple[str, str, str]]]:
    """Yield documents as lists of (token, "B", "I" or "", title)."""
    tokens: list[tuple[str, str, str]] = []
    for _, line in _lines(path):
        if line.startswith("-DOCSTART-"):
            if tokens:
                yield tokens
            tokens = []
        # ZELDA's documents start with a comment that names them.
        elif line.strip() and (tokens or not line.startswith("# ")):
            tokens.append(_conll_token(line.rstrip("\n").split("\t")))
    if tokens:
        yield tokens


def _conll_token(columns: Sequence[str]) -> tuple[str, str, str]:
    token = columns[0]
    if len(columns) >= 4 and columns[1] in ("B", "I"):
        return token, columns[1], NIL if columns[3] in _NO_ENTITY else columns[3]
    label = columns[2] if len(columns) >= 3 else columns[-1] if len(columns) == 2 else ""
    tag, dash, title = label.partition("-")
    if dash and tag in ("B", "I"):
        return token, tag, NIL if title in _NO_ENTITY else title
    return token, "", ""


def _conll_spans(tokens: Sequence[tuple[str, str, str]]) -> Iterator[tuple[int, int, str]]:
    """Yield (first token, last token, title) of each mention."""
    first: int | None = None
    for index, (_, tag, _) in enumerate([*tokens, ("", "", "")]):
        if tag != "I" and first is not None:
            yield first, index - 1, tokens[first][2]
            first = None
        if tag == "B" or (tag == "I" and first is None):
            first = index
