"""What the libraries share in reading checkpoints: errors as one sentence, and whether a folder has a tokenizer."""

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from openmofi.errors import OpenMofiError, first_line

WEIGHT_FILES = (".safetensors", ".pt", ".pth", ".bin")
"""Suffixes of weights files. All but the first are pickles, of which only tensors are loaded."""

VOCABULARIES = (
    "tokenizer.json",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
)
"""Files that hold the vocabulary of a tokenizer of transformers; it needs one of them."""


@contextmanager
def loading(path: Path, owner: str) -> Iterator[None]:
    """Turn errors of libraries that load weights into one sentence.

    Args:
        path: a weights file, or a folder of them.
        owner: whose weights they should be, such as `timm:vit_small_patch16_224`.

    Raises:
        OpenMofiError: pickled code, a damaged file, or weights of another model.
    """
    from safetensors import SafetensorError

    try:
        yield
    except (
        RuntimeError,
        KeyError,
        ValueError,
        OSError,
        EOFError,
        AttributeError,
        TypeError,
        AssertionError,
        IndexError,
        pickle.UnpicklingError,
        SafetensorError,
    ) as error:
        if _is_pickled_code(error):
            raise OpenMofiError(
                f"{path} holds pickled code besides weights, which is never loaded.",
                "Save its state dict as .safetensors where you trust it, and give that.",
            ) from error
        raise OpenMofiError(
            f"{path} cannot be loaded as weights of {owner}: {first_line(error)}",
            "Check that the file is whole and belongs to this model.",
        ) from error


def _is_pickled_code(error: BaseException | None) -> bool:
    """Whether torch's refusal to unpickle is among the causes of `error`."""
    while error is not None and not isinstance(error, pickle.UnpicklingError):
        error = error.__cause__ or error.__context__
    return error is not None


def has_vocabulary(folder: Path) -> bool:
    """Whether a folder has a file of `VOCABULARIES`."""
    return any((folder / name).is_file() for name in VOCABULARIES)
