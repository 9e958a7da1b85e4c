"""Checkpoints that others made: configurations of transformers without what would fetch, run or redirect anything;
errors of weights as one sentence; whether a folder has a tokenizer.
"""

import inspect
import logging
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

from openmofi.errors import OpenMofiError, first_line
from openmofi.storage import read_json
from openmofi.storage.foreign import option_table, require_own_files

_log = logging.getLogger(__name__)


def read_config(folder: Path) -> Any:
    """Read the configuration of a model in a folder, as an object of transformers to open the model with.

    Raises:
        OpenMofiError: there is none, it is damaged, or sets options that no file of others may; see
            `require_own_files`.
    """
    require_own_files(folder)
    path = folder / "config.json"
    return config_of(read_json(path, object, "Copy the whole checkpoint."), str(path))


def config_of(raw: Any, where: str) -> Any:
    """Return the configuration object of what a file says; see `plain_config`."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    plain = plain_config(raw, where)
    return CONFIG_MAPPING[plain["model_type"]].from_dict(plain)


def plain_config(raw: Any, where: str, config_class: Any = None) -> dict[str, Any]:
    """Return the options of a configuration that its class declares; sub-configurations of models likewise.

    Options that the class does not declare are left out unless the table passes them: transformers would set any of
    them as an attribute, and follow some (`auto_map`, `quantization_config`, a kernel of the hub as
    `attn_implementation`). A warning names those that the table does not have.

    Args:
        raw: the file's content.
        where: the file.
        config_class: of a configuration that does not say its type.

    Raises:
        OpenMofiError: it is none of a model that transformers knows.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    kind = raw.get("model_type") if isinstance(raw, Mapping) else ""
    if isinstance(kind, str) and kind in CONFIG_MAPPING:
        config_class = CONFIG_MAPPING[kind]
    elif config_class is None or not isinstance(raw, Mapping):
        raise OpenMofiError(
            f"{where}: transformers has no model of the type {str(kind)[:80]!r}.",
            "Install the version that it was made with; models that bring code of their own are not opened.",
        )
    parts = getattr(config_class, "sub_configs", {})
    passed, ignored = option_table()["transformers.config"]
    declared, plain = _declared(config_class) | passed, {}
    for name, value in raw.items():
        part = parts.get(name.removesuffix("_dict"))  # CLIP's first checkpoints have `text_config_dict` too
        if isinstance(value, Mapping) and (part or "model_type" in value):
            plain[name] = plain_config(value, f"{where}: {name}", part)
        elif name in declared:
            plain[name] = value
        elif name not in ignored:
            _log.warning("%s: the option %.80r is left out.", where, name)
    return plain


@cache
def _declared(config_class: Any) -> frozenset[str]:
    """Return the options that a class of configurations declares, by their public names."""
    names = {
        parameter.name
        for base in config_class.__mro__
        if "__init__" in vars(base)
        for parameter in inspect.signature(base.__init__).parameters.values()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD or parameter.kind is parameter.KEYWORD_ONLY
    }
    if is_dataclass(config_class):
        names |= {field.name for field in fields(config_class)}
    names |= set(getattr(config_class, "attribute_map", {}))
    return frozenset(name for name in names if not name.startswith("_") and name != "self")


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
