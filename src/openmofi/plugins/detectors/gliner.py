"""GLiNER as a detector: entities of types that are given in words. Needs the extra `gliner`.

Source: U. Zaratiana et al., "GLiNER: Generalist Model for Named Entity Recognition using Bidirectional Transformer",
NAACL 2024, arXiv 2311.08526; the models are those of the package `gliner`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import pyarrow.compute as pc

from openmofi.errors import MissingExtraError, OpenMofiError, UsageError, first_line
from openmofi.knowledge import KnowledgeBase
from openmofi.mentions import DetectorKind, MentionDetector
from openmofi.plugins.hub import cached_folder, hub_folder
from openmofi.plugins.hub.checkpoints import plain_config
from openmofi.schema import Mention
from openmofi.storage import file_fingerprint, fingerprint, read_json, write_json
from openmofi.storage.foreign import allowed_options, guarded, require_inside, require_own_files

if TYPE_CHECKING:
    from gliner import GLiNER

GLINER = "gliner"
_CONFIG = "gliner_config.json"
_READ = ("*.json", "*.safetensors", "*.bin", "*.model", "*.txt")
_VOCABULARY = ("*.json", "*.txt", "*.model")
# What names a backbone, what holds its configuration, and the type of a configuration that says none.
_BACKBONES = {
    "model_name": ("encoder_config", "deberta-v2"),
    "labels_encoder": ("labels_encoder_config", "deberta-v2"),
    "labels_decoder": ("labels_decoder_config", "gpt2"),
}
_SPLITTERS = ("whitespace", "mecab", "jieba", "janome", "camel", "hindi")
_LONGEST_WORD = 200
_TYPES = 25


@dataclass(frozen=True)
class GlinerSettings:
    """What a GLiNER model is asked.

    Attributes:
        model: a folder as `GLiNER.save_pretrained` writes it, or a repository of the Hugging Face hub,
            `OWNER/NAME[@REVISION]`.
        types: what it looks for, in words; where there are none, the types that most entities of the base have.
        threshold: an entity is taken from this score on, 0..1.
        batch_size: texts, or windows of long ones, that the model reads at once.
        device: as torch names it, or `auto`: a GPU where there is one.
    """

    model: str
    types: tuple[str, ...] = ()
    threshold: float = 0.5
    batch_size: int = 8
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not self.model:
            raise UsageError("The detector gliner needs a model.", "Use gliner:FOLDER or gliner:OWNER/NAME.")
        if not 0 <= self.threshold <= 1 or self.batch_size < 1:
            raise UsageError(
                f"gliner's threshold is {self.threshold} and its batch_size {self.batch_size}.",
                "Use a threshold of 0 to 1 and a batch_size of 1 or more.",
            )


def top_types(kb: KnowledgeBase, limit: int = _TYPES) -> tuple[str, ...]:
    """Return the commonest types of a knowledge base, equal ones by name; WordNet's without the part of speech."""
    counts = pc.value_counts(pc.list_flatten(kb.entities.column("types")))
    by_count = sorted(counts.to_pylist(), key=lambda row: (-row["counts"], row["values"]))
    return tuple(row["values"].removeprefix("noun.") for row in by_count[:limit])


class GlinerDetector:
    """Entities of the types that are given.

    A text longer than the model reads at once (`max_len` of its configuration, in its own words) is read in windows
    that overlap by a quarter; an entity is taken from the window that has the more text around it. Words of more than
    200 characters are left out.
    """

    name = GLINER

    def __init__(self, kb: KnowledgeBase, settings: GlinerSettings) -> None:
        self.settings = settings
        self.types = settings.types or top_types(kb)
        if not self.types:
            raise UsageError(
                f"gliner has no types to look for: the entities of {kb.path} have none.",
                f"Name some, as in 'gliner:{settings.model}?types=animal,building'.",
            )
        self._model = load_model(settings.model, settings.device)
        self._longest = int(self._model.config.max_len)

    def detect(self, texts: Sequence[str]) -> list[list[Mention]]:
        """For each text its mentions, by start, none overlapping another."""
        windows = [(number, *window) for number, text in enumerate(texts) for window in self._windows(text)]
        entities = (
            self._model.inference(
                [texts[number][start:end] for number, start, end, *_ in windows],
                list(self.types),
                flat_ner=True,
                threshold=self.settings.threshold,
                batch_size=self.settings.batch_size,
            )
            if windows
            else []
        )
        mentions: list[list[Mention]] = [[] for _ in texts]
        for (number, offset, _, own_start, own_end), of_window in zip(windows, entities, strict=True):
            text, of_text = texts[number], mentions[number]
            for entity in sorted(of_window, key=lambda entity: entity["start"]):
                start, end = entity["start"] + offset, entity["end"] + offset
                if own_start <= start < own_end and (not of_text or of_text[-1].end <= start):
                    of_text.append(Mention(start, end, text[start:end], GLINER))
        return mentions

    def _windows(self, text: str) -> Iterator[tuple[int, int, int, int]]:
        """Yield (start, end, own start, own end), in characters, of each window that is read at once."""
        words = [(start, end) for _, start, end in self._model.data_processor.words_splitter(text)]
        for run in _runs(words):
            step = max(self._longest * 3 // 4, 1)
            half = (self._longest - step) // 2
            for first in range(0, max(len(run) - self._longest + step, step), step):
                window = run[first : first + self._longest]
                last = first + self._longest >= len(run)
                yield (
                    window[0][0],
                    window[-1][1],
                    window[half if first else 0][0],
                    window[-1][1] if last else window[step + half][0],
                )


def _runs(words: Sequence[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    """Yield the runs of words between those that are too long to be read."""
    run: list[tuple[int, int]] = []
    for start, end in words:
        if end - start <= _LONGEST_WORD:
            run.append((start, end))
        elif run:
            yield run
            run = []
    if run:
        yield run


def model_folder(model: str) -> Path:
    """Return the folder of a model, which is fetched where its repository on the hub is named.

    Raises:
        OpenMofiError: there is no such folder or repository, it holds no GLiNER model, or cannot be fetched.
    """
    folder = Path(model)
    if not folder.exists():
        if model.partition("@")[0].count("/") != 1 or model.startswith((".", "/", "~")):
            raise OpenMofiError(
                f"There is no folder {model}.", "Give a folder, or OWNER/NAME[@REVISION] of the Hugging Face hub."
            )
        folder = hub_folder(model, _READ, [_CONFIG])
    require_inside(folder)
    require_own_files(folder)
    if not (folder / _CONFIG).is_file():
        raise OpenMofiError(
            f"{model} holds no GLiNER model: it has no {_CONFIG}.", "Give a folder as GLiNER.save_pretrained writes it."
        )
    return folder


def model_fingerprint(model: str) -> str:
    """Return 16 hexadecimal digits for the files of a model, wherever it lies.

    Raises:
        OpenMofiError: see `model_folder`.
    """
    folder = model_folder(model)
    return fingerprint({path.name: file_fingerprint(path) for pattern in _READ for path in folder.glob(pattern)})


def load_model(model: str, device: str = "cpu") -> GLiNER:
    """Open a model for inference.

    Raises:
        MissingExtraError: the package `gliner` is not installed.
        OpenMofiError: see `model_folder`; its files do not fit together, or the device cannot be used.
    """
    if find_spec("gliner") is None:
        raise MissingExtraError.of("gliner", GLINER)
    folder = model_folder(model)
    import torch

    device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    try:
        with tempfile.TemporaryDirectory() as staged:
            _stage(folder, Path(staged), fetch=not Path(model).exists())
            with guarded(f"The GLiNER model {model}"):
                return _opened(staged, device)
    except OpenMofiError:
        raise
    except Exception as error:  # of its configuration, tokenizer, weights, device
        raise OpenMofiError(
            f"The GLiNER model {model} cannot be opened: {first_line(error)}",
            "Check that the folder is whole, and the device.",
        ) from error


def _opened(folder: str, device: str) -> GLiNER:
    from gliner import GLiNER

    open_it: Any = GLiNER.from_pretrained
    try:
        return open_it(folder, map_location=device, local_files_only=True, strict=True)
    except RuntimeError as error:
        # The library ignores weights that are missing, and answers with random ones.
        if "Missing key" in str(error) or "Unexpected key" not in str(error) or "size mismatch" in str(error):
            raise
        return open_it(folder, map_location=device, local_files_only=True)


def _stage(folder: Path, staged: Path, *, fetch: bool) -> None:
    """Put a model's files where GLiNER is to read them, with a configuration that names data alone.

    GLiNER trusts code of the backbone that the configuration names, and fetches what it lacks of it.

    Raises:
        OpenMofiError: the configuration sets an option that no file of others may, or needs a backbone that is not in
            the hub's cache and may not be fetched.
    """
    where = str(folder / _CONFIG)
    raw = read_json(folder / _CONFIG, dict[str, Any], "Copy the whole model.")
    options = allowed_options("gliner", raw, where)
    if options.get("words_splitter_type", "whitespace") not in _SPLITTERS:
        raise OpenMofiError(
            f"{where} splits words by {options['words_splitter_type']!r}, which fetches models.",
            f"Use one of {', '.join(_SPLITTERS)}.",
        )
    for name, (config, default) in _BACKBONES.items():
        if options.get(config) is not None:
            options[config] = plain_config({"model_type": default, **options[config]}, f"{where}: {config}")
        if name not in options or options[name] is None:
            continue
        # The tokenizer of the first is in the folder mostly, those of the others never.
        whole = name == "model_name" and options.get(config) and (folder / "tokenizer_config.json").is_file()
        # Where all is in the folder the library looks for an adapter there, and finds nothing.
        options[name] = str(staged / "backbone" if whole else _backbone(str(options[name]), where, fetch))
    write_json(staged / _CONFIG, options)
    for path in (path for pattern in _READ for path in folder.glob(pattern) if path.name != _CONFIG):
        (staged / path.name).symlink_to(path.resolve())


def _backbone(repository: str, where: str, fetch: bool) -> Path:
    """Return the folder of a backbone's configuration and vocabulary."""
    needed = ["config.json"]
    folder = hub_folder(repository, _VOCABULARY, needed) if fetch else cached_folder(repository, _VOCABULARY, needed)
    if folder is None:
        raise OpenMofiError(
            f"{where} stands on {repository}, which is not in the hub's cache.",
            f"Fetch its vocabulary: hf download {repository} --include '*.json' '*.txt' '*.model'.",
        )
    return folder


def _settings(argument: str) -> GlinerSettings:
    """Parse `MODEL[?types=A,B&threshold=F&batch_size=N&device=D]`."""
    model, _, query = argument.partition("?")
    try:
        options = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=True)) if query else {}
        types = tuple(kind.strip() for kind in options.pop("types", "").split(",") if kind.strip())
        return GlinerSettings(
            model,
            types,
            float(options.pop("threshold", 0.5)),
            int(options.pop("batch_size", 8)),
            options.pop("device", "cpu"),
            **options,
        )
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"gliner's options {query!r} cannot be read.",
            "Use types=A,B, threshold=F, batch_size=N and device=D, joined by &.",
        ) from error


def _open(kb: KnowledgeBase, argument: str) -> MentionDetector:
    return GlinerDetector(kb, _settings(argument))


def _fingerprint(argument: str) -> str:
    # Where and how many at once it computes changes no more than the last bits of a score.
    settings = _settings(argument)
    return fingerprint([model_fingerprint(settings.model), settings.types, settings.threshold])


def _check(argument: str) -> None:
    _settings(argument)


DETECTOR = DetectorKind("gliner:MODEL[?types=A,B]", _check, _open, _fingerprint)
